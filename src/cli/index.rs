//! `mivox index`

use std::collections::BTreeMap;

use anyhow::bail;

use super::job::{Job, counted, say};
use crate::{
    cohort::{self, Cohort, Found, Source},
    durable::sha256_hex,
    progress::Progress,
    table,
};

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    let mut sources: Vec<(Source, Vec<Found>)> = Vec::new();
    for source in &job.config.sources {
        let files = cohort::walk(&source.path, &source.name)?;
        sources.push((source.clone(), files));
    }
    let stamp = job.stamp("index", None, &listing(&sources))?;
    let outputs = ["cohort.parquet", "linkage.parquet"].map(|name| job.path(name));
    if stamp.is_set(&outputs) {
        say("index", "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    let files = sources.iter().map(|(_, files)| files.len()).sum();
    let progress = Progress::new("index", "files", files);
    let cohort = cohort::index(&sources, &job.pseudonyms()?, &progress)?;
    progress.finish();
    summarise(&cohort);
    let first = cohort.quarantined.first().cloned();
    table::write_private(&job.path("linkage.parquet"), cohort.links)?;
    table::write(&job.path("quarantine.parquet"), cohort.quarantined, &[])?;
    let metadata = [("mivox.version", env!("CARGO_PKG_VERSION").to_owned())];
    table::write(&job.path("cohort.parquet"), cohort.rows, &metadata)?;
    if job.fail_first
        && let Some(first) = first
    {
        bail!("{}: {} (linkage.parquet has its path)", first.file, first.reason);
    }
    stamp.set()?;
    Ok(true)
}

/// What the index depends on: the files' names, sizes and times, hashed, and
/// how names are read.
fn listing(sources: &[(Source, Vec<Found>)]) -> Vec<(String, String, String)> {
    sources
        .iter()
        .map(|(source, files)| {
            let states: String = files
                .iter()
                .map(|f| format!("{} {} {}\n", f.path.display(), f.size, f.modified))
                .collect();
            let reading =
                format!("{:?} {:?} {:?}", source.pattern, source.modality, source.missing);
            (source.name.clone(), reading, sha256_hex(states.as_bytes()))
        })
        .collect()
}

pub(super) fn summarise(cohort: &Cohort) {
    let volumes = cohort.rows.iter().filter(|row| row.status == "volume");
    let mut modalities: BTreeMap<&str, usize> = BTreeMap::new();
    let mut subjects = std::collections::BTreeSet::new();
    let mut count = 0;
    for row in volumes {
        *modalities.entry(&row.modality).or_default() += 1;
        subjects.insert(&row.subject);
        count += 1;
    }
    let modalities: Vec<String> = modalities.iter().map(|(m, n)| format!("{n} {m}")).collect();
    say(
        "index",
        &format!(
            "{}: {} of {} ({}); {} listed that are no volume; {} beside scans; {} quarantined",
            counted(cohort.files, "file"),
            counted(count, "volume"),
            counted(subjects.len(), "subject"),
            modalities.join(", "),
            cohort.rows.len() - count,
            cohort.companions,
            cohort.quarantined.len(),
        ),
    );
    let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
    for row in &cohort.quarantined {
        *reasons.entry(&row.reason).or_default() += 1;
    }
    for (reason, count) in reasons.into_iter().take(10) {
        say("", &format!("{count} x {reason}"));
    }
}
