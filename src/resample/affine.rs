//! Any affine, voxel by voxel.

use std::ops::Range;

use glam::{DAffine3, DVec3};
use ndarray::{Array3, ArrayView3, Axis, s};
use rayon::prelude::*;

use super::{Interpolation, NOISE, ResampleError, linear, separable::filled, taps::cubic};

/// Slices, and rows of them, that are computed together.
const BLOCK: usize = 8;

/// A source `[k, j, i]` of finite values (for [`Interpolation::Cubic`]: spline
/// coefficients) in standard layout, on a grid of another affine.
pub(super) fn apply(
    source: ArrayView3<f32>,
    from_onto: &DAffine3,
    onto: [usize; 3],
    interpolation: Interpolation,
    outside: f32,
) -> Result<Array3<f32>, ResampleError> {
    let mut result = filled(onto, outside)?;
    let (nk, nj, ni) = source.dim();
    let sides = [ni, nj, nk];
    // There is one: the layout is the standard one.
    let Some(voxels) = source.to_slice() else { return Ok(result) };
    let last = DVec3::from_array(sides.map(|n| n as f64 - 1.0));
    let edge = DVec3::splat(0.5 + NOISE);
    // Neighbouring rows read the same voxels of the source: block by block they
    // are still in a near cache.
    result.axis_chunks_iter_mut(Axis(0), BLOCK).into_par_iter().enumerate().for_each(
        |(n, mut slab)| {
            let (slices, rows, _) = slab.dim();
            let blocks = (0..rows).step_by(BLOCK).flat_map(|j| {
                (0..slices).flat_map(move |k| (j..(j + BLOCK).min(rows)).map(move |j| (k, j)))
            });
            for (k, j) in blocks {
                let mut row = slab.slice_mut(s![k, j, ..]);
                let k = n * BLOCK + k;
                let start = from_onto.transform_point3(DVec3::new(0.0, j as f64, k as f64));
                let line = Line { start, step: from_onto.matrix3.x_axis };
                let Some(row) = row.as_slice_mut() else { continue };
                let inside = line.between(-edge, last + edge, row.len());
                let each = |row: &mut [f32], inside: Range<usize>, value: &dyn Fn(DVec3) -> f32| {
                    for (voxel, i) in row[inside.clone()].iter_mut().zip(inside) {
                        *voxel = value(line.at(i));
                    }
                };
                match interpolation {
                    Interpolation::Nearest => {
                        nearest_row(voxels, sides, &line, inside.start, &mut row[inside.clone()]);
                    }
                    Interpolation::Cubic => each(row, inside, &|at| spline(voxels, sides, at)),
                    Interpolation::Linear => {
                        let inner = line.between(DVec3::ZERO, last, row.len());
                        let at_edge = |at: DVec3| linear(&source, at, outside);
                        if inner.is_empty() || sides.contains(&1) {
                            each(row, inside, &at_edge);
                        } else {
                            each(row, inside.start..inner.start, &at_edge);
                            linear_row(voxels, sides, &line, inner.start, &mut row[inner.clone()]);
                            each(row, inner.end..inside.end, &at_edge);
                        }
                    }
                }
            }
        },
    );
    Ok(result)
}

/// Places of a row's voxels in the source: `start + step × i` in its voxels.
struct Line {
    start: DVec3,
    step: DVec3,
}

impl Line {
    fn at(&self, i: usize) -> DVec3 {
        self.start + self.step * i as f64
    }

    /// The voxels of a row of `n` whose place is within two bounds along every axis.
    fn between(&self, low: DVec3, high: DVec3, n: usize) -> Range<usize> {
        let (mut first, mut last) = (0.0f64, n as f64 - 1.0);
        for axis in 0..3 {
            let (start, step) = (self.start[axis], self.step[axis]);
            let (a, b) = ((low[axis] - start) / step, (high[axis] - start) / step);
            // Along an axis on which the row does not move, all of it or nothing.
            if step == 0.0 && !(low[axis]..=high[axis]).contains(&start) {
                return 0..0;
            }
            if step != 0.0 {
                first = first.max(a.min(b));
                last = last.min(a.max(b));
            }
        }
        let within = |i: usize| {
            let at = self.at(i);
            at.cmpge(low).all() && at.cmple(high).all()
        };
        if first > last {
            return 0..0;
        }
        // Rounding may be one voxel off: the places themselves decide.
        let (mut first, mut end) = (first.ceil() as usize, last.floor() as usize + 1);
        while first < end && !within(first) {
            first += 1;
        }
        while first < end && !within(end - 1) {
            end -= 1;
        }
        first..end
    }
}

/// A place along a row in 2⁻³² of a source voxel: a step is an addition, what is
/// whole a shift, and 32768 steps are off by 2⁻¹⁸ of a voxel at most.
struct Fixed {
    at: [i64; 3],
    step: [i64; 3],
}

impl Fixed {
    const ONE: f64 = (1u64 << 32) as f64;

    fn new(line: &Line, first: usize, shift: f64) -> Self {
        let fixed = |place: DVec3| place.to_array().map(|v| (v * Self::ONE).round() as i64);
        Self { at: fixed(line.at(first) + shift), step: fixed(line.step) }
    }

    /// For each axis the whole voxels, at most `last`, and the place beyond them.
    fn next(&mut self, last: [i64; 3]) -> ([usize; 3], [f32; 3]) {
        let at = self.at.map(|at| at.max(0));
        let whole: [i64; 3] = std::array::from_fn(|axis| (at[axis] >> 32).min(last[axis]));
        let beyond = std::array::from_fn(|axis| {
            (at[axis] - (whole[axis] << 32)) as f32 * (1.0 / Self::ONE as f32)
        });
        // Only behind the last voxel of a row may this leave the source.
        self.at = std::array::from_fn(|axis| self.at[axis].wrapping_add(self.step[axis]));
        (whole.map(|n| n as usize), beyond)
    }
}

/// Linear interpolation of the row's voxels from `first` on, all of which lie
/// between the centres of the source.
fn linear_row(voxels: &[f32], sides: [usize; 3], line: &Line, first: usize, row: &mut [f32]) {
    let [ni, nj, _] = sides;
    let mut place = Fixed::new(line, first, 0.0);
    let mix = |a: f32, b: f32, fraction: f32| a + (b - a) * fraction;
    for voxel in row {
        let ([i, j, k], [x, y, z]) = place.next(sides.map(|n| n as i64 - 2));
        let low = (k * nj + j) * ni + i;
        let along_x = |at: usize| match voxels[at..at + 2] {
            [a, b] => mix(a, b, x),
            _ => 0.0,
        };
        let along_y = |at: usize| mix(along_x(at), along_x(at + ni), y);
        *voxel = mix(along_y(low), along_y(low + ni * nj), z);
    }
}

/// The nearest voxel of the row's voxels from `first` on, all of which lie in the source.
fn nearest_row(voxels: &[f32], sides: [usize; 3], line: &Line, first: usize, row: &mut [f32]) {
    let [ni, nj, _] = sides;
    let mut place = Fixed::new(line, first, 0.5);
    for voxel in row {
        let ([i, j, k], _) = place.next(sides.map(|n| n as i64 - 1));
        *voxel = voxels[(k * nj + j) * ni + i];
    }
}

fn spline(coefficients: &[f32], [ni, nj, nk]: [usize; 3], at: DVec3) -> f32 {
    let ((i, x), (j, y), (k, z)) = (cubic(at.x, ni), cubic(at.y, nj), cubic(at.z, nk));
    let mut sum = 0.0;
    for (&k, z) in k.iter().zip(z) {
        for (&j, y) in j.iter().zip(y) {
            let row = &coefficients[(k * nj + j) * ni..][..ni];
            let along_x: f64 = i.iter().zip(x).map(|(&i, x)| f64::from(row[i]) * x).sum();
            sum += along_x * y * z;
        }
    }
    sum as f32
}
