//! Gelu and its gradient.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, refuse};
use crate::math::{gelu, gelu_slope};
use crate::pool::{Pool, part};
use crate::vectorised::vectorised;

/// x Φ(x), from x.
///
/// # Source
/// Hendrycks and Gimpel 2016, section 2.
pub struct Gelu;

impl Kernel for Gelu {
    const NAME: &'static str = "Gelu";
    const INPUTS: usize = 1;
    const OUTPUTS: usize = 1;

    fn new(_: &KernelContext) -> ort::Result<Self> {
        Ok(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        Ok(inputs.iter().map(|x| x.shape.clone()).collect())
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let size = part(inputs[0].data.len(), 1 << 12);
        let tasks = inputs[0].data.chunks(size).zip(outputs[0].chunks_mut(size)).collect();
        pool.each(tasks, |(x, y)| all(x, y))
    }
}

vectorised! {
    fn all(x: &'a [f32], y: &'a mut [f32]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y = gelu(*x);
        }
    }
}

/// The cotangent of x, from that of y and x.
pub struct GeluGrad;

impl Kernel for GeluGrad {
    const NAME: &'static str = "GeluGrad";
    const INPUTS: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(_: &KernelContext) -> ort::Result<Self> {
        Ok(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [dy, x] if dy.shape == x.shape => Ok(vec![x.shape.clone()]),
            _ => refuse::<Self, _>("two operands of one shape", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let size = part(inputs[0].data.len(), 1 << 12);
        let operands = inputs[0].data.chunks(size).zip(inputs[1].data.chunks(size));
        let tasks = operands.zip(outputs[0].chunks_mut(size)).collect();
        pool.each(tasks, |((dy, x), dx)| all_back(dy, x, dx))
    }
}

vectorised! {
    fn all_back(dy: &'a [f32], x: &'a [f32], dx: &'a mut [f32]) {
        for ((dx, dy), x) in dx.iter_mut().zip(dy).zip(x) {
            *dx = dy * gelu_slope(*x);
        }
    }
}
