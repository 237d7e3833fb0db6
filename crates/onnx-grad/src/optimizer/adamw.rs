//! Adam with decoupled weight decay.

use super::{Optimizer, OptimizerState, checked, cut, lerp};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::op::{AdamWKernel, Float};
use crate::parameters::Layout;

/// AdamW: Adam with decoupled weight decay.
///
/// # Source
/// Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2,
/// with the decay scaled by the learning rate alone. The ε stands outside the
/// root, after bias correction.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// β₁, the decay rate of the first moment.
    pub beta1: f32,
    /// β₂, the decay rate of the second moment.
    pub beta2: f32,
    /// ε, what keeps the division finite.
    pub epsilon: f32,
    /// λ, the pull towards zero a step and a unit of learning rate.
    pub weight_decay: f32,
}

impl Default for AdamW {
    /// β₁ = 0.9, β₂ = 0.999, ε = 1e-8, λ = 0.01.
    fn default() -> Self {
        Self { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.01 }
    }
}

impl Optimizer for AdamW {
    fn moments(&self) -> &'static [&'static str] {
        &["m", "v"]
    }

    fn scalars(&self) -> &'static [&'static str] {
        &["learning_rate", "bias_correction1", "bias_correction2"]
    }

    /// The learning rate, and 1 − β to the power of the step for both β.
    fn scalar_values(&self, learning_rate: f64, step: u64) -> Vec<f32> {
        let correction = |beta: f32| (1.0 - f64::from(beta).powf(step as f64)) as f32;
        vec![learning_rate as f32, correction(self.beta1), correction(self.beta2)]
    }

    fn update(
        &self,
        g: &mut Graph,
        layout: &Layout,
        state: &OptimizerState,
        grads: Value,
        scalars: &[Value],
    ) -> Result<OptimizerState, Error> {
        let ([m, v], [rate, correction1, correction2]) =
            checked(g, "AdamW", layout, (state, grads), scalars)?;
        if g.kernels() {
            let kernel = AdamWKernel {
                beta1: Float(self.beta1),
                beta2: Float(self.beta2),
                epsilon: Float(self.epsilon),
                weight_decay: Float(self.weight_decay),
                decayed: layout.decayed(),
            };
            let fused = [state.params, grads, m, v, rate, correction1, correction2];
            let next = g.apply_all(kernel, &fused)?;
            return Ok(OptimizerState { params: next[0], moments: next[1..].to_vec() });
        }
        let m = lerp(g, m, grads, self.beta1)?;
        let square = g.mul(grads, grads)?;
        let v = lerp(g, v, square, self.beta2)?;

        // lr·m̂/(√v̂ + ε), the corrections applied to scalars where they can be
        let root = g.sqrt(v)?;
        let correction = g.sqrt(correction2)?;
        let root = g.div(root, correction)?;
        let epsilon = g.scalar(self.epsilon);
        let root = g.add(root, epsilon)?;
        let corrected = g.div(rate, correction1)?;
        let change = g.mul(m, corrected)?;
        let change = g.div(change, root)?;

        let kept = self.decay(g, layout, state.params, rate)?;
        let params = g.sub(kept, change)?;
        Ok(OptimizerState { params, moments: vec![m, v] })
    }
}

impl AdamW {
    /// The parameters after decay: (1 − lr·λ)·θ where it applies.
    fn decay(
        &self,
        g: &mut Graph,
        layout: &Layout,
        params: Value,
        rate: Value,
    ) -> Result<Value, Error> {
        if self.weight_decay == 0.0 || layout.decayed() == 0 {
            return Ok(params);
        }
        let (one, decay) = (g.scalar(1.0), g.scalar(self.weight_decay));
        let pull = g.mul(rate, decay)?;
        let keep = g.sub(one, pull)?;
        if layout.decayed() == layout.len() {
            return g.mul(params, keep);
        }
        let [decayed, rest] = cut(g, layout, params)?;
        let kept = g.mul(decayed, keep)?;
        g.concat(&[kept, rest], 0)
    }
}
