//! A volume onto another grid.

use glam::DVec3;
use ndarray::{Array3, ArrayView3, Axis};
use rayon::prelude::*;

use crate::geometry::Grid;

/// Most sub-samples of one output voxel along one axis.
const MAX_SUBSAMPLES: usize = 8;

/// The voxels `[k, j, i]` of `source`, which lie on `from`, seen on `onto`.
///
/// Linear between voxel centres. Where `onto` is coarser, each output voxel is
/// the mean of evenly spaced sub-samples, one for each source voxel that it
/// spans (at most 8 along an axis), so that what is finer than the new spacing
/// does not alias. Beyond half a voxel outside the source the value is
/// `outside`. A `NaN` in the source is not measured and counts as `outside`.
///
/// An unchanged grid gives back the same numbers exactly.
pub fn resample(source: ArrayView3<f32>, from: &Grid, onto: &Grid, outside: f32) -> Array3<f32> {
    let [ni, nj, nk] = onto.shape;
    let voxel_from_voxel = from.ras_from_voxel.inverse() * onto.ras_from_voxel;
    let steps = voxel_from_voxel.matrix3;
    let subsamples = [steps.x_axis, steps.y_axis, steps.z_axis].map(|step| {
        // How many source voxels one output step spans, along its main axis.
        let span = step.abs().max_element();
        if span.is_finite() {
            ((span - 1e-3).ceil().max(1.0) as usize).min(MAX_SUBSAMPLES)
        } else {
            1
        }
    });
    let offsets = offsets(subsamples);
    let weight = 1.0 / offsets.len() as f64;
    let mut target = Array3::from_elem((nk, nj, ni), outside);
    target.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(k, mut slice)| {
        for ((j, i), value) in slice.indexed_iter_mut() {
            let centre = DVec3::new(i as f64, j as f64, k as f64);
            let sum: f64 = offsets
                .iter()
                .map(|&offset| {
                    let at = voxel_from_voxel.transform_point3(centre + offset);
                    f64::from(linear(&source, at, outside))
                })
                .sum();
            *value = (sum * weight) as f32;
        }
    });
    target
}

/// Offsets of the sub-samples from an output voxel's centre, in output voxels.
fn offsets(counts: [usize; 3]) -> Vec<DVec3> {
    let along = |n: usize| (0..n).map(move |s| (s as f64 + 0.5) / n as f64 - 0.5);
    let mut all = Vec::with_capacity(counts.iter().product());
    for z in along(counts[2]) {
        for y in along(counts[1]) {
            all.extend(along(counts[0]).map(|x| DVec3::new(x, y, z)));
        }
    }
    all
}

/// The linear interpolation of `[k, j, i]` voxels at a voxel index (i, j, k);
/// within half a voxel outside the edge value, beyond it `outside`.
pub fn linear<T: Copy + Into<f32>>(voxels: &ArrayView3<T>, at: DVec3, outside: f32) -> f32 {
    let (nk, nj, ni) = voxels.dim();
    let (Some(x), Some(y), Some(z)) =
        (neighbours(at.x, ni), neighbours(at.y, nj), neighbours(at.z, nk))
    else {
        return outside;
    };
    let value = |k: usize, j: usize, i: usize| {
        let v: f32 = voxels[[k, j, i]].into();
        if v.is_nan() { outside } else { v }
    };
    let along_x = |k: usize, j: usize| mix(value(k, j, x.0), || value(k, j, x.1), x.2);
    let along_y = |k: usize| mix(along_x(k, y.0), || along_x(k, y.1), y.2);
    mix(along_y(z.0), || along_y(z.1), z.2)
}

/// `a` towards `b` by a fraction; `b` is not read where it weighs nothing.
fn mix(a: f32, b: impl FnOnce() -> f32, fraction: f32) -> f32 {
    if fraction == 0.0 { a } else { a + (b() - a) * fraction }
}

/// The two samples around a position on an axis of `n`, and the second's weight.
fn neighbours(at: f64, n: usize) -> Option<(usize, usize, f32)> {
    // Rounding noise of the affines must neither turn an index into a mixture
    // nor decide what lies on the edge.
    const NOISE: f64 = 1e-6;
    let nearest = at.round();
    let at = if (at - nearest).abs() < NOISE { nearest } else { at };
    let last = n.checked_sub(1)? as f64;
    if !(at >= -0.5 - NOISE && at <= last + 0.5 + NOISE) {
        return None;
    }
    let at = at.clamp(0.0, last);
    let low = at.floor();
    Some((low as usize, (low as usize + 1).min(n - 1), (at - low) as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::affine_from_rows;

    fn grid(shape: [usize; 3], spacing_mm: f64, origin_mm: f64) -> Grid {
        let s = spacing_mm;
        let o = origin_mm;
        Grid {
            shape,
            ras_from_voxel: affine_from_rows(&[
                [s, 0.0, 0.0, o],
                [0.0, s, 0.0, o],
                [0.0, 0.0, s, o],
                [0.0, 0.0, 0.0, 1.0],
            ]),
        }
    }

    fn ramp(shape: [usize; 3]) -> Array3<f32> {
        let [ni, nj, nk] = shape;
        Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| (i + 10 * j + 100 * k) as f32)
    }

    #[test]
    fn identity_is_exact() {
        let g = grid([4, 5, 6], 0.7, -3.3);
        let voxels = ramp(g.shape);
        assert_eq!(resample(voxels.view(), &g, &g, -1.0), voxels);
    }

    #[test]
    fn a_linear_field_stays_linear() {
        let from = grid([9, 9, 9], 2.0, 0.0);
        let onto = grid([6, 6, 6], 1.5, 1.25);
        let out = resample(ramp(from.shape).view(), &from, &onto, 0.0);
        for ((k, j, i), &value) in out.indexed_iter() {
            let index = |n: usize| (1.25 + 1.5 * n as f64) / 2.0;
            let expected = index(i) + 10.0 * index(j) + 100.0 * index(k);
            assert!((f64::from(value) - expected).abs() < 1e-3, "{value} {expected}");
        }
    }

    #[test]
    fn a_flipped_axis_is_turned_round() {
        let mut from = grid([3, 1, 1], 1.0, 0.0);
        from.ras_from_voxel.matrix3.x_axis.x = -1.0;
        from.ras_from_voxel.translation.x = 2.0;
        let onto = grid([3, 1, 1], 1.0, 0.0);
        let out = resample(ramp([3, 1, 1]).view(), &from, &onto, 0.0);
        assert_eq!(out.iter().copied().collect::<Vec<_>>(), [2.0, 1.0, 0.0]);
    }

    #[test]
    fn coarsening_averages_and_the_outside_is_stated() {
        let from = grid([8, 8, 8], 1.0, 0.0);
        let checkers =
            Array3::from_shape_fn(
                (8, 8, 8),
                |(k, j, i)| if (i + j + k) % 2 == 0 { 1.0 } else { 0.0 },
            );
        let onto = grid([2, 2, 2], 4.0, 1.5);
        let out = resample(checkers.view(), &from, &onto, 0.0);
        assert!(out.iter().all(|v| (v - 0.5).abs() < 1e-6), "{out}");
        let far = grid([2, 2, 2], 1.0, 100.0);
        assert!(resample(checkers.view(), &from, &far, -7.0).iter().all(|&v| v == -7.0));
    }
}
