//! The gradient of Relu.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, refuse};
use crate::pool::{Pool, part};
use crate::vectorised::vectorised;

/// The cotangent of x, from that of y and y: dy where y > 0.
pub struct ReluGrad;

impl Kernel for ReluGrad {
    const NAME: &'static str = "ReluGrad";
    const INPUTS: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(_: &KernelContext) -> ort::Result<Self> {
        Ok(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [dy, y] if dy.shape == y.shape => Ok(vec![y.shape.clone()]),
            _ => refuse::<Self, _>("two operands of one shape", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let size = part(inputs[0].data.len(), 1 << 14);
        let operands = inputs[0].data.chunks(size).zip(inputs[1].data.chunks(size));
        let tasks = operands.zip(outputs[0].chunks_mut(size)).collect();
        pool.each(tasks, |((dy, y), dx)| all_back(dy, y, dx))
    }
}

vectorised! {
    fn all_back(dy: &'a [f32], y: &'a [f32], dx: &'a mut [f32]) {
        for ((dx, dy), y) in dx.iter_mut().zip(dy).zip(y) {
            *dx = if *y > 0.0 { *dy } else { 0.0 };
        }
    }
}
