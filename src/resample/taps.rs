//! One axis as a table: the samples of the source that make each of the result.

use std::ops::Range;

use super::{ResampleError, within};

/// The samples of an axis of the result on an axis of the source:
/// `start + step × n` in source samples.
#[derive(Clone, Copy)]
pub(super) struct Line {
    pub start: f64,
    pub step: f64,
    /// Samples of the source.
    pub from: usize,
    /// Samples of the result.
    pub onto: usize,
}

impl Line {
    /// Where sample `n` of the result lies; `None` outside the source.
    fn at(&self, n: usize) -> Option<f64> {
        within(self.start + self.step * n as f64, self.from)
    }

    /// The samples of the result that lie on the source: a run, as the line is straight.
    fn inside(&self) -> Range<usize> {
        let mut all = 0..self.onto;
        let first = all.find(|&n| self.at(n).is_some()).unwrap_or(self.onto);
        let end = all.find(|&n| self.at(n).is_none()).unwrap_or(self.onto);
        first..end
    }

    /// Whether every sample of the result is one of the source.
    pub fn is_exact(&self) -> bool {
        let last = self.from.saturating_sub(1) as f64;
        self.inside()
            .all(|n| self.at(n).is_some_and(|at| at.fract() == 0.0 && (0.0..=last).contains(&at)))
    }
}

/// Widest Gaussian, as a standard deviation in samples of the source.
pub(super) const WIDEST: f64 = 1000.0;

/// Most of all Gaussians of a table together: each has 8 samples a standard deviation.
const ALL_WIDTHS: f64 = (1 << 20) as f64;

/// Weighted sums of neighbouring source samples.
pub(super) struct Taps {
    /// The samples of the result that are such sums; the others lie outside.
    pub inside: Range<usize>,
    /// Source samples in each sum.
    pub count: usize,
    /// The first of them, for each sum; `first + count` are there.
    pub first: Vec<usize>,
    /// `count` weights for each sum.
    pub weights: Vec<f32>,
}

impl Taps {
    pub fn nearest(line: Line) -> Self {
        let last = line.from - 1;
        Self::new(line, |at, sum| sum.push((((at + 0.5).floor().max(0.0) as usize).min(last), 1.0)))
    }

    /// Linear between the samples of a source that is smoothed first.
    ///
    /// # Errors
    /// [`ResampleError::Coarse`] where a table of that size could only come of spacings
    /// that nothing was measured at.
    pub fn linear(line: Line, sigma: f64) -> Result<Self, ResampleError> {
        let limit = WIDEST.min(ALL_WIDTHS / line.inside().len().max(1) as f64);
        if sigma.is_nan() || sigma > limit {
            return Err(ResampleError::Coarse { sigma, limit });
        }
        let kernel = gaussian(sigma);
        let radius = (kernel.len() / 2) as isize;
        let last = line.from as isize - 1;
        Ok(Self::new(line, |at, sum| {
            let at = at.clamp(0.0, last as f64);
            let (low, fraction) = (at.floor() as isize, at.fract());
            for (sample, weight) in [(low, 1.0 - fraction), (low + 1, fraction)] {
                if weight > 0.0 {
                    sum.extend(kernel.iter().zip(-radius..).map(|(share, offset)| {
                        ((sample + offset).clamp(0, last) as usize, weight * share)
                    }));
                }
            }
        }))
    }

    /// The cubic B-spline of coefficients that are mirrored about both ends.
    pub fn cubic(line: Line) -> Self {
        Self::new(line, |at, sum| {
            let (samples, weights) = cubic(at, line.from);
            sum.extend(samples.into_iter().zip(weights));
        })
    }

    fn new(line: Line, mut terms: impl FnMut(f64, &mut Vec<(usize, f64)>)) -> Self {
        let inside = line.inside();
        let mut sums = Vec::with_capacity(inside.len());
        for at in inside.clone().filter_map(|n| line.at(n)) {
            let mut sum = Vec::new();
            terms(at, &mut sum);
            sums.push(sum);
        }
        let samples = |sum: &[(usize, f64)]| {
            let low = sum.iter().map(|term| term.0).min().unwrap_or(0);
            let high = sum.iter().map(|term| term.0).max().unwrap_or(0);
            low..high + 1
        };
        let count = sums.iter().map(|sum| samples(sum).len()).max().unwrap_or(1);
        let mut first = Vec::with_capacity(sums.len());
        let mut weights = vec![0.0; sums.len() * count];
        for (sum, row) in sums.iter().zip(weights.chunks_exact_mut(count)) {
            let low = samples(sum).start.min(line.from - count);
            first.push(low);
            let mut exact = vec![0.0; count];
            sum.iter().for_each(|&(sample, weight)| exact[sample - low] += weight);
            row.iter_mut().zip(exact).for_each(|(weight, exact)| *weight = exact as f32);
        }
        Self { inside, count, first, weights }
    }

    /// The run of source samples that any of the sums reads, where there is a sum.
    pub fn samples(&self) -> Option<Range<usize>> {
        Some(*self.first.iter().min()?..*self.first.iter().max()? + self.count)
    }

    /// The sum that makes sample `inside.start + n`: its first source sample, and the weights.
    pub fn sum(&self, n: usize) -> (usize, &[f32]) {
        (self.first[n], &self.weights[n * self.count..][..self.count])
    }
}

/// Four samples around a position on an axis of `n`, mirrored about its ends,
/// and what the cubic B-spline makes of their coefficients.
pub(super) fn cubic(at: f64, n: usize) -> ([usize; 4], [f64; 4]) {
    // `as` cuts off, which of what is not negative is the floor.
    let below = (at + 1.0) as u32 as isize - 1;
    let (t, last) = (at - below as f64, n as isize - 1);
    let samples = [-1, 0, 1, 2].map(|offset| {
        let mut sample = below + offset;
        // A short axis is mirrored more than once.
        while sample < 0 || sample > last {
            sample = if last == 0 {
                0
            } else if sample < 0 {
                -sample
            } else {
                2 * last - sample
            };
        }
        sample as usize
    });
    let u = 1.0 - t;
    let weights = [
        u * u * u / 6.0,
        2.0 / 3.0 - t * t * (2.0 - t) / 2.0,
        2.0 / 3.0 - u * u * (2.0 - u) / 2.0,
        t * t * t / 6.0,
    ];
    (samples, weights)
}

/// Whether nothing of a Gaussian reaches the next sample.
pub(super) fn is_narrow(sigma: f64) -> bool {
    4.0 * sigma + 0.5 < 1.0
}

/// A Gaussian at the samples around its middle, cut at 4 standard deviations,
/// with a sum of 1; 1 alone where nothing else is within.
fn gaussian(sigma: f64) -> Vec<f64> {
    if is_narrow(sigma) {
        return vec![1.0];
    }
    let radius = (4.0 * sigma + 0.5) as i64;
    let values: Vec<f64> =
        (-radius..=radius).map(|x| (-0.5 * (x as f64 / sigma).powi(2)).exp()).collect();
    let sum: f64 = values.iter().sum();
    values.into_iter().map(|value| value / sum).collect()
}
