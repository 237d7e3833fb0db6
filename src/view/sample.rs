//! Intensities on a sampling grid, line by line.

use glam::{DAffine3, DVec3};
use ndarray::ArrayView3;

use crate::{geometry::Grid, resample::linear};

/// A volume as it is sampled: the stored integers and what they mean.
pub(super) struct Sampler<'a> {
    /// Stored voxels `[k, j, i]`.
    pub voxels: ArrayView3<'a, i16>,
    pub voxel_from_ras: DAffine3,
    /// Normalised intensity per stored unit.
    pub slope: f32,
    /// Stored units of what lies outside.
    pub outside: f32,
}

/// Rounding of affines in voxels, as in [`linear`]: a place so near to a voxel is on it.
const NOISE: f64 = 1e-6;

/// Columns at the edge of what a line surely has inside, that are looked at one by one.
const MARGIN: f64 = 1.0;

impl Sampler<'_> {
    /// Fills `values`, `[slice, row, column]`, with the intensities on a grid.
    ///
    /// The numbers are those of [`linear`] to the last bit. A line runs straight
    /// through the volume, so that which of its columns lie inside is known
    /// beforehand, and these are read without looking for edges.
    pub fn sample(&self, view: &Grid, values: &mut [f32]) {
        let to_voxel = self.voxel_from_ras * view.ras_from_voxel;
        let [columns, rows, _] = view.shape;
        if columns == 0 || rows == 0 {
            return;
        }
        for (n, line) in values.chunks_exact_mut(columns).enumerate() {
            let along = Along::new(&to_voxel, n % rows, n / rows);
            let (inside, until) = self.inside(&along, columns);
            for (column, value) in line.iter_mut().enumerate() {
                let at = along.at(column);
                let stored = if column >= inside && column < until {
                    self.read(at)
                } else {
                    linear(&self.voxels, at, self.outside)
                };
                *value = stored * self.slope;
            }
        }
    }

    /// [`Sampler::sample`] where each point is displaced by some mm in RAS,
    /// given its (column, row, slice).
    pub fn sample_displaced(
        &self,
        view: &Grid,
        mut displacement_mm: impl FnMut(usize, usize, usize) -> DVec3,
        values: &mut [f32],
    ) {
        let to_voxel = self.voxel_from_ras * view.ras_from_voxel;
        let [columns, rows, _] = view.shape;
        if columns == 0 || rows == 0 {
            return;
        }
        let (nk, nj, ni) = self.voxels.dim();
        let last = DVec3::new(ni as f64, nj as f64, nk as f64) - 1.0;
        let thick = last.min_element() >= 1.0;
        for (n, line) in values.chunks_exact_mut(columns).enumerate() {
            let (slice, row) = (n / rows, n % rows);
            let along = Along::new(&to_voxel, row, slice);
            for (column, value) in line.iter_mut().enumerate() {
                let moved = displacement_mm(column, row, slice);
                let at = along.at(column) + self.voxel_from_ras.matrix3 * moved;
                let inside = thick && at.cmpge(DVec3::ZERO).all() && at.cmple(last).all();
                let stored =
                    if inside { self.read(at) } else { linear(&self.voxels, at, self.outside) };
                *value = stored * self.slope;
            }
        }
    }

    /// The first column of a line that surely lies between the outermost centres,
    /// and the first behind them.
    fn inside(&self, along: &Along, columns: usize) -> (usize, usize) {
        let (nk, nj, ni) = self.voxels.dim();
        let (start, end) = (along.at(0), along.at(1));
        let (mut low, mut high) = (0.0_f64, columns as f64);
        for (axis, n) in [ni, nj, nk].into_iter().enumerate() {
            if n < 2 {
                return (0, 0);
            }
            let last = (n - 1) as f64;
            let (start, step) = (start[axis], end[axis] - start[axis]);
            if step.abs() < 1e-12 {
                if !(start >= 0.0 && start <= last) {
                    return (0, 0);
                }
                continue;
            }
            let (a, b) = (-start / step, (last - start) / step);
            low = low.max(a.min(b) + MARGIN);
            high = high.min(a.max(b) - MARGIN);
        }
        if low >= high { (0, 0) } else { (low.ceil() as usize, high.floor() as usize) }
    }

    /// The stored value at a place between the outermost centres, of a volume of
    /// two voxels or more along each axis.
    #[inline]
    fn read(&self, at: DVec3) -> f32 {
        let (nk, nj, ni) = self.voxels.dim();
        let Some(data) = self.voxels.as_slice() else {
            return linear(&self.voxels, at, self.outside);
        };
        let ((i, x), (j, y), (k, z)) = (split(at.x, ni), split(at.y, nj), split(at.z, nk));
        let first = (k * nj + j) * ni + i;
        let along_x = |first: usize| match data.get(first..first + 2) {
            Some(&[a, b]) => mix(f32::from(a), f32::from(b), x),
            _ => self.outside,
        };
        let plane = |first: usize| {
            let near = along_x(first);
            if y == 0.0 { near } else { mix(near, along_x(first + ni), y) }
        };
        let near = plane(first);
        // In the plane of a slice the next one is not read.
        if z == 0.0 { near } else { mix(near, plane(first + ni * nj), z) }
    }
}

/// One line of a view in voxels of the volume: `transform_point3` with what is
/// the same for all columns computed once, in its order, to its last bit.
struct Along {
    per_column: DVec3,
    of_row: DVec3,
    of_slice: DVec3,
    origin: DVec3,
}

impl Along {
    fn new(to_voxel: &DAffine3, row: usize, slice: usize) -> Self {
        let matrix = to_voxel.matrix3;
        Self {
            per_column: matrix.x_axis,
            of_row: matrix.y_axis * row as f64,
            of_slice: matrix.z_axis * slice as f64,
            origin: to_voxel.translation,
        }
    }

    #[inline]
    fn at(&self, column: usize) -> DVec3 {
        self.per_column * column as f64 + self.of_row + self.of_slice + self.origin
    }
}

#[inline]
fn mix(a: f32, b: f32, fraction: f32) -> f32 {
    a + (b - a) * fraction
}

/// The lower of the two samples around a position on an axis of `n`, which is at
/// least 2, and the weight of the other one.
#[inline]
fn split(at: f64, n: usize) -> (usize, f32) {
    let low = (at as usize).min(n - 2);
    let fraction = at - low as f64;
    if fraction < NOISE {
        (low, 0.0)
    } else if fraction > 1.0 - NOISE {
        (low, 1.0)
    } else {
        (low, fraction as f32)
    }
}

#[cfg(test)]
mod tests {
    use ndarray::Array3;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn every_number_is_that_of_one_voxel_at_a_time() {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let (mut inside, mut outside) = (0, 0);
        for (shape, oblique) in
            [((27, 19, 11), 0.4), ((16, 25, 18), 0.0), ((1, 9, 9), 0.2), ((2, 2, 2), 0.7)]
        {
            let voxels = Array3::from_shape_fn(shape, |_| rng.random_range(-3000..3000_i16));
            let centre = DVec3::new(shape.2 as f64, shape.1 as f64, shape.0 as f64) / 2.0;
            let sampler = Sampler {
                voxels: voxels.view(),
                voxel_from_ras: DAffine3::from_translation(centre)
                    * DAffine3::from_rotation_x(oblique)
                    * DAffine3::from_scale(DVec3::new(0.5, 0.5, 0.25))
                    * DAffine3::from_rotation_z(oblique / 2.0),
                slope: 0.01,
                outside: -77.0,
            };
            for n in 0..40 {
                let (size, depth) = (13, 1 + n % 4);
                let turn = if n % 3 == 0 { 0.0 } else { 0.3 };
                let shift = if n % 2 == 0 { 0.0 } else { 1.37 * n as f64 / 40.0 };
                let ras_from_voxel = DAffine3::from_rotation_z(turn)
                    * DAffine3::from_translation(DVec3::new(shift - 12.0, -12.0, shift - 2.0))
                    * DAffine3::from_scale(DVec3::new(2.0, 2.0, 2.0));
                let view = Grid { shape: [size, size, depth], ras_from_voxel };
                let to_voxel = sampler.voxel_from_ras * ras_from_voxel;
                let mut values = vec![f32::NAN; size * size * depth];
                sampler.sample(&view, &mut values);
                let mut moved = vec![f32::NAN; values.len()];
                sampler.sample_displaced(&view, |_, _, _| DVec3::ZERO, &mut moved);
                for (at, (value, moved)) in values.iter().zip(&moved).enumerate() {
                    let place = DVec3::new(
                        (at % size) as f64,
                        (at / size % size) as f64,
                        (at / size / size) as f64,
                    );
                    let naive = linear(&voxels.view(), to_voxel.transform_point3(place), -77.0);
                    assert_eq!((naive * 0.01).to_bits(), value.to_bits(), "{place}");
                    assert_eq!(value.to_bits(), moved.to_bits(), "{place}");
                    if naive == -77.0 { outside += 1 } else { inside += 1 }
                }
            }
        }
        assert!(inside > 2000 && outside > 2000, "{inside} {outside}");
    }
}
