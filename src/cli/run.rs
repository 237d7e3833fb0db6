//! `mivox run`

use super::{
    End, PipelineArgs, embed, evaluate, index,
    job::{Job, Stage, say},
    pairs, prepare, register, train,
};
use crate::{encoder::Encoder, pairing::HELD_OUT};

pub(super) fn run(args: &PipelineArgs, strict: bool) -> anyhow::Result<End> {
    let job = Job::open(args)?;
    // An encoder that cannot be had is said before hours of work, not after.
    Encoder::open(&job.config.encoder, &job.config.view)?;
    let stages: [Stage; 7] = [
        &|job| index::run(job, false),
        &prepare::run,
        &register::run,
        &pairs::run,
        // What was stopped goes on: that is what running it again means.
        &|job| train::run(job, true, strict),
        &embed::run,
        &evaluate_if_held_out,
    ];
    for stage in stages {
        if !stage(&job)? {
            return job.end(false);
        }
    }
    let out = std::fs::canonicalize(&job.config.out)?;
    println!("\nin {}:", out.display());
    let encoder =
        if job.config.encoder.own.any() { "encoder-MODALITY.onnx" } else { "encoder.onnx" };
    for (name, what) in [
        ("cohort.parquet", "the series found"),
        ("pairs.parquet", "what the encoder was told is the same"),
        ("metrics.parquet", "how training went, step by step"),
        (encoder, "the encoder, with its recipe inside"),
        ("embeddings/part-*.parquet", "a row a slice and a volume"),
        ("evaluation.parquet", "what it knows of unseen subjects"),
    ] {
        println!("  {name:26} {what}");
    }
    println!(
        "to look at them: MIVOX_OUT={} jupyter lab notebooks/explore_embeddings.ipynb",
        out.display()
    );
    job.end(true)
}

fn evaluate_if_held_out(job: &Job) -> anyhow::Result<bool> {
    let rows = job.volume_rows()?;
    let split = job.split(&rows);
    if rows.iter().all(|row| split.of(&row.subject) != HELD_OUT) {
        say("evaluate", "WARNING: not evaluated, as no subject is held out");
        return Ok(true);
    }
    evaluate::run(job)
}
