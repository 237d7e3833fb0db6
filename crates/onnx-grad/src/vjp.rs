//! Reverse-mode differentiation: a graph in, the same graph with cotangents.

use crate::Error;
use crate::graph::{Graph, Value};
use crate::op::Pullback;
use crate::shape::ElementType;

/// The gradient of a scalar with respect to each value of `wrt`, in its order.
///
/// The nodes that compute it are added to the graph. Each gradient has the
/// shape of its value, and is zero where the loss does not depend on it. A
/// value of `wrt` may be an input, a weight or the result of an operator, and
/// the gradient may be differentiated again.
///
/// # Errors
/// [`Error::NotScalar`] where `loss` is not an `f32` of shape `[]`;
/// [`Error::NoGradient`] where a node between `wrt` and the loss has no rule.
///
/// # Source
/// Griewank and Walther, *Evaluating Derivatives*, 2nd edition, section 3.2:
/// every node turns the cotangents of its outputs into those of its inputs.
pub fn gradient(g: &mut Graph, loss: Value, wrt: &[Value]) -> Result<Vec<Value>, Error> {
    if g.element_type(loss) != ElementType::F32 || !g.shape(loss).is_empty() {
        return Err(Error::NotScalar {
            element: g.element_type(loss),
            shape: g.shape(loss).to_vec(),
        });
    }
    let depends = dependents(g, wrt);
    let mut cotangents: Vec<Option<Value>> = vec![None; g.values()];
    cotangents[loss.index()] = Some(g.scalar(1.0));
    // the nodes stand in the order of computation, so all users of a value
    // have given their part of its cotangent when its own node is reached
    for index in (0..g.nodes().len()).rev() {
        let node = g.nodes()[index].clone();
        let arrived: Vec<_> = node.outputs.iter().map(|v| cotangents[v.index()]).collect();
        let wanted: Vec<_> = node.inputs.iter().map(|v| depends[v.index()]).collect();
        if arrived.iter().all(Option::is_none) || !wanted.contains(&true) {
            continue;
        }
        let pullback = Pullback {
            name: &g.described(index),
            inputs: &node.inputs,
            outputs: &node.outputs,
            cotangents: &arrived,
            wanted: &wanted,
        };
        let parts = node.op.rules().vjp(g, &pullback)?;
        for ((input, part), wanted) in node.inputs.iter().zip(parts).zip(wanted) {
            let Some(part) = part.filter(|_| wanted) else {
                continue;
            };
            let sum = match cotangents[input.index()] {
                Some(sum) => g.add(sum, part)?,
                None => part,
            };
            cotangents[input.index()] = Some(sum);
        }
    }
    wrt.iter()
        .map(|v| match cotangents[v.index()] {
            Some(cotangent) => Ok(cotangent),
            None => {
                let shape = g.shape(*v).to_vec();
                g.zeros(&shape)
            }
        })
        .collect()
}

/// For every value, whether it depends on one of `wrt`.
fn dependents(g: &Graph, wrt: &[Value]) -> Vec<bool> {
    let mut depends = vec![false; g.values()];
    for value in wrt {
        depends[value.index()] = true;
    }
    for node in g.nodes() {
        if node.inputs.iter().any(|v| depends[v.index()]) {
            for value in &node.outputs {
                depends[value.index()] = true;
            }
        }
    }
    depends
}
