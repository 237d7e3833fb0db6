//! What the encoder sees: a sampling grid in world mm laid over a volume.

pub mod augment;
mod settings;

use std::{collections::HashMap, path::Path};

use glam::DVec3;

use crate::{
    geometry::{Grid, affine_from_flat},
    io::image::{ImageError, Mapped},
    prepare::VolumeRow,
    register::AlignmentRow,
    resample::linear,
};

pub use augment::{Augment, Augmentation};
pub use settings::{Settings, Slices};

/// Prepared volumes, mapped into memory.
pub struct Volumes {
    by_series: HashMap<String, Prepared>,
}

/// One prepared volume.
pub struct Prepared {
    /// Its row in `volumes.parquet`.
    pub row: VolumeRow,
    /// The coordinate system of its mm: the same place only within one subject and world.
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
    /// Volumes were prepared after the alignment.
    #[error("{missing} prepared volumes have no alignment; run `mivox register` again")]
    Unaligned {
        /// Volumes without alignment.
        missing: usize,
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
                let world = row.frame_of_reference.as_ref().unwrap_or(&row.session).clone();
                Ok((row.series.clone(), Prepared { grid: row.grid(), row, world, mapped }))
            })
            .collect::<Result<_, ViewError>>()?;
        Ok(Self { by_series })
    }

    /// [`Volumes::open`], each volume where it was aligned to: its grid and the middle of
    /// its body moved into the world of its subject's reference. A refused one stays
    /// where it is, in a world of its own.
    ///
    /// # Errors
    /// As [`Volumes::open`]; [`ViewError::Unaligned`] for a volume without alignment.
    pub fn open_aligned(
        results: &Path,
        rows: Vec<VolumeRow>,
        alignments: &[AlignmentRow],
    ) -> Result<Self, ViewError> {
        let mut volumes = Self::open(results, rows)?;
        let mut found = 0;
        for alignment in alignments {
            let Some(volume) = volumes.by_series.get_mut(&alignment.series) else { continue };
            found += 1;
            volume.world.clone_from(&alignment.world);
            let affine = affine_from_flat(&alignment.affine);
            volume.grid.ras_from_voxel = affine * volume.grid.ras_from_voxel;
            let centre = DVec3::from_array(volume.row.centre_mm);
            volume.row.centre_mm = affine.transform_point3(centre).to_array();
        }
        match volumes.by_series.len() - found {
            0 => Ok(volumes),
            missing => Err(ViewError::Unaligned { missing }),
        }
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

impl Prepared {
    /// Fills `values`, `[slice, row, column]` in C order, with the normalised
    /// intensities on a view's grid; outside the volume they are background.
    pub fn sample(&self, view: &Grid, values: &mut [f32]) {
        let voxels = self.mapped.voxels();
        let slope = self.mapped.slope();
        let outside = self.row.background / slope;
        let voxel_from_view = self.grid.ras_from_voxel.inverse() * view.ras_from_voxel;
        let [columns, rows, _] = view.shape;
        for (n, line) in values.chunks_exact_mut(columns).enumerate() {
            let (slice, row) = ((n / rows) as f64, (n % rows) as f64);
            for (column, value) in line.iter_mut().enumerate() {
                let at = voxel_from_view.transform_point3(DVec3::new(column as f64, row, slice));
                *value = linear(&voxels, at, outside) * slope;
            }
        }
    }

    /// RAS+ mm of the centre of the view of slice k: the middle of the body, in
    /// the slice's plane.
    pub fn slice_centre_mm(&self, k: usize) -> DVec3 {
        let centre = DVec3::from_array(self.row.centre_mm);
        let z = self.grid.world_mm(DVec3::new(0.0, 0.0, k as f64)).z;
        DVec3::new(centre.x, centre.y, z)
    }

    /// The slice nearest to a z in mm, where there is one within half a spacing.
    pub fn slice_at_mm(&self, z_mm: f64) -> Option<usize> {
        let grid = &self.grid;
        let k = (z_mm - grid.ras_from_voxel.translation.z) / grid.spacing_mm()[2];
        let inside = k > -0.5 && k < grid.shape[2] as f64 - 0.5;
        inside.then(|| k.round().max(0.0) as usize)
    }

    /// Of the view of every slice, the share that the body fills; a box counts
    /// each of its slices as the nearest one of the volume.
    pub fn body_shares(&self, settings: &Settings) -> Vec<f64> {
        let grid = &self.grid;
        let [sx, sy, _] = grid.spacing_mm();
        let threshold = (self.row.foreground_above / self.mapped.slope()).round() as i16;
        let of_plane: Vec<f64> = (0..grid.shape[2])
            .map(|k| {
                let slice = self.mapped.slice(k).unwrap_or_default();
                let body = slice.iter().filter(|&&v| v > threshold).count();
                (body as f64 * sx * sy / settings.area_mm2()).min(1.0)
            })
            .collect();
        let Some(Slices { depth, .. }) = settings.slices else { return of_plane };
        (0..grid.shape[2])
            .map(|k| {
                let view = settings.grid(self.slice_centre_mm(k));
                let sum: f64 = (0..depth)
                    .map(|slice| view.world_mm(DVec3::new(0.0, 0.0, slice as f64)).z)
                    .filter_map(|z_mm| of_plane.get(self.slice_at_mm(z_mm)?))
                    .sum();
                sum / depth as f64
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
        Settings { size, pixel_mm, slices: None }
    }

    fn boxed(size: usize, pixel_mm: f64, depth: usize, slice_mm: f64) -> Settings {
        Settings { slices: Some(Slices { depth, slice_mm }), ..plane(size, pixel_mm) }
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
            let change = augment.draw(settings, &mut rng);
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
        assert_eq!(volume.slice_centre_mm(2), DVec3::new(3.0, 15.0, 5.0));
        assert_eq!(volume.slice_at_mm(5.4), Some(2));
        assert_eq!(volume.slice_at_mm(0.1), Some(0));
        assert_eq!(volume.slice_at_mm(-0.1), None);
        assert_eq!(volume.slice_at_mm(10.1), None);
        assert!(volumes.get("other").is_err());
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
