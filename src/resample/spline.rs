//! The coefficients of the cubic B-spline that goes through the samples.

use ndarray::{Array3, ArrayViewMut2, Axis};
use rayon::prelude::*;

/// Lines filtered together: each step of the recursion works on them all.
const LINES: usize = 32;

/// √3 − 2, the pole of the inverse filter.
const POLE: f32 = -0.267_949_2;

/// From here on a power of the pole is less than f32 can tell from 1.
const HORIZON: usize = 24;

/// Turns samples into coefficients along axis 0, 1 or 2 for i, j or k, the volume
/// mirrored about its first and last sample.
///
/// # Source
/// Unser, Aldroubi and Eden 1993, *B-spline signal processing*, part II, eq. 2.5;
/// the start of the recursion by the mirrored signal's period.
pub(super) fn prefilter(volume: &mut Array3<f32>, axis: usize) {
    // Planes that hold whole lines, as [along the line, line].
    let apart = if axis == 2 { Axis(1) } else { Axis(0) };
    volume.axis_iter_mut(apart).into_par_iter().for_each(|plane| {
        filter(if axis == 0 { plane.reversed_axes() } else { plane });
    });
}

fn filter(mut plane: ArrayViewMut2<f32>) {
    let n = plane.nrows();
    if n < 2 {
        return;
    }
    let mut lines = vec![[0.0f32; LINES]; n];
    for mut block in plane.axis_chunks_iter_mut(Axis(1), LINES) {
        for (line, samples) in lines.iter_mut().zip(block.outer_iter()) {
            line.iter_mut().zip(samples).for_each(|(to, &from)| *to = from);
        }
        coefficients(&mut lines);
        for (line, mut samples) in lines.iter().zip(block.outer_iter_mut()) {
            samples.iter_mut().zip(line).for_each(|(to, &from)| *to = from);
        }
    }
}

/// The two recursions over at least two samples.
fn coefficients(c: &mut [[f32; LINES]]) {
    let n = c.len();
    let add = |to: [f32; LINES], factor: f32, from: [f32; LINES]| -> [f32; LINES] {
        std::array::from_fn(|lane| to[lane] + factor * from[lane])
    };
    // Forth, from the sum over the mirrored signal before the first sample.
    let period = 2 * (n - 1);
    let mut first = [0.0; LINES];
    let mut power = 1.0;
    for k in 0..period.min(HORIZON) {
        first = add(first, power, c[k.min(period - k)]);
        power *= POLE;
    }
    let whole = 1.0 / (1.0 - POLE.powi(period.min(2 * HORIZON) as i32));
    c[0] = first.map(|sum| sum * whole);
    for k in 1..n {
        c[k] = add(c[k], POLE, c[k - 1]);
    }
    // Back, and the gain of 6 with it.
    let last = add(c[n - 1], POLE, c[n - 2]);
    c[n - 1] = last.map(|sum| sum * POLE / (POLE * POLE - 1.0) * 6.0);
    for k in (0..n - 1).rev() {
        let next = c[k + 1];
        c[k] = std::array::from_fn(|lane| POLE * (next[lane] - 6.0 * c[k][lane]));
    }
}
