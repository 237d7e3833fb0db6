//! `mivox leave-one-out`

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;
use clap::Args;

use super::{
    End, PipelineArgs, evaluate, index,
    job::{FOLDS, Job, say},
    pairs, prepare, register, train,
};
use crate::{
    durable,
    encoder::Encoder,
    evaluate::EvaluationRow,
    pairing::{HELD_OUT, Kind, PairRow},
    table,
};

pub(super) const EXAMPLE: &str = "Example:\n  \
mivox leave-one-out pipelines/default.toml --input /data/scans --out results --seeds 3\n\n\
For cohorts too small for a split: what is printed is retrieval in the subject that was left\n\
out, by the trained encoder, by the same one untrained, and by what needs no learning.";

#[derive(Args)]
pub(super) struct LeaveOneOutArgs {
    #[command(flatten)]
    pipeline: PipelineArgs,
    /// Encoders trained for each subject, from the pipeline's seed on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=100))]
    seeds: u8,
}

/// The columns of the table: the metric and the encoder of an evaluation's row.
const COLUMNS: [(&str, &str); 8] = [
    ("retrieval_top1", "trained"),
    ("retrieval_top1_z", "trained"),
    ("retrieval_top1_centred", "trained"),
    ("retrieval_top1", "untrained"),
    ("retrieval_top1_centred", "untrained"),
    ("retrieval_top1", "correlation"),
    ("retrieval_top1_centred", "correlation"),
    ("retrieval_top1", "histogram MI"),
];
/// How they are called.
const NAMES: [&str; 8] = [
    "trained, h",
    "trained, z",
    "trained, h centred",
    "untrained, h",
    "untrained, h centred",
    "correlation",
    "correlation, centred",
    "histogram MI",
];
/// The trained column that is held against the floors, and the first of these.
const TRAINED: usize = 2;
const FLOORS: usize = 5;

pub(super) fn run(args: &LeaveOneOutArgs) -> anyhow::Result<End> {
    let job = Job::open(&args.pipeline)?;
    Encoder::open(&job.config.encoder, &job.config.view)?;
    let stages: [fn(&Job) -> anyhow::Result<bool>; 3] =
        [|job| index::run(job, false), prepare::run, register::run];
    for stage in stages {
        if !stage(&job)? {
            return job.end(false);
        }
    }
    let subjects: BTreeSet<String> =
        job.volume_rows()?.into_iter().map(|row| row.subject).collect();
    if subjects.len() < 2 {
        bail!("leaving one out needs two subjects or more; there is {}", subjects.len());
    }
    let mut all = Vec::new();
    for (n, subject) in subjects.iter().enumerate() {
        for seed in 0..u64::from(args.seeds) {
            let fold = job.fold(subject, job.config.seed + seed);
            let seed = fold.config.seed;
            say(
                "fold",
                &format!("without {subject} ({} of {}), seed {seed}", n + 1, subjects.len()),
            );
            durable::create_folder(&fold.run_path(""))?;
            pairs::run(&fold)?;
            if let Some(reason) = nothing_to_look_for(&fold)? {
                say("fold", &format!("{reason}, so that nothing can be looked for: passed over"));
                continue;
            }
            let stages: [fn(&Job) -> anyhow::Result<bool>; 2] =
                [|fold| train::run(fold, true, false), evaluate::run];
            for stage in stages {
                if !stage(&fold)? {
                    return job.end(false);
                }
            }
            let rows: Vec<EvaluationRow> = table::read(&fold.run_path("evaluation.parquet"))?;
            all.extend(rows.into_iter().map(|row| (subject.clone(), row)));
        }
    }
    print(&all);
    let folds = job.path(FOLDS);
    println!("\nin {}: a folder a subject and seed", std::fs::canonicalize(&folds)?.display());
    job.end(true)
}

/// Why no place of the subject left out can be looked for, if so.
fn nothing_to_look_for(fold: &Job) -> anyhow::Result<Option<&'static str>> {
    let pairs: Vec<PairRow> = table::read(&fold.run_path("pairs.parquet"))?;
    let (left_out, others): (Vec<_>, Vec<_>) =
        pairs.iter().partition(|pair| pair.split == HELD_OUT);
    let of = |pair: &'_ PairRow| [pair.anchor_modality.clone(), pair.positive_modality.clone()];
    let known: BTreeSet<String> = others.iter().flat_map(|pair| of(pair)).collect();
    let mut twice =
        left_out.iter().filter(|pair| pair.is(Kind::CrossModality) || pair.is(Kind::Longitudinal));
    let own = fold.config.encoder.own.encoder;
    Ok(if others.is_empty() {
        Some("the others have no pair to learn from")
    } else if twice.clone().next().is_none() {
        Some("nothing of it is seen twice")
    } else if own && !twice.any(|pair| of(pair).iter().all(|modality| known.contains(modality))) {
        Some("the others lack a modality of what is seen twice")
    } else {
        None
    })
}

/// The cells of two modalities and a subject, by metric and encoder.
type Line<'a> = BTreeMap<(&'a str, &'a str), Cell<'a>>;

/// Values of one cell, one a seed, with what their rows say of them.
#[derive(Default)]
struct Cell<'a> {
    rows: Vec<&'a EvaluationRow>,
}

impl Cell<'_> {
    fn mean(&self) -> f64 {
        self.rows.iter().map(|row| row.value).sum::<f64>() / self.rows.len().max(1) as f64
    }

    /// `0.32 (0.21 to 0.44)`: the mean over the seeds, and the widest of their intervals.
    fn text(&self) -> String {
        let ends =
            |of: fn(&EvaluationRow) -> Option<f64>| self.rows.iter().filter_map(move |row| of(row));
        let low = ends(|row| row.low).fold(f64::INFINITY, f64::min);
        let high = ends(|row| row.high).fold(f64::NEG_INFINITY, f64::max);
        match low <= high {
            true => format!("{:.2} ({low:.2} to {high:.2})", self.mean()),
            false => format!("{:.2}", self.mean()),
        }
    }
}

/// Prints a table in Markdown: a line for each two modalities and each subject.
fn print(all: &[(String, EvaluationRow)]) {
    let mut lines: BTreeMap<(&str, &str), Line> = BTreeMap::new();
    let found = all.iter().filter(|(_, row)| row.metric.starts_with("retrieval_top1"));
    for (subject, row) in found.filter(|(_, row)| row.pair.contains('→')) {
        let line = lines.entry((&row.pair, subject)).or_default();
        line.entry((&row.metric, &row.encoder)).or_default().rows.push(row);
    }
    println!(
        "\nretrieval in the subject left out: share of slices found by embeddings h, by projections"
    );
    println!(
        "z, and by what needs no learning, with the 95 % interval over blocks of its slices; of"
    );
    println!(
        "several seeds the mean, and the widest interval. Centred: less the mean of the image\n"
    );
    println!("| | left out | {} | chance | slices |", NAMES.join(" | "));
    println!("|---|---|{}---|---|", "---|".repeat(COLUMNS.len()));
    let mut better = [0, 0];
    for ((pair, subject), line) in &lines {
        let cells = COLUMNS.map(|column| line.get(&column).map_or_else(String::new, Cell::text));
        let Some(trained) = line.get(&COLUMNS[TRAINED]) else { continue };
        let Some(first) = trained.rows.first() else { continue };
        let chance = first.reference.map_or_else(String::new, |chance| format!("{chance:.2}"));
        println!("| {pair} | {subject} | {} | {chance} | {} |", cells.join(" | "), first.count);
        let floor = COLUMNS[FLOORS..].iter().filter_map(|column| line.get(column)).map(Cell::mean);
        better[0] += usize::from(floor.fold(0.0, f64::max) < trained.mean());
        better[1] += 1;
    }
    if better[1] == 0 {
        return println!("\nno subject has a place that is seen in two images");
    }
    println!("\nh centred above all that needs no learning: {} of {} lines", better[0], better[1]);
}
