//! The gradient of Softmax along the last axis.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, refuse};
use crate::math::{exp, sum};
use crate::pool::{Pool, part};

/// The cotangent of x, from that of y and y: y · (dy − Σ dy·y).
pub struct SoftmaxGrad;

impl Kernel for SoftmaxGrad {
    const NAME: &'static str = "SoftmaxGrad";
    const INPUTS: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(_: &KernelContext) -> ort::Result<Self> {
        Ok(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [dy, y] if dy.shape == y.shape && !y.shape.is_empty() => Ok(vec![y.shape.clone()]),
            _ => refuse::<Self, _>("two operands of one shape with an axis", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let (rows, columns) = inputs[0].rows();
        if rows * columns == 0 {
            return Ok(());
        }
        let size = part(rows, 16) * columns;
        let operands = inputs[0].data.chunks(size).zip(inputs[1].data.chunks(size));
        let tasks = operands.zip(outputs[0].chunks_mut(size)).collect();
        pool.each(tasks, |((dy, y), dx): ((&[f32], &[f32]), &mut [f32])| {
            pulp::Arch::new().dispatch(|| {
                let rows = dy.chunks_exact(columns).zip(y.chunks_exact(columns));
                for ((dy, y), dx) in rows.zip(dx.chunks_exact_mut(columns)) {
                    dx.copy_from_slice(dy);
                    pull_back(dx, y, 1.0);
                }
            });
        })
    }
}

/// A row of exponentials divided by their sum, in place, of `scale` times x.
#[inline(always)]
pub fn softmax(x: &mut [f32], scale: f32) {
    let mut lanes = [f32::NEG_INFINITY; 16];
    let (whole, rest) = x.as_chunks::<16>();
    for part in whole {
        for (most, x) in lanes.iter_mut().zip(part) {
            *most = if *x > *most { *x } else { *most };
        }
    }
    for (most, x) in lanes.iter_mut().zip(rest) {
        *most = if *x > *most { *x } else { *most };
    }
    let most = lanes.into_iter().fold(f32::NEG_INFINITY, f32::max);
    for x in x.iter_mut() {
        *x = exp((*x - most) * scale);
    }
    let inverse = sum([&*x], |[x]| x).recip();
    for x in x.iter_mut() {
        *x *= inverse;
    }
}

/// A row of cotangents of y = softmax(x), made those of x / `scale` in place.
#[inline(always)]
pub fn pull_back(dy: &mut [f32], y: &[f32], scale: f32) {
    let total = sum([&*dy, y], |[dy, y]| dy * y);
    for (dy, y) in dy.iter_mut().zip(y) {
        *dy = (*dy - total) * y * scale;
    }
}
