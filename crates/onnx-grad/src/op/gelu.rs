//! Gelu and its gradient, a kernel each.

use super::{KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

/// x Φ(x), from x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gelu;

impl Operator for Gelu {
    fn name(&self) -> &'static str {
        "Gelu"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.element == ElementType::F32 => Ok(vec![(*x).clone()]),
            _ => Err(Error::element_type(self.name(), "one F32", inputs)),
        }
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        Ok(vec![Some(g.apply(GeluGrad, &[dy, node.inputs[0]])?)])
    }
}

/// The cotangent of x, from that of y and x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GeluGrad;

impl Operator for GeluGrad {
    fn name(&self) -> &'static str {
        "GeluGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.last().map(|&x| x.clone()).into_iter().collect())
    }
}
