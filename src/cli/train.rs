//! `mivox train`

use std::path::PathBuf;

use anyhow::Context;

use super::job::{Job, say};
use crate::{
    encoder::{self, Encoder},
    pairing::{HELD_OUT, PairRow, TRAIN},
    progress::Progress,
    runtime::Runtime,
    study::Modality,
    table,
    train::{
        self, MetricRow, Task,
        monitor::{self, Raised, Watch},
    },
};

/// A strict run raised alarms.
#[derive(Debug, thiserror::Error)]
#[error("training raised alarms: {alarms}; docs/monitoring.md says what to do. {next}")]
pub(super) struct Alarmed {
    alarms: String,
    next: &'static str,
}

const STOPPED: &str = "It was stopped, its state is saved: without --strict, or with the alarm \
                       in monitor.silence, it goes on (train: with --resume)";
const FINISHED: &str = "All steps had been made, and the encoder is written";

pub(super) fn run(job: &Job, resume: bool, strict: bool) -> anyhow::Result<bool> {
    let config = &job.config;
    let encoder = Encoder::open(&config.encoder, &config.view)?;
    let source = encoder.source_digest();
    let depends = (&config.train, &config.encoder, source, &config.view, config.recipe());
    let stamp = job.stamp("train", Some("pairs"), &depends)?;
    let mut outputs = encoder_files(job);
    let trained = !outputs.is_empty();
    outputs.push(job.run_path("metrics.parquet"));
    if trained && stamp.is_set(&outputs) {
        say("train", "unchanged");
        let metrics: Vec<MetricRow> = table::read(&job.run_path("metrics.parquet"))?;
        judge(&monitor::raised(&metrics, &config.monitor), strict, FINISHED)?;
        return Ok(true);
    }
    stamp.clear()?;
    for remark in encoder.remarks() {
        say("train", remark);
    }
    let mut pairs: Vec<PairRow> = table::read(&job.run_path("pairs.parquet"))?;
    let held_out = pairs.extract_if(.., |pair| pair.split == HELD_OUT).collect::<Vec<_>>();
    pairs.retain(|pair| pair.split == TRAIN);
    let runtime =
        Runtime::open(config.device, config.threads)?.with_cuda_graphs(config.cuda_graphs);
    let checkpoint = job.run_path("train/checkpoint.safetensors");
    if !resume && checkpoint.exists() {
        say("train", "a checkpoint is there; --resume would go on from it");
    }
    let volumes = job.volumes()?;
    let task = Task {
        volumes: &volumes,
        pairs: &pairs,
        encoder: &encoder,
        checkpoint: checkpoint.clone(),
        digest: stamp.digest(),
        resume,
        watch: Watch {
            settings: &config.monitor,
            held_out: &held_out,
            metrics: job.run_path("metrics.parquet"),
            events: job.run_path("train/tensorboard"),
            strict,
        },
    };
    let settings = &config.train;
    let total = settings.steps * settings.batch * settings.accumulate;
    let progress = Progress::with_panel("train", "pairs", total);
    let outcome = train::train(&runtime, &task, &config.view, settings, &progress)?;
    progress.finish();
    let raised = monitor::raised(&outcome.metrics, &config.monitor);
    if !outcome.complete {
        if strict {
            judge(&raised, strict, STOPPED)?;
        }
        return Ok(false);
    }
    summarise(job, &outcome.metrics, &encoder, outcome.encoders.len());
    let metadata =
        train::metadata(&config.recipe(), stamp.digest(), config.seed, outcome.temperature);
    for stale in encoder_files(job) {
        std::fs::remove_file(stale).context("the encoder of an earlier run cannot be removed")?;
    }
    for (modality, weights) in &outcome.encoders {
        let path = job.run_path(&encoder::file_name(modality.as_deref()));
        train::write_encoder(&path, &encoder, weights, metadata.clone())?;
    }
    stamp.set()?;
    // What it was for is done; a failure to remove it costs only space.
    let _ = std::fs::remove_file(checkpoint);
    judge(&raised, strict, FINISHED)?;
    Ok(true)
}

/// Says what alarms there were; of a strict run they are an error.
fn judge(raised: &[Raised], strict: bool, next: &'static str) -> anyhow::Result<()> {
    if raised.is_empty() {
        return Ok(());
    }
    let alarms = raised.iter().map(Raised::to_string).collect::<Vec<_>>().join(", ");
    if strict {
        return Err(Alarmed { alarms, next }.into());
    }
    say("train", &format!("WARNING: {alarms}; docs/monitoring.md says what to do"));
    Ok(())
}

/// The encoders' files that are there.
fn encoder_files(job: &Job) -> Vec<PathBuf> {
    let modalities = Modality::ALL.map(|modality| Some(modality.as_str()));
    let names = std::iter::once(None).chain(modalities).map(encoder::file_name);
    names.map(|name| job.run_path(&name)).filter(|path| path.exists()).collect()
}

fn summarise(job: &Job, metrics: &[MetricRow], encoder: &Encoder, encoders: usize) {
    let (trained, frozen) = (encoder.layout().len(), encoder.frozen().len());
    let parameters = match frozen {
        0 => format!("{trained} parameters"),
        _ => format!("{trained} of {} parameters trained", trained + frozen),
    };
    let parameters = match encoders {
        1 => parameters,
        _ => format!("{parameters} in each of {encoders} encoders"),
    };
    let last = &metrics[metrics.len() - metrics.len().div_ceil(20)..];
    let mean = |of: fn(&MetricRow) -> Option<f32>| -> Option<f32> {
        let values: Vec<f32> = last.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f32>() / values.len() as f32)
    };
    let learned = match (mean(|row| row.bound_nats), mean(|row| row.ceiling_nats)) {
        (Some(bound), Some(most)) => format!("bound {bound:.2} of at most {most:.2} nats"),
        _ => format!(
            "loss {:.3}, which bounds no information",
            mean(|row| Some(row.loss)).unwrap_or(f32::NAN)
        ),
    };
    let alone: Vec<f32> = metrics.iter().filter_map(|row| row.without_negatives).collect();
    if alone.iter().any(|&rows| rows > 0.0) {
        let mean = alone.iter().sum::<f32>() / alone.len() as f32;
        let text = format!(
            "WARNING: {mean:.1} rows of a batch, on average, had no negative left and taught nothing"
        );
        say("train", &text);
    }
    let look = metrics.iter().rfind(|row| row.held_out_bound_nats.is_some());
    let held_out = look.map_or_else(String::new, |row| {
        let bound = row.held_out_bound_nats.unwrap_or(f32::NAN);
        format!(" ({bound:.2} of held-out subjects)")
    });
    let wait = metrics.iter().map(|row| row.wait_share).sum::<f32>() / metrics.len().max(1) as f32;
    say(
        "train",
        &format!(
            "{} steps of {} pairs, {parameters}; {learned}{held_out}; \
              {:.0} pairs/s, {:.1} % of the time waiting for data",
            metrics.len(),
            job.config.train.batch,
            mean(|row| Some(row.pairs_per_second)).unwrap_or(0.0),
            100.0 * wait,
        ),
    );
}
