//! The training loop: batches of pairs in, an encoder out.

mod batch;
mod checkpoint;
mod graph;
pub mod monitor;
mod optimizer;
mod schedule;
mod stepper;
mod trained;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::mpsc::Receiver,
    time::Instant,
};

use serde::Serialize;

use crate::{
    durable::DurableError,
    encoder::{self, Encoder, EncoderError, Towers, Weights as EncoderWeights},
    objective::{self, Objective},
    pairing::{Draw, Kind, PairRow, Weights},
    progress::Progress,
    runtime::{Runtime, RuntimeError},
    stop,
    view::{self, Augments, ViewError, Volumes},
};

pub use batch::{Batch, BatchError, BatchRemark, Sampler, Slot};
pub use checkpoint::CheckpointError;
use checkpoint::State;
pub use monitor::MetricRow;
use monitor::{Monitor, MonitorError, Watch};
pub use optimizer::{OptimizerKind, Precision};
use stepper::{Plan, Stepper};
use trained::Trained;

/// How an encoder is trained, as a pipeline sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Optimizer steps.
    pub steps: usize,
    /// Pairs in a batch, K.
    pub batch: usize,
    /// Batches whose mean gradient makes one step.
    pub accumulate: usize,
    /// Pairs that the encoder sees at a time, where a batch is larger than memory; 0 where
    /// it sees a whole batch.
    pub gradient_cache: usize,
    /// The rule that moves the parameters.
    pub optimizer: OptimizerKind,
    /// What matrix products and convolutions compute in.
    #[serde(serialize_with = "optimizer::precision_name")]
    pub precision: Precision,
    /// Highest learning rate.
    pub learning_rate: f32,
    /// Steps over which the learning rate rises from zero.
    pub warmup: usize,
    /// Decoupled weight decay.
    pub weight_decay: f32,
    /// What is minimised.
    pub objective: objective::Settings,
    /// Largest norm of the gradient.
    pub clip_norm: f32,
    /// Steps between two checkpoints.
    pub checkpoint_every: usize,
    /// Share of each kind of pair in a batch.
    pub weights: Weights,
    /// How batches are drawn, and who is no negative of whom.
    pub draw: Draw,
    /// How views are changed.
    pub augment: Augments,
    /// Seed of the parameters and of every draw.
    pub seed: u64,
}

/// Why training cannot start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// No batch can be drawn.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The encoder's graph cannot be built.
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    /// The training graph cannot be built.
    #[error("the training graph cannot be built")]
    Graph(#[from] onnx_grad::Error),
    /// ONNX Runtime refused.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A prepared volume cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// A checkpoint cannot be written or read.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The run cannot be watched.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// The encoder did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The encoder could not be written.
    #[error("the encoder cannot be written")]
    Write(#[source] std::io::Error),
    /// CPC without anything to predict from.
    #[error(
        "the objective \"cpc\" predicts from contexts, and none of the {pairs} training pairs is one; \
         raise view.depth and pairs.context, or choose another objective"
    )]
    NoContext {
        /// Training pairs.
        pairs: usize,
    },
    /// MoCo, and a modality of its own encoder or projector whose views are keys alone.
    #[error(
        "with the objective \"moco\" only anchors are trained on, and {modality} is none in a batch: \
         set encoder.per and encoder.projector_per to \"all\", or give pairs.augmented a weight"
    )]
    NeverAnchor {
        /// The modality.
        modality: String,
    },
    /// A gradient cache, and encoders or projectors of modalities.
    #[error(
        "train.gradient_cache needs one encoder and one projector for all modalities: \
         set encoder.per and encoder.projector_per to \"all\", or gradient_cache to 0"
    )]
    CachedTowers,
    /// The thread that samples batches ended early.
    #[error("no batch came for step {step}")]
    NoBatch {
        /// The step.
        step: usize,
    },
    /// The loss is no number.
    #[error(
        "the loss became {loss} at step {step}; lower learning_rate (now {learning_rate}) or raise warmup"
    )]
    Diverged {
        /// The loss.
        loss: f32,
        /// The step.
        step: usize,
        /// The learning rate.
        learning_rate: f32,
    },
}

/// How training ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The weights of the encoder of each modality; of the one encoder without a modality
    /// where it sees all.
    pub encoders: Vec<(Option<String>, EncoderWeights)>,
    /// What scores of projections are divided by at the end.
    pub temperature: f32,
    /// One row a step, those of earlier runs included.
    pub metrics: Vec<MetricRow>,
    /// Whether all steps were made and no alarm stopped the run; `false` after a
    /// stop on request too.
    pub complete: bool,
}

/// What training reads and where it keeps its state.
pub struct Task<'a> {
    /// The prepared volumes.
    pub volumes: &'a Volumes,
    /// The training pairs.
    pub pairs: &'a [PairRow],
    /// The encoder's shape.
    pub encoder: &'a Encoder,
    /// Where checkpoints go.
    pub checkpoint: PathBuf,
    /// What a checkpoint must have been made with to be gone on from.
    pub digest: &'a str,
    /// Whether to go on from a checkpoint where there is one.
    pub resume: bool,
    /// How it is watched.
    pub watch: Watch<'a>,
}

/// Trains an encoder and returns its parameters.
///
/// Everything random is drawn from the seed and the number of the step, so a
/// run that was stopped and resumed gives the same bits as one that was not,
/// with one thread count on a CPU.
///
/// # Errors
/// [`TrainError`].
pub fn train(
    runtime: &Runtime,
    task: &Task,
    view: &view::Settings,
    settings: &Settings,
    progress: &Progress,
) -> Result<Outcome, TrainError> {
    if settings.objective.kind == Objective::Cpc
        && !task.pairs.iter().any(|pair| pair.is(Kind::Context))
    {
        return Err(TrainError::NoContext { pairs: task.pairs.len() });
    }
    let sampler = match task.encoder.own().any() {
        true => Sampler::with_slots(task.pairs, settings),
        false => Sampler::new(task.pairs, settings),
    };
    let sampler = sampler?.with_queue(settings.objective.kind.queue_len());
    for remark in sampler.remarks() {
        progress.note(&format!("WARNING: {remark}"));
    }
    if let Objective::Moco { .. } = settings.objective.kind {
        let anchors: BTreeSet<&str> =
            sampler.slots().iter().map(|slot| slot.anchor_modality.as_str()).collect();
        let positives = sampler.slots().iter().map(|slot| slot.positive_modality.as_str());
        if let Some(modality) = positives.into_iter().find(|modality| !anchors.contains(modality)) {
            return Err(TrainError::NeverAnchor { modality: modality.to_owned() });
        }
    }
    let towers = Towers::new(task.encoder, &modalities(&sampler))?;
    let rows = rows(&towers, &sampler, settings.batch);
    let mut weights = towers.initial_weights(settings.seed)?;
    let trained = Trained::new(towers.layout(), task.encoder.projection(), &settings.objective)?;
    if settings.gradient_cache > 0 && !weights.buffers.is_empty() {
        progress.note(&format!(
            "WARNING: batch normalisation takes its statistics from the {} pairs of a chunk of \
             train.gradient_cache, not from the batch",
            settings.gradient_cache
        ));
    }
    let plan = Plan::new((&towers, &rows), &trained, &weights, settings, view, runtime.kernels())?;
    let names: Vec<&str> = plan.state().iter().map(|variable| variable.name.as_str()).collect();
    let mut state = match State::open(&task.checkpoint, task.digest, &names)? {
        Some(state) if task.resume => state,
        None if task.resume && task.checkpoint.exists() => {
            progress.note("the checkpoint was made with other settings: training starts anew");
            State::fresh(plan.state().to_vec())
        }
        _ => State::fresh(plan.state().to_vec()),
    };
    let first = state.step;
    let pairs = settings.batch * settings.accumulate;
    progress.resume_from(first * pairs);
    let mut stepper = plan.open(runtime, &state.variables)?;
    let mut monitor =
        Monitor::open(runtime, task, view, settings, &towers, &state.metrics, progress)?;
    let mut complete = true;
    let result = std::thread::scope(|scope| {
        let batches = batch::produce(scope, &sampler, task.volumes, view, settings, first);
        for step in first..settings.steps {
            if stop::requested() || monitor.must_stop() {
                complete = false;
                break;
            }
            let mut row = make_step(&mut stepper, &batches, settings, step)?;
            let (loss, learning_rate) = (row.loss, row.learning_rate);
            if !loss.is_finite() {
                state.metrics.push(row);
                return Err(TrainError::Diverged { loss, step, learning_rate });
            }
            if monitor.is_due(step) {
                state.take(stepper.state()?);
                give(&mut weights, &state, &trained)?;
                monitor.look(&mut row, &towers.weights(&weights)?)?;
            }
            state.metrics.push(row);
            state.step = step + 1;
            progress.advance(pairs);
            monitor.tell(&mut state.metrics, progress)?;
            if state.step % settings.checkpoint_every == 0 && state.step < settings.steps {
                state.take(stepper.state()?);
                state.write(&task.checkpoint, task.digest)?;
                monitor.save(&state.metrics)?;
            }
        }
        Ok(())
    });
    // What happened is told first, also where it ended badly.
    let saved = monitor.save(&state.metrics);
    result?;
    saved?;
    complete &= !monitor.must_stop();
    state.take(stepper.state()?);
    if !complete {
        state.write(&task.checkpoint, task.digest)?;
    }
    let learned = give(&mut weights, &state, &trained)?;
    let scheduled = settings.objective.temperature.at(settings.steps, settings.steps);
    let temperature = learned.unwrap_or(scheduled);
    let encoders = towers.weights(&weights)?;
    Ok(Outcome { encoders, temperature, metrics: state.metrics, complete })
}

/// Gives an encoder what is trained of it and its running averages; returns the
/// learned temperature, where there is one.
fn give(
    weights: &mut EncoderWeights,
    state: &State,
    trained: &Trained,
) -> Result<Option<f32>, TrainError> {
    let flat = state.values(graph::PARAMS);
    weights.trained = trained.of_encoder(&flat)?;
    weights.buffers = state.values(graph::BUFFERS);
    Ok(trained.temperature(&flat))
}

/// The modalities of a batch, each once, in the order of their names; none where they
/// change from batch to batch.
fn modalities(sampler: &Sampler) -> Vec<String> {
    let of_slot = |slot: &Slot| [slot.anchor_modality.clone(), slot.positive_modality.clone()];
    let all: BTreeSet<String> = sampler.slots().iter().flat_map(of_slot).collect();
    all.into_iter().collect()
}

/// The number of the tower that sees each of the 2 K views of a batch.
fn rows(towers: &Towers, sampler: &Sampler, batch: usize) -> Vec<usize> {
    let number = |modality: &str| towers.number(modality).unwrap_or_default();
    let slots = sampler.slots();
    if slots.is_empty() {
        return vec![0; 2 * batch];
    }
    let anchors = slots.iter().map(|slot| number(&slot.anchor_modality));
    anchors.chain(slots.iter().map(|slot| number(&slot.positive_modality))).collect()
}

/// Makes one step, of one batch or of several, and says how it went.
fn make_step(
    stepper: &mut Stepper,
    batches: &Receiver<Result<Batch, ViewError>>,
    settings: &Settings,
    step: usize,
) -> Result<MetricRow, TrainError> {
    let started = Instant::now();
    let learning_rate = schedule::learning_rate(settings, step);
    let temperature = settings.objective.temperature.at(step, settings.steps);
    let mut waited = 0.0;
    let mut reported = Vec::new();
    for part in 0..settings.accumulate {
        let waiting = Instant::now();
        let batch = batches.recv().map_err(|_| TrainError::NoBatch { step })??;
        waited += waiting.elapsed().as_secs_f32();
        let scalars = graph::Scalars { learning_rate, temperature };
        reported.push(stepper.step(settings, (step, part), scalars, batch)?);
    }
    let outputs = stepper.outputs();
    let seconds = started.elapsed().as_secs_f32().max(1e-6);
    let mean = |name: &str| -> Option<f32> {
        let at = outputs.iter().position(|&output| output == name)?;
        let values = reported.iter().filter_map(|values| values.get(at));
        Some(values.sum::<f32>() / settings.accumulate as f32)
    };
    let missing = |name: &str| RuntimeError::Output { name: name.to_owned() };
    let loss = mean(graph::LOSS).ok_or_else(|| missing(graph::LOSS))?;
    // of the sum of all parts, which the last one ends
    let norm = outputs.iter().position(|&output| output == graph::GRADIENT_NORM);
    let norm = norm.and_then(|at| reported.last()?.get(at).copied());
    let ceiling = mean(graph::CEILING);
    Ok(MetricRow {
        step: step as u32,
        loss,
        bound_nats: ceiling.map(|ceiling| ceiling - loss),
        ceiling_nats: ceiling,
        learning_rate,
        gradient_norm: norm.ok_or_else(|| missing(graph::GRADIENT_NORM))?,
        pairs_per_second: (settings.batch * settings.accumulate) as f32 / seconds,
        wait_share: waited / seconds,
        temperature: ceiling.map(|_| mean(graph::TEMPERATURE).unwrap_or(temperature)),
        negatives: mean(graph::NEGATIVES),
        without_negatives: mean(graph::ALONE),
        ..MetricRow::default()
    })
}

/// Writes `encoder.onnx` with its metadata.
///
/// # Errors
/// [`TrainError`].
pub fn write_encoder(
    path: &Path,
    encoder: &Encoder,
    weights: &EncoderWeights,
    metadata: Vec<(String, String)>,
) -> Result<(), TrainError> {
    let bytes = encoder.export(weights, metadata)?;
    crate::durable::write_atomically(path, |out| {
        std::io::Write::write_all(out, &bytes).map_err(TrainError::Write)
    })
}

/// The metadata of an encoder file: how its views are made, and what it is.
pub fn metadata(
    recipe: &str,
    configuration: &str,
    seed: u64,
    temperature: f32,
) -> Vec<(String, String)> {
    [
        (encoder::RECIPE, recipe.to_owned()),
        (encoder::CONFIGURATION, configuration.to_owned()),
        (encoder::VERSION, env!("CARGO_PKG_VERSION").to_owned()),
        (encoder::SEED, seed.to_string()),
        (encoder::TEMPERATURE, temperature.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

#[cfg(test)]
pub(crate) mod tests;
