//! A loss made larger, so that f16 can hold its gradient.

use crate::Error;
use crate::graph::{Graph, Value};

/// Dynamic loss scaling: the scale doubles after `interval` steps whose gradient
/// was finite, and halves at each one that was not, which is passed over.
///
/// # Source
/// Micikevicius et al. 2018, *Mixed precision training*, section 3.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossScale {
    /// The first scale.
    pub first: f32,
    /// The steps after which it doubles.
    pub interval: u32,
}

/// What [`LossScale::unscale`] returns.
#[derive(Clone, Copy, Debug)]
pub struct Unscaled {
    /// The gradient of the loss as it was; not finite where `finite` is false.
    pub grads: Value,
    /// Whether the update may be made, a `Bool` scalar.
    pub finite: Value,
    /// The state after the step, of shape `[2]`.
    pub state: Value,
}

/// The largest scale: f32 holds the products of any loss with it.
const MOST: f32 = 16_777_216.0;

impl Default for LossScale {
    /// From 65,536 on, doubled after 2,000 steps.
    fn default() -> Self {
        Self { first: 65_536.0, interval: 2000 }
    }
}

impl LossScale {
    /// The state before the first step: the scale, and the finite steps since it
    /// last changed.
    pub fn initial(&self) -> [f32; 2] {
        [self.first, 0.0]
    }

    /// The loss times the scale.
    ///
    /// # Errors
    /// [`Error::Shape`] where the state is not of shape `[2]`.
    pub fn scale(&self, g: &mut Graph, state: Value, loss: Value) -> Result<Value, Error> {
        let [scale, _] = parts(g, state)?;
        g.mul(loss, scale)
    }

    /// The gradient of the scaled loss brought back to that of the loss.
    ///
    /// # Errors
    /// [`Error::Shape`] where the state is not of shape `[2]`.
    pub fn unscale(&self, g: &mut Graph, state: Value, grads: Value) -> Result<Unscaled, Error> {
        let [scale, steps] = parts(g, state)?;
        let grads = g.div(grads, scale)?;
        let finite = all_finite(g, grads)?;
        let zero = g.scalar(0.0);

        let [one, half, two, most] = [1.0, 0.5, 2.0, MOST].map(|x| g.scalar(x));
        let steps = g.add(steps, one)?;
        let interval = g.scalar(self.interval as f32);
        let waits = g.less(steps, interval)?;
        let doubled = g.mul(scale, two)?;
        let doubled = g.minimum(doubled, most)?;
        let grown = g.where_(waits, scale, doubled)?;
        let counted = g.where_(waits, steps, zero)?;
        let halved = g.mul(scale, half)?;
        let halved = g.maximum(halved, one)?;
        let scale = g.where_(finite, grown, halved)?;
        let steps = g.where_(finite, counted, zero)?;
        let (scale, steps) = (g.reshape(scale, &[1])?, g.reshape(steps, &[1])?);
        Ok(Unscaled { grads, finite, state: g.concat(&[scale, steps], 0)? })
    }
}

/// Whether all elements are finite, a `Bool` scalar.
///
/// # Errors
/// [`Error`] where `x` is of no float type.
pub fn all_finite(g: &mut Graph, x: Value) -> Result<Value, Error> {
    // x − x is 0 where x is finite, and not a number elsewhere
    let axes: Vec<i64> = (0..g.shape(x).len() as i64).collect();
    let difference = g.sub(x, x)?;
    let total = g.reduce_sum(difference, &axes, false)?;
    let zero = g.scalar(0.0);
    g.equal(total, zero)
}

/// The scale and the steps of a state, scalars.
fn parts(g: &mut Graph, state: Value) -> Result<[Value; 2], Error> {
    let parts = g.split(state, 0, &[1, 1])?;
    Ok([g.reshape(parts[0], &[])?, g.reshape(parts[1], &[])?])
}
