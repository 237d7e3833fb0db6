//! The training graph: forward, backward and optimizer, of standard operators.

pub(super) mod cached;
mod momentum;
mod plan;

use onnx_grad::{
    Graph, Kernels, OptimizerState, Value, clip_by_global_norm,
    model::{self, Precision, WriteOptions},
};

use super::{Batch, Settings, TrainError, trained::Trained};
use crate::{
    encoder::{Mode, Tensors, Towers, Weights},
    objective::{self, Candidates, Loss, Objective, Prediction},
    runtime::StateVariable,
    view,
};
use momentum::Momentum;
use plan::Plan;

/// The buffer of all that is trained in the state.
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

/// The training graph of encoders; the tower of each of the 2 K views is said by `rows`.
///
/// It reads 2 K `views` with the anchors before the positives, what is said of
/// them, the number of the `step`, the optimizer's scalars and, with accumulation,
/// what is to happen to the sum of gradients; and the state, whose next values are
/// outputs named `next_…`. With `kernels` it has nodes that the session must have
/// onnx-grad's kernels for.
pub(super) fn build(
    (towers, rows): (&Towers, &[usize]),
    trained: &Trained,
    weights: &Weights,
    settings: &Settings,
    view: &view::Settings,
    kernels: Option<Kernels>,
) -> Result<TrainingGraph, TrainError> {
    let (batch, encoder) = (settings.batch, towers.encoder());
    let optimizer = settings.optimizer.rule(settings.weight_decay);
    // the kernels compute in f32 alone
    let g = match kernels {
        Some(kernels) if settings.precision == Precision::F32 => Graph::new().with_kernels(kernels),
        _ => Graph::new(),
    };
    let mut plan = Plan::new(g);

    let initial = trained.initial(&weights.trained)?;
    let params = plan.state(PARAMS, initial.clone());
    let flat = vec![0.0; initial.len()];
    let moments = optimizer.moments().iter().map(|name| plan.state(name, flat.clone())).collect();
    let state = OptimizerState { params, moments };
    let momentum = match settings.objective.kind {
        Objective::Moco { queue_len, momentum } => {
            Some(Momentum::new(&mut plan, initial, queue_len, encoder.projection(), momentum))
        }
        _ => None,
    };
    let buffers = match weights.buffers.is_empty() {
        true => Vec::new(),
        false => {
            let flat = plan.state(BUFFERS, weights.buffers.clone());
            towers.buffers().bind_flat(&mut plan.g, flat)?
        }
    };
    let views = plan.input("views", view.shape(2 * batch));
    let step = plan.input("step", vec![]);
    let scalars: Vec<Value> =
        optimizer.scalars().iter().map(|&name| plan.input(name, vec![])).collect();

    let frozen = encoder.frozen().bind_initializers(&mut plan.g, &weights.frozen)?;
    let (of_encoder, of_objective) = trained.bind(&mut plan.g, params)?;
    let forward = |plan: &mut Plan, trained: &[Value], views: Value, rows: &[usize]| {
        let tensors = Tensors { trained, frozen: &frozen, buffers: &buffers };
        towers.forward(&mut plan.g, &tensors, Mode::Train { step }, views, rows)
    };
    let (anchors, positives, next_buffers) = match &momentum {
        None => {
            let z = forward(&mut plan, &of_encoder, views, rows)?;
            let halves = plan.g.split(z.value, 0, &[batch, batch])?;
            (halves[0], halves[1], z.buffers)
        }
        // running averages follow the query encoder: nothing reads those of the other
        Some(momentum) => {
            let halves = plan.g.split(views, 0, &[batch, batch])?;
            let (of_anchors, of_positives) = rows.split_at(batch);
            let queries = forward(&mut plan, &of_encoder, halves[0], of_anchors)?;
            let (of_keys, _) = trained.bind(&mut plan.g, momentum.params)?;
            let keys = forward(&mut plan, &of_keys, halves[1], of_positives)?;
            (queries.value, keys.value, queries.buffers)
        }
    };
    if !next_buffers.is_empty() {
        let next = towers.buffers().flatten(&mut plan.g, &next_buffers)?;
        plan.next(BUFFERS, next);
    }

    let Loss { loss, candidates } = add_loss(
        &mut plan,
        settings,
        &momentum,
        &of_objective,
        (anchors, positives),
        encoder.places(),
    )?;
    let (grads, apply) = plan.gradient(loss, params, settings)?;
    let (grads, norm) = clip_by_global_norm(&mut plan.g, grads, settings.clip_norm)?;
    let mut next = optimizer.update(&mut plan.g, trained.layout(), &state, grads, &scalars)?;
    next.params = trained.limited(&mut plan.g, next.params)?;
    if let Some(momentum) = &momentum {
        momentum.step(&mut plan, positives, next.params, apply)?;
    }
    let names = std::iter::once(&PARAMS).chain(optimizer.moments());
    let before = std::iter::once(state.params).chain(state.moments);
    let after = std::iter::once(next.params).chain(next.moments);
    for ((name, before), after) in names.zip(before).zip(after) {
        let after = plan.applied(apply, after, before)?;
        plan.next(name, after);
    }
    plan.output(LOSS, loss);
    plan.output(GRADIENT_NORM, norm);
    if let Some(Candidates { ceiling, negatives, alone }) = candidates {
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

/// Adds the loss of projections `[K, P]` of so many places, with the inputs that its
/// objective reads.
fn add_loss(
    plan: &mut Plan,
    settings: &Settings,
    momentum: &Option<Momentum>,
    parameters: &[Value],
    (anchors, positives): (Value, Value),
    places: usize,
) -> Result<Loss, TrainError> {
    let (batch, objective) = (settings.batch, &settings.objective);
    if !objective.kind.contrasts() {
        let inputs = objective::Inputs::of_projections(&mut plan.g, anchors, positives);
        return Ok(objective.kind.loss(&mut plan.g, &inputs)?);
    }
    let targets = plan.input("targets", vec![batch, batch]);
    let allowed = plan.input("allowed", vec![batch, batch]);
    let temperature = match parameters.last() {
        Some(&log_scale) if objective.learns_temperature() => {
            let temperature = objective::of_log_scale(&mut plan.g, log_scale)?;
            plan.output(TEMPERATURE, temperature);
            temperature
        }
        _ => plan.input("temperature", vec![]),
    };
    let queue = momentum.as_ref().map(|momentum| momentum.queue(plan, batch)).transpose()?;
    let prediction = match (objective.kind, parameters.first()) {
        (Objective::Cpc, Some(&weight)) => {
            let context = plan.input("context", vec![batch, 1]);
            Some(Prediction { weight, context })
        }
        _ => None,
    };
    let inputs = objective::Inputs {
        anchors,
        positives,
        targets,
        allowed,
        temperature,
        queue,
        prediction,
        places,
    };
    Ok(objective.kind.loss(&mut plan.g, &inputs)?)
}

/// Numbers that change from step to step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalars {
    pub learning_rate: f32,
    /// What scores are divided by, unless it is learned.
    pub temperature: f32,
}

/// What a step feeds to the graph's inputs, in their order. `part` counts the parts
/// of a step from 0.
pub(super) fn step_inputs(
    inputs: &[(&'static str, Vec<usize>)],
    settings: &Settings,
    (step, part): (usize, usize),
    scalars: Scalars,
    batch: Batch,
) -> Vec<Vec<f32>> {
    let optimizer = settings.optimizer.rule(settings.weight_decay);
    let values = optimizer.scalar_values(f64::from(scalars.learning_rate), step as u64 + 1);
    let of_optimizer = |name: &str| {
        let at = optimizer.scalars().iter().position(|&scalar| scalar == name);
        at.and_then(|at| values.get(at).copied())
    };
    let Batch { mut views, mut targets, mut allowed, mut allowed_queue, mut context, .. } = batch;
    let truth = |holds: bool| vec![f32::from(u8::from(holds))];
    let value = |&(name, _): &(&'static str, Vec<usize>)| match name {
        "views" => std::mem::take(&mut views),
        "targets" => std::mem::take(&mut targets),
        "allowed" => std::mem::take(&mut allowed),
        "allowed_queue" => std::mem::take(&mut allowed_queue),
        "context" => std::mem::take(&mut context),
        "temperature" => vec![scalars.temperature],
        // exact up to 2^24 parts; beyond that some draws of dropout repeat
        "step" => vec![(step * settings.accumulate + part) as f32],
        "keep_sum" => truth(part > 0),
        "last_part" => truth(part + 1 == settings.accumulate),
        name => of_optimizer(name).into_iter().collect(),
    };
    inputs.iter().map(value).collect()
}
