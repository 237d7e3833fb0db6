//! AdamW over the flat buffer, in one pass.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::pool::{Pool, part};
use crate::vectorised::vectorised;

/// From params, grads, m, v and the scalars lr, bias_correction1 and
/// bias_correction2: the next params, m and v. Decay concerns the first
/// `decayed` elements.
///
/// # Source
/// As `onnx_grad::AdamW`.
pub struct AdamW {
    beta1: f32,
    beta2: f32,
    epsilon: f32,
    weight_decay: f32,
    decayed: usize,
}

impl Kernel for AdamW {
    const NAME: &'static str = "AdamW";
    const INPUTS: usize = 7;
    const OUTPUTS: usize = 3;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        let float = |name| attribute::<Self, f32>(node, name);
        let decayed = attribute::<Self, i64>(node, "decayed")?;
        Ok(Self {
            beta1: float("beta1")?,
            beta2: float("beta2")?,
            epsilon: float("epsilon")?,
            weight_decay: float("weight_decay")?,
            decayed: decayed.try_into().unwrap_or(0),
        })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [flat @ .., lr, c1, c2]
                if [lr, c1, c2].iter().all(|x| x.data.len() == 1)
                    && flat.iter().all(|x| x.shape == flat[0].shape) =>
            {
                Ok(vec![flat[0].shape.clone(); 3])
            }
            _ => refuse::<Self, _>("four flat operands of one shape and three scalars", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let scalar = |i: usize| inputs[i].data[0];
        let (lr, correction1, correction2) = (scalar(4), scalar(5), scalar(6));
        let [next, next_m, next_v] = outputs else { return Ok(()) };
        let size = part(next.len(), 1 << 14);
        let results = next.chunks_mut(size).zip(next_m.chunks_mut(size));
        let tasks = results.zip(next_v.chunks_mut(size)).enumerate().collect();

        // the complements in f64: 1 − 0.999 in f32 is off by 5e-5 of itself
        let complement = |rate: f32| (1.0 - f64::from(rate)) as f32;
        let change = Change {
            beta1: self.beta1,
            rest1: complement(self.beta1),
            beta2: self.beta2,
            rest2: complement(self.beta2),
            rate: lr / correction1,
            correction: correction2.sqrt(),
            epsilon: self.epsilon,
        };
        let keep = 1.0 - lr * self.weight_decay;
        type Task<'a> = (usize, ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]));
        pool.each(tasks, |(task, ((next, next_m), next_v)): Task| {
            let (from, len) = (task * size, next.len());
            let operands = [0, 1, 2, 3].map(|i| &inputs[i].data[from..from + len]);
            let place = self.decayed.saturating_sub(from).min(len);
            let first = operands.map(|x| &x[..place]);
            let rest = operands.map(|x| &x[place..]);
            let (next, next_rest) = next.split_at_mut(place);
            let (next_m, next_m_rest) = next_m.split_at_mut(place);
            let (next_v, next_v_rest) = next_v.split_at_mut(place);
            update(change, keep, first, next, next_m, next_v);
            update(change, 1.0, rest, next_rest, next_m_rest, next_v_rest);
        })
    }
}

#[derive(Clone, Copy)]
struct Change {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    correction: f32,
    epsilon: f32,
}

vectorised! {
    /// `operands` are params, grads, m and v.
    fn update(
        by: Change,
        keep: f32,
        operands: [&'a [f32]; 4],
        next: &'a mut [f32],
        next_m: &'a mut [f32],
        next_v: &'a mut [f32],
    ) {
        let len = next.len();
        let [params, grads, m, v] = operands.map(#[inline(always)] |x| &x[..len]);
        let (next_m, next_v) = (&mut next_m[..len], &mut next_v[..len]);
        for i in 0..len {
            let first = by.beta1 * m[i] + by.rest1 * grads[i];
            let second = by.beta2 * v[i] + by.rest2 * (grads[i] * grads[i]);
            let root = second.sqrt() / by.correction + by.epsilon;
            next[i] = keep * params[i] - by.rate * first / root;
            next_m[i] = first;
            next_v[i] = second;
        }
    }
}
