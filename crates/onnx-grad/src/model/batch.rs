//! Frees a graph from the batch size that it was built with.
//!
//! The shapes are inferred again with other batch sizes fed to the inputs. An
//! axis that grows with them is symbolic; a node that refuses them ties the
//! graph to its batch. Only Reshape and Expand, which name their result's
//! shape, are written otherwise than they were built.

use std::collections::{HashMap, HashSet};

use crate::Error;
use crate::graph::{Graph, Node, Value};
use crate::op::{Expand, Op, Operator, Reshape};
use crate::shape::{TensorType, count};

/// Which sizes follow the batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    symbol: String,
    /// The shapes that Reshape nodes are written with.
    reshapes: HashMap<usize, Vec<i64>>,
    /// The Expand nodes whose first size is the batch.
    expands: HashSet<usize>,
    /// The types with the probing batch, empty where the batch is fixed.
    probed: Vec<TensorType>,
}

/// The size of an axis.
pub(super) enum Size<'a> {
    Fixed(usize),
    Symbol(&'a str),
}

impl Batch {
    /// The batch that the graph was built with.
    pub fn fixed() -> Self {
        Self::default()
    }

    /// Any batch, under a symbol.
    pub fn dynamic(g: &Graph, live: &[usize], symbol: &str) -> Result<Self, Error> {
        let batch = input_batch(g)?;
        let attempt = |repeats| {
            // a larger batch shows which axes follow it, and what merely has its
            // size; a batch of one shows what cuts a part out of it
            let found = Self::probe(g, live, batch, 2 * batch + 1, repeats)?;
            Self::probe(g, live, batch, 1, repeats)?;
            Ok(found)
        };
        // a first size that an Expand brings in may be the batch or a number
        // that equals it: the batch, where that fits all that follows
        let mut found = attempt(true).or_else(|error| attempt(false).map_err(|_: Error| error))?;
        found.symbol = symbol.to_owned();
        Ok(found)
    }

    fn probe(
        g: &Graph,
        live: &[usize],
        batch: usize,
        probe: usize,
        repeats: bool,
    ) -> Result<Self, Error> {
        let mut reshapes = HashMap::new();
        let mut expands = HashSet::new();
        let mut probed = g.types().to_vec();
        for input in g.inputs() {
            probed[input.index()].shape[0] = probe;
        }
        for &index in live {
            let node = &g.nodes()[index];
            let tied = |reason: String| Error::Batch {
                node: g.described(index),
                operator: node.op.rules().name(),
                batch,
                reason,
            };
            let operands: Vec<&TensorType> =
                node.inputs.iter().map(|v| &probed[v.index()]).collect();
            let results = match &node.op {
                Op::Reshape(op) => {
                    let target = follow(g, node, op, operands[0], batch, probe).map_err(tied)?;
                    let written = target.iter().map(|size| size.1).collect();
                    reshapes.insert(index, written);
                    let shape = target.iter().map(|size| size.0).collect();
                    Reshape { shape }.infer(&operands)
                }
                Op::Expand(op) => {
                    let mut shape = op.shape.clone();
                    let moved =
                        operands.first().map(|x| &x.shape) != Some(&g.ty(node.inputs[0]).shape);
                    if let Some(first) =
                        shape.first_mut().filter(|n| **n == batch && (repeats || moved))
                    {
                        *first = probe;
                        expands.insert(index);
                    }
                    Expand { shape }.infer(&operands)
                }
                op => op.rules().infer(&operands),
            };
            let results = results.map_err(|error| tied(error.to_string()))?;
            for (value, ty) in node.outputs.iter().zip(results) {
                probed[value.index()] = ty;
            }
        }
        for (name, value) in g.outputs() {
            let (built, now) = (g.shape(*value), &probed[value.index()].shape);
            let mut expected = built.to_vec();
            if let Some(first) = expected.first_mut().filter(|n| **n == batch) {
                *first = probe;
            }
            if *now != expected {
                return Err(Error::Batch {
                    node: name.clone(),
                    operator: "output",
                    batch,
                    reason: format!("{built:?} becomes {now:?} with a batch of {probe}"),
                });
            }
        }
        Ok(Self { symbol: String::new(), reshapes, expands, probed })
    }

    /// The shape that a Reshape node is written with, where it follows the batch.
    pub fn reshape(&self, node: usize) -> Option<&[i64]> {
        self.reshapes.get(&node).map(Vec::as_slice)
    }

    /// Whether the first size that an Expand node is written with is the batch.
    pub fn expands(&self, node: usize) -> bool {
        self.expands.contains(&node)
    }

    /// The size of an axis of a value.
    pub fn size<'a>(&'a self, g: &Graph, value: Value, axis: usize) -> Size<'a> {
        let built = g.shape(value)[axis];
        match self.probed.get(value.index()) {
            Some(now) if now.shape[axis] != built => Size::Symbol(&self.symbol),
            _ => Size::Fixed(built),
        }
    }
}

/// The first size that all inputs share.
fn input_batch(g: &Graph) -> Result<usize, Error> {
    let mut batch = None;
    for &input in g.inputs() {
        let shape = g.shape(input);
        let first = shape.first().copied().filter(|&n| n > 0);
        let agreed = first.filter(|n| batch.is_none_or(|b| b == *n));
        batch = Some(agreed.ok_or_else(|| Error::Batch {
            node: g.input_name(input).to_owned(),
            operator: "input",
            batch: batch.unwrap_or_default(),
            reason: format!("its shape {shape:?} does not begin with the batch"),
        })?);
    }
    batch.ok_or_else(|| Error::Batch {
        node: "graph".to_owned(),
        operator: "input",
        batch: 0,
        reason: "there are no inputs".to_owned(),
    })
}

/// The sizes of a Reshape's result with the probing batch, and as written: 0
/// keeps the operand's size, and -1 takes what is left.
fn follow(
    g: &Graph,
    node: &Node,
    op: &Reshape,
    operand: &TensorType,
    batch: usize,
    probe: usize,
) -> Result<Vec<(usize, i64)>, String> {
    let built = g.shape(node.inputs[0]);
    let mut sizes: Vec<(usize, i64)> = op.shape.iter().map(|&n| (n, n as i64)).collect();
    let mut moved = (0..built.len()).filter(|&axis| operand.shape[axis] != built[axis]);
    let Some(axis) = moved.next() else {
        return Ok(sizes);
    };
    if moved.next().is_some() {
        return Err("the batch stands in two axes of its operand".to_owned());
    }
    // the batch's axis begins after as many elements in the result as in the operand
    let before = count(&built[..axis]);
    let keeps = |to: &usize| op.shape[*to] == built[axis] && count(&op.shape[..*to]) == before;
    let place = Some(axis).filter(|to| *to < op.shape.len() && keeps(to));
    let place = place.or_else(|| (0..op.shape.len()).find(keeps));
    // joined with the axes after it, or parted from them, the batch comes first
    let holds =
        |to: &usize| op.shape[*to].is_multiple_of(batch) && count(&op.shape[..*to]) == before;
    let place = place.or_else(|| (0..op.shape.len()).rev().find(holds));
    let Some(to) = place else {
        return Err(format!(
            "{built:?} becomes {:?}, where the batch is no longer an axis of its own",
            op.shape
        ));
    };
    let size = op.shape[to] / batch * probe;
    sizes[to] = (size, if to == axis && op.shape[to] == built[axis] { 0 } else { -1 });
    Ok(sizes)
}
