//! Sums, means, maxima and norms over axes.

use super::{Attribute, Operator, Pullback, Unary};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{self, ElementType, TensorType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    L1,
    L2,
    Max,
    Mean,
    Min,
    Sum,
    SumSquare,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::L1 => "ReduceL1",
            Self::L2 => "ReduceL2",
            Self::Max => "ReduceMax",
            Self::Mean => "ReduceMean",
            Self::Min => "ReduceMin",
            Self::Sum => "ReduceSum",
            Self::SumSquare => "ReduceSumSquare",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Reduce {
    kind: Kind,
    axes: Vec<usize>,
    keep: bool,
}

impl Reduce {
    /// The operand's shape with the reduced axes as ones.
    fn kept(&self, shape: &[usize]) -> Vec<usize> {
        let mut kept = shape.to_vec();
        for &axis in &self.axes {
            kept[axis] = 1;
        }
        kept
    }
}

impl Operator for Reduce {
    fn name(&self) -> &'static str {
        self.kind.name()
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = inputs else {
            return Err(Error::shape(self.name(), "one operand", inputs));
        };
        if x.element != ElementType::F32 {
            return Err(Error::element_type(self.name(), "F32", inputs));
        }
        if self.axes.last().is_some_and(|&last| last >= x.shape.len()) {
            let required = format!("axes {:?}", self.axes);
            return Err(Error::shape(self.name(), required, inputs));
        }
        let mut shape = self.kept(&x.shape);
        if !self.keep {
            let mut axis = 0..;
            shape.retain(|_| axis.next().is_none_or(|a| !self.axes.contains(&a)));
        }
        Ok(vec![TensorType::new(x.element, shape)])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("keepdims", Attribute::Int(self.keep.into()))]
    }

    fn constants(&self) -> Vec<Tensor> {
        vec![Tensor::integers(&self.axes)]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let (x, y) = (node.inputs[0], node.outputs[0]);
        let shape = g.shape(x).to_vec();
        let kept = self.kept(&shape);
        let dy = node.cotangent(g, 0)?;
        let dy = g.reshape(dy, &kept)?;
        let y = g.reshape(y, &kept)?;
        let dx = match self.kind {
            Kind::Sum => g.expand(dy, &shape)?,
            Kind::Mean => {
                let count = shape::count(&shape) / shape::count(&kept).max(1);
                let inverse = g.scalar(1.0 / count as f32);
                let share = g.mul(dy, inverse)?;
                g.expand(share, &shape)?
            }
            Kind::Max | Kind::Min => {
                // ties share the cotangent
                let hit = g.equal(x, y)?;
                let hit = g.cast(hit, ElementType::F32)?;
                let axes: Vec<i64> = self.axes.iter().map(|&a| a as i64).collect();
                let ties = g.reduce_sum(hit, &axes, true)?;
                let share = g.div(dy, ties)?;
                g.mul(hit, share)?
            }
            Kind::L1 => {
                let sign = g.apply(Unary::Sign, &[x])?;
                g.mul(dy, sign)?
            }
            Kind::SumSquare => {
                let two = g.scalar(2.0);
                let doubled = g.mul(dy, two)?;
                g.mul(x, doubled)?
            }
            Kind::L2 => {
                // the norm has no slope at the origin: zero is a subgradient
                let zero = g.scalar(0.0);
                let origin = g.equal(y, zero)?;
                let quotient = g.div(dy, y)?;
                let share = g.where_(origin, zero, quotient)?;
                g.mul(x, share)?
            }
        };
        Ok(vec![Some(dx)])
    }
}

impl Graph {
    fn reduce(&mut self, kind: Kind, x: Value, axes: &[i64], keep: bool) -> Result<Value, Error> {
        let axes = shape::axes(kind.name(), axes, self.ty(x))?;
        if axes.is_empty() {
            // ONNX reads an empty list of axes as all of them
            return match kind {
                Kind::L1 | Kind::L2 => self.abs(x),
                Kind::SumSquare => self.mul(x, x),
                Kind::Max | Kind::Mean | Kind::Min | Kind::Sum => Ok(x),
            };
        }
        self.apply(Reduce { kind, axes, keep }, &[x])
    }

    /// The sum of absolute values over the axes; the slope at 0 is taken as 0.
    ///
    /// # Errors
    /// As [`Graph::reduce_l2`].
    pub fn reduce_l1(&mut self, x: Value, axes: &[i64], keepdims: bool) -> Result<Value, Error> {
        self.reduce(Kind::L1, x, axes, keepdims)
    }

    /// The L2 norm over the axes; its slope at the origin is taken as 0.
    ///
    /// The reduced axes stay as ones where `keepdims`, else they go. Axes may
    /// be counted from the back with negative numbers.
    ///
    /// # Errors
    /// [`Error::Shape`] where an axis is absent or named twice,
    /// [`Error::ElementType`] where `x` is not `f32`.
    pub fn reduce_l2(&mut self, x: Value, axes: &[i64], keepdims: bool) -> Result<Value, Error> {
        self.reduce(Kind::L2, x, axes, keepdims)
    }

    /// The maximum over the axes; ties share the cotangent evenly, where PyTorch's
    /// `amax` does so too and its `max` gives all to one.
    ///
    /// # Errors
    /// As [`Graph::reduce_l2`].
    pub fn reduce_max(&mut self, x: Value, axes: &[i64], keepdims: bool) -> Result<Value, Error> {
        self.reduce(Kind::Max, x, axes, keepdims)
    }

    /// The mean over the axes.
    ///
    /// # Errors
    /// As [`Graph::reduce_l2`].
    pub fn reduce_mean(&mut self, x: Value, axes: &[i64], keepdims: bool) -> Result<Value, Error> {
        self.reduce(Kind::Mean, x, axes, keepdims)
    }

    /// The minimum over the axes; ties share the cotangent evenly.
    ///
    /// # Errors
    /// As [`Graph::reduce_l2`].
    pub fn reduce_min(&mut self, x: Value, axes: &[i64], keepdims: bool) -> Result<Value, Error> {
        self.reduce(Kind::Min, x, axes, keepdims)
    }

    /// The sum over the axes.
    ///
    /// # Errors
    /// As [`Graph::reduce_l2`].
    pub fn reduce_sum(&mut self, x: Value, axes: &[i64], keepdims: bool) -> Result<Value, Error> {
        self.reduce(Kind::Sum, x, axes, keepdims)
    }

    /// The sum of squares over the axes.
    ///
    /// # Errors
    /// As [`Graph::reduce_l2`].
    pub fn reduce_sum_square(
        &mut self,
        x: Value,
        axes: &[i64],
        keepdims: bool,
    ) -> Result<Value, Error> {
        self.reduce(Kind::SumSquare, x, axes, keepdims)
    }
}
