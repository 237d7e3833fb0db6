//! The walk over a model's steps that adds them to a graph.

use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, count};

use super::call::{self, Call, Operand, Walk};
use super::constant::Elements;
use super::program::Step;
use super::{Applied, Binding, Forward, Signature, signature};

impl Forward {
    /// The model's outputs from values of a graph.
    ///
    /// What depends on shapes and constants alone is computed here. A graph
    /// that is to be written with a symbolic batch should be built with a
    /// batch of two or more, where its axis cannot be taken for one that
    /// broadcasts.
    ///
    /// # Errors
    /// [`Error::Shape`] and [`Error::ElementType`] where the binding does not
    /// fit the model; [`Error::Node`] for a node that is refused.
    pub fn apply(&self, g: &mut Graph, binding: Binding) -> Result<Applied, Error> {
        self.check(g, &binding)?;
        let mut slots: Vec<Option<Operand>> = vec![None; self.origins.len()];
        for (slot, constant) in &self.constants {
            slots[*slot] = Some(Operand::Constant(constant.clone()));
        }
        for ((&slot, &value), signature) in
            self.input_slots.iter().zip(binding.inputs).zip(&self.inputs)
        {
            let value = match signature.element {
                ElementType::F32 | ElementType::Bool => value,
                // integers are of one type here
                _ => g.cast(value, ElementType::I64)?,
            };
            slots[slot] = Some(value.into());
        }
        let parameters = self.parameters.slots.iter().zip(binding.parameters);
        let mut walk = Walk::new(binding.mode, &self.origins);
        walk.buffers =
            self.buffers.slots.iter().copied().zip(binding.buffers.iter().copied()).collect();
        for (&slot, &value) in parameters.chain(walk.buffers.iter().map(|(s, v)| (s, v))) {
            slots[slot] = Some(value.into());
        }
        for (site, step) in self.steps.iter().enumerate() {
            if runs(step, &slots).map_err(|e| step.wrong(e))? {
                g.set_source(Some(&step.name));
                let results = take(g, &mut walk, step, site as u64, &slots);
                g.set_source(None);
                let results = results.map_err(|e| step.wrong(e))?;
                for (slot, result) in step.outputs.iter().zip(results) {
                    if let Some(slot) = slot {
                        slots[*slot] = Some(result);
                    }
                }
            }
        }
        let mut outputs = Vec::new();
        for &slot in &self.output_slots {
            let absent = || Error::Malformed { reason: "an output is not computed".to_owned() };
            outputs.push(match slots[slot].clone().ok_or_else(absent)? {
                Operand::Value(value) => value,
                Operand::Constant(constant) => constant.bind(g)?,
                Operand::Repeated(constant, shape) => {
                    let value = constant.bind(g)?;
                    g.expand(value, &shape)?
                }
            });
        }
        Ok(Applied { outputs, buffers: walk.buffers.into_iter().map(|(_, value)| value).collect() })
    }

    fn check(&self, g: &Graph, binding: &Binding) -> Result<(), Error> {
        let wrong = |required: String, values: &[Value]| {
            let received: Vec<&TensorType> = values.iter().map(|&v| g.ty(v)).collect();
            Err(Error::shape("Forward", required, &received))
        };
        let fits = |signature: &Signature, value: Value| {
            let shape = g.shape(value);
            let sizes = signature.shape.iter().zip(shape);
            shape.len() == signature.shape.len()
                && sizes.fold(true, |fit, (own, n)| fit && own.is_none_or(|own| own == *n))
        };
        let inputs = || self.inputs.iter().zip(binding.inputs);
        if self.inputs.len() != binding.inputs.len() || !inputs().all(|(s, &v)| fits(s, v)) {
            let shapes: Vec<_> = self.inputs.iter().map(|s| &s.shape).collect();
            return wrong(format!("inputs of shapes {shapes:?}"), binding.inputs);
        }
        if inputs().any(|(s, &v)| s.element != g.element_type(v)) {
            let received = binding.inputs.iter().map(|&v| g.element_type(v)).collect();
            let required = "the element types of its inputs";
            return Err(Error::ElementType { operator: "Forward", required, received });
        }
        for (layout, values) in
            [(self.layout(), binding.parameters), (self.buffers(), binding.buffers)]
        {
            let own = layout.parameters();
            if own.len() != values.len()
                || own.iter().zip(values).any(|(p, &v)| p.shape != g.shape(v))
            {
                let shapes: Vec<_> = own.iter().map(|p| &p.shape).collect();
                return wrong(format!("one value a parameter, of shapes {shapes:?}"), values);
            }
        }
        Ok(())
    }
}

/// Whether the branches that a step stands in are taken.
fn runs(step: &Step, slots: &[Option<Operand>]) -> Result<bool, Error> {
    for &(slot, taken) in &step.guards {
        match &slots[slot] {
            Some(Operand::Constant(constant)) => match constant.elements {
                Elements::Bool(ref data) if data.len() == 1 => {
                    if *data != [taken] {
                        return Ok(false);
                    }
                }
                _ => {
                    let reason = "the condition of an If is not one truth value".to_owned();
                    return Err(Error::Malformed { reason });
                }
            },
            // within a branch that is not taken itself
            None => return Ok(false),
            Some(_) => {
                let what = "an If whose condition depends on what is fed".to_owned();
                return Err(Error::Unsupported { what });
            }
        }
    }
    Ok(true)
}

/// The results of one step.
fn take(
    g: &mut Graph,
    walk: &mut Walk<'_>,
    step: &Step,
    site: u64,
    slots: &[Option<Operand>],
) -> call::Results {
    let rule = step.rule()?;
    let mut operands = Vec::with_capacity(step.inputs.len());
    for slot in &step.inputs {
        let absent = || Error::Malformed { reason: "an operand of a branch not taken".to_owned() };
        operands.push(match slot {
            Some(slot) => Some(slots[*slot].clone().ok_or_else(absent)?),
            None => None,
        });
    }
    let mut call = Call { g, step, rule, operands, walk, site };
    if !matches!(step.operator.as_str(), "Expand" | "Gather" | "Identity") {
        call.settle()?;
    }
    let results = (rule.apply)(&mut call)?;
    for result in &results {
        signature::limits(result.shape(g))?;
        if let Operand::Value(value) = result
            && count(g.shape(*value)) == 0
        {
            let what = format!("a value without elements, of shape {:?},", g.shape(*value));
            return Err(Error::Unsupported { what });
        }
    }
    if step.outputs.iter().skip(results.len()).any(Option::is_some) {
        let what = format!("result {} of this operator", results.len());
        return Err(Error::Unsupported { what });
    }
    Ok(results)
}
