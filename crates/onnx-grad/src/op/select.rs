//! Operators that choose elements, limit them or change their type.

use super::{Attribute, Float, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{ElementType, TensorType, broadcast};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Where;

impl Operator for Where {
    fn name(&self) -> &'static str {
        "Where"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [condition, a, b] = inputs else {
            return Err(Error::shape("Where", "three operands", inputs));
        };
        if condition.element != ElementType::Bool || a.element != b.element {
            let required = "a Bool and two of one element type";
            return Err(Error::element_type("Where", required, inputs));
        }
        let shape = broadcast(&a.shape, &b.shape)
            .and_then(|shape| broadcast(&condition.shape, &shape))
            .ok_or_else(|| Error::shape("Where", "shapes that broadcast", inputs))?;
        Ok(vec![TensorType::new(a.element, shape)])
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (condition, zero) = (node.inputs[0], g.scalar(0.0));
        let mut cotangents = vec![None; 3];
        for (operand, (yes, no)) in [(1, (dy, zero)), (2, (zero, dy))] {
            if node.wanted[operand] {
                let part = g.where_(condition, yes, no)?;
                let shape = g.shape(node.inputs[operand]).to_vec();
                cotangents[operand] = Some(g.sum_to(part, &shape)?);
            }
        }
        Ok(cotangents)
    }
}

/// A triangle of the last two axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Trilu {
    upper: bool,
    k: i64,
}

impl Operator for Trilu {
    fn name(&self) -> &'static str {
        "Trilu"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.shape.len() >= 2 => Ok(vec![(*x).clone()]),
            _ => Err(Error::shape("Trilu", "two axes", inputs)),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("upper", Attribute::Int(self.upper.into()))]
    }

    fn constants(&self) -> Vec<Tensor> {
        // beyond any diagonal there is, and far from what would overflow
        let k = self.k.clamp(-(1 << 40), 1 << 40);
        vec![Tensor::I64(Vec::new(), vec![k])]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        Ok(vec![Some(g.apply(*self, &[dy])?)])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Cast {
    to: ElementType,
}

impl Operator for Cast {
    fn name(&self) -> &'static str {
        "Cast"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let cast = |x: &&TensorType| TensorType::new(self.to, x.shape.clone());
        Ok(inputs.iter().map(cast).collect())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("to", Attribute::Int(self.to.code().into()))]
    }

    /// A cast to or from whole numbers is flat almost everywhere.
    fn vjp(&self, _g: &mut Graph, _node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        Ok(vec![None])
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Clip {
    least: Float,
    most: Float,
}

impl Operator for Clip {
    fn name(&self) -> &'static str {
        "Clip"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.element == ElementType::F32 => Ok(vec![(*x).clone()]),
            _ => Err(Error::element_type("Clip", "one F32", inputs)),
        }
    }

    fn constants(&self) -> Vec<Tensor> {
        [self.least, self.most].map(|limit| Tensor::F32(Vec::new(), vec![limit.0])).into()
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let within = g.equal(node.inputs[0], node.outputs[0])?;
        let zero = g.scalar(0.0);
        Ok(vec![Some(g.where_(within, dy, zero)?)])
    }
}

impl Graph {
    /// The upper or the lower triangle of the last two axes of `x`, of any type,
    /// zero elsewhere; `k` moves the last diagonal that is kept to the right.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not two axes.
    ///
    /// # Source
    /// ONNX `Trilu`.
    pub fn trilu(&mut self, x: Value, upper: bool, k: i64) -> Result<Value, Error> {
        self.apply(Trilu { upper, k }, &[x])
    }

    /// `a` where the condition holds, else `b`; all three broadcast.
    ///
    /// # Errors
    /// [`Error::Shape`] where they do not broadcast, [`Error::ElementType`]
    /// where `a` and `b` differ or the condition is not `Bool`.
    pub fn where_(&mut self, condition: Value, a: Value, b: Value) -> Result<Value, Error> {
        self.apply(Where, &[condition, a, b])
    }

    /// `x` in another element type. No cotangent passes a cast.
    ///
    /// # Errors
    /// None at present.
    pub fn cast(&mut self, x: Value, to: ElementType) -> Result<Value, Error> {
        if self.element_type(x) == to {
            return Ok(x);
        }
        self.apply(Cast { to }, &[x])
    }

    /// `x` limited to `least..=most`; outside them the slope is 0.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    pub fn clip(&mut self, x: Value, least: f32, most: f32) -> Result<Value, Error> {
        let (least, most) = (Float(least), Float(most));
        self.apply(Clip { least, most }, &[x])
    }
}
