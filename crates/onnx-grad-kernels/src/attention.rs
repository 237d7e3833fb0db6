//! Attention of several heads and its gradient, without the table of weights in
//! memory.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::matrix::{Matrix, Target, multiply};
use crate::pool::Pool;
use crate::softmax::{pull_rows_back, softmax_rows};

/// Where queries, keys or values lie in a sample of an operand: depths side by
/// side, heads and tokens so many elements apart.
#[derive(Clone, Copy)]
struct Place {
    operand: usize,
    offset: usize,
    head: usize,
    token: usize,
}

impl Place {
    fn start(&self, head: usize) -> usize {
        self.offset + head * self.head
    }
}

/// The sizes of queries, keys and values `[samples, heads, tokens, depth]`, and
/// where they lie in the operands, which they fill.
struct Heads {
    samples: usize,
    heads: usize,
    tokens: usize,
    depth: usize,
    /// What the products of queries and keys are multiplied by.
    scale: f32,
    /// Of queries, keys and values.
    places: [Place; 3],
}

impl Heads {
    fn new<K: Kernel>(node: &KernelContext) -> ort::Result<Self> {
        let numbers = |name| {
            let list: Vec<i64> = attribute::<K, _>(node, name)?;
            let wrong = || ort::Error::new(format!("{}: {name} is malformed", K::NAME));
            let list: Option<Vec<usize>> = list.iter().map(|&n| usize::try_from(n).ok()).collect();
            list.ok_or_else(wrong)
        };
        let (sizes, places) = (numbers("sizes")?, numbers("places")?);
        let ([samples, heads, tokens, depth], [q, k, v]) = (&sizes[..], places.as_chunks::<4>().0)
        else {
            return Err(ort::Error::new(format!("{} requires 4 sizes and 12 places", K::NAME)));
        };
        let place =
            |&[operand, offset, head, token]: &[usize; 4]| Place { operand, offset, head, token };
        Ok(Self {
            samples: *samples,
            heads: *heads,
            tokens: *tokens,
            depth: *depth,
            scale: attribute::<K, _>(node, "scale")?,
            places: [q, k, v].map(place),
        })
    }

    /// Elements of one sample of queries, keys or values.
    fn sample(&self) -> usize {
        self.tokens * self.heads * self.depth
    }

    /// Whether the operands hold the places and nothing else.
    fn check<K: Kernel>(&self, inputs: &[Tensor]) -> ort::Result<()> {
        let of_operand = |i| self.places.iter().filter(move |place| place.operand == i).count();
        let filled = |(i, x): (usize, &Tensor)| {
            let len = of_operand(i) * self.sample();
            let last = |place: &Place| {
                place.start(self.heads - 1) + (self.tokens - 1) * place.token + self.depth
            };
            x.data.len() == self.samples * len
                && self.places.iter().filter(|place| place.operand == i).all(|p| last(p) <= len)
                && self.places.iter().all(|place| place.token >= self.depth)
        };
        if self.samples * self.sample() > 0
            && (0..3).map(of_operand).take(inputs.len()).sum::<usize>() == 3
            && inputs.iter().enumerate().all(filled)
        {
            return Ok(());
        }
        refuse::<K, _>("operands that queries, keys and values fill", inputs)
    }

    /// The operands' parts of a sample.
    fn operands<'a>(&self, inputs: &[Tensor<'a>], sample: usize) -> Vec<&'a [f32]> {
        let part = |x: &Tensor<'a>| {
            let len = x.data.len() / self.samples;
            &x.data[sample * len..(sample + 1) * len]
        };
        inputs.iter().map(part).collect()
    }

    /// A head's queries, keys or values, `[tokens, depth]`.
    fn of<'a>(&self, operands: &[&'a [f32]], place: usize, head: usize) -> Option<Matrix<'a>> {
        let place = &self.places[place];
        let data = operands.get(place.operand)?.get(place.start(head)..)?;
        Matrix::new(data, self.tokens, self.depth, place.token)
    }

    /// The result of a head or its cotangent, in `[tokens, heads, depth]`.
    fn result<'a>(&self, y: &'a [f32], head: usize) -> Option<Matrix<'a>> {
        Matrix::new(y.get(head * self.depth..)?, self.tokens, self.depth, self.heads * self.depth)
    }

    /// A table of tokens by tokens.
    fn table<'a>(&self, x: &'a mut [f32]) -> Target<'a> {
        Target { data: x, row_stride: self.tokens }
    }

    /// The weights of a head: how much each token takes from each.
    fn weights(&self, operands: &[&[f32]], head: usize, table: &mut [f32]) -> Option<()> {
        let (q, k) = (self.of(operands, 0, head)?, self.of(operands, 1, head)?);
        multiply(q, k.transposed(), self.table(table), false).then_some(())?;
        softmax_rows(table, self.tokens, self.scale);
        Some(())
    }
}

/// softmax(scale·q·kᵀ)·v of every head, `[samples, tokens, heads, depth]`.
///
/// # Source
/// Vaswani et al. 2017, equation 1 and section 3.2.2.
pub struct Attention(Heads);

impl Kernel for Attention {
    const NAME: &'static str = "Attention";
    const INPUTS: usize = 1;
    const OPTIONAL: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Heads::new::<Self>(node).map(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        self.0.check::<Self>(inputs)?;
        let Heads { samples, heads, tokens, depth, .. } = self.0;
        Ok(vec![vec![samples, tokens, heads, depth]])
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let heads = &self.0;
        let tasks = outputs[0].chunks_exact_mut(heads.sample()).enumerate().collect();
        pool.each_fitting(tasks, |(sample, y): (usize, &mut [f32])| {
            let operands = heads.operands(inputs, sample);
            let mut table = vec![0.0; heads.tokens * heads.tokens];
            (0..heads.heads).try_for_each(|head| attend(heads, head, &operands, y, &mut table))
        })
    }
}

fn attend(
    heads: &Heads,
    head: usize,
    operands: &[&[f32]],
    y: &mut [f32],
    table: &mut [f32],
) -> Option<()> {
    heads.weights(operands, head, table)?;
    let weights = Matrix::new(table, heads.tokens, heads.tokens, heads.tokens)?;
    let y = y.get_mut(head * heads.depth..)?;
    let target = Target { data: y, row_stride: heads.heads * heads.depth };
    multiply(weights, heads.of(operands, 2, head)?, target, false).then_some(())
}

/// The cotangents of the operands, from that of the result and them.
pub struct AttentionGrad(Heads);

impl Kernel for AttentionGrad {
    const NAME: &'static str = "AttentionGrad";
    const INPUTS: usize = 2;
    const OPTIONAL: usize = 2;
    const OUTPUTS: usize = 1;
    const OPTIONAL_OUTPUTS: usize = 2;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Heads::new::<Self>(node).map(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        let operands = inputs.get(1..).unwrap_or_default();
        self.0.check::<Self>(operands)?;
        if inputs[0].data.len() != self.0.samples * self.0.sample() {
            return refuse::<Self, _>("the cotangent of the result first", inputs);
        }
        Ok(operands.iter().map(|x| x.shape.clone()).collect())
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let (heads, [dy, inputs @ ..]) = (&self.0, inputs) else { return Ok(()) };
        let mut tasks: Vec<(usize, Vec<&mut [f32]>)> =
            (0..heads.samples).map(|sample| (sample, Vec::new())).collect();
        for dx in outputs {
            let len = dx.len() / heads.samples;
            for (part, (_, results)) in dx.chunks_exact_mut(len).zip(&mut tasks) {
                results.push(part);
            }
        }
        pool.each_fitting(tasks, |(sample, mut results)| {
            let operands = heads.operands(inputs, sample);
            let dy = &dy.data[sample * heads.sample()..(sample + 1) * heads.sample()];
            let mut tables = vec![0.0; 2 * heads.tokens * heads.tokens];
            (0..heads.heads).try_for_each(|head| {
                pull_head_back(heads, head, dy, &operands, &mut results, &mut tables)
            })
        })
    }
}

/// With P the weights and dS the cotangent of the scores: dv = Pᵀ·dy,
/// dP = dy·vᵀ, dq = dS·k, dk = dSᵀ·q.
fn pull_head_back(
    heads: &Heads,
    head: usize,
    dy: &[f32],
    operands: &[&[f32]],
    results: &mut [&mut [f32]],
    tables: &mut [f32],
) -> Option<()> {
    let tokens = heads.tokens;
    let (weights, scores) = tables.split_at_mut(tokens * tokens);
    let [q, k, v] = [0, 1, 2].map(|place| heads.of(operands, place, head));
    let dy = heads.result(dy, head)?;
    heads.weights(operands, head, weights)?;
    multiply(dy, v?.transposed(), heads.table(scores), false).then_some(())?;
    pull_rows_back(scores, weights, tokens, heads.scale);
    let weights = Matrix::new(weights, tokens, tokens, tokens)?;
    let scores = Matrix::new(scores, tokens, tokens, tokens)?;
    let products = [(scores, k?), (scores.transposed(), q?), (weights.transposed(), dy)];
    for (place, (left, right)) in heads.places.iter().zip(products) {
        let data = results.get_mut(place.operand)?.get_mut(place.start(head)..)?;
        let target = Target { data, row_stride: place.token };
        multiply(left, right, target, false).then_some(())?;
    }
    Some(())
}
