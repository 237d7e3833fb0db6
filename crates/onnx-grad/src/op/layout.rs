//! Operators that keep the elements and change their arrangement.

use super::{Attribute, Op, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{self, TensorType, broadcast, count};

/// The same elements in row-major order under another shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reshape {
    pub shape: Vec<usize>,
}

impl Operator for Reshape {
    fn name(&self) -> &'static str {
        "Reshape"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if count(&x.shape) == count(&self.shape) => {
                Ok(vec![TensorType::new(x.element, self.shape.clone())])
            }
            _ => {
                let required = format!("as many elements as {:?}", self.shape);
                Err(Error::shape("Reshape", required, inputs))
            }
        }
    }

    fn constants(&self) -> Vec<Tensor> {
        vec![Tensor::integers(&self.shape)]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let shape = g.shape(node.inputs[0]).to_vec();
        Ok(vec![Some(g.reshape(dy, &shape)?)])
    }
}

/// Axis `i` of the result is axis `perm[i]` of the operand.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Transpose {
    perm: Vec<usize>,
}

impl Transpose {
    pub fn perm(&self) -> &[usize] {
        &self.perm
    }

    /// Whether it exchanges the last two axes and nothing else.
    pub fn swaps_last_two(&self) -> bool {
        match self.perm.split_last_chunk::<2>() {
            Some((rest, &[a, b])) => {
                a == b + 1 && b == rest.len() && rest.iter().enumerate().all(|(i, &p)| i == p)
            }
            None => false,
        }
    }

    fn inverse(&self) -> Vec<usize> {
        let mut inverse = vec![0; self.perm.len()];
        for (i, &p) in self.perm.iter().enumerate() {
            inverse[p] = i;
        }
        inverse
    }
}

impl Operator for Transpose {
    fn name(&self) -> &'static str {
        "Transpose"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let mut sorted = self.perm.clone();
        sorted.sort_unstable();
        match inputs {
            [x] if sorted.iter().copied().eq(0..x.shape.len()) => {
                let shape: Vec<usize> = self.perm.iter().map(|&p| x.shape[p]).collect();
                Ok(vec![TensorType::new(x.element, shape)])
            }
            _ => {
                let required = format!("axes that {:?} permutes", self.perm);
                Err(Error::shape("Transpose", required, inputs))
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("perm", Attribute::ints(&self.perm))]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let dx = if self.swaps_last_two() {
            super::matmul::transposed(g, dy)?
        } else {
            g.transpose(dy, &self.inverse())?
        };
        Ok(vec![Some(dx)])
    }
}

/// The operand repeated to the shape that it and `shape` broadcast to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Expand {
    pub shape: Vec<usize>,
}

impl Operator for Expand {
    fn name(&self) -> &'static str {
        "Expand"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let required = || format!("a shape that broadcasts to {:?}", self.shape);
        let wrong = || Error::shape("Expand", required(), inputs);
        let [x] = inputs else { return Err(wrong()) };
        let shape = broadcast(&x.shape, &self.shape).ok_or_else(wrong)?;
        Ok(vec![TensorType::new(x.element, shape)])
    }

    fn constants(&self) -> Vec<Tensor> {
        vec![Tensor::integers(&self.shape)]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let shape = g.shape(node.inputs[0]).to_vec();
        Ok(vec![Some(g.sum_to(dy, &shape)?)])
    }
}

impl Graph {
    /// The elements of `x` in row-major order under another shape.
    ///
    /// # Errors
    /// [`Error::Shape`] where the number of elements differs.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Result<Value, Error> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        let shape = shape.to_vec();
        // of two Reshapes in a row only the second matters
        let source = match self.producer(x).map(|node| (&node.op, &node.inputs[..])) {
            Some((Op::Reshape(_), &[source])) => source,
            _ => x,
        };
        if self.shape(source) == shape {
            return Ok(source);
        }
        if let Some(matrices) = self.folded_for_swap(source)
            && let ([.., rows, columns], [lead @ .., c, d]) = (self.shape(matrices), &shape[..])
            && (rows, columns) == (d, c)
        {
            let matrices = self.reshape(matrices, &[lead, &[*d, *c]].concat())?;
            return self.swap_last_two(matrices);
        }
        self.apply(Reshape { shape }, &[source])
    }

    /// What a value is the matrices of, their leading axes folded into one and their
    /// rows and columns exchanged, as PyTorch exports transposed keys.
    fn folded_for_swap(&self, x: Value) -> Option<Value> {
        let (Op::Transpose(swap), &[folded]) =
            self.producer(x).map(|node| (&node.op, &node.inputs[..]))?
        else {
            return None;
        };
        let (Op::Reshape(_), &[matrices]) =
            self.producer(folded).map(|node| (&node.op, &node.inputs[..]))?
        else {
            return None;
        };
        let last_two = |x: Value| self.shape(x).last_chunk::<2>();
        let same = last_two(folded) == last_two(matrices);
        (swap.swaps_last_two() && same).then_some(matrices)
    }

    /// `x` with its axes permuted: axis `i` of the result is axis `perm[i]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `perm` does not permute the axes of `x`.
    pub fn transpose(&mut self, x: Value, perm: &[usize]) -> Result<Value, Error> {
        let op = Transpose { perm: perm.to_vec() };
        // a Transpose that undoes the one before it gives the source back
        match self.producer(x).map(|node| (&node.op, &node.inputs[..])) {
            Some((Op::Transpose(first), &[source])) if first.inverse() == perm => Ok(source),
            _ => self.apply(op, &[x]),
        }
    }

    pub(super) fn swap_last_two(&mut self, x: Value) -> Result<Value, Error> {
        let mut perm: Vec<usize> = (0..self.shape(x).len()).collect();
        if let Some(last) = perm.last_chunk_mut::<2>() {
            last.swap(0, 1);
        }
        self.transpose(x, &perm)
    }

    /// `x` repeated along its axes of size one, and along new leading axes, to
    /// `shape`.
    ///
    /// # Errors
    /// [`Error::Shape`] where `x` does not broadcast to `shape`.
    pub fn expand(&mut self, x: Value, shape: &[usize]) -> Result<Value, Error> {
        if self.shape(x) == shape {
            return Ok(x);
        }
        let shape = shape.to_vec();
        self.apply(Expand { shape }, &[x])
    }

    /// `x` as a matrix: the axes before `axis` in its rows, the others in its
    /// columns; `axis` may be the rank, and is counted from the back where negative.
    ///
    /// # Errors
    /// [`Error::Shape`] where the axis is absent.
    pub fn flatten(&mut self, x: Value, axis: i64) -> Result<Value, Error> {
        let ty = self.ty(x);
        let rank = ty.shape.len();
        let axis = if axis == rank as i64 { rank } else { shape::axis("Flatten", axis, ty)? };
        let (rows, columns) = ty.shape.split_at(axis);
        let shape = [count(rows), count(columns)];
        self.reshape(x, &shape)
    }

    /// `x` without these axes of size one.
    ///
    /// # Errors
    /// [`Error::Shape`] where an axis is absent, named twice or not of size one.
    pub fn squeeze(&mut self, x: Value, axes: &[i64]) -> Result<Value, Error> {
        let ty = self.ty(x);
        let axes = shape::axes("Squeeze", axes, ty)?;
        if axes.iter().any(|&a| ty.shape[a] != 1) {
            let required = format!("size 1 along the axes {axes:?}");
            return Err(Error::shape("Squeeze", required, &[ty]));
        }
        let kept = (0..ty.shape.len()).filter(|a| !axes.contains(a));
        let shape: Vec<usize> = kept.map(|a| ty.shape[a]).collect();
        self.reshape(x, &shape)
    }

    /// `x` with axes of size one put in, at these places of the result.
    ///
    /// # Errors
    /// [`Error::Shape`] where a place is absent from the result or named twice.
    pub fn unsqueeze(&mut self, x: Value, axes: &[i64]) -> Result<Value, Error> {
        let ty = self.ty(x);
        let rank = ty.shape.len() + axes.len();
        let result = TensorType::new(ty.element, vec![1; rank]);
        let axes = shape::axes("Unsqueeze", axes, &result)?;
        let mut shape = ty.shape.clone();
        for &axis in &axes {
            shape.insert(axis, 1);
        }
        self.reshape(x, &shape)
    }
}
