//! Values as strided views of others: what stands behind transpositions, slices,
//! splits and reshapes that need no copy.

use crate::graph::{Graph, Value};
use crate::op::Op;
use crate::shape::count;

/// How many operators are looked behind.
const DEPTH: usize = 16;

/// The elements of a value as they lie in another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub base: Value,
    /// Where the first element lies.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Elements of the base from one place of an axis to the next.
    pub strides: Vec<usize>,
}

impl View {
    /// A value as it lies in itself.
    pub fn whole(g: &Graph, x: Value) -> Self {
        let shape = g.shape(x).to_vec();
        let mut strides = vec![1usize; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis].saturating_mul(shape[axis]);
        }
        Self { base: x, offset: 0, shape, strides }
    }

    /// A value as it lies in the one farthest back that holds all its elements.
    pub fn of(g: &Graph, x: Value) -> Self {
        let mut chain = Vec::new();
        let mut base = x;
        while chain.len() < DEPTH
            && let Some(node) = g.producer(base)
            && matches!(node.op, Op::Reshape(_) | Op::Slice(_) | Op::Split(_) | Op::Transpose(_))
        {
            chain.push((node, base));
            base = node.inputs[0];
        }
        let mut view = Self::whole(g, base);
        for (node, result) in chain.into_iter().rev() {
            let output = node.outputs.iter().position(|y| *y == result).unwrap_or(0);
            if view.narrow(&node.op, output).is_none() {
                view = Self::whole(g, result);
            }
        }
        view
    }

    /// What an operator's result is of the same base; `None` where it needs a copy.
    fn narrow(&mut self, op: &Op, output: usize) -> Option<()> {
        match op {
            Op::Reshape(reshape) => {
                self.strides = restride(&self.shape, &self.strides, &reshape.shape)?;
                self.shape = reshape.shape.clone();
            }
            Op::Slice(slice) => {
                for (axis, start, size, step) in slice.cuts() {
                    self.offset += start * self.strides[axis];
                    self.shape[axis] = size;
                    self.strides[axis] = self.strides[axis].checked_mul(step.try_into().ok()?)?;
                }
            }
            Op::Split(split) => {
                let (axis, start, size) = split.part(output)?;
                self.offset += start * self.strides[axis];
                self.shape[axis] = size;
            }
            Op::Transpose(transpose) => {
                let permuted = |list: &[usize]| transpose.perm().iter().map(|&p| list[p]).collect();
                (self.shape, self.strides) = (permuted(&self.shape), permuted(&self.strides));
            }
            _ => return None,
        }
        Some(())
    }
}

/// The strides of the same elements in the same order under another shape.
fn restride(shape: &[usize], strides: &[usize], wanted: &[usize]) -> Option<Vec<usize>> {
    if count(shape) == 0 {
        return None;
    }
    // axes that lie one within the other, as one
    let mut blocks: Vec<(usize, usize)> = Vec::new();
    for (&size, &stride) in shape.iter().zip(strides).filter(|(size, _)| **size != 1) {
        match blocks.last_mut() {
            Some((elements, outer)) if *outer == size * stride => {
                (*elements, *outer) = (*elements * size, stride);
            }
            _ => blocks.push((size, stride)),
        }
    }
    let mut blocks = blocks.into_iter();
    let (mut left, mut stride) = (1, 1);
    let axis = |&size: &usize| {
        if size == 1 {
            return Some(0);
        }
        if left == 1 {
            (left, stride) = blocks.next()?;
        }
        let whole = left.is_multiple_of(size);
        left /= size;
        whole.then_some(left * stride)
    };
    wanted.iter().map(axis).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::ElementType;

    /// The elements of a value that is a view, read from its base, which holds
    /// its own indices.
    fn elements(view: &View) -> Vec<usize> {
        let mut found = vec![view.offset];
        for (&size, &stride) in view.shape.iter().zip(&view.strides) {
            found = found.iter().flat_map(|at| (0..size).map(move |i| at + i * stride)).collect();
        }
        found
    }

    #[test]
    fn heads_of_packed_queries_lie_in_their_product() -> Result<(), crate::Error> {
        let mut g = Graph::new();
        let packed = g.input("qkv", ElementType::F32, &[2, 3, 24]);
        let x = g.reshape(packed, &[2, 3, 3, 2, 4])?;
        let x = g.transpose(x, &[2, 0, 3, 1, 4])?;
        let keys = g.slice(x, 0, 1..2)?;
        let keys = g.squeeze(keys, &[0])?;
        let view = View::of(&g, keys);
        assert_eq!(view.base, packed);
        assert_eq!((view.offset, &view.shape[..]), (8, &[2, 2, 3, 4][..]));
        assert_eq!(view.strides, [72, 4, 24, 1]);
        let parts = g.split(packed, -1, &[8, 8, 8])?;
        let keys = g.reshape(parts[1], &[2, 3, 2, 4])?;
        let keys = g.transpose(keys, &[0, 2, 1, 3])?;
        assert_eq!(View::of(&g, keys), view);
        assert_eq!(elements(&view)[..5], [8, 9, 10, 11, 32]);
        Ok(())
    }

    #[test]
    fn what_needs_a_copy_is_its_own_base() -> Result<(), crate::Error> {
        let mut g = Graph::new();
        let x = g.input("x", ElementType::F32, &[4, 6]);
        let turned = g.transpose(x, &[1, 0])?;
        let flat = g.reshape(turned, &[24])?;
        assert_eq!(View::of(&g, flat), View::whole(&g, flat));
        let back = g.reshape(turned, &[2, 3, 1, 4])?;
        let view = View::of(&g, back);
        assert_eq!((view.base, &view.strides[..]), (x, &[3, 1, 0, 6][..]));
        let reversed = g.strided_slice(x, &[0, 5], &[4, 6], &[1, -1])?;
        assert_eq!(View::of(&g, reversed).base, reversed);
        Ok(())
    }
}
