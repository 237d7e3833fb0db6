//! The part of a graph that its outputs need.

use crate::graph::Graph;

/// What the outputs need: nodes in order, and every value by index.
pub(super) struct Live {
    pub nodes: Vec<usize>,
    pub values: Vec<bool>,
}

impl Live {
    pub fn of(g: &Graph) -> Self {
        let mut values = vec![false; g.values()];
        for (_, output) in g.outputs() {
            values[output.index()] = true;
        }
        let mut nodes = Vec::new();
        for (index, node) in g.nodes().iter().enumerate().rev() {
            if node.outputs.iter().any(|v| values[v.index()]) {
                nodes.push(index);
                for input in &node.inputs {
                    values[input.index()] = true;
                }
                // the first output keeps its name, whoever reads it
                let named = if node.op.rules().optional_outputs() { 1 } else { usize::MAX };
                for output in node.outputs.iter().take(named) {
                    values[output.index()] = true;
                }
            }
        }
        nodes.reverse();
        Self { nodes, values }
    }
}
