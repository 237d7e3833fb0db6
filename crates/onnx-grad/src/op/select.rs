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
    /// The upper or the lower triangle of the last two axes of `x`, of `f32` or
    /// `i64`, zero elsewhere; `k` moves the diagonal that is kept to the right.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are not two axes, [`Error::ElementType`]
    /// where `x` is of another type.
    ///
    /// # Source
    /// ONNX `Trilu`, as a `Where` on the places of rows and columns.
    pub fn trilu(&mut self, x: Value, upper: bool, k: i64) -> Result<Value, Error> {
        let ty = self.ty(x);
        let &[.., rows, columns] = &ty.shape[..] else {
            return Err(Error::shape("Trilu", "two axes", &[ty]));
        };
        let zero = match ty.element {
            ElementType::F32 => self.scalar(0.0),
            ElementType::I64 => self.constant_i64(&[], &[0])?,
            _ => return Err(Error::element_type("Trilu", "F32 or I64", &[ty])),
        };
        let diagonal: Vec<i64> = (0..rows as i64).map(|i| i.saturating_add(k)).collect();
        let places: Vec<i64> = (0..columns as i64).collect();
        let diagonal = self.constant_i64(&[rows, 1], &diagonal)?;
        let places = self.constant_i64(&[columns], &places)?;
        let kept = if upper {
            self.less_or_equal(diagonal, places)?
        } else {
            self.less_or_equal(places, diagonal)?
        };
        self.where_(kept, x, zero)
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
