//! `mivox evaluate`

use anyhow::bail;

use super::job::{Job, counted, say};
use crate::{
    embed::Embedder,
    encoder::Encoder,
    evaluate::{EvaluationRow, evaluate, floors},
    pairing::{HELD_OUT, PairRow},
    progress::Progress,
    runtime::Runtime,
    table, train,
};

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    let config = &job.config;
    let stamp = job.stamp("evaluate", Some("train"), &config.evaluate)?;
    let output = job.run_path("evaluation.parquet");
    if stamp.is_set(std::slice::from_ref(&output)) {
        print(&table::read(&output)?);
        return Ok(true);
    }
    stamp.clear()?;
    let mut pairs: Vec<PairRow> = table::read(&job.run_path("pairs.parquet"))?;
    pairs.retain(|pair| pair.split == HELD_OUT);
    let runtime = Runtime::open(config.device, config.threads)?;
    let recipe = config.recipe();
    let encoder = Encoder::open(&config.encoder, &config.view)?;
    let untrained = encoder.export(
        &encoder.initial_weights(config.seed),
        train::metadata(&recipe, "untrained", config.seed, config.evaluate.temperature),
    )?;
    let volumes = job.volumes()?;
    let trained = Embedder::of_results(&runtime, job.run_folder(), config.encoder.own, &recipe)?;
    let all = pairs.len();
    pairs.retain(|PairRow { anchor_modality, positive_modality, .. }| {
        trained.check([anchor_modality.as_str(), positive_modality].into_iter()).is_ok()
    });
    if pairs.len() < all {
        let left = counted(all - pairs.len(), "pair");
        say("evaluate", &format!("{left} left out: a modality that nobody trained on was seen"));
        if pairs.is_empty() {
            bail!("no held-out pair is of modalities that were trained on");
        }
    }
    let progress = Progress::new("evaluate", "encoders", 2);
    let mut rows = floors(&volumes, &pairs, &config.view, &config.evaluate)?;
    let mut settings = config.evaluate.clone();
    // one that was learned or ran on a schedule; the same for both encoders
    settings.temperature = trained.temperature().unwrap_or(settings.temperature);
    for (name, mut embedder) in
        [("untrained", Embedder::new(&runtime, &untrained, &recipe)?), ("trained", trained)]
    {
        rows.extend(evaluate(&mut embedder, name, &volumes, &pairs, &config.view, &settings)?);
        progress.advance(1);
    }
    progress.finish();
    print(&rows);
    table::write(&output, rows, &[("mivox.configuration", job.digest_of("train")?)])?;
    stamp.set()?;
    Ok(true)
}

fn is_floor(row: &EvaluationRow) -> bool {
    !["trained", "untrained"].contains(&row.encoder.as_str())
}

/// Prints trained beside untrained, a line for each thing measured.
fn print(rows: &[EvaluationRow]) {
    say(
        "evaluate",
        "on subjects that the encoder has never seen, beside the same encoder untrained",
    );
    println!(
        "  {:22} {:16} {:14} {:>9} {:>24} {:>9} {:>6} {:>8}",
        "metric", "source", "pairs", "untrained", "trained", "reference", "count", "subjects"
    );
    // Single pairs of modalities are in the table; here they would hide the rest.
    let shown = |row: &&EvaluationRow| row.encoder == "trained" && !row.pair.contains('→');
    for row in rows.iter().filter(shown) {
        let same = |other: &&EvaluationRow| {
            other.encoder == "untrained"
                && (&other.metric, &other.source, &other.pair)
                    == (&row.metric, &row.source, &row.pair)
        };
        let untrained =
            rows.iter().find(same).map_or_else(String::new, |row| format!("{:.3}", row.value));
        let interval = match (row.low, row.high) {
            (Some(low), Some(high)) => format!(" ({low:.3} to {high:.3})"),
            _ => String::new(),
        };
        let reference = row.reference.map_or_else(String::new, |value| format!("{value:.3}"));
        println!(
            "  {:22} {:16} {:14} {untrained:>9} {:>24} {reference:>9} {:>6} {:>8}",
            row.metric,
            row.source,
            row.pair,
            format!("{:.3}{interval}", row.value),
            row.count,
            row.subjects,
        );
    }
    for row in rows.iter().filter(|row| is_floor(row) && !row.pair.contains('→')) {
        let (metric, source, pair, encoder) = (&row.metric, &row.source, &row.pair, &row.encoder);
        println!(
            "  {metric:22} {source:16} {pair:14} {:.3} by {encoder}, without learning",
            row.value
        );
    }
    println!("  evaluation.parquet says how to read each row, and has the pairs of modalities");
}
