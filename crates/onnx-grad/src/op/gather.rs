//! Elements at places that are computed or stored.

use super::{Attribute, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{self, ElementType, TensorType, count};

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

/// One element of an axis for every index: the other places are those of the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct GatherElements {
    axis: usize,
}

impl Operator for GatherElements {
    fn name(&self) -> &'static str {
        "GatherElements"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let fits = |x: &TensorType, indices: &TensorType| {
            let sizes = x.shape.iter().zip(&indices.shape).enumerate();
            x.shape.len() == indices.shape.len()
                && sizes.fold(true, |fits, (a, (n, k))| fits && (a == self.axis || k <= n))
        };
        match inputs {
            [_, indices] if indices.element != ElementType::I64 => {
                Err(Error::element_type(self.name(), "indices of I64", inputs))
            }
            [x, indices] if fits(x, indices) => {
                Ok(vec![TensorType::new(x.element, indices.shape.clone())])
            }
            _ => {
                let required =
                    format!("indices no longer than the operand but along axis {}", self.axis);
                Err(Error::shape(self.name(), required, inputs))
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("axis", Attribute::Int(self.axis as i64))]
    }

    /// As for [`Gather`], with a matrix of its own for every line along the axis.
    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, indices) = (node.inputs[0], node.inputs[1]);
        let (shape, taken) = (g.shape(x).to_vec(), g.shape(indices).to_vec());
        // [axis, rest]: the column of a line's index is one in the line's matrix
        let mut perm: Vec<usize> = (0..shape.len()).filter(|&a| a != self.axis).collect();
        let lines: Vec<usize> = perm.iter().map(|&a| taken[a]).collect();
        perm.push(self.axis);
        let (count_lines, along) = (count(&lines), taken[self.axis]);
        let flat = g.transpose(indices, &perm)?;
        let flat = g.reshape(flat, &[count_lines * along])?;
        let depth = shape[self.axis];
        let chosen = g.apply(OneHot { depth }, &[flat])?;
        let chosen = g.reshape(chosen, &[depth, count_lines, along])?;
        let chosen = g.transpose(chosen, &[1, 0, 2])?;
        let dy = g.transpose(dy, &perm)?;
        let dy = g.reshape(dy, &[count_lines, along, 1])?;
        let dx = g.matmul(chosen, dy)?;
        let dx = g.reshape(dx, &[&lines[..], &[depth]].concat())?;
        let mut inverse = vec![0; perm.len()];
        for (to, &from) in perm.iter().enumerate() {
            inverse[from] = to;
        }
        let mut dx = g.transpose(dx, &inverse)?;
        for (axis, (&size, &part)) in shape.iter().zip(&taken).enumerate() {
            if axis != self.axis {
                dx = g.pad_zeros(dx, axis, 0, size - part)?;
            }
        }
        Ok(vec![Some(dx), None])
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

    /// For every `i64` index the element of `x` at its own place, but for the axis,
    /// where the index says it; negative ones count from the back.
    ///
    /// # Errors
    /// [`Error::Shape`] where the axis is absent, or the indices are longer than
    /// `x` along another axis; [`Error::ElementType`] where they are not `i64`.
    ///
    /// # Source
    /// ONNX `GatherElements`.
    pub fn gather_elements(&mut self, x: Value, indices: Value, axis: i64) -> Result<Value, Error> {
        let axis = shape::axis("GatherElements", axis, self.ty(x))?;
        self.apply(GatherElements { axis }, &[x, indices])
    }
}
