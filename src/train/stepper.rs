//! A step of training: whole batches in one graph, or chunk by chunk.

use onnx_grad::Kernels;

use super::{
    Batch, Settings, TrainError,
    graph::{
        self, Scalars, TrainingGraph,
        cached::{self, BACKWARD, CachedGraphs, LOSSES, PROJECT, UPDATE},
        step_inputs,
    },
    trained::Trained,
};
use crate::{
    encoder::{Towers, Weights},
    runtime::{Phase, Phases, Runtime, StateVariable, StepSession},
    view,
};

/// The graphs of a run.
pub(super) enum Plan {
    Whole(TrainingGraph),
    Cached(CachedGraphs),
}

impl Plan {
    pub fn new(
        (towers, rows): (&Towers, &[usize]),
        trained: &Trained,
        weights: &Weights,
        settings: &Settings,
        view: &view::Settings,
        kernels: Option<Kernels>,
    ) -> Result<Self, TrainError> {
        if settings.gradient_cache == 0 {
            let graph = graph::build((towers, rows), trained, weights, settings, view, kernels)?;
            return Ok(Self::Whole(graph));
        }
        if rows.iter().any(|&tower| tower > 0) {
            return Err(TrainError::CachedTowers);
        }
        Ok(Self::Cached(cached::build(towers, trained, weights, settings, view, kernels)?))
    }

    /// What is carried from step to step, with its first values.
    pub fn state(&self) -> &[StateVariable] {
        match self {
            Self::Whole(graph) => &graph.state,
            Self::Cached(graphs) => &graphs.state,
        }
    }

    /// A stepper that begins with this state.
    pub fn open(self, runtime: &Runtime, state: &[StateVariable]) -> Result<Stepper, TrainError> {
        Ok(match self {
            Self::Whole(TrainingGraph { model, inputs, outputs, .. }) => {
                let session = StepSession::new(runtime, &model, state, &inputs, &outputs)?;
                Stepper::Whole { session: Box::new(session), inputs, outputs }
            }
            Self::Cached(CachedGraphs { phases, outputs, .. }) => {
                let inputs = phases.iter().map(|phase: &Phase| phase.inputs.clone()).collect();
                Stepper::Cached { phases: Phases::new(runtime, phases, state)?, inputs, outputs }
            }
        })
    }
}

/// What makes the steps of a run.
pub(super) enum Stepper {
    Whole {
        session: Box<StepSession>,
        inputs: Vec<(&'static str, Vec<usize>)>,
        outputs: Vec<&'static str>,
    },
    Cached {
        phases: Phases,
        /// Of each phase.
        inputs: Vec<Vec<(&'static str, Vec<usize>)>>,
        outputs: Vec<&'static str>,
    },
}

impl Stepper {
    /// What a step reports, by name.
    pub fn outputs(&self) -> &[&'static str] {
        match self {
            Self::Whole { outputs, .. } | Self::Cached { outputs, .. } => outputs,
        }
    }

    /// The values of the state, in the order it was given in.
    pub fn state(&self) -> Result<Vec<Vec<f32>>, TrainError> {
        Ok(match self {
            Self::Whole { session, .. } => session.state()?,
            Self::Cached { phases, .. } => phases.state()?,
        })
    }

    /// Makes a part of a step and gives what it reports.
    pub fn step(
        &mut self,
        settings: &Settings,
        (step, part): (usize, usize),
        scalars: Scalars,
        batch: Batch,
    ) -> Result<Vec<f32>, TrainError> {
        match self {
            Self::Whole { session, inputs, .. } => {
                let given = step_inputs(inputs, settings, (step, part), scalars, batch);
                Ok(session.step(given)?)
            }
            Self::Cached { phases, inputs, .. } => {
                cached_step(phases, inputs, settings, step, scalars, batch)
            }
        }
    }
}

/// All projections, the loss and its gradient by them, the gradient by the parameters, the
/// update.
fn cached_step(
    phases: &mut Phases,
    inputs: &[Vec<(&'static str, Vec<usize>)>],
    settings: &Settings,
    step: usize,
    scalars: Scalars,
    mut batch: Batch,
) -> Result<Vec<f32>, TrainError> {
    let (pairs, chunk) = (settings.batch, settings.gradient_cache);
    let chunks = pairs / chunk;
    let views = std::mem::take(&mut batch.views);
    // the same number in both passes, so the same draws; exact up to 2^24 chunks
    let number = |n: usize| vec![(step * chunks + n) as f32];
    let mut z = Halves::new(pairs, chunk);
    for n in 0..chunks {
        let given = vec![of_chunk(&views, n, pairs, chunk), number(n)];
        if let Some(projections) = phases.run(PROJECT, given)?.pop() {
            z.put(n, &projections);
        }
    }
    let mut given = step_inputs(&inputs[LOSSES], settings, (step, 0), scalars, batch);
    given[0] = z.values;
    let mut reported = phases.run(LOSSES, given)?;
    let by_z = reported.pop().unwrap_or_default();
    for n in 0..chunks {
        let [views, by_z] = [&views, &by_z].map(|whole| of_chunk(whole, n, pairs, chunk));
        phases.run(BACKWARD, vec![views, number(n), by_z])?;
    }
    let nothing = Batch::default();
    let given = step_inputs(&inputs[UPDATE], settings, (step, 0), scalars, nothing);
    reported.extend(phases.run(UPDATE, given)?);
    Ok(reported.into_iter().map(|v| v.first().copied().unwrap_or(f32::NAN)).collect())
}

/// The anchors and positives of a chunk, out of those of the batch.
fn of_chunk(whole: &[f32], n: usize, pairs: usize, chunk: usize) -> Vec<f32> {
    let width = whole.len() / (2 * pairs).max(1);
    let rows = |first: usize| whole.iter().skip(first * width).take(chunk * width);
    rows(n * chunk).chain(rows(pairs + n * chunk)).copied().collect()
}

/// Rows of the anchors and the positives of a batch, filled chunk by chunk.
struct Halves {
    pairs: usize,
    chunk: usize,
    values: Vec<f32>,
}

impl Halves {
    fn new(pairs: usize, chunk: usize) -> Self {
        Self { pairs, chunk, values: Vec::new() }
    }

    fn put(&mut self, n: usize, rows: &[f32]) {
        let width = rows.len() / (2 * self.chunk).max(1);
        self.values.resize(2 * self.pairs * width, 0.0);
        let half = self.chunk * width;
        for (first, rows) in
            [n * self.chunk, self.pairs + n * self.chunk].iter().zip(rows.chunks(half))
        {
            let places = self.values.iter_mut().skip(first * width);
            places.zip(rows).for_each(|(place, value)| *place = *value);
        }
    }
}

#[cfg(test)]
mod tests;
