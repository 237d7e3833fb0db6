//! A smooth random field over a view.

use rand::Rng;

/// A uniform cubic B-spline over a lattice of control points, laid over the voxels
/// of a view.
///
/// # Source
/// Rueckert et al. 1999, *Nonrigid registration using free-form deformations*, eq. 3.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lattice {
    /// Control points along columns, rows and slices.
    counts: [usize; 3],
    /// For each voxel along each axis, its first control point and the weights of four.
    axes: [Vec<(usize, [f32; 4])>; 3],
    values: Vec<f32>,
}

impl Lattice {
    /// A field over a view of so many voxels, whose control points lie so many
    /// voxels apart and have the values drawn.
    pub fn draw<R: Rng>(
        shape: [usize; 3],
        apart: [f64; 3],
        rng: &mut R,
        mut value: impl FnMut(&mut R) -> f32,
    ) -> Self {
        let axes: [_; 3] = std::array::from_fn(|axis| {
            (0..shape[axis]).map(|n| weights(n as f64 / apart[axis].max(1.0))).collect::<Vec<_>>()
        });
        let counts: [usize; 3] = std::array::from_fn(|axis| match shape[axis] {
            1 => 1,
            _ => axes[axis].last().map_or(1, |(first, _)| first + 4),
        });
        let values = (0..counts.iter().product()).map(|_| value(rng)).collect();
        Self { counts, axes, values }
    }

    /// Fills `line` with the field along the columns of a row of a slice.
    pub fn line(&self, row: usize, slice: usize, line: &mut [f32]) {
        let [columns, rows, _] = self.counts;
        let mut controls = vec![0.0; columns];
        for (k, z) in self.taps(2, slice) {
            for (j, y) in self.taps(1, row) {
                let from = (k * rows + j) * columns;
                let along = self.values.get(from..from + columns).unwrap_or_default();
                controls.iter_mut().zip(along).for_each(|(sum, value)| *sum += y * z * value);
            }
        }
        for (value, (first, weights)) in line.iter_mut().zip(&self.axes[0]) {
            let near = controls.get(*first..).unwrap_or_default();
            *value = near.iter().zip(weights).map(|(control, weight)| control * weight).sum();
        }
    }

    /// The control points around a voxel of an axis, with their weights; one where
    /// the axis has one voxel.
    fn taps(&self, axis: usize, n: usize) -> impl Iterator<Item = (usize, f32)> + use<> {
        let single = self.counts[axis] == 1;
        let (first, weights) = match self.axes[axis].get(n) {
            Some(&tap) if !single => tap,
            _ => (0, [1.0, 0.0, 0.0, 0.0]),
        };
        let taps = if single { 1 } else { 4 };
        weights.into_iter().take(taps).enumerate().map(move |(n, weight)| (first + n, weight))
    }
}

/// The first of four control points around a position, and their weights.
fn weights(at: f64) -> (usize, [f32; 4]) {
    let first = at.floor();
    let t = at - first;
    let (t2, t3) = (t * t, t * t * t);
    let weights = [
        (1.0 - 3.0 * t + 3.0 * t2 - t3) / 6.0,
        (4.0 - 6.0 * t2 + 3.0 * t3) / 6.0,
        (1.0 + 3.0 * t + 3.0 * t2 - 3.0 * t3) / 6.0,
        t3 / 6.0,
    ];
    (first as usize, weights.map(|weight| weight as f32))
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn field(lattice: &Lattice, shape: [usize; 3]) -> Vec<f32> {
        let mut values = vec![f32::NAN; shape.iter().product()];
        for (n, line) in values.chunks_exact_mut(shape[0]).enumerate() {
            lattice.line(n % shape[1], n / shape[1], line);
        }
        values
    }

    #[test]
    fn the_weights_sum_to_one_and_equal_controls_give_a_level_field() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for shape in [[13, 7, 1], [9, 8, 5], [4, 4, 2]] {
            let level = Lattice::draw(shape, [4.3, 3.0, 2.0], &mut rng, |_| 2.5);
            assert!(field(&level, shape).iter().all(|value| (value - 2.5).abs() < 1e-5));
        }
    }

    #[test]
    fn the_field_is_smooth() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let shape = [64, 64, 1];
        let lattice =
            Lattice::draw(shape, [16.0; 3], &mut rng, |rng| rng.random_range(-1.0..1.0));
        let values = field(&lattice, shape);
        // The slope of a cubic B-spline is at most the largest difference of neighbours.
        let steps = values.windows(2).enumerate().filter(|(n, _)| (n + 1) % 64 != 0);
        let steepest = steps.map(|(_, pair)| (pair[1] - pair[0]).abs()).fold(0.0, f32::max);
        assert!(steepest > 0.01 && steepest <= 2.0 / 16.0, "{steepest}");
    }
}
