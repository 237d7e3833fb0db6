//! `mivox index`

use std::collections::BTreeMap;

use anyhow::bail;

use super::job::{self, Job, counted, say};
use crate::{
    cohort::{Cohort, Index, IndexError, Quarantined},
    durable::Stamp,
    progress::Progress,
    study::Kind,
    table,
};

/// `rehash`: also reads the whole content of every file.
pub(super) fn run(job: &Job, rehash: bool) -> anyhow::Result<bool> {
    let mut index = Index::open(&job.path("linkage.sqlite"), &job.config.sources)?;
    let unread = find(&mut index)?;
    let outputs = ["cohort.parquet", "linkage.parquet", "quarantine.parquet"];
    let outputs = outputs.map(|name| job.path(name));
    let pseudonyms = job.pseudonyms()?;
    // Another key makes other names of the same files; the word stands for no file.
    let key = pseudonyms.pseudonym(Kind::File, "");
    let stamp = |index: &Index| job.stamp("index", None, &(index.digest()?, &key));
    let unchanged = |index: &Index| -> anyhow::Result<bool> { Ok(stamp(index)?.is_set(&outputs)) };
    if !rehash && unchanged(&index)? {
        say("index", "unchanged");
        return Ok(true);
    }
    let new = index.without_digest()?;
    let read = if rehash { index.files()? } else { unread };
    if !self::read(&mut index, rehash, read)? {
        return Ok(false);
    }
    if rehash && unchanged(&index)? {
        let files = counted(new, "file");
        say(
            "index",
            &match new {
                0 => "unchanged, also in content".to_owned(),
                _ => format!("unchanged; of {files} the headers alone, as nothing else was known"),
            },
        );
        return Ok(true);
    }
    let stamp = stamp(&index)?;
    stamp.clear()?;
    // What it refused is told in the table that is written anew.
    Stamp::new(&job.config.out, "prepare", String::new()).clear()?;
    let cohort = table::write_each(&job.path("linkage.parquet"), true, |rows| {
        index.assemble(&pseudonyms, &mut |link| Ok(rows.push(link)?))
    })?;
    summarise(&cohort, read);
    let mut first = None;
    let pulled = job::pulled(&job.path("quarantine.parquet"))?;
    table::write_each(&job.path("quarantine.parquet"), false, |rows| {
        pulled.into_iter().try_for_each(|row| rows.push(row))?;
        index.quarantined(|row| {
            first.get_or_insert_with(|| row.clone());
            Ok::<_, IndexError>(rows.push(row)?)
        })
    })?;
    let metadata = [("mivox.version", env!("CARGO_PKG_VERSION").to_owned())];
    table::write(&job.path("cohort.parquet"), cohort.rows, &metadata)?;
    if job.fail_first
        && let Some(Quarantined { file, reason, .. }) = first
    {
        bail!("{file}: {reason} (linkage.parquet has its path)");
    }
    stamp.set()?;
    Ok(true)
}

/// Walks over the sources of an index and gives how many files are to be read.
pub(super) fn find(index: &mut Index) -> anyhow::Result<usize> {
    let progress = Progress::new("find", "files", 0);
    let unread = index.find(&progress)?;
    progress.finish();
    Ok(unread)
}

/// Reads the files that are to be read, and gives whether it came to the end.
pub(super) fn read(index: &mut Index, rehash: bool, files: usize) -> anyhow::Result<bool> {
    let progress = Progress::new("index", "files", files);
    let complete = index.read(rehash, &progress)?;
    progress.finish();
    Ok(complete)
}

/// `read`: files that were not known from an index before.
pub(super) fn summarise(cohort: &Cohort, read: usize) {
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
            "{}, {read} read: {} of {} ({}); {} listed that are no volume; {} beside scans; \
             {} quarantined",
            counted(cohort.files, "file"),
            counted(count, "volume"),
            counted(subjects.len(), "subject"),
            modalities.join(", "),
            cohort.rows.len() - count,
            cohort.companions,
            cohort.quarantined(),
        ),
    );
    for (reason, count) in cohort.reasons.iter().take(10) {
        say("", &format!("{count} x {reason}"));
    }
}
