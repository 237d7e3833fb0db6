//! The voxels of a series.

use std::path::PathBuf;

use glam::DVec3;
use ndarray::{Array3, Axis, parallel::prelude::*};

use super::{SeriesError, stack::place_tolerance_mm};
use crate::{
    geometry::{Grid, ras_from_lps},
    io::dicom::{DicomError, Plane, open_slice},
};

/// The voxels `[k, j, i]` of a series after rescale, in the unit of the series;
/// `NaN` marks padding.
///
/// Every slice has its own slope and intercept, as in PET. *MONOCHROME1* is not
/// inverted: that is for eyes. Every file is compared with the grid again, so
/// that a file that changed since is an error and not a wrong voxel. Slices are
/// read in parallel.
///
/// # Errors
/// [`SeriesError::Moved`] where a slice is not where the grid has it,
/// [`SeriesError::Slice`] where one cannot be read; the first one by number.
///
/// # Source
/// DICOM PS3.3 C.11.1.1.2 (rescale), C.8.9.4 (PET).
pub fn read_series(files: &[PathBuf], grid: &Grid) -> Result<Array3<f32>, SeriesError> {
    let [ni, nj, nk] = grid.shape;
    if files.len() != nk {
        return Err(SeriesError::FileCount { files: files.len(), slices: nk });
    }
    let count = grid.voxel_count().ok_or(SeriesError::TooLarge { shape: grid.shape })?;
    let mut voxels: Vec<f32> = Vec::new();
    voxels.try_reserve_exact(count).map_err(|_| SeriesError::Memory { voxels: count })?;
    voxels.resize(count, f32::NAN);
    let mut volume = Array3::from_shape_vec((nk, nj, ni), voxels)
        .map_err(|_| SeriesError::TooLarge { shape: grid.shape })?;
    let failures: Vec<SeriesError> = volume
        .axis_iter_mut(Axis(0))
        .into_par_iter()
        .enumerate()
        .zip(files)
        .filter_map(|((slice, mut target), file)| {
            let checked = |plane: &Plane| check_place(plane, grid, slice);
            let read = open_slice(file, |_, plane| checked(plane).map_err(Failure::Moved));
            match read {
                Ok(found) => {
                    target.assign(&found.values);
                    None
                }
                Err(Failure::Moved(off_mm)) => Some(SeriesError::Moved { slice, off_mm }),
                Err(Failure::Dicom(source)) => Some(SeriesError::Slice { slice, source }),
            }
        })
        .collect();
    match failures.into_iter().next() {
        Some(first) => Err(first),
        None => Ok(volume),
    }
}

enum Failure {
    Dicom(DicomError),
    Moved(f64),
}

impl From<DicomError> for Failure {
    fn from(error: DicomError) -> Self {
        Self::Dicom(error)
    }
}

/// Compares three corners of a plane with those of the grid; the error is the
/// largest distance in mm, infinite for another size.
fn check_place(plane: &Plane, grid: &Grid, slice: usize) -> Result<(), f64> {
    let [ni, nj, _] = grid.shape;
    if [plane.columns, plane.rows] != [ni, nj] {
        return Err(f64::INFINITY);
    }
    let [between_rows, between_columns] = plane.spacing_mm;
    let (i, j) = ((ni - 1) as f64, (nj - 1) as f64);
    let off_mm = [(0.0, 0.0), (i, 0.0), (0.0, j)].map(|(i, j)| {
        let lps = plane.position_mm
            + plane.along_row * between_columns * i
            + plane.along_column * between_rows * j;
        let ras = ras_from_lps().transform_point3(lps);
        ras.distance(grid.world_mm(DVec3::new(i, j, slice as f64)))
    });
    let worst = off_mm.into_iter().fold(0.0, f64::max);
    let gap_mm = grid.spacing_mm()[2];
    // Spacing and cosines of the slices may differ by 1e-4 each.
    let extent_mm = i.max(j) * between_columns.max(between_rows);
    let tolerance = place_tolerance_mm(gap_mm) + 3e-4 * extent_mm;
    if worst <= tolerance { Ok(()) } else { Err(worst) }
}
