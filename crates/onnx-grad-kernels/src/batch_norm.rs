//! The statistics of a batch and the gradient of the normalisation by them.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::math::sum;
use crate::pool::{Pool, part};
use crate::vectorised::vectorised;

/// The sizes of `[n, c, ..]`: images, channels, elements of a channel.
fn sizes(shape: &[usize]) -> Option<[usize; 3]> {
    let [n, c, rest @ ..] = shape else { return None };
    Some([*n, *c, rest.iter().product()])
}

/// Runs `f` on the index of a channel and its numbers, for every channel.
fn each_channel(
    pool: &Pool,
    numbers: &mut [[f32; 2]],
    f: impl Fn(usize, &mut [f32; 2]) + Send + Sync,
) -> ort::Result<()> {
    let size = part(numbers.len(), 1);
    let tasks = numbers.chunks_mut(size).enumerate().collect();
    pool.each(tasks, |(task, numbers): (usize, &mut [[f32; 2]])| {
        for (channel, numbers) in (task * size..).zip(numbers) {
            f(channel, numbers);
        }
    })
}

/// The mean and the variance of every channel of x `[n, c, ..]`.
pub struct Moments;

impl Kernel for Moments {
    const NAME: &'static str = "Moments";
    const INPUTS: usize = 1;
    const OUTPUTS: usize = 2;

    fn new(_: &KernelContext) -> ort::Result<Self> {
        Ok(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match sizes(&inputs[0].shape) {
            Some([_, c, _]) => Ok(vec![vec![c]; 2]),
            None => refuse::<Self, _>("[n, c, ..]", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let Some([n, c, len]) = sizes(&inputs[0].shape) else { return Ok(()) };
        let x = inputs[0].data;
        let mut moments = vec![[0.0; 2]; c];
        each_channel(pool, &mut moments, |channel, moments| {
            let lines = (0..n).map(|image| &x[(image * c + channel) * len..][..len]);
            let count = (n * len) as f32;
            let mut total = 0.0;
            lines.clone().for_each(|x| add_square(x, 0.0, &mut total, &mut 0.0));
            let mean = total / count;
            let mut square = 0.0;
            lines.for_each(|x| add_square(x, mean, &mut 0.0, &mut square));
            *moments = [mean, square / count];
        })?;
        for (i, [mean, variance]) in moments.into_iter().enumerate() {
            (outputs[0][i], outputs[1][i]) = (mean, variance);
        }
        Ok(())
    }
}

vectorised! {
    /// Adds Σ x to a total and Σ (x − mean)² to a square.
    fn add_square(x: &'a [f32], mean: f32, total: &'a mut f32, square: &'a mut f32) {
        *total += sum([x], #[inline(always)] |[x]| x);
        *square += sum([x], #[inline(always)] |[x]| (x - mean) * (x - mean));
    }
}

/// The cotangents of x, scale and bias where x was normalised by its own
/// statistics, from that of y, x, scale, mean and variance.
///
/// # Source
/// Ioffe and Szegedy 2015, section 3: with x̂ = (x − μ)/σ,
/// dx = scale/σ · (dy − mean dy − x̂ · mean(dy·x̂)).
pub struct BatchNormGrad {
    epsilon: f32,
}

impl Kernel for BatchNormGrad {
    const NAME: &'static str = "BatchNormalizationGrad";
    const INPUTS: usize = 5;
    const OUTPUTS: usize = 3;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Ok(Self { epsilon: attribute::<Self, _>(node, "epsilon")? })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [dy, x, rest @ ..]
                if x.shape.len() >= 2
                    && dy.shape == x.shape
                    && rest.iter().all(|r| r.shape == x.shape[1..2]) =>
            {
                Ok(vec![x.shape.clone(), rest[0].shape.clone(), rest[0].shape.clone()])
            }
            _ => refuse::<Self, _>("dy and x [n, c, ..], and three numbers a channel", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let Some([n, c, len]) = sizes(&inputs[1].shape) else { return Ok(()) };
        let [dy, x, scale, mean, variance] = [0, 1, 2, 3, 4].map(|i| inputs[i].data);
        let inverse = |channel: usize| (variance[channel] + self.epsilon).sqrt().recip();
        let mut sums = vec![[0.0; 2]; c];
        each_channel(pool, &mut sums, |channel, [shift, slope]| {
            for image in 0..n {
                let line = (image * c + channel) * len..(image * c + channel + 1) * len;
                add_products(&dy[line.clone()], &x[line], mean[channel], shift, slope);
            }
            *slope *= inverse(channel);
        })?;
        let [dx, dscale, dbias] = outputs else { return Ok(()) };
        for (i, [shift, slope]) in sums.iter().enumerate() {
            (dscale[i], dbias[i]) = (*slope, *shift);
        }
        if c * len == 0 {
            return Ok(());
        }
        let count = (n * len) as f32;
        let size = part(n * c, 1);
        let tasks = dx.chunks_mut(size * len).enumerate().collect();
        pool.each(tasks, |(task, dx): (usize, &mut [f32])| {
            for (line, dx) in (task * size..).zip(dx.chunks_exact_mut(len)) {
                let (channel, cut) = (line % c, line * len..(line + 1) * len);
                let ([shift, slope], inverse) = (sums[channel], inverse(channel));
                // dx = a·dy + b·x + d, the three numbers of the channel's own
                let a = scale[channel] * inverse;
                let b = -a * inverse * slope / count;
                let d = -a * shift / count - b * mean[channel];
                affine(&dy[cut.clone()], &x[cut], [a, b, d], dx);
            }
        })
    }
}

vectorised! {
    /// Adds Σ dy and Σ dy·(x − mean).
    fn add_products(
        dy: &'a [f32],
        x: &'a [f32],
        mean: f32,
        shift: &'a mut f32,
        slope: &'a mut f32,
    ) {
        *shift += sum([dy], #[inline(always)] |[dy]| dy);
        *slope += sum([dy, x], #[inline(always)] |[dy, x]| dy * (x - mean));
    }
}

vectorised! {
    fn affine(dy: &'a [f32], x: &'a [f32], by: [f32; 3], dx: &'a mut [f32]) {
        let [a, b, d] = by;
        for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = a * dy + (b * x + d);
        }
    }
}
