//! The voxels of a series.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use glam::DVec3;
use ndarray::{Array3, parallel::prelude::*};

use super::{
    SeriesError, SliceSource,
    fill::{self, Row},
    gaps::place_tolerance_mm,
};
use crate::{
    geometry::{Grid, ras_from_lps},
    io::{
        archive,
        bomb::is_bomb,
        dicom::{DicomError, FrameReader, Kind, MrTiming, PixelLayout, Plane},
    },
    volume::zeros,
};

/// A series' voxels, and what its files say of them.
#[derive(Debug)]
#[non_exhaustive]
pub struct Reading {
    /// `[k, j, i]` on the grid, `NaN` where nothing was measured.
    pub voxels: Array3<f32>,
    /// Slope and intercept from stored numbers to voxels; none where they change
    /// from slice to slice, or where it is no line.
    pub rescale: Option<[f64; 2]>,
    /// How the pixels of the first slice are stored.
    pub pixels: Option<PixelLayout>,
    /// Unit of the voxels, where it is known, in DICOM's words.
    pub unit: Option<&'static str>,
    /// Times and angle of an MR sequence, of the first slice.
    pub timing: MrTiming,
}

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
    read_whole(slices, grid).map(|reading| reading.voxels)
}

/// As [`read_series`], with what the files say of the voxels: no file is opened twice
/// for it.
///
/// # Errors
/// As [`read_series`].
pub fn read_whole(slices: &[SliceSource], grid: &Grid) -> Result<Reading, SeriesError> {
    let [ni, nj, nk] = grid.shape;
    let rows = fill::rows(slices, nk)?;
    let count = grid.voxel_count().ok_or(SeriesError::TooLarge { shape: grid.shape })?;
    check_promise(slices, count)?;
    let mut voxels = zeros(count)?;
    let own = |slice: usize| slices[slice].k.fract() == 0.0;
    let between = (0..slices.len()).filter(|&slice| !own(slice)).count();
    // Slices that lie between those of the grid have no place there.
    let mut apart = zeros(between * ni * nj)?;
    let mut by_file: BTreeMap<&Path, Vec<Target<'_>>> = BTreeMap::new();
    let mut planes = voxels.chunks_exact_mut((ni * nj).max(1)).zip(&rows);
    let mut planes_apart = apart.chunks_exact_mut((ni * nj).max(1));
    for (slice, source) in slices.iter().enumerate() {
        let values = match own(slice) {
            true => planes.find(|(_, row)| **row == Row::Own(slice)).map(|(plane, _)| plane),
            false => planes_apart.next(),
        };
        let (files, slices) = (slices.len(), nk);
        let values = values.ok_or(SeriesError::FileCount { files, slices })?;
        by_file.entry(&source.file).or_default().push(Target { slice, source, values });
    }
    let mut heads: Vec<(usize, Result<Head, SeriesError>)> = by_file
        .into_par_iter()
        .flat_map_iter(|(file, targets)| read_file(file, targets, grid))
        .collect();
    heads.sort_by_key(|(slice, _)| *slice);
    let heads: Vec<Head> = heads.into_iter().map(|(_, head)| head).collect::<Result<_, _>>()?;
    fill(&mut voxels, &apart, &rows, slices, ni * nj);
    let voxels = Array3::from_shape_vec((nk, nj, ni), voxels)
        .map_err(|_| SeriesError::TooLarge { shape: grid.shape })?;
    let Some(&first) = heads.first() else { return Err(SeriesError::OneSlice) };
    let same = heads.iter().all(|head| head.rescale == first.rescale);
    let Head { rescale, pixels, unit, timing } = first;
    Ok(Reading { voxels, rescale: rescale.filter(|_| same), pixels, unit, timing })
}

/// What the header of a slice says of its voxels.
#[derive(Clone, Copy)]
struct Head {
    rescale: Option<[f64; 2]>,
    pixels: Option<PixelLayout>,
    unit: Option<&'static str>,
    timing: MrTiming,
}

/// Interpolates the slices of the grid that lie between slices of the series. Those
/// that lie between slices of the grid stand `apart`, in their order.
fn fill(voxels: &mut [f32], apart: &[f32], rows: &[Row], slices: &[SliceSource], size: usize) {
    let mut number = 0;
    let places: Vec<Result<usize, usize>> = slices
        .iter()
        .map(|slice| {
            if slice.k.fract() == 0.0 {
                return Ok(slice.k as usize * size);
            }
            number += 1;
            Err((number - 1) * size)
        })
        .collect();
    for (k, row) in rows.iter().enumerate() {
        let &Row::Between(below, above, weight) = row else { continue };
        let plane = |slice: usize| match places[slice] {
            Ok(start) => &voxels[start..start + size],
            Err(start) => &apart[start..start + size],
        };
        let between = fill::between(plane(below), plane(above), weight);
        voxels[k * size..(k + 1) * size].copy_from_slice(&between);
    }
}

/// Checks that the files have the bytes of a volume of so many voxels: each of them
/// may be small enough to promise what a thousand of them must not.
fn check_promise(slices: &[SliceSource], voxels: usize) -> Result<(), SeriesError> {
    let length = |file: &PathBuf| archive::len(file).unwrap_or(0);
    let coded = SliceSource::files(slices).iter().map(length).sum();
    // A voxel of most images has two bytes.
    let promised = voxels as u64 * 2;
    if is_bomb(promised, coded) { Err(SeriesError::Bomb { promised, coded }) } else { Ok(()) }
}

/// A slice to be read, and where its values go.
struct Target<'a> {
    slice: usize,
    source: &'a SliceSource,
    values: &'a mut [f32],
}

/// Reads slices of one file.
fn read_file(
    file: &Path,
    targets: Vec<Target<'_>>,
    grid: &Grid,
) -> Vec<(usize, Result<Head, SeriesError>)> {
    let reader = match FrameReader::open(file) {
        Ok(reader) => reader,
        Err(source) => {
            let slice = targets.first().map_or(0, |target| target.slice);
            return vec![(slice, Err(SeriesError::Slice { slice, source }))];
        }
    };
    let read = |target: Target<'_>| (target.slice, read_slice(&reader, target, grid));
    if targets.len() == 1 {
        return targets.into_iter().map(read).collect();
    }
    targets.into_par_iter().map(read).collect()
}

fn read_slice(reader: &FrameReader, target: Target<'_>, grid: &Grid) -> Result<Head, SeriesError> {
    let Target { slice, source, values } = target;
    let failed = |source| SeriesError::Slice { slice, source };
    let instance = reader.instance();
    if instance.kind != Kind::Image {
        return Err(failed(DicomError::Unsupported { what: "an object that is no image" }));
    }
    let frame = instance.frames.get(source.frame as usize);
    let attribute = "Image Position (Patient)";
    let place = frame.and_then(|frame| Some((frame, frame.plane?)));
    let (frame, plane) = place.ok_or(failed(DicomError::Missing { attribute }))?;
    check_place(&plane, grid, source.k).map_err(|off_mm| SeriesError::Moved { slice, off_mm })?;
    reader.read(source.frame, values).map_err(failed)?;
    let is_scaled = source.scale != 1.0;
    if is_scaled {
        values.iter_mut().for_each(|v| *v = (f64::from(*v) * source.scale) as f32);
    }
    let rescale = reader.rescale(source.frame);
    Ok(Head {
        rescale: rescale.map(|line| line.map(|number| number * source.scale)),
        pixels: instance.pixels,
        // Activity times this factor is standardised uptake by weight.
        unit: if is_scaled { Some("GML") } else { instance.unit },
        timing: frame.timing,
    })
}

/// Compares three corners of a plane with those of the grid; the error is the
/// largest distance in mm, infinite for another size.
fn check_place(plane: &Plane, grid: &Grid, k: f64) -> Result<(), f64> {
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
        ras.distance(grid.world_mm(DVec3::new(i, j, k)))
    });
    let worst = off_mm.into_iter().fold(0.0, f64::max);
    let gap_mm = grid.spacing_mm()[2];
    // Spacing and cosines of the slices may differ by 1e-4 each.
    let extent_mm = i.max(j) * between_columns.max(between_rows);
    let tolerance = place_tolerance_mm(gap_mm) + 3e-4 * extent_mm;
    if worst <= tolerance { Ok(()) } else { Err(worst) }
}
