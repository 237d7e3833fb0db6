//! A step on a batch larger than memory: the graphs of a gradient cache.

use onnx_grad::{
    Graph, Kernels, OptimizerState, Value, clip_by_global_norm, gradient,
    model::{self, Precision, WriteOptions},
};

use super::{BUFFERS, CEILING, GRADIENT_NORM, LOSS, NEGATIVES, PARAMS, Plan, SUM, add_loss};
use crate::{
    encoder::{Mode, Tensors, Towers, Weights},
    objective::Loss,
    runtime::{Phase, StateVariable},
    train::{Settings, TrainError, graph::ALONE, trained::Trained},
    view,
};

/// The graphs of a step, by their numbers.
pub(in crate::train) struct CachedGraphs {
    /// In the order of [`PROJECT`], [`LOSSES`], [`BACKWARD`], [`UPDATE`].
    pub phases: Vec<Phase>,
    /// What is carried from step to step, with its first values.
    pub state: Vec<StateVariable>,
    /// What a step reports: of [`LOSSES`], then of [`UPDATE`].
    pub outputs: Vec<&'static str>,
}

/// Views of a chunk to projections, nothing kept for a gradient.
pub(in crate::train) const PROJECT: usize = 0;
/// All projections to the loss and its gradient by them.
pub(in crate::train) const LOSSES: usize = 1;
/// Views of a chunk, and the gradient by its projections, to the gradient by the parameters,
/// added to the sum.
pub(in crate::train) const BACKWARD: usize = 2;
/// The sum of gradients to the next parameters.
pub(in crate::train) const UPDATE: usize = 3;

/// The graphs of an encoder that sees `chunk` pairs at a time.
///
/// The loss reads projections alone. So the gradient of the whole batch is, summed over
/// chunks, that of Σ z · ∂loss/∂z with the factor held fixed, and no chunk needs the
/// activations of another. What each chunk sees is computed twice, with the same draws.
///
/// # Source
/// Gao et al. 2021, *Scaling Deep Contrastive Learning Batch Size under Memory Limited
/// Setup*, sec. 3.2.
pub(in crate::train) fn build(
    towers: &Towers,
    trained: &Trained,
    weights: &Weights,
    settings: &Settings,
    view: &view::Settings,
    kernels: Option<Kernels>,
) -> Result<CachedGraphs, TrainError> {
    let setup = Setup { towers, trained, weights, settings, view, kernels };
    let (project, _) = setup.of_chunk(false)?;
    let (losses, reported) = setup.losses()?;
    let (backward, _) = setup.of_chunk(true)?;
    let (update, mut state) = setup.update()?;
    if !weights.buffers.is_empty() {
        state.push(StateVariable { name: BUFFERS.to_owned(), values: weights.buffers.clone() });
    }
    let outputs = [reported, vec![GRADIENT_NORM]].concat();
    Ok(CachedGraphs { phases: vec![project, losses, backward, update], state, outputs })
}

struct Setup<'a> {
    towers: &'a Towers<'a>,
    trained: &'a Trained,
    weights: &'a Weights,
    settings: &'a Settings,
    view: &'a view::Settings,
    kernels: Option<Kernels>,
}

impl Setup<'_> {
    fn plan(&self) -> Plan {
        Plan::new(match self.kernels {
            Some(kernels) if self.settings.precision == Precision::F32 => {
                Graph::new().with_kernels(kernels)
            }
            _ => Graph::new(),
        })
    }

    /// The forward pass of a chunk, and with `backward` its gradient instead of its projections.
    fn of_chunk(&self, backward: bool) -> Result<(Phase, Vec<StateVariable>), TrainError> {
        let Self { towers, trained, weights, settings, view, .. } = *self;
        let (chunk, encoder) = (settings.gradient_cache, towers.encoder());
        let mut plan = self.plan();
        let mut writes = Vec::new();
        let params = plan.state(PARAMS, trained.initial(&weights.trained)?);
        let buffers = match weights.buffers.is_empty() {
            true => Vec::new(),
            false => {
                let flat = plan.state(BUFFERS, weights.buffers.clone());
                towers.buffers().bind_flat(&mut plan.g, flat)?
            }
        };
        let views = plan.input("views", view.shape(2 * chunk));
        let step = plan.input("step", vec![]);
        let frozen = encoder.frozen().bind_initializers(&mut plan.g, &weights.frozen)?;
        let (of_encoder, _) = trained.bind(&mut plan.g, params)?;
        let tensors = Tensors { trained: &of_encoder, frozen: &frozen, buffers: &buffers };
        let rows = vec![0; 2 * chunk];
        let z = towers.forward(&mut plan.g, &tensors, Mode::Train { step }, views, &rows)?;
        let shape = plan.g.shape(z.value).to_vec();
        if !backward {
            plan.g.output("z", z.value);
            return self.phase(plan, writes, vec![("z", shape)]);
        }
        let by_z = plan.input("by_z", shape);
        let product = plan.g.mul(z.value, by_z)?;
        let product = plan.g.reduce_sum(product, &[0, 1], false)?;
        let grads = gradient(&mut plan.g, product, &[params])?[0];
        let sum = plan.state(SUM, vec![0.0; trained.layout().len()]);
        let sum = plan.g.add(sum, grads)?;
        plan.next(SUM, sum);
        writes.push(SUM.to_owned());
        if !z.buffers.is_empty() {
            let next = towers.buffers().flatten(&mut plan.g, &z.buffers)?;
            plan.next(BUFFERS, next);
            writes.push(BUFFERS.to_owned());
        }
        self.phase(plan, writes, Vec::new())
    }

    /// The loss of all projections. Its gradient by what the objective trains of its own is
    /// what the sum of gradients begins with.
    fn losses(&self) -> Result<(Phase, Vec<&'static str>), TrainError> {
        let Self { towers, trained, weights, settings, .. } = *self;
        let (batch, width) = (settings.batch, towers.encoder().projection());
        let mut plan = self.plan();
        let params = plan.state(PARAMS, trained.initial(&weights.trained)?);
        let (_, of_objective) = trained.bind(&mut plan.g, params)?;
        let z = plan.input("z", vec![2 * batch, width]);
        let halves = plan.g.split(z, 0, &[batch, batch])?;
        let Loss { loss, candidates } = add_loss(
            &mut plan,
            settings,
            &None,
            &of_objective,
            (halves[0], halves[1]),
            towers.encoder().places(),
        )?;
        let grads = gradient(&mut plan.g, loss, &[z, params])?;
        plan.output(LOSS, loss);
        if let Some(candidates) = candidates {
            plan.output(CEILING, candidates.ceiling);
            plan.output(NEGATIVES, candidates.negatives);
            plan.output(ALONE, candidates.alone);
        }
        let reported = plan.outputs.clone();
        plan.g.output("by_z", grads[0]);
        plan.next(SUM, grads[1]);
        let scalars = reported.iter().map(|&name| (name, vec![]));
        let outputs = scalars.chain([("by_z", vec![2 * batch, width])]).collect();
        let (phase, _) = self.phase(plan, vec![SUM.to_owned()], outputs)?;
        Ok((phase, reported))
    }

    fn update(&self) -> Result<(Phase, Vec<StateVariable>), TrainError> {
        let Self { trained, weights, settings, .. } = *self;
        let optimizer = settings.optimizer.rule(settings.weight_decay);
        let mut plan = self.plan();
        let params = plan.state(PARAMS, trained.initial(&weights.trained)?);
        let flat = vec![0.0; trained.layout().len()];
        let names = optimizer.moments();
        let moments = names.iter().map(|name| plan.state(name, flat.clone())).collect();
        let sum = plan.state(SUM, flat);
        let scalars: Vec<Value> =
            optimizer.scalars().iter().map(|&name| plan.input(name, vec![])).collect();
        let (grads, norm) = clip_by_global_norm(&mut plan.g, sum, settings.clip_norm)?;
        let state = OptimizerState { params, moments };
        let next = optimizer.update(&mut plan.g, trained.layout(), &state, grads, &scalars)?;
        let params = trained.limited(&mut plan.g, next.params)?;
        plan.next(PARAMS, params);
        let mut writes = vec![PARAMS.to_owned()];
        for (name, moment) in names.iter().zip(next.moments) {
            plan.next(name, moment);
            writes.push((*name).to_owned());
        }
        plan.output(GRADIENT_NORM, norm);
        self.phase(plan, writes, vec![(GRADIENT_NORM, vec![])])
    }

    fn phase(
        &self,
        plan: Plan,
        writes: Vec<String>,
        outputs: Vec<(&'static str, Vec<usize>)>,
    ) -> Result<(Phase, Vec<StateVariable>), TrainError> {
        let precision = self.settings.precision;
        let model = model::write(&plan.g, &WriteOptions { precision, ..WriteOptions::default() })?;
        let reads = plan.state.iter().map(|variable| variable.name.clone()).collect();
        Ok((Phase { model, reads, writes, inputs: plan.inputs, outputs }, plan.state))
    }
}
