//! Elements put around a tensor, and taken off it.

use super::{Attribute, Float, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::TensorType;

/// What [`Graph::pad`] puts around a tensor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PadMode {
    /// One number.
    Constant(f32),
    /// The elements mirrored at the first and the last, which are not repeated.
    Reflect,
    /// The first and the last element, again and again.
    Edge,
}

/// What is put before and after along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Margin {
    axis: usize,
    before: usize,
    after: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Filling {
    Constant(Float),
    Reflect,
    Edge,
}

/// The margins of different axes; axes without one stay as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pad {
    rank: usize,
    margins: Vec<Margin>,
    filling: Filling,
}

impl Operator for Pad {
    fn name(&self) -> &'static str {
        "Pad"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let [x] = inputs else {
            return Err(Error::shape("Pad", "one operand", inputs));
        };
        if x.element != crate::ElementType::F32 {
            return Err(Error::element_type("Pad", "F32", inputs));
        }
        if x.shape.len() != self.rank {
            return Err(Error::shape("Pad", format!("{} axes", self.rank), inputs));
        }
        let mut result = (*x).clone();
        for &Margin { axis, before, after } in &self.margins {
            let size = x.shape.get(axis).copied().filter(|&n| match self.filling {
                Filling::Constant(_) => true,
                Filling::Reflect => before.max(after) < n,
                Filling::Edge => n > 0,
            });
            let padded = size.and_then(|n| n.checked_add(before)?.checked_add(after));
            result.shape[axis] = padded.ok_or_else(|| {
                let required = format!("an axis {axis} that {before} and {after} more can frame");
                Error::shape("Pad", required, inputs)
            })?;
        }
        Ok(vec![result])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mode = match self.filling {
            Filling::Constant(_) => "constant",
            Filling::Reflect => "reflect",
            Filling::Edge => "edge",
        };
        vec![("mode", Attribute::Text(mode))]
    }

    fn constants(&self) -> Vec<Tensor> {
        // not the margins and their axes: ONNX Runtime 1.31 moves a Transpose past
        // a Pad as if every axis had its margin
        let mut pads = vec![0; 2 * self.rank];
        for &Margin { axis, before, after } in &self.margins {
            pads[axis] = before;
            pads[self.rank + axis] = after;
        }
        let value = match self.filling {
            Filling::Constant(value) => value.0,
            _ => 0.0,
        };
        vec![Tensor::integers(&pads), Tensor::F32(Vec::new(), vec![value])]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let mut dx = node.cotangent(g, 0)?;
        let shape = g.shape(node.inputs[0]).to_vec();
        for margin in &self.margins {
            dx = self.fold(g, dx, margin, shape[margin.axis])?;
        }
        Ok(vec![Some(dx)])
    }
}

impl Pad {
    /// The cotangent of an axis of `size` elements: what each got in its own
    /// place and in the margins.
    fn fold(&self, g: &mut Graph, dy: Value, margin: &Margin, size: usize) -> Result<Value, Error> {
        let Margin { axis, before, after } = *margin;
        let along = axis as i64;
        let mut dx = g.slice(dy, along, before..before + size)?;
        for (count, first, behind) in [(before, 0, false), (after, before + size, true)] {
            if count == 0 {
                continue;
            }
            let (part, offset) = match self.filling {
                Filling::Constant(_) => continue,
                Filling::Edge => {
                    let part = g.slice(dy, along, first..first + count)?;
                    (g.reduce_sum(part, &[along], true)?, if behind { size - 1 } else { 0 })
                }
                Filling::Reflect => {
                    let mut starts = vec![0; g.shape(dy).len()];
                    let mut sizes = g.shape(dy).to_vec();
                    let mut steps = vec![1; sizes.len()];
                    (starts[axis], sizes[axis], steps[axis]) = (first + count - 1, count, -1);
                    let part = g.strided_slice(dy, &starts, &sizes, &steps)?;
                    (part, if behind { size - 1 - count } else { 1 })
                }
            };
            let rest = size - offset - g.shape(part)[axis];
            let part = g.pad_zeros(part, axis, offset, rest)?;
            dx = g.add(dx, part)?;
        }
        Ok(dx)
    }
}

impl Graph {
    /// `x` with so many zeros before and after along one axis: what undoes a slice.
    pub(crate) fn pad_zeros(
        &mut self,
        x: Value,
        axis: usize,
        before: usize,
        after: usize,
    ) -> Result<Value, Error> {
        if before == 0 && after == 0 {
            return Ok(x);
        }
        let margins = vec![Margin { axis, before, after }];
        let filling = Filling::Constant(Float(0.0));
        self.apply(Pad { rank: self.shape(x).len(), margins, filling }, &[x])
    }

    /// `x` with so many elements put before and after along every axis; where a
    /// number is negative, so many are taken off, before any are put.
    ///
    /// # Errors
    /// [`Error::Shape`] where a list has another length than the shape of `x`,
    /// nothing would be left of an axis, or a reflection needs more elements
    /// than there are; [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// ONNX `Pad`. There, as here, an axis is reflected once.
    pub fn pad(
        &mut self,
        x: Value,
        before: &[i64],
        after: &[i64],
        mode: PadMode,
    ) -> Result<Value, Error> {
        let shape = self.shape(x).to_vec();
        if [before.len(), after.len()] != [shape.len(); 2] {
            let required = "a number before and after for every axis";
            return Err(Error::shape("Pad", required, &[self.ty(x)]));
        }
        let added = |n: i64| usize::try_from(n).unwrap_or(0);
        let taken = |n: i64| added(n.saturating_neg());
        let (mut kept, mut margins) = (x, Vec::new());
        for (axis, size) in shape.into_iter().enumerate() {
            let (before, after) = (before[axis], after[axis]);
            let range = taken(before)..size.saturating_sub(taken(after));
            if range != (0..size) {
                kept = self.slice(kept, axis as i64, range)?;
            }
            let (before, after) = (added(before), added(after));
            if before > 0 || after > 0 {
                margins.push(Margin { axis, before, after });
            }
        }
        if margins.is_empty() {
            return Ok(kept);
        }
        let filling = match mode {
            PadMode::Constant(value) => Filling::Constant(Float(value)),
            PadMode::Reflect => Filling::Reflect,
            PadMode::Edge => Filling::Edge,
        };
        self.apply(Pad { rank: before.len(), margins, filling }, &[kept])
    }
}
