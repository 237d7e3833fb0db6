//! Optimizers over the flat buffer, as graph updates.
//!
//! What changes from step to step is fed as scalars, so a schedule needs no
//! other graph. With gradient accumulation a step is two graphs that share
//! buffers: one adds a part's gradient to a sum ([`accumulate`]), as often as
//! wanted, and one reads the sum and updates the parameters, once.

use crate::Error;
use crate::graph::{Graph, Value};
use crate::parameters::Layout;
use crate::shape::TensorType;

mod adamw;
mod lars;
mod loss_scale;
mod sgd;

pub use adamw::AdamW;
pub use lars::Lars;
pub use loss_scale::{LossScale, Unscaled, all_finite};
pub use sgd::Sgd;

/// What an optimizer carries from step to step: flat values of shape `[len]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimizerState {
    /// The parameters.
    pub params: Value,
    /// One value for each of [`Optimizer::moments`], zero before the first step.
    pub moments: Vec<Value>,
}

/// A rule that moves flat parameters along a flat gradient.
pub trait Optimizer {
    /// The names of the flat buffers beside the parameters; none, one or two.
    fn moments(&self) -> &'static [&'static str];

    /// The names of the scalars that the update reads.
    fn scalars(&self) -> &'static [&'static str] {
        &["learning_rate"]
    }

    /// The scalars, in the order of their names, for a step; they count from 1.
    fn scalar_values(&self, learning_rate: f64, _step: u64) -> Vec<f32> {
        vec![learning_rate as f32]
    }

    /// The state after one step; weight decay concerns the parameters that the
    /// layout marks, and no others.
    ///
    /// # Errors
    /// [`Error::Shape`] where the state or the gradient has another shape than
    /// `[layout.len()]`, a scalar is none, or there are more or fewer of either.
    fn update(
        &self,
        g: &mut Graph,
        layout: &Layout,
        state: &OptimizerState,
        grads: Value,
        scalars: &[Value],
    ) -> Result<OptimizerState, Error>;
}

/// A sum of gradients after another part: `weight·grads`, added to `sum` where
/// the scalar `keep` is above 0, alone where it is not.
///
/// The same graph so serves the first part of a step and the others. With k
/// parts of one size and a weight of 1/k the sum is the gradient of the mean.
///
/// # Errors
/// [`Error::Shape`] where the gradients differ in shape, or a scalar is none.
pub fn accumulate(
    g: &mut Graph,
    sum: Value,
    grads: Value,
    keep: Value,
    weight: Value,
) -> Result<Value, Error> {
    let shape = g.shape(grads).to_vec();
    require(g, "accumulate", &[sum], &shape)?;
    require(g, "accumulate", &[keep, weight], &[])?;
    let part = g.mul(grads, weight)?;
    // chosen, not multiplied: a sum that overflowed ends with its step
    let zero = g.scalar(0.0);
    let keep = g.less(zero, keep)?;
    let kept = g.where_(keep, sum, zero)?;
    g.add(kept, part)
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

/// The moments and the scalars as arrays, once all shapes are found right.
fn checked<const M: usize, const S: usize>(
    g: &Graph,
    operator: &'static str,
    layout: &Layout,
    (state, grads): (&OptimizerState, Value),
    scalars: &[Value],
) -> Result<([Value; M], [Value; S]), Error> {
    let (Ok(moments), Ok(fed)) = (state.moments[..].try_into(), scalars.try_into()) else {
        let received: Vec<&TensorType> =
            state.moments.iter().chain(scalars).map(|&v| g.ty(v)).collect();
        return Err(Error::shape(operator, format!("{M} moments and {S} scalars"), &received));
    };
    let flat = [layout.len()];
    require(g, operator, &[state.params, grads], &flat)?;
    require(g, operator, &state.moments, &flat)?;
    require(g, operator, scalars, &[])?;
    Ok((moments, fed))
}

fn require(
    g: &Graph,
    operator: &'static str,
    values: &[Value],
    shape: &[usize],
) -> Result<(), Error> {
    if values.iter().all(|&v| g.shape(v) == shape) {
        return Ok(());
    }
    let received: Vec<_> = values.iter().map(|&v| g.ty(v)).collect();
    Err(Error::shape(operator, format!("the shape {shape:?}"), &received))
}

/// A flat value cut in the range that weight decay concerns and the rest.
fn cut(g: &mut Graph, layout: &Layout, flat: Value) -> Result<[Value; 2], Error> {
    let (decayed, len) = (layout.decayed(), layout.len());
    let parts = g.split(flat, 0, &[decayed, len - decayed])?;
    Ok([parts[0], parts[1]])
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
