//! Any affine, voxel by voxel.

use std::ops::Range;

use glam::{DAffine3, DVec3};
use ndarray::{Array3, ArrayView3, Axis};
use rayon::prelude::*;

use super::{Interpolation, NOISE, ResampleError, linear, separable::filled, taps::cubic};

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
    let Some(voxels) = source.to_slice() else { return Ok(result) };
    let last = DVec3::from_array(sides.map(|n| n as f64 - 1.0));
    let edge = DVec3::splat(0.5 + NOISE);
    result.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(k, mut slice)| {
        for (j, mut row) in slice.outer_iter_mut().enumerate() {
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
                Interpolation::Nearest => each(row, inside, &|at| nearest(voxels, sides, at)),
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
    });
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

/// Linear interpolation of the row's voxels from `first` on, all of which lie
/// between the centres of the source.
fn linear_row(
    voxels: &[f32],
    [ni, nj, nk]: [usize; 3],
    line: &Line,
    first: usize,
    row: &mut [f32],
) {
    // `as` cuts off, which of what is not negative is the floor.
    let low = |at: f64, n: usize| (at as u32).min(n as u32 - 2);
    let mix = |a: f32, b: f32, fraction: f64| a + (b - a) * fraction as f32;
    for (n, voxel) in row.iter_mut().enumerate() {
        let at = line.at(first + n);
        let (i, j, k) = (low(at.x, ni), low(at.y, nj), low(at.z, nk));
        let near = &voxels[(k as usize * nj + j as usize) * ni + i as usize..];
        let along_x = |n: usize| mix(near[n], near[n + 1], at.x - f64::from(i));
        let along_y = |n: usize| mix(along_x(n), along_x(n + ni), at.y - f64::from(j));
        *voxel = mix(along_y(0), along_y(ni * nj), at.z - f64::from(k));
    }
}

fn nearest(voxels: &[f32], [ni, nj, nk]: [usize; 3], at: DVec3) -> f32 {
    let near = |at: f64, n: usize| ((at + 0.5) as usize).min(n - 1);
    voxels[(near(at.z, nk) * nj + near(at.y, nj)) * ni + near(at.x, ni)]
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
