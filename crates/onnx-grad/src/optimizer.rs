//! Optimizers over the flat buffer, as graph updates.

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

/// What [`AdamW::update`] reads: four flat values of shape `[len]`.
#[derive(Clone, Copy, Debug)]
pub struct AdamWState {
    /// The parameters.
    pub params: Value,
    /// Their gradient.
    pub grads: Value,
    /// The first moment, zero before the first step.
    pub m: Value,
    /// The second moment, zero before the first step.
    pub v: Value,
}

/// The scalars that change from step to step; `t` counts from 1.
#[derive(Clone, Copy, Debug)]
pub struct AdamWStep {
    /// The learning rate.
    pub lr: Value,
    /// 1 − β₁ to the power t.
    pub bias_correction1: Value,
    /// 1 − β₂ to the power t.
    pub bias_correction2: Value,
}

/// What [`AdamW::update`] returns: three flat values of shape `[len]`.
#[derive(Clone, Copy, Debug)]
pub struct AdamWUpdate {
    /// The parameters after the step.
    pub params: Value,
    /// The first moment after the step.
    pub m: Value,
    /// The second moment after the step.
    pub v: Value,
}

impl AdamW {
    /// Parameters and moments after one step; decay concerns the parameters
    /// that the layout marks, and no others.
    ///
    /// # Errors
    /// [`Error::Shape`] where a value has another shape than `[layout.len()]`,
    /// or a step input is not a scalar.
    pub fn update(
        &self,
        g: &mut Graph,
        layout: &Layout,
        state: AdamWState,
        step: AdamWStep,
    ) -> Result<AdamWUpdate, Error> {
        let flat = [layout.len()];
        require(g, &[state.params, state.grads, state.m, state.v], &flat)?;
        let scalars = [step.lr, step.bias_correction1, step.bias_correction2];
        require(g, &scalars, &[])?;

        if g.kernels() {
            let kernel = AdamWKernel {
                beta1: Float(self.beta1),
                beta2: Float(self.beta2),
                epsilon: Float(self.epsilon),
                weight_decay: Float(self.weight_decay),
                decayed: layout.decayed(),
            };
            let flat = [state.params, state.grads, state.m, state.v];
            return match g.apply_all(kernel, &[&flat[..], &scalars[..]].concat())?[..] {
                [params, m, v] => Ok(AdamWUpdate { params, m, v }),
                _ => Err(Error::NoOutputs),
            };
        }
        let m = lerp(g, state.m, state.grads, self.beta1)?;
        let square = g.mul(state.grads, state.grads)?;
        let v = lerp(g, state.v, square, self.beta2)?;

        // lr·m̂/(√v̂ + ε), the corrections applied to scalars where they can be
        let root = g.sqrt(v)?;
        let correction = g.sqrt(step.bias_correction2)?;
        let root = g.div(root, correction)?;
        let epsilon = g.scalar(self.epsilon);
        let root = g.add(root, epsilon)?;
        let rate = g.div(step.lr, step.bias_correction1)?;
        let change = g.mul(m, rate)?;
        let change = g.div(change, root)?;

        let kept = self.decay(g, layout, state.params, step.lr)?;
        let params = g.sub(kept, change)?;
        Ok(AdamWUpdate { params, m, v })
    }

    /// The parameters after decay: (1 − lr·λ)·θ where it applies.
    fn decay(
        &self,
        g: &mut Graph,
        layout: &Layout,
        params: Value,
        lr: Value,
    ) -> Result<Value, Error> {
        let (decayed, len) = (layout.decayed(), layout.len());
        if self.weight_decay == 0.0 || decayed == 0 {
            return Ok(params);
        }
        let (one, rate) = (g.scalar(1.0), g.scalar(self.weight_decay));
        let pull = g.mul(lr, rate)?;
        let keep = g.sub(one, pull)?;
        if decayed == len {
            return g.mul(params, keep);
        }
        let parts = g.split(params, 0, &[decayed, len - decayed])?;
        let kept = g.mul(parts[0], keep)?;
        g.concat(&[kept, parts[1]], 0)
    }
}

/// rate·old + (1 − rate)·new.
fn lerp(g: &mut Graph, old: Value, new: Value, rate: f32) -> Result<Value, Error> {
    // the complement in f64: 1 − 0.999 in f32 is off by 5e-5 of itself
    let complement = 1.0 - f64::from(rate);
    let (rate, complement) = (g.scalar(rate), g.scalar(complement as f32));
    let kept = g.mul(old, rate)?;
    let added = g.mul(new, complement)?;
    g.add(kept, added)
}

/// The gradient scaled down to a norm of at most `max_norm`, and its norm
/// before that, a scalar.
///
/// # Errors
/// [`Error::ElementType`] where the gradient is not `f32`.
///
/// # Source
/// Pascanu, Mikolov and Bengio 2013, algorithm 1.
pub fn clip_by_global_norm(
    g: &mut Graph,
    flat_grad: Value,
    max_norm: f32,
) -> Result<(Value, Value), Error> {
    let square = g.mul(flat_grad, flat_grad)?;
    let axes: Vec<i64> = (0..g.shape(flat_grad).len() as i64).collect();
    let total = g.reduce_sum(square, &axes, false)?;
    let norm = g.sqrt(total)?;
    // max/max(norm, max) is 1 below the limit, and not a number where norm is not
    let limit = g.scalar(max_norm);
    let larger = g.maximum(norm, limit)?;
    let scale = g.div(limit, larger)?;
    Ok((g.mul(flat_grad, scale)?, norm))
}

fn require(g: &Graph, values: &[Value], shape: &[usize]) -> Result<(), Error> {
    if values.iter().all(|&v| g.shape(v) == shape) {
        return Ok(());
    }
    let received: Vec<_> = values.iter().map(|&v| g.ty(v)).collect();
    Err(Error::shape("AdamW", format!("the shape {shape:?}"), &received))
}
