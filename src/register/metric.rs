//! Mutual information of two images as a function of a rigid map, with its gradient.

use glam::{DMat3, DVec3};
use rayon::prelude::*;

use super::{
    image::Level,
    rigid::Pose,
    sample::{BINS, Samples},
};

/// Samples that are summed one after another; sums of chunks are added in
/// their order, so that the number of threads does not change a bit.
const CHUNK: usize = 4096;

/// Mutual information between some places of the fixed image and the moving one.
pub(super) struct Metric<'a> {
    samples: &'a Samples,
    moving: &'a Level,
    /// Moving value of the first bin, and bins per unit.
    low: f32,
    per_unit: f32,
    /// Least share of the samples that must lie in the moving image.
    least_overlap: f64,
}

/// The metric at a pose.
#[derive(Debug, Clone, Copy)]
pub(super) struct Value {
    /// Nats; 0 where too little overlaps.
    pub information: f64,
    /// Of the information by the shift, per mm.
    pub force: DVec3,
    /// Of the information by a turn about the centre, per radian.
    pub torque: DVec3,
    /// Nats that the fixed image has of its own where the two overlap.
    pub fixed_entropy: f64,
}

/// A sample that fell into the moving image.
#[derive(Clone, Copy)]
struct Hit {
    place: [f32; 3],
    fixed: u16,
    /// First of the four bins that it falls into, and how far into the next.
    bin: u16,
    fraction: f32,
    /// Of the moving bin by the moving voxel index.
    gradient: [f32; 3],
}

impl<'a> Metric<'a> {
    pub fn new(samples: &'a Samples, moving: &'a Level, least_overlap: f64) -> Self {
        let [low, high] = moving.range();
        // A spline reaches over four bins: one before the value's own, two behind.
        let per_unit = (BINS - 4) as f32 / (high - low).max(f32::MIN_POSITIVE);
        Self { samples, moving, low, per_unit, least_overlap }
    }

    /// The mutual information at a pose, and its gradient.
    ///
    /// # Source
    /// Mattes et al. 2003, *PET-CT image registration in the chest using free-form
    /// deformations*, eq. 5–10: a cubic B-spline window on the moving, a box on the
    /// fixed intensity. The gradient of all parameters comes from one derivative
    /// for each sample, eq. 10 with its sums exchanged.
    pub fn at(&self, pose: &Pose) -> Value {
        let voxel_from_ras = &self.moving.voxel_from_ras;
        let turn = (voxel_from_ras.matrix3 * pose.rotation).as_mat3();
        let start = voxel_from_ras.transform_point3(pose.centre + pose.shift).as_vec3();
        let chunks: Vec<(Vec<Hit>, Vec<f32>)> = self
            .samples
            .places
            .par_chunks(CHUNK)
            .zip(self.samples.bins.par_chunks(CHUNK))
            .map(|(places, bins)| self.hits(places, bins, turn, start))
            .collect();
        let mut joint = vec![0.0_f64; BINS * BINS];
        let mut count = 0;
        for (hits, partial) in &chunks {
            count += hits.len();
            joint.iter_mut().zip(partial).for_each(|(sum, &part)| *sum += f64::from(part));
        }
        let inside = count as f64 / self.samples.places.len().max(1) as f64;
        if count == 0 || inside < self.least_overlap {
            return Value {
                information: 0.0,
                force: DVec3::ZERO,
                torque: DVec3::ZERO,
                fixed_entropy: 0.0,
            };
        }
        let Joint { information, fixed_entropy, ratios } = Joint::of(joint, count as f64);
        let sums: Vec<([f64; 3], [[f64; 3]; 3])> =
            chunks.par_iter().map(|(hits, _)| pull(hits, &ratios)).collect();
        let (mut force, mut outer) = ([0.0; 3], [[0.0; 3]; 3]);
        for (part, parts) in &sums {
            for a in 0..3 {
                force[a] += part[a] / count as f64;
                for b in 0..3 {
                    outer[a][b] += parts[a][b] / count as f64;
                }
            }
        }
        // From moving voxels to mm: a gradient goes with the transposed matrix.
        let to_mm = voxel_from_ras.matrix3.transpose();
        // Column a of `moments`: the sum of gradients in mm, times place[a].
        let moments = to_mm * DMat3::from_cols_array_2d(&outer);
        // Entry (c, b): gradient[c] times turned place[b].
        let turned = moments * pose.rotation.transpose();
        let m = |c: usize, b: usize| turned.col(b)[c];
        let torque = DVec3::new(m(2, 1) - m(1, 2), m(0, 2) - m(2, 0), m(1, 0) - m(0, 1));
        let force = to_mm * DVec3::from_array(force);
        Value { information, force, torque, fixed_entropy }
    }

    /// The samples of a chunk that fall into the moving image, and their joint
    /// histogram `[fixed, moving]`.
    fn hits(
        &self,
        places: &[[f32; 3]],
        bins: &[u16],
        turn: glam::Mat3,
        start: glam::Vec3,
    ) -> (Vec<Hit>, Vec<f32>) {
        let mut hits = Vec::with_capacity(places.len());
        let mut joint = vec![0.0_f32; BINS * BINS];
        let (nk, nj, ni) = self.moving.voxels.dim();
        let last = [ni, nj, nk].map(|n| n as f32 - 1.0);
        let Some(voxels) = self.moving.voxels.as_slice() else { return (hits, joint) };
        for (&place, &fixed) in places.iter().zip(bins) {
            let at = (turn * glam::Vec3::from_array(place) + start).to_array();
            // Also false for what is not a number.
            if !(0..3).all(|axis| at[axis] >= 0.0 && at[axis] < last[axis]) {
                continue;
            }
            let [i, j, k] = at.map(|x| x as usize);
            let first = (k * nj + j) * ni + i;
            let (Some(near), Some(far)) = (
                voxels.get(first..first + ni + 2),
                voxels.get(first + ni * nj..first + ni * nj + ni + 2),
            ) else {
                continue;
            };
            let (x, y, z) = (at[0] - i as f32, at[1] - j as f32, at[2] - k as f32);
            let plane = |v: &[f32]| {
                let (low, high) = (v[1] - v[0], v[ni + 1] - v[ni]);
                let (a, b) = (v[0] + low * x, v[ni] + high * x);
                (a + (b - a) * y, low + (high - low) * y, b - a)
            };
            let (low, low_x, low_y) = plane(near);
            let (high, high_x, high_y) = plane(far);
            let value = low + (high - low) * z;
            let gradient = [low_x + (high_x - low_x) * z, low_y + (high_y - low_y) * z, high - low];
            let position = (value - self.low) * self.per_unit;
            let bin = (position as usize).min(BINS - 5);
            let fraction = position - bin as f32;
            let row = usize::from(fixed) * BINS + bin;
            if let Some(cells) = joint.get_mut(row..row + 4) {
                cells.iter_mut().zip(window(fraction)).for_each(|(cell, weight)| *cell += weight);
            }
            hits.push(Hit {
                place,
                fixed,
                bin: bin as u16,
                fraction,
                gradient: gradient.map(|slope| slope * self.per_unit),
            });
        }
        (hits, joint)
    }
}

/// What a joint histogram says.
struct Joint {
    information: f64,
    fixed_entropy: f64,
    /// ln (joint / moving marginal), `[fixed, moving]`; 0 in empty cells.
    ratios: Vec<f32>,
}

impl Joint {
    fn of(mut joint: Vec<f64>, count: f64) -> Self {
        joint.iter_mut().for_each(|cell| *cell /= count);
        let mut moving = vec![0.0; BINS];
        for row in joint.chunks_exact(BINS) {
            moving.iter_mut().zip(row).for_each(|(sum, cell)| *sum += cell);
        }
        let (mut information, mut fixed_entropy) = (0.0, 0.0);
        let mut ratios = vec![0.0_f32; joint.len()];
        for (row, ratios) in joint.chunks_exact(BINS).zip(ratios.chunks_exact_mut(BINS)) {
            let fixed: f64 = row.iter().sum();
            if fixed <= 0.0 {
                continue;
            }
            fixed_entropy -= fixed * fixed.ln();
            for ((&cell, &moving), ratio) in row.iter().zip(&moving).zip(ratios) {
                if cell > 0.0 && moving > 0.0 {
                    let log = (cell / moving).ln();
                    information += cell * (log - fixed.ln());
                    *ratio = log as f32;
                }
            }
        }
        Self { information, fixed_entropy, ratios }
    }
}

/// The sum over samples of the information's gradient by the moving voxel index,
/// and the sum of that gradient times the place, a column for each axis of the place.
fn pull(hits: &[Hit], ratios: &[f32]) -> ([f64; 3], [[f64; 3]; 3]) {
    let (mut force, mut outer) = ([0.0_f64; 3], [[0.0_f64; 3]; 3]);
    for hit in hits {
        let row = usize::from(hit.fixed) * BINS + usize::from(hit.bin);
        let Some(ratios) = ratios.get(row..row + 4) else { continue };
        let slope: f32 = window_slope(hit.fraction)
            .iter()
            .zip(ratios)
            .map(|(weight, ratio)| weight * ratio)
            .sum();
        let part = hit.gradient.map(|by_voxel| f64::from(slope * by_voxel));
        force.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
        for (column, &place) in outer.iter_mut().zip(&hit.place) {
            column.iter_mut().zip(part).for_each(|(sum, part)| *sum += part * f64::from(place));
        }
    }
    (force, outer)
}

/// Weights of the four bins around a value, by the cubic B-spline.
fn window(f: f32) -> [f32; 4] {
    let (g, square) = (1.0 - f, f * f);
    [
        g * g * g / 6.0,
        (3.0 * square * f - 6.0 * square + 4.0) / 6.0,
        (-3.0 * square * f + 3.0 * square + 3.0 * f + 1.0) / 6.0,
        square * f / 6.0,
    ]
}

/// The derivative of [`window`].
fn window_slope(f: f32) -> [f32; 4] {
    let (g, square) = (1.0 - f, f * f);
    [
        -g * g / 2.0,
        (3.0 * square - 4.0 * f) / 2.0,
        (-3.0 * square + 2.0 * f + 1.0) / 2.0,
        square / 2.0,
    ]
}
