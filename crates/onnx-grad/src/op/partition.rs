//! Operators that cut tensors along an axis and join them.

use super::{Attribute, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{self, TensorType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Concat {
    axis: usize,
}

impl Operator for Concat {
    fn name(&self) -> &'static str {
        "Concat"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let required = || format!("operands that differ along axis {} alone", self.axis);
        let wrong = || Error::shape("Concat", required(), inputs);
        let (first, rest) = inputs.split_first().ok_or_else(wrong)?;
        let mut result = (*first).clone();
        for x in rest {
            let mut expected = x.shape.clone();
            match (expected.get_mut(self.axis), first.shape.get(self.axis)) {
                (Some(size), Some(&reference)) => *size = reference,
                _ => return Err(wrong()),
            }
            if expected != first.shape || x.element != first.element {
                return Err(wrong());
            }
            let size = &mut result.shape[self.axis];
            *size = size.saturating_add(x.shape[self.axis]);
        }
        Ok(vec![result])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let size = |&x: &Value| g.shape(x)[self.axis];
        let sizes: Vec<usize> = node.inputs.iter().map(size).collect();
        let parts = g.split(dy, self.axis as i64, &sizes)?;
        Ok(parts.into_iter().map(Some).collect())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Split {
    axis: usize,
    sizes: Vec<usize>,
}

impl Split {
    /// The axis of a part, where it starts there and its size.
    pub fn part(&self, output: usize) -> Option<(usize, usize, usize)> {
        let start = self.sizes.get(..output)?.iter().sum();
        Some((self.axis, start, *self.sizes.get(output)?))
    }
}

impl Operator for Split {
    fn name(&self) -> &'static str {
        "Split"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let total = self.sizes.iter().fold(0usize, |sum, &size| sum.saturating_add(size));
        match inputs {
            [x] if x.shape.get(self.axis) == Some(&total) && !self.sizes.is_empty() => {
                let part = |&size: &usize| {
                    let mut part = (*x).clone();
                    part.shape[self.axis] = size;
                    part
                };
                Ok(self.sizes.iter().map(part).collect())
            }
            _ => {
                let required = format!("size {total} along axis {}", self.axis);
                Err(Error::shape("Split", required, inputs))
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    fn constants(&self) -> Vec<Tensor> {
        vec![Tensor::integers(&self.sizes)]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let parts = (0..self.sizes.len())
            .map(|part| node.cotangent(g, part))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(vec![Some(g.concat(&parts, self.axis as i64)?)])
    }
}

impl Graph {
    /// The operands one after another along an axis.
    ///
    /// # Errors
    /// [`Error::Shape`] where there are none, or they differ along another axis.
    pub fn concat(&mut self, operands: &[Value], axis: i64) -> Result<Value, Error> {
        let &first = operands.first().ok_or_else(|| Error::shape("Concat", "an operand", &[]))?;
        let axis = shape::axis("Concat", axis, self.ty(first))?;
        if operands.len() == 1 {
            return Ok(first);
        }
        self.apply(Concat { axis }, operands)
    }

    /// `x` cut along an axis into parts of these sizes.
    ///
    /// # Errors
    /// [`Error::Shape`] where the sizes do not add up to that of the axis.
    pub fn split(&mut self, x: Value, axis: i64, sizes: &[usize]) -> Result<Vec<Value>, Error> {
        let axis = shape::axis("Split", axis, self.ty(x))?;
        if sizes == [self.shape(x)[axis]] {
            return Ok(vec![x]);
        }
        let sizes = sizes.to_vec();
        self.apply_all(Split { axis, sizes }, &[x])
    }
}
