//! The training graph: forward, backward and optimizer, of standard operators.

use onnx_grad::{
    ElementType, Graph, Kernels, LossScale, OptimizerState, Value, accumulate, clip_by_global_norm,
    gradient,
    model::{self, Precision, WriteOptions},
};

use super::{Batch, Settings, TrainError};
use crate::{
    encoder::{Encoder, Weights},
    objective,
    runtime::StateVariable,
    view,
};

/// The buffer of the trained parameters in the state.
pub(super) const PARAMS: &str = "params";
/// The buffer of the running averages in the state.
pub(super) const BUFFERS: &str = "buffers";
const SUM: &str = "gradient_sum";
const LOSS_SCALE: &str = "loss_scale";

/// A training graph, and what a session of it must be told.
pub(super) struct TrainingGraph {
    /// The ONNX file.
    pub model: Vec<u8>,
    /// What it carries from step to step, with its first values.
    pub state: Vec<StateVariable>,
    /// What every step is given, by name and shape.
    pub inputs: Vec<(&'static str, Vec<usize>)>,
    /// What every step reports, by name; scalars.
    pub outputs: Vec<&'static str>,
}

/// What every step reports: the loss,
pub(super) const LOSS: &str = "loss";
/// the norm of the gradient before it is clipped,
pub(super) const GRADIENT_NORM: &str = "gradient_norm";
/// the temperature, where it is learned,
pub(super) const TEMPERATURE: &str = "learned_temperature";
/// and where the objective has candidates, the mean logarithm of their number,
pub(super) const CEILING: &str = "ceiling";
/// the mean number of negatives
pub(super) const NEGATIVES: &str = "negatives";
/// and the rows that have none.
pub(super) const ALONE: &str = "alone";

/// Numbers that change from step to step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalars {
    pub learning_rate: f32,
    /// What scores are divided by, unless it is learned.
    pub temperature: f32,
}

/// The training graph of an encoder.
///
/// It reads 2 K `views` with the anchors before the positives, what is said of
/// them, the number of the `step`, the temperature, the optimizer's scalars and, with accumulation, what is to
/// happen to the sum of gradients; and the state, whose next values are outputs
/// named `next_…`. With `kernels` it has nodes that the session must have
/// onnx-grad's kernels for.
pub(super) fn build(
    encoder: &Encoder,
    weights: &Weights,
    settings: &Settings,
    view: &view::Settings,
    kernels: Option<Kernels>,
) -> Result<TrainingGraph, TrainError> {
    let (batch, layout) = (settings.batch, encoder.layout());
    let optimizer = settings.optimizer.rule(settings.weight_decay);
    // the kernels compute in f32 alone
    let g = match kernels {
        Some(kernels) if settings.precision == Precision::F32 => Graph::new().with_kernels(kernels),
        _ => Graph::new(),
    };
    let mut plan = Plan { g, state: Vec::new(), inputs: Vec::new(), outputs: Vec::new() };

    let params = plan.state(PARAMS, weights.trained.clone());
    let flat = vec![0.0; layout.len()];
    let moments = optimizer.moments().iter().map(|name| plan.state(name, flat.clone())).collect();
    let state = OptimizerState { params, moments };
    let buffers = match weights.buffers.is_empty() {
        true => None,
        false => Some(plan.state(BUFFERS, weights.buffers.clone())),
    };
    let views = plan.input("views", view.shape(2 * batch));
    let targets = plan.input("targets", vec![batch, batch]);
    let allowed = plan.input("allowed", vec![batch, batch]);
    let temperature = plan.input("temperature", vec![]);
    let step = plan.input("step", vec![]);
    let scalars: Vec<Value> =
        optimizer.scalars().iter().map(|&name| plan.input(name, vec![])).collect();

    let outputs = encoder.forward(&mut plan.g, weights, params, buffers, step, views)?;
    let halves = plan.g.split(outputs.z, 0, &[batch, batch])?;
    let inputs = objective::Inputs {
        anchors: halves[0],
        positives: halves[1],
        targets,
        allowed,
        temperature,
    };
    let objective::Loss { loss, candidates } =
        settings.objective.kind.loss(&mut plan.g, &inputs)?;
    if let Some(next) = outputs.buffers {
        plan.next(BUFFERS, next);
    }

    let (grads, apply) = plan.gradient(loss, params, settings)?;
    let (grads, norm) = clip_by_global_norm(&mut plan.g, grads, settings.clip_norm)?;
    let next = optimizer.update(&mut plan.g, layout, &state, grads, &scalars)?;
    let names = std::iter::once(&PARAMS).chain(optimizer.moments());
    let before = std::iter::once(state.params).chain(state.moments);
    let after = std::iter::once(next.params).chain(next.moments);
    for ((name, before), after) in names.zip(before).zip(after) {
        let after = match apply {
            Some(apply) => plan.g.where_(apply, after, before)?,
            None => after,
        };
        plan.next(name, after);
    }
    plan.output(LOSS, loss);
    plan.output(GRADIENT_NORM, norm);
    if let Some(objective::Candidates { ceiling, negatives, alone }) = candidates {
        plan.output(CEILING, ceiling);
        plan.output(NEGATIVES, negatives);
        plan.output(ALONE, alone);
    }
    let options = WriteOptions { precision: settings.precision, ..WriteOptions::default() };
    Ok(TrainingGraph {
        model: model::write(&plan.g, &options)?,
        state: plan.state,
        inputs: plan.inputs,
        outputs: plan.outputs,
    })
}

struct Plan {
    g: Graph,
    state: Vec<StateVariable>,
    inputs: Vec<(&'static str, Vec<usize>)>,
    outputs: Vec<&'static str>,
}

impl Plan {
    fn state(&mut self, name: &str, values: Vec<f32>) -> Value {
        let value = self.g.input(name, ElementType::F32, &[values.len()]);
        self.state.push(StateVariable { name: name.to_owned(), values });
        value
    }

    fn input(&mut self, name: &'static str, shape: Vec<usize>) -> Value {
        let value = self.g.input(name, ElementType::F32, &shape);
        self.inputs.push((name, shape));
        value
    }

    fn output(&mut self, name: &'static str, value: Value) {
        self.g.output(name, value);
        self.outputs.push(name);
    }

    fn next(&mut self, name: &str, value: Value) {
        self.g.output(&format!("next_{name}"), value);
    }

    /// The flat gradient, and where the update depends on it, whether it is
    /// made: not before the last part of a sum, and not from a gradient that
    /// f16 could not hold.
    fn gradient(
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
            apply = Some(match apply {
                Some(finite) => self.g.and(finite, last)?,
                None => last,
            });
        }
        Ok((grads, apply))
    }
}

/// What a step feeds to the graph, in the order of its inputs. `part` counts
/// the parts of a step from 0.
pub(super) fn step_inputs(
    settings: &Settings,
    step: usize,
    part: usize,
    scalars: Scalars,
    batch: Batch,
) -> Vec<Vec<f32>> {
    let optimizer = settings.optimizer.rule(settings.weight_decay);
    let Scalars { learning_rate, temperature } = scalars;
    let scalars = optimizer.scalar_values(f64::from(learning_rate), step as u64 + 1);
    // exact up to 2^24 parts; beyond that some draws of dropout repeat
    let number = step * settings.accumulate + part;
    let Batch { views, targets, allowed, .. } = batch;
    let mut inputs = vec![views, targets, allowed, vec![temperature], vec![number as f32]];
    inputs.extend(scalars.into_iter().map(|scalar| vec![scalar]));
    if settings.accumulate > 1 {
        let last = part + 1 == settings.accumulate;
        inputs.extend([part > 0, last].map(|yes| vec![f32::from(u8::from(yes))]));
    }
    inputs
}
