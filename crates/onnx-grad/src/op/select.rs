//! Operators that choose elements, limit them or change their type.

use super::{Attribute, Float, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{self, ElementType, TensorType, broadcast, count};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gather {
    axis: usize,
}

impl Operator for Gather {
    fn name(&self) -> &'static str {
        "Gather"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [_, indices] if indices.element != ElementType::I64 => {
                Err(Error::element_type("Gather", "indices of I64", inputs))
            }
            [x, indices] if self.axis < x.shape.len() => {
                let mut shape = x.shape.clone();
                shape.splice(self.axis..=self.axis, indices.shape.iter().copied());
                Ok(vec![TensorType::new(x.element, shape)])
            }
            _ => Err(Error::shape("Gather", format!("an axis {}", self.axis), inputs)),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    /// A product with the matrix that is one where a row was taken: unlike a
    /// scatter it gives the same bits every time, on every device.
    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, indices) = (node.inputs[0], node.inputs[1]);
        let shape = g.shape(x).to_vec();
        let taken = count(g.shape(indices));
        let (before, after) = (count(&shape[..self.axis]), count(&shape[self.axis + 1..]));
        let depth = shape[self.axis];
        let indices = g.reshape(indices, &[taken])?;
        let chosen = g.apply(OneHot { depth }, &[indices])?;
        let dy = g.reshape(dy, &[before, taken, after])?;
        let dx = g.matmul(chosen, dy)?;
        Ok(vec![Some(g.reshape(dx, &shape)?), None])
    }
}

/// `[depth, n]` from n indices: one where the row is the column's index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OneHot {
    depth: usize,
}

impl Operator for OneHot {
    fn name(&self) -> &'static str {
        "OneHot"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [indices] if indices.shape.len() == 1 => {
                let shape = [self.depth, indices.shape[0]];
                Ok(vec![TensorType::new(ElementType::F32, shape)])
            }
            _ => Err(Error::shape("OneHot", "a vector of indices", inputs)),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(0))]
    }

    fn constants(&self) -> Vec<Tensor> {
        vec![Tensor::integers(&[self.depth]), Tensor::F32(vec![2], vec![0.0, 1.0])]
    }
}

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
    /// The elements of `x`, of any type, at these `i64` places of an axis; the
    /// shape of the indices, `[]` for a single one, takes the place of the axis.
    ///
    /// ONNX counts negative indices from the back, and so does this; constant ones
    /// are best made positive by whoever adds them, which shares the node.
    ///
    /// # Errors
    /// [`Error::Shape`] where the axis is absent, [`Error::ElementType`] where
    /// the indices are not `i64`.
    pub fn gather(&mut self, x: Value, indices: Value, axis: i64) -> Result<Value, Error> {
        let axis = shape::axis("Gather", axis, self.ty(x))?;
        self.apply(Gather { axis }, &[x, indices])
    }

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
