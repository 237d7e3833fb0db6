//! The voxels of a series.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use glam::DVec3;
use ndarray::{Array3, parallel::prelude::*};

use super::{SeriesError, SliceSource, stack::place_tolerance_mm};
use crate::{
    geometry::{Grid, ras_from_lps},
    io::{
        bomb::is_bomb,
        dicom::{DicomError, FrameReader, Kind, Plane},
    },
};

/// The voxels `[k, j, i]` of a series after rescale, in the unit of the series;
/// `NaN` marks padding.
///
/// Every slice has its own slope and intercept, as in PET. *MONOCHROME1* is not
/// inverted: that is for eyes. Every file is opened once, whatever slices come
/// from it, and every slice is compared with the grid again, so that a file that
/// changed since is an error and not a wrong voxel. Files, and the slices of one,
/// are read in parallel.
///
/// # Errors
/// [`SeriesError::Moved`] where a slice is not where the grid has it,
/// [`SeriesError::Slice`] where one cannot be read, the first one by number;
/// [`SeriesError::Bomb`] where the files are too short for their volume.
///
/// # Source
/// DICOM PS3.3 C.11.1.1.2 (rescale), C.8.9.4 (PET).
pub fn read_series(slices: &[SliceSource], grid: &Grid) -> Result<Array3<f32>, SeriesError> {
    let [ni, nj, nk] = grid.shape;
    if slices.len() != nk {
        return Err(SeriesError::FileCount { files: slices.len(), slices: nk });
    }
    let count = grid.voxel_count().ok_or(SeriesError::TooLarge { shape: grid.shape })?;
    check_promise(slices, count)?;
    let mut voxels = zeros(count)?;
    let mut by_file: BTreeMap<&Path, Vec<Target<'_>>> = BTreeMap::new();
    let planes = voxels.chunks_exact_mut((ni * nj).max(1));
    for (slice, (source, values)) in slices.iter().zip(planes).enumerate() {
        let target = Target { slice, source, values };
        by_file.entry(&source.file).or_default().push(target);
    }
    let failures: Vec<(usize, SeriesError)> = by_file
        .into_par_iter()
        .flat_map_iter(|(file, targets)| read_file(file, targets, grid))
        .collect();
    match failures.into_iter().min_by_key(|(slice, _)| *slice) {
        Some((_, first)) => Err(first),
        None => Array3::from_shape_vec((nk, nj, ni), voxels)
            .map_err(|_| SeriesError::TooLarge { shape: grid.shape }),
    }
}

/// Checks that the files have the bytes of a volume of so many voxels: each of them
/// may be small enough to promise what a thousand of them must not.
fn check_promise(slices: &[SliceSource], voxels: usize) -> Result<(), SeriesError> {
    let length = |file: &PathBuf| file.metadata().map_or(0, |data| data.len());
    let coded = SliceSource::files(slices).iter().map(length).sum();
    // A voxel of most images has two bytes.
    let promised = voxels as u64 * 2;
    if is_bomb(promised, coded) { Err(SeriesError::Bomb { promised, coded }) } else { Ok(()) }
}

/// Memory that is taken from the system when it is written to.
fn zeros(count: usize) -> Result<Vec<f32>, SeriesError> {
    // Whether there is room is asked first: without it `vec!` ends the process.
    Vec::<f32>::new()
        .try_reserve_exact(count)
        .map_err(|_| SeriesError::Memory { voxels: count })?;
    Ok(vec![0.0; count])
}

/// A slice to be read, and where its values go.
struct Target<'a> {
    slice: usize,
    source: &'a SliceSource,
    values: &'a mut [f32],
}

/// Reads slices of one file; gives back those that cannot be read, and why.
fn read_file(file: &Path, targets: Vec<Target<'_>>, grid: &Grid) -> Vec<(usize, SeriesError)> {
    let reader = match FrameReader::open(file) {
        Ok(reader) => reader,
        Err(source) => {
            let slice = targets.first().map_or(0, |target| target.slice);
            return vec![(slice, SeriesError::Slice { slice, source })];
        }
    };
    let read = |target: Target<'_>| {
        let slice = target.slice;
        read_slice(&reader, target, grid).err().map(|error| (slice, error))
    };
    if targets.len() == 1 {
        return targets.into_iter().filter_map(read).collect();
    }
    targets.into_par_iter().filter_map(read).collect()
}

fn read_slice(reader: &FrameReader, target: Target<'_>, grid: &Grid) -> Result<(), SeriesError> {
    let Target { slice, source, values } = target;
    let failed = |source| SeriesError::Slice { slice, source };
    let instance = reader.instance();
    if instance.kind != Kind::Image {
        return Err(failed(DicomError::Unsupported { what: "an object that is no image" }));
    }
    let plane = instance.frames.get(source.frame as usize).and_then(|frame| frame.plane);
    let attribute = "Image Position (Patient)";
    let plane = plane.ok_or(failed(DicomError::Missing { attribute }))?;
    check_place(&plane, grid, slice).map_err(|off_mm| SeriesError::Moved { slice, off_mm })?;
    reader.read(source.frame, values).map_err(failed)?;
    if source.scale != 1.0 {
        values.iter_mut().for_each(|v| *v = (f64::from(*v) * source.scale) as f32);
    }
    Ok(())
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
