//! The gradient of Softmax along the last axis.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, refuse};
use crate::math::{exp, sum};
use crate::pool::{Pool, part};
use crate::vectorised::vectorised;

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
        pool.each(tasks, |((dy, y), dx): ((_, _), &mut [f32])| {
            dx.copy_from_slice(dy);
            pull_rows_back(dx, y, columns, 1.0);
        })
    }
}

vectorised! {
    /// Rows of `columns` numbers, each made the softmax of `scale` times itself.
    pub(crate) fn softmax_rows(x: &'a mut [f32], columns: usize, scale: f32) {
        for row in x.chunks_exact_mut(columns) {
            softmax(row, scale);
        }
    }
}

vectorised! {
    /// Rows of cotangents of y = softmax(x), made those of x / `scale` in place.
    pub(crate) fn pull_rows_back(dy: &'a mut [f32], y: &'a [f32], columns: usize, scale: f32) {
        for (dy, y) in dy.chunks_exact_mut(columns).zip(y.chunks_exact(columns)) {
            let total = sum([&*dy, y], #[inline(always)] |[dy, y]| dy * y);
            for (dy, y) in dy.iter_mut().zip(y) {
                *dy = (*dy - total) * y * scale;
            }
        }
    }
}

/// Exponentials of `scale` times x, divided by their sum.
#[inline(always)]
fn softmax(x: &mut [f32], scale: f32) {
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
    let inverse = sum(
        [&*x],
        #[inline(always)]
        |[x]| x,
    )
    .recip();
    for x in x.iter_mut() {
        *x *= inverse;
    }
}
