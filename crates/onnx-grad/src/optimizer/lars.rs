//! Layer-wise adaptive rate scaling.

use super::{Optimizer, OptimizerState, checked};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::parameters::Layout;

/// LARS: momentum with a rate for every parameter of its own.
///
/// A parameter w with decay moves along λ·(∇ + βw) at the trust ratio
/// λ = η·|w| / (|∇| + β·|w|), 1 where |w| or |∇| is 0; norms and biases, the
/// parameters without decay, move along ∇ itself. The learning rate is a part of
/// the moment: v ← μv + lr·λ·(∇ + βw), w ← w − v.
///
/// # Source
/// You, Gitman and Ginsburg 2017, algorithm 1 and equation 6; that norms and
/// biases keep out of it, and the ratio of 1, are what its users have added.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lars {
    /// μ, what a step keeps of the moment.
    pub momentum: f32,
    /// β, the pull towards zero, a part of the gradient.
    pub weight_decay: f32,
    /// η, the trust coefficient.
    pub trust: f32,
}

impl Default for Lars {
    /// μ = 0.9, β = 1e-4, η = 1e-3.
    fn default() -> Self {
        Self { momentum: 0.9, weight_decay: 1e-4, trust: 1e-3 }
    }
}

impl Optimizer for Lars {
    fn moments(&self) -> &'static [&'static str] {
        &["momentum"]
    }

    fn update(
        &self,
        g: &mut Graph,
        layout: &Layout,
        state: &OptimizerState,
        grads: Value,
        scalars: &[Value],
    ) -> Result<OptimizerState, Error> {
        let ([moment], [rate]) = checked(g, "LARS", layout, (state, grads), scalars)?;
        let direction = self.scaled(g, layout, state.params, grads)?;
        let step = g.mul(direction, rate)?;
        let momentum = g.scalar(self.momentum);
        let kept = g.mul(moment, momentum)?;
        let moment = g.add(kept, step)?;
        let params = g.sub(state.params, moment)?;
        Ok(OptimizerState { params, moments: vec![moment] })
    }
}

impl Lars {
    /// λ·(∇ + βw) where decay applies, else ∇.
    fn scaled(
        &self,
        g: &mut Graph,
        layout: &Layout,
        params: Value,
        grads: Value,
    ) -> Result<Value, Error> {
        let sizes = layout.decayed_sizes();
        if sizes.is_empty() {
            return Ok(grads);
        }
        let mut cuts = sizes.clone();
        if layout.len() > layout.decayed() {
            cuts.push(layout.len() - layout.decayed());
        }
        let mut parts = g.split(grads, 0, &cuts)?;
        let weights = g.split(params, 0, &cuts)?;
        let count = sizes.len();
        let ratios = self.ratios(g, &weights[..count], &parts[..count])?;
        let ratios = g.split(ratios, 0, &vec![1; count])?;
        let decay = g.scalar(self.weight_decay);
        for ((part, weight), ratio) in parts.iter_mut().zip(weights).zip(ratios) {
            let pull = g.mul(weight, decay)?;
            let descent = g.add(*part, pull)?;
            *part = g.mul(descent, ratio)?;
        }
        g.concat(&parts, 0)
    }

    /// The trust ratios, one a parameter.
    fn ratios(&self, g: &mut Graph, weights: &[Value], grads: &[Value]) -> Result<Value, Error> {
        let mut norms = |parts: &[Value]| {
            let norm = |&part: &Value| g.reduce_l2(part, &[0], true);
            let norms = parts.iter().map(norm).collect::<Result<Vec<_>, _>>()?;
            g.concat(&norms, 0)
        };
        let (weights, grads) = (norms(weights)?, norms(grads)?);
        let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
        let (trust, decay) = (g.scalar(self.trust), g.scalar(self.weight_decay));
        let above = g.mul(weights, trust)?;
        let pull = g.mul(weights, decay)?;
        let below = g.add(grads, pull)?;
        let ratio = g.div(above, below)?;
        // equal, not less: a norm that is not a number must stay visible
        let (unset, still) = (g.equal(weights, zero)?, g.equal(grads, zero)?);
        let neutral = g.or(unset, still)?;
        g.where_(neutral, one, ratio)
    }
}
