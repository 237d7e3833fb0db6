//! What the encoder sees: a sampling grid in world mm laid over a volume.

pub mod augment;

use std::{collections::HashMap, path::Path};

use glam::{DAffine3, DVec3};
use serde::Serialize;

use crate::{
    geometry::Grid,
    io::nifti::{Mapped, NiftiError},
    prepare::VolumeRow,
    resample::linear,
};

pub use augment::{Augment, Augmentation};

/// Size of the views, as a pipeline sets it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// Pixels along each side.
    pub size: usize,
    /// mm between pixel centres.
    pub pixel_mm: f64,
}

impl Settings {
    /// The views in one line, part of an encoder's recipe.
    pub fn recipe(&self) -> String {
        format!("view-1; axial; {0} x {0} pixels of {1} mm", self.size, self.pixel_mm)
    }

    /// Area in mm² of a view.
    pub fn area_mm2(&self) -> f64 {
        (self.size as f64 * self.pixel_mm).powi(2)
    }
}

/// An axial plane: a square of pixels around a centre, rows towards anterior,
/// columns towards the patient's right.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// RAS+ mm from (column, row, 0), zero at the first pixel's centre.
    pub ras_from_pixel: DAffine3,
    /// Pixels along each side.
    pub size: usize,
}

impl Plane {
    /// The plane around a centre in RAS+ mm.
    pub fn axial(centre_mm: DVec3, settings: &Settings) -> Self {
        let half = (settings.size as f64 - 1.0) / 2.0 * settings.pixel_mm;
        let scale = DVec3::new(settings.pixel_mm, settings.pixel_mm, 1.0);
        let corner = centre_mm - DVec3::new(half, half, 0.0);
        Self {
            ras_from_pixel: DAffine3::from_translation(corner) * DAffine3::from_scale(scale),
            size: settings.size,
        }
    }
}

/// Prepared volumes, mapped into memory.
pub struct Volumes {
    by_series: HashMap<String, Prepared>,
}

/// One prepared volume.
pub struct Prepared {
    /// Its row in `volumes.parquet`.
    pub row: VolumeRow,
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
        source: NiftiError,
    },
    /// A prepared volume has another size than its row says.
    #[error("the prepared volume {series} was changed; prepare again")]
    Changed {
        /// Pseudonym of the series.
        series: String,
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
                Ok((row.series.clone(), Prepared { grid: row.grid(), row, mapped }))
            })
            .collect::<Result<_, ViewError>>()?;
        Ok(Self { by_series })
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
    /// Fills `pixels`, `[row, column]` in C order, with the normalised
    /// intensities on a plane; outside the volume they are background.
    pub fn sample(&self, plane: &Plane, pixels: &mut [f32]) {
        let voxels = self.mapped.voxels();
        let slope = self.mapped.slope();
        let outside = self.row.background / slope;
        let voxel_from_pixel = self.grid.ras_from_voxel.inverse() * plane.ras_from_pixel;
        for (n, pixel) in pixels.iter_mut().enumerate() {
            let (row, column) = (n / plane.size, n % plane.size);
            let at = voxel_from_pixel.transform_point3(DVec3::new(column as f64, row as f64, 0.0));
            *pixel = linear(&voxels, at, outside) * slope;
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

    /// Of every slice, the share of a view's area that the body fills.
    pub fn body_shares(&self, settings: &Settings) -> Vec<f64> {
        let grid = &self.grid;
        let [sx, sy, _] = grid.spacing_mm();
        let threshold = (self.row.foreground_above / self.mapped.slope()).round() as i16;
        (0..grid.shape[2])
            .map(|k| {
                let slice = self.mapped.slice(k).unwrap_or_default();
                let body = slice.iter().filter(|&&v| v > threshold).count();
                (body as f64 * sx * sy / settings.area_mm2()).min(1.0)
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

    #[test]
    fn a_view_shows_its_place_in_mm_whatever_its_pixels() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let volume = volumes.get("ser").unwrap();
        let settings = Settings { size: 3, pixel_mm: 1.5 };
        let plane = Plane::axial(DVec3::new(2.0, 14.0, 4.0), &settings);
        let mut pixels = vec![0.0; 9];
        volume.sample(&plane, &mut pixels);
        for (n, pixel) in pixels.iter().enumerate() {
            let x = 2.0 + 1.5 * (n % 3) as f64 - 1.5;
            let y = 14.0 + 1.5 * (n / 3) as f64 - 1.5;
            let expected = 0.5 * (x + 100.0 * y + 1000.0 * 4.0);
            assert!((f64::from(*pixel) - expected).abs() < 0.01, "{pixel} {expected}");
        }
    }

    #[test]
    fn outside_is_background() {
        let folder = tempfile::tempdir().unwrap();
        let volumes = ramp(folder.path());
        let far = Plane::axial(DVec3::splat(500.0), &Settings { size: 2, pixel_mm: 1.0 });
        let mut pixels = vec![0.0; 4];
        volumes.get("ser").unwrap().sample(&far, &mut pixels);
        assert_eq!(pixels, [-7.0; 4]);
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
        // From z = 1 mm on the body fills more of each slice than of the last.
        let shares = volume.body_shares(&Settings { size: 10, pixel_mm: 2.0 });
        assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]), "{shares:?}");
        assert!(volumes.get("other").is_err());
    }
}
