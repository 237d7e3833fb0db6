//! Three tables of weights, one after another.

use ndarray::{Array3, ArrayView3, ArrayViewMut1, Axis, CowArray, Ix3, s};
use rayon::prelude::*;

use super::{ResampleError, taps::Taps};
use crate::{geometry::Grid, volume::zeros};

/// Side of the cubes in which axes are put in another order: what a cube reads
/// and writes stays in the nearest cache.
const TILE: usize = 16;

/// The volume of one value.
pub(super) fn filled(shape: [usize; 3], value: f32) -> Result<Array3<f32>, ResampleError> {
    let mut volume = zeroed(shape)?;
    volume.fill(value);
    Ok(volume)
}

/// A volume of zeros along (i, j, k).
fn zeroed([ni, nj, nk]: [usize; 3]) -> Result<Array3<f32>, ResampleError> {
    let refused = || ResampleError::Room { shape: [ni, nj, nk] };
    let grid = [ni, nj, nk].iter().try_fold(1usize, |count, &side| count.checked_mul(side));
    let count = grid.filter(|&count| count <= Grid::MAX_VOXELS).ok_or_else(refused)?;
    let zeros = zeros(count).map_err(|_| refused())?;
    Array3::from_shape_vec((nk, nj, ni), zeros).map_err(|_| refused())
}

/// The same voxels laid in the order of their axes.
pub(super) fn in_order(
    source: ArrayView3<'_, f32>,
) -> Result<CowArray<'_, f32, Ix3>, ResampleError> {
    if source.is_standard_layout() {
        return Ok(CowArray::from(source));
    }
    let (nk, nj, ni) = source.dim();
    let mut ordered = zeroed([ni, nj, nk])?;
    ordered.axis_chunks_iter_mut(Axis(0), TILE).into_par_iter().enumerate().for_each(
        |(n, mut slab)| {
            let depth = slab.len_of(Axis(0));
            let from = source.slice(s![n * TILE..n * TILE + depth, .., ..]);
            for j in (0..nj).step_by(TILE) {
                for i in (0..ni).step_by(TILE) {
                    let cube = s![.., j..(j + TILE).min(nj), i..(i + TILE).min(ni)];
                    slab.slice_mut(cube).assign(&from.slice(cube));
                }
            }
        },
    );
    Ok(CowArray::from(ordered))
}

/// The sums of a source `[k, j, i]` along i, j and k; `outside` elsewhere, and in
/// the place of what is not finite in the source.
///
/// For each slice of the result, slices of the source are summed, then rows of
/// what that gives, then its columns. So no slice depends on another one, and the
/// slowest step, along the rows, has the least to do.
pub(super) fn apply(
    source: ArrayView3<f32>,
    [x, y, z]: &[Taps; 3],
    [ni, nj, nk]: [usize; 3],
    outside: f32,
) -> Result<Array3<f32>, ResampleError> {
    let mut result = zeroed([ni, nj, nk])?;
    if [(x, ni), (y, nj), (z, nk)].iter().any(|(taps, n)| taps.inside != (0..*n)) {
        result.fill(outside);
    }
    let source = in_order(source)?;
    let (_, height, width) = source.dim();
    // There are voxels, as they are in order; no rows where nothing lies inside.
    let (Some(voxels), Some(rows)) = (source.as_slice(), y.samples()) else { return Ok(result) };
    let row_of = |slice: usize, row: usize| &voxels[(slice * height + row) * width..][..width];
    let mut inside = result.slice_mut(s![z.inside.clone(), y.inside.clone(), x.inside.clone()]);
    let buffers = || (vec![0.0f32; rows.len() * width], vec![0.0f32; width]);
    inside.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each_init(
        buffers,
        |(plane, line), (k, mut slice)| {
            let (first, weights) = z.sum(k);
            for (row, target) in rows.clone().zip(plane.chunks_exact_mut(width)) {
                blend(target, weights, |n| row_of(first + n, row));
                if target.iter().fold(false, |any, value| any | !value.is_finite()) {
                    let values = (0..weights.len()).flat_map(|n| row_of(first + n, row));
                    let measured: Vec<f32> =
                        values.map(|&v| if v.is_finite() { v } else { outside }).collect();
                    blend(target, weights, |n| &measured[n * width..][..width]);
                }
            }
            for (j, target) in slice.outer_iter_mut().enumerate() {
                let (first, weights) = y.sum(j);
                blend(line, weights, |n| &plane[(first - rows.start + n) * width..][..width]);
                gather(target, x, line);
            }
        },
    );
    Ok(result)
}

/// The weighted sum of lines, two at a time.
fn blend<'a>(target: &mut [f32], weights: &[f32], line: impl Fn(usize) -> &'a [f32]) {
    for (n, pair) in weights.chunks(2).enumerate() {
        match (n, pair) {
            (0, &[a, b]) => {
                for ((t, &u), &v) in target.iter_mut().zip(line(0)).zip(line(1)) {
                    *t = a * u + b * v;
                }
            }
            (0, &[a]) => target.iter_mut().zip(line(0)).for_each(|(t, &u)| *t = a * u),
            (_, &[a, b]) => {
                for ((t, &u), &v) in target.iter_mut().zip(line(2 * n)).zip(line(2 * n + 1)) {
                    *t += a * u + b * v;
                }
            }
            (_, &[a]) => target.iter_mut().zip(line(2 * n)).for_each(|(t, &u)| *t += a * u),
            _ => {}
        }
    }
}

/// The sums along one line.
fn gather(mut target: ArrayViewMut1<f32>, taps: &Taps, line: &[f32]) {
    let Some(target) = target.as_slice_mut() else { return };
    match taps.count {
        1 => gather_of::<1>(target, taps, line),
        2 => gather_of::<2>(target, taps, line),
        3 => gather_of::<3>(target, taps, line),
        4 => gather_of::<4>(target, taps, line),
        count => {
            let sums = taps.first.iter().zip(taps.weights.chunks_exact(count));
            for (value, (&first, weights)) in target.iter_mut().zip(sums) {
                let samples = &line[first..first + count];
                *value = samples.iter().zip(weights).map(|(sample, weight)| sample * weight).sum();
            }
        }
    }
}

/// [`gather`] for a number of terms that the compiler knows.
fn gather_of<const COUNT: usize>(target: &mut [f32], taps: &Taps, line: &[f32]) {
    let (weights, _) = taps.weights.as_chunks::<COUNT>();
    for ((value, &first), weights) in target.iter_mut().zip(&taps.first).zip(weights) {
        let samples = &line[first..first + COUNT];
        *value = (0..COUNT).map(|n| samples[n] * weights[n]).sum();
    }
}
