//! Attention of several heads and its gradient, without the table of weights in
//! memory.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::matrix::{Matrix, Target, multiply};
use crate::pool::Pool;
use crate::softmax::{pull_rows_back, softmax_rows};

/// The sizes of q, k and v `[n, tokens, heads · depth]`.
#[derive(Clone, Copy)]
struct Sizes {
    tokens: usize,
    width: usize,
    heads: usize,
}

impl Sizes {
    fn depth(self) -> usize {
        self.width / self.heads
    }

    /// What the products of queries and keys are multiplied by.
    fn scale(self) -> f32 {
        (self.depth() as f32).sqrt().recip()
    }

    fn sample(self) -> usize {
        self.tokens * self.width
    }

    fn of<K: Kernel>(heads: usize, inputs: &[Tensor]) -> ort::Result<Self> {
        match inputs[0].shape[..] {
            [_, tokens, width]
                if inputs.iter().all(|x| x.shape == inputs[0].shape)
                    && heads > 0
                    && width % heads == 0 =>
            {
                Ok(Self { tokens, width, heads })
            }
            _ => refuse::<K, _>("operands [n, tokens, width], width divided by heads", inputs),
        }
    }

    /// A head of a sample, `[tokens, depth]`.
    fn head(self, x: &[f32], head: usize) -> Option<Matrix<'_>> {
        let x = x.get(head * self.depth()..)?;
        Matrix::new(x, self.tokens, self.depth(), self.width)
    }

    /// Where a head of a sample is written.
    fn place(self, x: &mut [f32], head: usize) -> Target<'_> {
        let start = (head * self.depth()).min(x.len());
        Target { data: &mut x[start..], row_stride: self.width }
    }

    /// A table of tokens by tokens.
    fn table(self, x: &mut [f32]) -> Target<'_> {
        Target { data: x, row_stride: self.tokens }
    }

    /// The weights of a head: how much each token takes from each.
    fn weights(self, q: &[f32], k: &[f32], head: usize, table: &mut [f32]) -> Option<()> {
        let (q, k) = (self.head(q, head)?, self.head(k, head)?);
        multiply(q, k.transposed(), self.table(table), false).then_some(())?;
        softmax_rows(table, self.tokens, self.scale());
        Some(())
    }
}

fn heads<K: Kernel>(node: &KernelContext) -> ort::Result<usize> {
    Ok(attribute::<K, i64>(node, "heads")?.try_into().unwrap_or(0))
}

/// softmax(q·kᵀ/√depth)·v for each of `heads` parts of the width.
///
/// # Source
/// Vaswani et al. 2017, equation 1 and section 3.2.2.
pub struct Attention {
    heads: usize,
}

impl Kernel for Attention {
    const NAME: &'static str = "Attention";
    const INPUTS: usize = 3;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Ok(Self { heads: heads::<Self>(node)? })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        Sizes::of::<Self>(self.heads, inputs)?;
        Ok(vec![inputs[0].shape.clone()])
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let sizes = Sizes::of::<Self>(self.heads, inputs)?;
        let size = sizes.sample();
        if size == 0 {
            return Ok(());
        }
        let [q, k, v] = [0, 1, 2].map(|i| inputs[i].data.chunks_exact(size));
        let tasks = q.zip(k).zip(v).zip(outputs[0].chunks_exact_mut(size)).collect();
        pool.each(tasks, |(((q, k), v), y): (((_, _), _), &mut [f32])| {
            let mut table = vec![0.0; sizes.tokens * sizes.tokens];
            for head in 0..sizes.heads {
                let _ = attend(sizes, head, [q, k, v], y, &mut table);
            }
        })
    }
}

fn attend(
    sizes: Sizes,
    head: usize,
    [q, k, v]: [&[f32]; 3],
    y: &mut [f32],
    table: &mut [f32],
) -> Option<()> {
    sizes.weights(q, k, head, table)?;
    let weights = Matrix::new(table, sizes.tokens, sizes.tokens, sizes.tokens)?;
    multiply(weights, sizes.head(v, head)?, sizes.place(y, head), false).then_some(())
}

/// The cotangents of q, k and v, from that of y, q, k and v.
pub struct AttentionGrad {
    heads: usize,
}

impl Kernel for AttentionGrad {
    const NAME: &'static str = "AttentionGrad";
    const INPUTS: usize = 4;
    const OUTPUTS: usize = 3;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Ok(Self { heads: heads::<Self>(node)? })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        Sizes::of::<Self>(self.heads, inputs)?;
        Ok(vec![inputs[0].shape.clone(); 3])
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let sizes = Sizes::of::<Self>(self.heads, inputs)?;
        let size = sizes.sample();
        let [dq, dk, dv] = outputs else { return Ok(()) };
        if size == 0 {
            return Ok(());
        }
        let results = dq.chunks_exact_mut(size).zip(dk.chunks_exact_mut(size));
        let results = results.zip(dv.chunks_exact_mut(size));
        let tasks = results.enumerate().map(|(i, ((dq, dk), dv))| (i * size, [dq, dk, dv]));
        pool.each(tasks.collect(), |(start, mut results)| {
            let operands = [0, 1, 2, 3].map(|i| &inputs[i].data[start..start + size]);
            let mut tables = vec![0.0; 2 * sizes.tokens * sizes.tokens];
            for head in 0..sizes.heads {
                let _ = pull_head_back(sizes, head, operands, &mut results, &mut tables);
            }
        })
    }
}

/// With P the weights and dS the cotangent of the scores: dv = Pᵀ·dy,
/// dP = dy·vᵀ, dq = dS·k, dk = dSᵀ·q.
fn pull_head_back(
    sizes: Sizes,
    head: usize,
    [dy, q, k, v]: [&[f32]; 4],
    [dq, dk, dv]: &mut [&mut [f32]; 3],
    tables: &mut [f32],
) -> Option<()> {
    let tokens = sizes.tokens;
    let (weights, scores) = tables.split_at_mut(tokens * tokens);
    let of = |x| sizes.head(x, head);
    sizes.weights(q, k, head, weights)?;
    multiply(of(dy)?, of(v)?.transposed(), sizes.table(scores), false).then_some(())?;
    pull_rows_back(scores, weights, tokens, sizes.scale());
    let weights = Matrix::new(weights, tokens, tokens, tokens)?;
    let scores = Matrix::new(scores, tokens, tokens, tokens)?;
    let done = multiply(weights.transposed(), of(dy)?, sizes.place(dv, head), false)
        && multiply(scores, of(k)?, sizes.place(dq, head), false)
        && multiply(scores.transposed(), of(q)?, sizes.place(dk, head), false);
    done.then_some(())
}
