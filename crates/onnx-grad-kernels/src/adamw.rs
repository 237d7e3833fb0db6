//! AdamW over the flat buffer, in one pass.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::pool::{Pool, part};

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
        let (beta1, beta2) = (self.beta1, self.beta2);
        let (rest1, rest2) = (complement(beta1), complement(beta2));
        let (rate, correction, epsilon) = (lr / correction1, correction2.sqrt(), self.epsilon);
        let keep = 1.0 - lr * self.weight_decay;
        type Task<'a> = (usize, ((&'a mut [f32], &'a mut [f32]), &'a mut [f32]));
        pool.each(tasks, |(task, ((next, next_m), next_v)): Task| {
            let (from, len) = (task * size, next.len());
            let cut = |i: usize| &inputs[i].data[from..from + len];
            let (params, grads, m, v) = (cut(0), cut(1), cut(2), cut(3));
            let (next_m, next_v) = (&mut next_m[..len], &mut next_v[..len]);
            let decayed = self.decayed.saturating_sub(from).min(len);
            pulp::Arch::new().dispatch(|| {
                for (keep, range) in [(keep, 0..decayed), (1.0, decayed..len)] {
                    for i in range {
                        let first = beta1 * m[i] + rest1 * grads[i];
                        let second = beta2 * v[i] + rest2 * (grads[i] * grads[i]);
                        let root = second.sqrt() / correction + epsilon;
                        next[i] = keep * params[i] - rate * first / root;
                        next_m[i] = first;
                        next_v[i] = second;
                    }
                }
            });
        })
    }
}
