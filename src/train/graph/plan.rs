//! A training graph on its way: what it carries, is given and reports.

use onnx_grad::{
    ElementType, Graph, LossScale, Value, accumulate, all_finite, gradient, model::Precision,
};

use super::{LOSS_SCALE, SUM, Settings, TrainError};
use crate::runtime::StateVariable;

/// A graph with the names of its inputs and outputs.
pub(super) struct Plan {
    pub g: Graph,
    pub state: Vec<StateVariable>,
    pub inputs: Vec<(&'static str, Vec<usize>)>,
    pub outputs: Vec<&'static str>,
}

impl Plan {
    pub fn new(g: Graph) -> Self {
        Self { g, state: Vec::new(), inputs: Vec::new(), outputs: Vec::new() }
    }

    /// A flat value that is carried from step to step.
    pub fn state(&mut self, name: &str, values: Vec<f32>) -> Value {
        let value = self.g.input(name, ElementType::F32, &[values.len()]);
        self.state.push(StateVariable { name: name.to_owned(), values });
        value
    }

    /// A value that every step is given.
    pub fn input(&mut self, name: &'static str, shape: Vec<usize>) -> Value {
        let value = self.g.input(name, ElementType::F32, &shape);
        self.inputs.push((name, shape));
        value
    }

    /// A scalar that every step reports.
    pub fn output(&mut self, name: &'static str, value: Value) {
        self.g.output(name, value);
        self.outputs.push(name);
    }

    /// What a state variable is after the step.
    pub fn next(&mut self, name: &str, value: Value) {
        self.g.output(&format!("next_{name}"), value);
    }

    /// The flat gradient, and where the update depends on it, whether it is
    /// made: not before the last part of a sum, and not from a gradient that
    /// f16 could not hold.
    pub fn gradient(
        &mut self,
        loss: Value,
        params: Value,
        settings: &Settings,
    ) -> Result<(Value, Option<Value>), TrainError> {
        let mut apply = None;
        let mut scaling = None;
        let mut raised = loss;
        if settings.precision == Precision::F16 {
            let rule = LossScale::default();
            let state = self.state(LOSS_SCALE, rule.initial().to_vec());
            raised = rule.scale(&mut self.g, state, loss)?;
            scaling = Some((rule, state));
        }
        // the flat buffer is split once on the way in, so its own gradient is
        // the gradients of its parts one after another
        let mut grads = gradient(&mut self.g, raised, &[params])?[0];
        if let Some((rule, state)) = scaling {
            let unscaled = rule.unscale(&mut self.g, state, grads)?;
            self.next(LOSS_SCALE, unscaled.state);
            grads = unscaled.grads;
            apply = Some(unscaled.finite);
        }
        if settings.accumulate > 1 {
            let zeros = vec![0.0; self.g.shape(grads).iter().product()];
            let sum = self.state(SUM, zeros);
            let [keep, last] = ["keep_sum", "last_part"].map(|name| self.input(name, vec![]));
            let weight = self.g.scalar(1.0 / settings.accumulate as f32);
            grads = accumulate(&mut self.g, sum, grads, keep, weight)?;
            self.next(SUM, grads);
            let zero = self.g.scalar(0.0);
            let last = self.g.less(zero, last)?;
            // of the sum: a part before this one may have overflowed
            apply = Some(match apply {
                Some(_) => {
                    let finite = all_finite(&mut self.g, grads)?;
                    self.g.and(finite, last)?
                }
                None => last,
            });
        }
        Ok((grads, apply))
    }

    /// The value after the step where an update is made, else the one before.
    pub fn applied(
        &mut self,
        apply: Option<Value>,
        after: Value,
        before: Value,
    ) -> Result<Value, TrainError> {
        match apply {
            Some(apply) => Ok(self.g.where_(apply, after, before)?),
            None => Ok(after),
        }
    }
}
