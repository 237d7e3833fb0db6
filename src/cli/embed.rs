//! `mivox embed`

use super::job::{Job, counted, say};
use crate::{
    embed::{self, Embedder, Request},
    progress::Progress,
    runtime::Runtime,
};

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    let config = &job.config;
    let depends = (config.recipe(), config.pairs.min_body_share);
    let stamp = job.stamp("embed", Some("train"), &depends)?;
    let folder = job.run_path("embeddings");
    if stamp.is_set(&[folder.join("part-00000.parquet")]) {
        say("embed", "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    let runtime = Runtime::open(config.device, config.threads)?;
    let (own, recipe) = (config.encoder.own, config.recipe());
    let mut embedder = Embedder::of_results(&runtime, job.run_folder(), own, &recipe)?;
    let volumes = job.volumes_as_scanned()?;
    let request = Request {
        volumes: volumes.all(),
        view: &config.view,
        min_body_share: config.pairs.min_body_share,
        split: &job.split(&job.volume_rows()?),
        folder: &folder,
        metadata: vec![
            ("mivox.version", env!("CARGO_PKG_VERSION").to_owned()),
            ("mivox.configuration", job.digest_of("train")?),
            ("mivox.seed", config.seed.to_string()),
        ],
    };
    let progress = Progress::new("embed", "volumes", request.volumes.len());
    let embedded = embed::embed_all(&mut embedder, &request, &progress)?;
    progress.finish();
    if embedded.complete {
        say(
            "embed",
            &format!(
                "{} in {}, {} numbers a row",
                counted(embedded.volumes, "volume"),
                counted(embedded.parts, "Parquet file"),
                embedder.dim()
            ),
        );
        stamp.set()?;
    }
    Ok(embedded.complete)
}
