//! Stochastic gradient descent with momentum.

use super::{Optimizer, OptimizerState, checked, cut};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::parameters::Layout;

/// Stochastic gradient descent with momentum, Nesterov's where asked.
///
/// With d = ∇ + λθ the moment is v ← μv + d, and the step lr·v or, after
/// Nesterov, lr·(d + μv). Without momentum there is no moment to carry.
///
/// # Source
/// Sutskever et al. 2013, equations 1 to 4, as PyTorch's `SGD` writes them: the
/// learning rate stands outside the moment, and there is no dampening.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// μ, what a step keeps of the moment.
    pub momentum: f32,
    /// Whether the step looks ahead along the moment.
    pub nesterov: bool,
    /// λ, the pull towards zero, a part of the gradient.
    pub weight_decay: f32,
}

impl Default for Sgd {
    /// μ = 0.9, not Nesterov's, λ = 0.
    fn default() -> Self {
        Self { momentum: 0.9, nesterov: false, weight_decay: 0.0 }
    }
}

impl Optimizer for Sgd {
    fn moments(&self) -> &'static [&'static str] {
        if self.momentum == 0.0 { &[] } else { &["momentum"] }
    }

    fn update(
        &self,
        g: &mut Graph,
        layout: &Layout,
        state: &OptimizerState,
        grads: Value,
        scalars: &[Value],
    ) -> Result<OptimizerState, Error> {
        let (direction, moments, rate) = if self.momentum == 0.0 {
            let ([], [rate]) = checked(g, "SGD", layout, (state, grads), scalars)?;
            (self.decayed(g, layout, state.params, grads)?, vec![], rate)
        } else {
            let ([moment], [rate]) = checked(g, "SGD", layout, (state, grads), scalars)?;
            let descent = self.decayed(g, layout, state.params, grads)?;
            let momentum = g.scalar(self.momentum);
            let kept = g.mul(moment, momentum)?;
            let moment = g.add(kept, descent)?;
            let direction = if self.nesterov {
                let ahead = g.mul(moment, momentum)?;
                g.add(descent, ahead)?
            } else {
                moment
            };
            (direction, vec![moment], rate)
        };
        let change = g.mul(direction, rate)?;
        let params = g.sub(state.params, change)?;
        Ok(OptimizerState { params, moments })
    }
}

impl Sgd {
    /// ∇ + λθ where decay applies.
    fn decayed(
        &self,
        g: &mut Graph,
        layout: &Layout,
        params: Value,
        grads: Value,
    ) -> Result<Value, Error> {
        if self.weight_decay == 0.0 || layout.decayed() == 0 {
            return Ok(grads);
        }
        let decay = g.scalar(self.weight_decay);
        if layout.decayed() == layout.len() {
            let pull = g.mul(params, decay)?;
            return g.add(grads, pull);
        }
        let [params, _] = cut(g, layout, params)?;
        let [grads, rest] = cut(g, layout, grads)?;
        let pull = g.mul(params, decay)?;
        let pulled = g.add(grads, pull)?;
        g.concat(&[pulled, rest], 0)
    }
}
