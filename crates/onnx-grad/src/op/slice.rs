//! Parts of tensors, and the way back: putting a part among zeros.

use std::ops::Range;

use super::{Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{self, TensorType};

/// What is taken of one axis: `start`, `start + step` and so on, `size` of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Cut {
    axis: usize,
    start: usize,
    size: usize,
    step: i64,
}

impl Cut {
    /// The last place taken, where there is one and it is not negative.
    fn last(&self) -> Option<usize> {
        let steps = i64::try_from(self.size.checked_sub(1)?).ok()?;
        let start = i64::try_from(self.start).ok()?;
        usize::try_from(start.checked_add(steps.checked_mul(self.step)?)?).ok()
    }

    /// The first and the last place that ONNX is told, the latter not taken; one
    /// before the first element is written as far before the front.
    fn ends(&self) -> [i64; 2] {
        let last = self.last().map_or(0, |last| last as i64);
        let end = if self.step > 0 { last + 1 } else { last - 1 };
        [self.start as i64, if end < 0 { i64::MIN + 1 } else { end }]
    }
}

/// The cuts of different axes; axes without one stay whole.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slice {
    cuts: Vec<Cut>,
}

impl Slice {
    /// The axes that are cut: where from, how many places and in which steps.
    pub fn cuts(&self) -> impl Iterator<Item = (usize, usize, usize, i64)> {
        self.cuts.iter().map(|cut| (cut.axis, cut.start, cut.size, cut.step))
    }
}

impl Operator for Slice {
    fn name(&self) -> &'static str {
        "Slice"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = inputs else {
            return Err(Error::shape("Slice", "one operand", inputs));
        };
        let mut result = (*x).clone();
        for cut in &self.cuts {
            let Cut { axis, start, size, step } = *cut;
            let within = |place: usize| x.shape.get(axis).is_some_and(|&n| place < n);
            if step == 0 || !within(start) || !cut.last().is_some_and(within) {
                let required = format!(
                    "{size} places from {start} in steps of {step} within axis {axis}, not empty"
                );
                return Err(Error::shape("Slice", required, inputs));
            }
            result.shape[axis] = size;
        }
        Ok(vec![result])
    }

    fn constants(&self) -> Vec<Tensor> {
        let list =
            |f: fn(&Cut) -> i64| Tensor::integers(&self.cuts.iter().map(f).collect::<Vec<_>>());
        vec![
            list(|cut| cut.ends()[0]),
            list(|cut| cut.ends()[1]),
            list(|cut| cut.axis as i64),
            list(|cut| cut.step),
        ]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let mut dx = node.cotangent(g, 0)?;
        let shape = g.shape(node.inputs[0]).to_vec();
        for cut in &self.cuts {
            dx = g.place(dx, cut, shape[cut.axis])?;
        }
        Ok(vec![Some(dx)])
    }
}

impl Graph {
    /// `x` at the places of a cut among zeros, along an axis of `size` elements.
    fn place(&mut self, x: Value, cut: &Cut, size: usize) -> Result<Value, Error> {
        let Cut { axis, start, step, .. } = *cut;
        let (mut x, mut first) = (x, start);
        if step < 0 && cut.size > 1 {
            let back = Cut { axis, start: cut.size - 1, size: cut.size, step: -1 };
            x = self.apply(Slice { cuts: vec![back] }, &[x])?;
            first = cut.last().unwrap_or(0);
        }
        let step = if cut.size > 1 { step.unsigned_abs() as usize } else { 1 };
        let mut filled = cut.size;
        if step > 1 {
            // zeros after every element, as a new axis folded into this one
            let mut shape = self.shape(x).to_vec();
            shape.insert(axis + 1, 1);
            x = self.reshape(x, &shape)?;
            x = self.pad_zeros(x, axis + 1, 0, step - 1)?;
            shape.remove(axis + 1);
            shape[axis] = cut.size * step;
            x = self.reshape(x, &shape)?;
            // the zeros after the last element may not all have a place
            filled = shape[axis].min(size - first);
            x = self.slice(x, axis as i64, 0..filled)?;
        }
        let (before, after) = (first, size - first - filled);
        self.pad_zeros(x, axis, before, after)
    }

    /// The part of `x` within a range of an axis.
    ///
    /// # Errors
    /// [`Error::Shape`] where the range is empty or leaves the axis.
    pub fn slice(&mut self, x: Value, axis: i64, range: Range<usize>) -> Result<Value, Error> {
        let axis = shape::axis("Slice", axis, self.ty(x))?;
        if range == (0..self.shape(x)[axis]) {
            return Ok(x);
        }
        let size = range.end.saturating_sub(range.start);
        let cut = Cut { axis, start: range.start, size, step: 1 };
        self.apply(Slice { cuts: vec![cut] }, &[x])
    }

    /// The places `start`, `start + step` and so on of every axis, `size` of
    /// them: one number an axis in each list. Negative steps go backwards.
    ///
    /// # Errors
    /// [`Error::Shape`] where a list has another length than the shape of `x`,
    /// or an axis is left with nothing, left behind or passed in steps of 0.
    ///
    /// # Source
    /// ONNX `Slice`, with its ends as sizes; the rule back pads with zeros.
    pub fn strided_slice(
        &mut self,
        x: Value,
        starts: &[usize],
        sizes: &[usize],
        steps: &[i64],
    ) -> Result<Value, Error> {
        let shape = self.shape(x);
        let rank = shape.len();
        if [starts.len(), sizes.len(), steps.len()] != [rank; 3] {
            let required = "a start, a size and a step for every axis";
            return Err(Error::shape("Slice", required, &[self.ty(x)]));
        }
        let cuts: Vec<Cut> = (0..rank)
            .map(|axis| Cut { axis, start: starts[axis], size: sizes[axis], step: steps[axis] })
            .filter(|cut| (cut.start, cut.size, cut.step) != (0, shape[cut.axis], 1))
            .collect();
        if cuts.is_empty() {
            return Ok(x);
        }
        self.apply(Slice { cuts }, &[x])
    }
}
