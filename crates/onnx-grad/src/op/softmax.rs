//! Softmax and its logarithm.

use super::{Attribute, KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{self, ElementType, TensorType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Softmax {
    axis: usize,
    log: bool,
}

impl Softmax {
    /// Whether it is the softmax itself along an axis, not its logarithm.
    pub fn is_of_axis(&self, axis: usize) -> bool {
        self.axis == axis && !self.log
    }
}

impl Operator for Softmax {
    fn name(&self) -> &'static str {
        if self.log { "LogSoftmax" } else { "Softmax" }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.element != ElementType::F32 => {
                Err(Error::element_type(self.name(), "F32", inputs))
            }
            [x] if self.axis < x.shape.len() => Ok(vec![(*x).clone()]),
            _ => {
                let required = format!("an axis {}", self.axis);
                Err(Error::shape(self.name(), required, inputs))
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let y = node.outputs[0];
        let axes = [self.axis as i64];
        let last = self.axis + 1 == g.shape(y).len();
        let dx = if g.kernels() && last && !self.log {
            g.apply(SoftmaxGrad, &[dy, y])?
        } else if self.log {
            // dy − softmax(x) · Σ dy
            let total = g.reduce_sum(dy, &axes, true)?;
            let softmax = g.exp(y)?;
            let share = g.mul(softmax, total)?;
            g.sub(dy, share)?
        } else {
            // y · (dy − Σ dy·y)
            let aligned = g.mul(dy, y)?;
            let total = g.reduce_sum(aligned, &axes, true)?;
            let rest = g.sub(dy, total)?;
            g.mul(rest, y)?
        };
        Ok(vec![Some(dx)])
    }
}

/// The cotangent of x, from that of y and y = softmax(x) along the last axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SoftmaxGrad;

impl Operator for SoftmaxGrad {
    fn name(&self) -> &'static str {
        "SoftmaxGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.last().map(|&y| y.clone()).into_iter().collect())
    }
}

impl Graph {
    /// exp x, divided by its sum over an axis.
    ///
    /// # Errors
    /// [`Error::Shape`] where the axis is absent, [`Error::ElementType`] where
    /// `x` is not `f32`.
    pub fn softmax(&mut self, x: Value, axis: i64) -> Result<Value, Error> {
        let axis = shape::axis("Softmax", axis, self.ty(x))?;
        self.apply(Softmax { axis, log: false }, &[x])
    }

    /// The logarithm of [`Graph::softmax`], safe against overflow.
    ///
    /// # Errors
    /// As [`Graph::softmax`].
    pub fn log_softmax(&mut self, x: Value, axis: i64) -> Result<Value, Error> {
        let axis = shape::axis("LogSoftmax", axis, self.ty(x))?;
        self.apply(Softmax { axis, log: true }, &[x])
    }
}
