//! What the encoder sees: a sampling grid in world mm laid over a volume.

pub mod augment;
mod sample;
mod settings;
mod stack;

use std::{
    collections::{BTreeMap, HashMap},
    path::Path,
};

use glam::DVec3;

use crate::{
    geometry::Grid,
    io::image::{ImageError, Mapped},
    prepare::VolumeRow,
};

pub use augment::{Augment, Augmentation, Augments};
pub use settings::{Form, Plane, Settings, Slices};
pub use stack::Stack;

/// How the world of a template begins, the only one that subjects share.
pub const TEMPLATE: &str = "template-";

/// Prepared volumes, mapped into memory.
pub struct Volumes {
    by_series: HashMap<String, Prepared>,
}

/// One prepared volume.
pub struct Prepared {
    /// Its row in `volumes.parquet`.
    pub row: VolumeRow,
    /// The coordinate system that its mm are in: the pseudonym of the frame of
    /// reference, of the session where none is stated, or the name of a template.
    /// Places can be compared only where subject and world are equal.
    pub world: String,
    /// From the row: the file's affine is rounded to f32.
    grid: Grid,
    mapped: Mapped,
}

/// Why prepared volumes cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ViewError {
    /// A prepared volume cannot be opened.
    #[error("the prepared volume {series} cannot be opened; prepare again")]
    Open {
        /// Pseudonym of the series.
        series: String,
        /// Why.
        source: ImageError,
    },
    /// A prepared volume has another size than its row says.
    #[error("the prepared volume {series} was changed; prepare again")]
    Changed {
        /// Pseudonym of the series.
        series: String,
    },
    /// A prepared volume, or its row, holds what is no number.
    #[error("the prepared volume {series} has a {what} that is not finite; prepare again")]
    NotFinite {
        /// Pseudonym of the series.
        series: String,
        /// Of what.
        what: &'static str,
    },
    /// A pair names a series that was not prepared.
    #[error("the series {series} was not prepared; make the pairs again")]
    Unknown {
        /// Pseudonym of the series.
        series: String,
    },
}

impl Volumes {
    /// The prepared volumes of a results folder, mapped; no voxel is read yet.
    ///
    /// # Errors
    /// [`ViewError::Open`] where a file is missing or not what `prepare` wrote.
    pub fn open(results: &Path, rows: Vec<VolumeRow>) -> Result<Self, ViewError> {
        let by_series = rows
            .into_iter()
            .map(|row| {
                let mapped = Mapped::open(&results.join(&row.file))
                    .map_err(|source| ViewError::Open { series: row.series.clone(), source })?;
                if mapped.grid().shape != row.grid().shape {
                    return Err(ViewError::Changed { series: row.series });
                }
                if let Some(what) = not_finite(&row, &mapped) {
                    return Err(ViewError::NotFinite { series: row.series, what });
                }
                let world = row.frame_of_reference.as_ref().unwrap_or(&row.session).clone();
                Ok((row.series.clone(), Prepared { grid: row.grid(), world, row, mapped }))
            })
            .collect::<Result<_, ViewError>>()?;
        Ok(Self { by_series })
    }

    /// The same volumes, where those of some sources lie in the template that
    /// stands beside the source's name.
    #[must_use]
    pub fn in_templates(mut self, templates: &BTreeMap<String, String>) -> Self {
        for volume in self.by_series.values_mut() {
            if let Some(template) = templates.get(&volume.row.source) {
                volume.world = format!("{TEMPLATE}{template}");
            }
        }
        self
    }

    /// The prepared volume of a series.
    ///
    /// # Errors
    /// [`ViewError::Unknown`].
    pub fn get(&self, series: &str) -> Result<&Prepared, ViewError> {
        self.by_series.get(series).ok_or_else(|| ViewError::Unknown { series: series.to_owned() })
    }

    /// Every prepared volume, in the order of their series.
    pub fn all(&self) -> Vec<&Prepared> {
        let mut all: Vec<_> = self.by_series.values().collect();
        all.sort_by(|a, b| a.row.series.cmp(&b.row.series));
        all
    }
}

/// What of a prepared volume is no number. Its voxels are integers, and become
/// numbers by these.
fn not_finite(row: &VolumeRow, mapped: &Mapped) -> Option<&'static str> {
    let finite = |values: &[f64]| values.iter().all(|value| value.is_finite());
    let slope = f64::from(mapped.slope());
    if !finite(&[slope]) || slope == 0.0 {
        return Some("scale of its voxels");
    }
    if !finite(&row.affine) || !finite(&row.centre_mm) {
        return Some("place");
    }
    let levels = [row.background, row.foreground_above].map(f64::from);
    (!finite(&levels)).then_some("background or foreground level")
}

impl Prepared {
    /// Fills `values`, `[slice, row, column]` in C order, with the normalised
    /// intensities on a view's grid; outside the volume they are background.
    pub fn sample(&self, view: &Grid, values: &mut [f32]) {
        self.sampler().sample(view, values);
    }

    fn sampler(&self) -> sample::Sampler<'_> {
        let slope = self.mapped.slope();
        sample::Sampler {
            voxels: self.mapped.voxels(),
            voxel_from_ras: self.grid.ras_from_voxel.inverse(),
            slope,
            outside: self.row.background / slope,
        }
    }

    /// Where the voxels lie.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// The places of its views, along the normal of a plane.
    pub fn stack(&self, plane: Plane) -> Stack {
        Stack::new(&self.grid, DVec3::from_array(self.row.centre_mm), plane)
    }

    /// Of the view of every slice of the [`Stack`], the share that the body fills;
    /// a slab or box counts each of its slices as the nearest one of the volume.
    pub fn body_shares(&self, settings: &Settings) -> Vec<f64> {
        let stack = self.stack(settings.plane);
        let threshold = (self.row.foreground_above / self.mapped.slope()).round() as i16;
        let [ni, nj, _] = self.grid.shape;
        let line = |k: usize, j: usize| {
            let slice = self.mapped.slice(k).unwrap_or_default();
            slice.get(j * ni..(j + 1) * ni).unwrap_or_default()
        };
        debug_assert_eq!(self.mapped.slice(0).map_or(0, <[i16]>::len), ni * nj);
        let of_plane: Vec<f64> = stack
            .counts(line, |value| value > threshold)
            .into_iter()
            .map(|body| (stack.area_mm2(body) / settings.area_mm2()).min(1.0))
            .collect();
        if settings.slices.is_none() {
            return of_plane;
        }
        (0..stack.len())
            .map(|n| {
                let view = settings.grid(stack.centre_mm(n));
                let sum: f64 = (0..settings.depth())
                    .map(|slice| view.world_mm(DVec3::new(0.0, 0.0, slice as f64)))
                    .filter_map(|place| of_plane.get(stack.at(place)?))
                    .sum();
                sum / settings.depth() as f64
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;

    use super::*;
    use crate::{
        geometry::{affine_from_rows, affine_to_flat},
        io::nifti,
    };

    /// A volume whose stored value is x + 100 y + 1000 z in mm, on a 2 mm grid.
    fn ramp(folder: &Path) -> Volumes {
        let grid = Grid {
            shape: [8, 6, 5],
            ras_from_voxel: affine_from_rows(&[
                [2.0, 0.0, 0.0, -4.0],
                [0.0, 2.0, 0.0, 10.0],
                [0.0, 0.0, 2.0, 1.0],
                [0.0, 0.0, 0.0, 1.0],
            ]),
        };
        let voxels = Array3::from_shape_fn((5, 6, 8), |(k, j, i)| {
            let p = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
            (p.x + 100.0 * p.y + 1000.0 * p.z) as i16
        });
        let mut out = std::fs::File::create(folder.join("ramp.nii")).unwrap();
        nifti::write_i16(&mut out, voxels.view(), &grid, 0.5, 0.0, "ramp").unwrap();
        let word = |text: &str| text.to_owned();
        let row = VolumeRow {
            source: word("test"),
            subject: word("sub"),
            session: word("ses"),
            study: word("std"),
            series: word("ser"),
            modality: word("T1"),
            frame_of_reference: None,
            file: word("ramp.nii"),
            shape: [8, 6, 5],
            spacing_mm: [2.0; 3],
            affine: affine_to_flat(&grid.ras_from_voxel),
            centre_mm: [3.0, 15.0, 5.0],
            foreground_above: 1500.0,
            background: -7.0,
            intensity_centre: 0.0,
            intensity_scale: 1.0,
        };
        Volumes::open(folder, vec![row]).unwrap()
    }

    fn plane(size: usize, pixel_mm: f64) -> Settings {
        Settings { size, pixel_mm, plane: Plane::Axial, slices: None }
    }

    fn boxed(size: usize, pixel_mm: f64, depth: usize, slice_mm: f64) -> Settings {
        Settings {
            slices: Some(Slices { depth, slice_mm, form: Form::Box }),
            ..plane(size, pixel_mm)
        }
    }

    fn sampled(volume: &Prepared, settings: &Settings, grid: &Grid) -> Vec<f32> {
        let mut values = vec![f32::NAN; settings.voxels()];
        volume.sample(grid, &mut values);
        values
    }

    #[test]
    fn a_view_shows_its_place_in_mm_whatever_its_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        let centre = DVec3::new(2.0, 14.0, 4.0);
        for settings in [plane(3, 1.5), boxed(3, 1.5, 4, 1.25), boxed(2, 1.5, 3, 0.7)] {
            let (size, depth) = (settings.size, settings.depth());
            let slice_mm = settings.slices.map_or(0.0, |slices| slices.slice_mm);
            let values = sampled(volume, &settings, &settings.grid(centre));
            let mut values = values.iter();
            let middle = |n: usize| (n as f64 - 1.0) / 2.0;
            for slice in 0..depth {
                for row in 0..size {
                    for column in 0..size {
                        let x = 2.0 + 1.5 * (column as f64 - middle(size));
                        let y = 14.0 + 1.5 * (row as f64 - middle(size));
                        let z = 4.0 + slice_mm * (slice as f64 - middle(depth));
                        let expected = 0.5 * (x + 100.0 * y + 1000.0 * z);
                        let value = f64::from(*values.next().unwrap());
                        assert!((value - expected).abs() < 0.01, "{value} {expected}");
                    }
                }
            }
            assert!(values.next().is_none());
        }
    }

    #[test]
    fn outside_is_background() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        for settings in [plane(2, 1.0), boxed(2, 1.0, 3, 1.0)] {
            let values = sampled(volume, &settings, &settings.grid(DVec3::splat(500.0)));
            assert!(values.iter().all(|&value| value == -7.0), "{values:?}");
        }
        // The volume ends at z = 10 mm: slices at 8, 10.5 and 13 mm.
        let settings = boxed(2, 1.0, 3, 2.5);
        let top = settings.grid(DVec3::new(2.0, 14.0, 10.5));
        let values = sampled(volume, &settings, &top);
        assert!(values[..4].iter().all(|&value| value > 1000.0), "{values:?}");
        assert_eq!(values[4..], [-7.0; 8]);
    }

    #[test]
    fn a_box_of_one_slice_is_the_plane() {
        use rand::SeedableRng;
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        let augment = Augment {
            shift_mm: 2.0,
            rotate_deg: 30.0,
            scale: 0.2,
            contrast: 0.5,
            brightness: 0.5,
            noise: 0.3,
        };
        let seen = |settings: &Settings, seed: u64| -> Vec<u32> {
            let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
            let change = augment.draw(settings, settings.is_box(), &mut rng);
            let grid = settings.grid(DVec3::new(2.3, 14.1, 4.7));
            let mut values = sampled(volume, settings, &change.apply_to_grid(&grid));
            change.apply_to_values(&mut values, &mut rng);
            values.into_iter().map(f32::to_bits).collect()
        };
        for seed in 0..20 {
            assert_eq!(seen(&plane(5, 1.3), seed), seen(&boxed(5, 1.3, 1, 7.0), seed));
        }
    }

    #[test]
    fn slices_are_found_by_their_place() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        let axial = volume.stack(Plane::Axial);
        assert_eq!((axial.len(), axial.step_mm()), (5, 2.0));
        assert_eq!(axial.centre_mm(2), DVec3::new(3.0, 15.0, 5.0));
        let at = |z| axial.at(DVec3::new(90.0, -90.0, z));
        assert_eq!([at(5.4), at(0.1), at(-0.1), at(10.1)], [Some(2), Some(0), None, None]);
        // Coronal slices follow one another towards posterior, sagittal ones to the right.
        let coronal = volume.stack(Plane::Coronal);
        assert_eq!((coronal.len(), coronal.centre_mm(0)), (6, DVec3::new(3.0, 20.0, 5.0)));
        assert_eq!(coronal.centre_mm(5), DVec3::new(3.0, 10.0, 5.0));
        assert_eq!(coronal.at(DVec3::new(0.0, 18.3, 0.0)), Some(1));
        let sagittal = volume.stack(Plane::Sagittal);
        assert_eq!((sagittal.len(), sagittal.centre_mm(7)), (8, DVec3::new(10.0, 15.0, 5.0)));
        assert!(volumes.get("other").is_err());
    }

    /// The same volume, its grid turned about its middle, as alignment does.
    fn turned(mut volumes: Volumes, angle: f64) -> Volumes {
        use glam::DAffine3;
        let volume = volumes.by_series.get_mut("ser").unwrap();
        let centre = DVec3::from_array(volume.row.centre_mm);
        let about = DAffine3::from_translation(centre)
            * DAffine3::from_rotation_x(angle)
            * DAffine3::from_translation(-centre);
        volume.grid.ras_from_voxel = about * volume.grid.ras_from_voxel;
        volumes
    }

    #[test]
    fn the_slices_of_an_oblique_grid_lie_across_the_world() {
        let folder = tempfile::tempdir().unwrap();
        let straight = ramp(folder.path());
        let before = straight.get("ser").unwrap().body_shares(&plane(10, 2.0));
        let volumes = turned(ramp(folder.path()), 0.1);
        let volume = volumes.get("ser").unwrap();
        let stack = volume.stack(Plane::Axial);
        assert_eq!(stack.len(), 5);
        for n in 0..5 {
            let centre = stack.centre_mm(n);
            assert_eq!((centre.x, centre.y), (3.0, 15.0));
            assert_eq!(stack.at(centre), Some(n));
            assert_eq!(stack.at(centre + DVec3::new(50.0, 9.0, 0.4)), Some(n));
            // Each lies on a plane of the grid: 2 mm across it, further along z.
            let voxel = volume.grid.ras_from_voxel.inverse().transform_point3(centre);
            assert!((voxel.z - n as f64).abs() < 1e-9, "{voxel}");
        }
        assert!((stack.step_mm() - 2.0 / 0.1_f64.cos()).abs() < 1e-9);
        // Nearly all of the body is counted, as in the straight volume.
        let shares = volume.body_shares(&plane(10, 2.0));
        let sums = [before, shares].map(|shares| shares.iter().sum::<f64>());
        assert!((sums[1] / sums[0] - 1.0).abs() < 0.1, "{sums:?}");
        // A quarter turn makes another axis of the grid the normal's.
        let quarter = turned(ramp(folder.path()), std::f64::consts::FRAC_PI_2);
        let stack = quarter.get("ser").unwrap().stack(Plane::Axial);
        assert_eq!(stack.len(), 6);
        assert!((stack.step_mm() - 2.0).abs() < 1e-9);
    }

    #[test]
    fn every_plane_shows_its_places_and_no_mirror_image() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        for plane in [Plane::Axial, Plane::Coronal, Plane::Sagittal] {
            let settings = Settings { plane, ..boxed(3, 1.5, 3, 1.25) };
            let grid = settings.grid(DVec3::new(2.0, 14.0, 4.0));
            assert!(grid.ras_from_voxel.matrix3.determinant() > 0.0, "{plane}");
            let values = sampled(volume, &settings, &grid);
            for (n, value) in values.iter().enumerate() {
                let voxel = DVec3::new((n % 3) as f64, (n / 3 % 3) as f64, (n / 9) as f64);
                let p = grid.world_mm(voxel);
                let expected = 0.5 * (p.x + 100.0 * p.y + 1000.0 * p.z);
                assert!((f64::from(*value) - expected).abs() < 0.01, "{plane} {voxel}");
            }
        }
    }

    #[test]
    fn what_is_no_number_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let row = ramp(folder.path()).get("ser").unwrap().row.clone();
        let mut affine = row.affine;
        affine[3] = f64::NAN;
        for (wrong, what) in [
            (VolumeRow { affine, ..row.clone() }, "place"),
            (VolumeRow { background: f32::NAN, ..row.clone() }, "background"),
            (VolumeRow { foreground_above: f32::INFINITY, ..row }, "background"),
        ] {
            let error = Volumes::open(folder.path(), vec![wrong]).err().unwrap().to_string();
            assert!(error.contains(what) && error.contains("ser"), "{error}");
        }
    }

    #[test]
    fn the_share_of_a_box_is_the_mean_of_its_slices() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        // From z = 1 mm on the body fills more of each slice than of the last.
        let planes = volume.body_shares(&plane(10, 2.0));
        assert!(planes.windows(2).all(|pair| pair[0] <= pair[1]), "{planes:?}");
        assert!(planes[0] < planes[4]);
        assert_eq!(volume.body_shares(&boxed(10, 2.0, 1, 7.0)), planes);
        // Beyond the volume there is no body.
        let around = |k: usize| {
            let slices = &planes[k.saturating_sub(1)..planes.len().min(k + 2)];
            slices.iter().sum::<f64>() / 3.0
        };
        let boxes = volume.body_shares(&boxed(10, 2.0, 3, 2.0));
        assert_eq!(boxes, (0..5).map(around).collect::<Vec<_>>());
    }
}
