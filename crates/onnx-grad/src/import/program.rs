//! A model's nodes as one list of steps over numbered slots.
//!
//! Functions are inlined, and both branches of an `If` stand in the list, each
//! step under the conditions that it runs on.

use std::collections::HashMap;

use crate::Error;
use crate::model::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto,
};

use super::rule::{self, Rule};

/// The place of a value while the steps are walked.
pub(super) type Slot = usize;

/// How deep functions and branches may nest.
const DEPTH: usize = 24;
/// How many nodes there may be, functions inlined.
const NODES: usize = 1 << 18;

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
        let mut builder = Builder {
            functions: functions(model)?,
            slots: 0,
            nodes: 0,
            steps: Vec::new(),
            initializers: Vec::new(),
        };
        let mut scope = Scope {
            names: vec![HashMap::new()],
            opsets: opsets(&model.opset_import),
            attributes: HashMap::new(),
            prefix: String::new(),
            guards: Vec::new(),
        };
        builder.initializers(graph, &mut scope)?;
        let mut inputs = Vec::new();
        for (place, input) in graph.input.iter().enumerate() {
            // older files repeat their initializers among the inputs
            if scope.find(&input.name).is_none() {
                inputs.push((place, builder.define(&mut scope, &input.name)?));
            } else if inputs
                .iter()
                .any(|&(i, _)| graph.input.get(i).is_some_and(|x| x.name == input.name))
            {
                return Err(Error::DuplicateName { name: input.name.clone() });
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

/// The names that a node sees.
struct Scope<'m> {
    /// The graph's own, then those of the branches within it.
    names: Vec<HashMap<String, Option<Slot>>>,
    opsets: HashMap<&'m str, i64>,
    /// The attributes of the function's call.
    attributes: HashMap<String, AttributeProto>,
    prefix: String,
    guards: Vec<(Slot, bool)>,
}

impl Scope<'_> {
    /// The slot of a name; `None` where it is unknown or left out of a call.
    fn find(&self, name: &str) -> Option<Slot> {
        self.entry(name).flatten()
    }

    fn entry(&self, name: &str) -> Option<Option<Slot>> {
        self.names.iter().rev().find_map(|names| names.get(name)).copied()
    }
}

type Functions<'m> = HashMap<(&'m str, &'m str, &'m str), &'m FunctionProto>;

struct Builder<'m> {
    functions: Functions<'m>,
    slots: usize,
    nodes: usize,
    steps: Vec<Step>,
    initializers: Vec<(&'m TensorProto, Slot)>,
}

impl<'m> Builder<'m> {
    fn slot(&mut self) -> Slot {
        self.slots += 1;
        self.slots - 1
    }

    fn define(&mut self, scope: &mut Scope, name: &str) -> Result<Slot, Error> {
        let slot = self.slot();
        let names = scope.names.last_mut().map(|names| names.insert(name.to_owned(), Some(slot)));
        match names {
            Some(None) => Ok(slot),
            _ => Err(Error::DuplicateName { name: name.to_owned() }),
        }
    }

    fn initializers(&mut self, graph: &'m GraphProto, scope: &mut Scope) -> Result<(), Error> {
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map(|v| v.name.as_str()).unwrap_or_default();
            return Err(Error::Unsupported { what: format!("{name}: a sparse initializer") });
        }
        for tensor in &graph.initializer {
            let slot = self.define(scope, &tensor.name)?;
            self.initializers.push((tensor, slot));
        }
        Ok(())
    }

    fn expand(
        &mut self,
        nodes: &'m [NodeProto],
        scope: &mut Scope<'m>,
        depth: usize,
    ) -> Result<(), Error> {
        for (index, node) in nodes.iter().enumerate() {
            let name = match node.name.as_str() {
                "" => format!("{}#{index}", scope.prefix),
                name => format!("{}{name}", scope.prefix),
            };
            let wrong = |source: Error| Error::Node {
                node: name.clone(),
                operator: node.op_type.clone(),
                source: Box::new(source),
            };
            self.nodes += 1;
            if self.nodes > NODES || depth > DEPTH {
                let (what, received, limit) = match depth > DEPTH {
                    true => ("nested functions and branches", depth, DEPTH),
                    false => ("nodes, with functions inlined", self.nodes, NODES),
                };
                return Err(wrong(Error::Limit { what: what.to_owned(), received, limit }));
            }
            let inputs = operands(node, &nodes[index..], scope).map_err(wrong)?;
            let domain = domain(&node.domain);
            let key = (domain, node.op_type.as_str(), node.overload.as_str());
            let attributes = attributes(node, scope);
            let results = if let Some(&function) = self.functions.get(&key) {
                let prefix = format!("{name}/");
                Some(self.inline(function, &inputs, attributes, prefix, scope, depth)?)
            } else if node.op_type == "If" && domain.is_empty() {
                Some(self.branches(node, &inputs, &name, scope, depth)?)
            } else {
                let Some(&opset) = scope.opsets.get(domain) else {
                    return Err(Error::UnknownOperator {
                        node: name,
                        operator: node.op_type.clone(),
                        domain: domain.to_owned(),
                    });
                };
                let mut outputs = Vec::new();
                for result in &node.output {
                    outputs.push(match result.as_str() {
                        "" => None,
                        result => Some(self.define(scope, result).map_err(wrong)?),
                    });
                }
                self.steps.push(Step {
                    name: name.clone(),
                    operator: node.op_type.clone(),
                    domain: domain.to_owned(),
                    opset,
                    attributes,
                    inputs,
                    outputs,
                    result: node.output.first().cloned().unwrap_or_default(),
                    guards: scope.guards.clone(),
                });
                None
            };
            let names = scope.names.last_mut();
            if let (Some(results), Some(names)) = (results, names) {
                if node.output.len() > results.len() {
                    let reason = format!("{} results of {}", node.output.len(), results.len());
                    return Err(wrong(Error::Malformed { reason }));
                }
                for (result, slot) in node.output.iter().zip(results) {
                    if !result.is_empty() && names.insert(result.clone(), Some(slot)).is_some() {
                        return Err(wrong(Error::DuplicateName { name: result.clone() }));
                    }
                }
            }
        }
        Ok(())
    }

    /// The slots of a function's results, its body put into the list.
    fn inline(
        &mut self,
        function: &'m FunctionProto,
        inputs: &[Option<Slot>],
        given: Vec<AttributeProto>,
        prefix: String,
        caller: &Scope<'m>,
        depth: usize,
    ) -> Result<Vec<Slot>, Error> {
        let defaults = function.attribute_proto.iter().cloned();
        let attributes = defaults.chain(given).map(|a| (a.name.clone(), a)).collect();
        let operand =
            |(i, name): (usize, &String)| (name.clone(), inputs.get(i).copied().flatten());
        let mut opsets = caller.opsets.clone();
        opsets.extend(self::opsets(&function.opset_import));
        let mut scope = Scope {
            names: vec![function.input.iter().enumerate().map(operand).collect()],
            opsets,
            attributes,
            prefix,
            guards: caller.guards.clone(),
        };
        self.expand(&function.node, &mut scope, depth + 1)?;
        results(function.output.iter(), &scope)
    }

    /// The slots of an `If`'s results, both branches put into the list.
    fn branches(
        &mut self,
        node: &'m NodeProto,
        inputs: &[Option<Slot>],
        name: &str,
        scope: &mut Scope<'m>,
        depth: usize,
    ) -> Result<Vec<Slot>, Error> {
        let malformed = |reason: &str| Error::Node {
            node: name.to_owned(),
            operator: node.op_type.clone(),
            source: Box::new(Error::Malformed { reason: reason.to_owned() }),
        };
        let &[Some(condition)] = inputs else {
            return Err(malformed("an If has one operand"));
        };
        let outputs: Vec<Slot> = node.output.iter().map(|_| self.slot()).collect();
        let prefix = std::mem::replace(&mut scope.prefix, format!("{name}/"));
        for (branch, taken) in [("then_branch", true), ("else_branch", false)] {
            let graph = node.attribute.iter().find(|a| a.name == branch).and_then(|a| a.g.as_ref());
            let graph = graph.ok_or_else(|| malformed("an If has two branches"))?;
            scope.names.push(HashMap::new());
            scope.guards.push((condition, taken));
            self.initializers(graph, scope)?;
            self.expand(&graph.node, scope, depth + 1)?;
            let found = results(graph.output.iter().map(|o| &o.name), scope)?;
            if found.len() < outputs.len() {
                return Err(malformed("its branches have fewer results"));
            }
            for (&from, &to) in found.iter().zip(&outputs) {
                self.steps.push(Step {
                    name: name.to_owned(),
                    operator: "Identity".to_owned(),
                    domain: String::new(),
                    opset: rule::LEAST_OPSET,
                    attributes: Vec::new(),
                    inputs: vec![Some(from)],
                    outputs: vec![Some(to)],
                    result: String::new(),
                    guards: scope.guards.clone(),
                });
            }
            scope.guards.pop();
            scope.names.pop();
        }
        scope.prefix = prefix;
        Ok(outputs)
    }
}

/// The slots of a node's operands; the nodes `from` it on tell those that come
/// too late from those that never come.
fn operands(
    node: &NodeProto,
    from: &[NodeProto],
    scope: &Scope,
) -> Result<Vec<Option<Slot>>, Error> {
    let slot = |name: &String| match scope.entry(name) {
        _ if name.is_empty() => Ok(None),
        Some(slot) => Ok(slot),
        None if from.iter().any(|later| later.output.contains(name)) => {
            Err(Error::Order { value: name.clone() })
        }
        None => Err(Error::Undefined { value: name.clone() }),
    };
    node.input.iter().map(slot).collect()
}

/// A node's attributes, with those that a function's call gives in their place.
fn attributes(node: &NodeProto, scope: &Scope) -> Vec<AttributeProto> {
    let value = |attribute: &AttributeProto| match attribute.ref_attr_name.as_str() {
        "" => Some(attribute.clone()),
        given => {
            let given = scope.attributes.get(given)?.clone();
            Some(AttributeProto { name: attribute.name.clone(), ..given })
        }
    };
    // the branches of an If are read where they stand
    node.attribute.iter().filter(|a| a.g.is_none()).filter_map(value).collect()
}

fn results<'n>(names: impl Iterator<Item = &'n String>, scope: &Scope) -> Result<Vec<Slot>, Error> {
    let slot = |name: &String| {
        let slot = scope.find(name);
        slot.ok_or_else(|| Error::UnknownName { kind: "result", name: name.clone() })
    };
    names.map(slot).collect()
}

fn domain(name: &str) -> &str {
    if name == "ai.onnx" { "" } else { name }
}

fn opsets(imports: &[OperatorSetIdProto]) -> HashMap<&str, i64> {
    imports.iter().map(|set| (domain(&set.domain), set.version)).collect()
}

fn functions(model: &ModelProto) -> Result<Functions<'_>, Error> {
    let mut functions = HashMap::new();
    for function in &model.functions {
        let key = (domain(&function.domain), &*function.name, &*function.overload);
        if functions.insert(key, function).is_some() {
            return Err(Error::DuplicateName { name: function.name.clone() });
        }
    }
    Ok(functions)
}
