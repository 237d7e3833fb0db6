//! `mivox train`

use std::path::PathBuf;

use anyhow::Context;

use super::job::{Job, say};
use crate::{
    encoder::{self, Encoder},
    pairing::{PairRow, TRAIN},
    progress::Progress,
    runtime::Runtime,
    study::Modality,
    table,
    train::{self, Task},
};

pub(super) fn run(job: &Job, resume: bool) -> anyhow::Result<bool> {
    let config = &job.config;
    let encoder = Encoder::open(&config.encoder, &config.view)?;
    let source = encoder.source_digest();
    let depends = (&config.train, &config.encoder, source, &config.view, config.recipe());
    let stamp = job.stamp("train", Some("pairs"), &depends)?;
    let mut outputs = encoder_files(job);
    let trained = !outputs.is_empty();
    outputs.push(job.path("metrics.parquet"));
    if trained && stamp.is_set(&outputs) {
        say("train", "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    for remark in encoder.remarks() {
        say("train", remark);
    }
    let mut pairs: Vec<PairRow> = table::read(&job.path("pairs.parquet"))?;
    pairs.retain(|pair| pair.split == TRAIN);
    let runtime =
        Runtime::open(config.device, config.threads)?.with_cuda_graphs(config.cuda_graphs);
    let checkpoint = job.path("train/checkpoint.safetensors");
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
    };
    let settings = &config.train;
    let progress =
        Progress::new("train", "pairs", settings.steps * settings.batch * settings.accumulate);
    let outcome = train::train(&runtime, &task, &config.view, settings, &progress)?;
    progress.finish();
    if !outcome.complete {
        return Ok(false);
    }
    summarise(job, &outcome.metrics, &encoder, outcome.encoders.len());
    let metadata =
        train::metadata(&config.recipe(), stamp.digest(), config.seed, outcome.temperature);
    for stale in encoder_files(job) {
        std::fs::remove_file(stale).context("the encoder of an earlier run cannot be removed")?;
    }
    for (modality, weights) in &outcome.encoders {
        let path = job.path(&encoder::file_name(modality.as_deref()));
        train::write_encoder(&path, &encoder, weights, metadata.clone())?;
    }
    table::write(&job.path("metrics.parquet"), outcome.metrics, &[])?;
    stamp.set()?;
    // What it was for is done; a failure to remove it costs only space.
    let _ = std::fs::remove_file(checkpoint);
    Ok(true)
}

/// The encoders' files that are there.
fn encoder_files(job: &Job) -> Vec<PathBuf> {
    let modalities = Modality::ALL.map(|modality| Some(modality.as_str()));
    let names = std::iter::once(None).chain(modalities).map(encoder::file_name);
    names.map(|name| job.path(&name)).filter(|path| path.exists()).collect()
}

fn summarise(job: &Job, metrics: &[train::MetricRow], encoder: &Encoder, encoders: usize) {
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
    let mean = |of: fn(&train::MetricRow) -> Option<f32>| -> Option<f32> {
        let values: Vec<f32> = last.iter().filter_map(of).collect();
        (!values.is_empty()).then(|| values.iter().sum::<f32>() / values.len() as f32)
    };
    let result = match (mean(|row| row.bound_nats), mean(|row| row.ceiling_nats)) {
        (Some(bound), Some(ceiling)) => format!("bound {bound:.2} of at most {ceiling:.2} nats"),
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
    let wait = metrics.iter().map(|row| row.wait_share).sum::<f32>() / metrics.len().max(1) as f32;
    say(
        "train",
        &format!(
            "{} steps of {} pairs, {parameters}; {result}; \
         {:.0} pairs/s, {:.0} % of the time waiting for data",
            metrics.len(),
            job.config.train.batch,
            mean(|row| Some(row.pairs_per_second)).unwrap_or_default(),
            100.0 * wait,
        ),
    );
}
