//! A model's nodes as one list of steps over numbered slots.
//!
//! Functions are inlined, and both branches of an `If` stand in the list, each
//! step under the conditions that it runs on.

use std::collections::HashSet;

use crate::Error;
use crate::model::{AttributeProto, GraphProto, ModelProto, TensorProto};

use super::expand::{Builder, Scope};
use super::rule::{self, Rule};

/// The place of a value while the steps are walked.
pub(super) type Slot = usize;

/// An operator applied to slots.
#[derive(Clone, Debug)]
pub(super) struct Step {
    /// The node's name, or its number where it has none.
    pub name: String,
    pub operator: String,
    pub domain: String,
    /// The version of the operator set that it is read by.
    pub opset: i64,
    pub attributes: Vec<AttributeProto>,
    pub inputs: Vec<Option<Slot>>,
    pub outputs: Vec<Option<Slot>>,
    /// The name of the first result.
    pub result: String,
    /// Truth values on which it runs.
    pub guards: Vec<(Slot, bool)>,
}

impl Step {
    pub fn rule(&self) -> Result<&'static Rule, Error> {
        let known = rule::find(&self.operator).filter(|_| self.domain.is_empty());
        known.ok_or_else(|| Error::UnknownOperator {
            node: self.name.clone(),
            operator: self.operator.clone(),
            domain: self.domain.clone(),
        })
    }

    pub fn wrong(&self, source: Error) -> Error {
        let (node, operator) = (self.name.clone(), self.operator.clone());
        Error::Node { node, operator, source: Box::new(source) }
    }
}

/// The steps that the outputs need, in order.
#[derive(Debug)]
pub(super) struct Program<'m> {
    pub slots: usize,
    /// The inputs that are fed, by their place among the graph's.
    pub inputs: Vec<(usize, Slot)>,
    pub initializers: Vec<(&'m TensorProto, Slot)>,
    pub steps: Vec<Step>,
    pub outputs: Vec<(String, Slot)>,
}

impl<'m> Program<'m> {
    /// The steps for these outputs, or for the graph's own where none is named.
    pub fn of(
        model: &'m ModelProto,
        graph: &'m GraphProto,
        wanted: &[String],
    ) -> Result<Self, Error> {
        let (mut builder, mut scope) = (Builder::new(model)?, Scope::new(model));
        builder.initializers(graph, &mut scope)?;
        let mut inputs = Vec::new();
        // older files repeat their initializers among the inputs
        let stored: HashSet<&str> = graph.initializer.iter().map(|t| t.name.as_str()).collect();
        for (place, input) in graph.input.iter().enumerate() {
            if !stored.contains(input.name.as_str()) {
                inputs.push((place, builder.define(&mut scope, &input.name)?));
            }
        }
        builder.expand(&graph.node, &mut scope, 0)?;
        let names: Vec<String> = match wanted {
            [] => graph.output.iter().map(|o| o.name.clone()).collect(),
            _ => wanted.to_vec(),
        };
        let mut outputs: Vec<(String, Slot)> = Vec::new();
        for name in names {
            let slot = scope.find(&name);
            let slot =
                slot.ok_or_else(|| Error::UnknownName { kind: "output", name: name.clone() })?;
            if outputs.iter().any(|(other, _)| *other == name) {
                return Err(Error::DuplicateName { name });
            }
            outputs.push((name, slot));
        }
        if outputs.is_empty() {
            return Err(Error::NoOutputs);
        }
        let Builder { slots, steps, initializers, .. } = builder;
        let mut program = Self { slots, inputs, initializers, steps, outputs };
        program.prune();
        for step in &program.steps {
            step.rule()?;
        }
        Ok(program)
    }

    /// Leaves out what no output needs.
    fn prune(&mut self) {
        let mut live = vec![false; self.slots];
        for &(_, slot) in &self.outputs {
            live[slot] = true;
        }
        let mut kept: Vec<Step> = Vec::new();
        for step in std::mem::take(&mut self.steps).into_iter().rev() {
            if step.outputs.iter().flatten().any(|&slot| live[slot]) {
                for &slot in step.inputs.iter().flatten().chain(step.guards.iter().map(|(s, _)| s))
                {
                    live[slot] = true;
                }
                kept.push(step);
            }
        }
        // results that nobody reads are not asked for
        for slot in kept.iter_mut().flat_map(|step| &mut step.outputs) {
            *slot = slot.filter(|&slot| live[slot]);
        }
        kept.reverse();
        self.steps = kept;
        self.initializers.retain(|&(_, slot)| live[slot]);
    }
}
