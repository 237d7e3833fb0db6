//! `mivox prepare`

use anyhow::bail;

use super::job::{self, Job, counted, say};
use crate::{
    cohort::{Link, Quarantined, Scan, reason, scans},
    prepare::prepare,
    progress::Progress,
    study::Kind,
    table,
};

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    let settings = &job.config.prepare;
    let stamp = job.stamp("prepare", Some("index"), settings)?;
    let output = job.path("volumes.parquet");
    if stamp.is_set(std::slice::from_ref(&output)) {
        say("prepare", "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    let links: Vec<Link> = table::read(&job.path("linkage.parquet"))?;
    let cohort: Vec<Scan> = scans(table::read(&job.path("cohort.parquet"))?, &links);
    drop(links);
    let progress = Progress::new("prepare", "volumes", cohort.len());
    let results = job::each_scan(&cohort, (f64::INFINITY, 0), job.fail_first, |n, last| {
        let result = prepare(&cohort[n], settings, &job.config.out, last);
        progress.advance(1);
        result
    });
    progress.finish();

    let pseudonyms = job.pseudonyms()?;
    let quarantine = job.path("quarantine.parquet");
    let mut quarantined = job::quarantined(&quarantine)?;
    quarantined.retain(|row| row.stage != "prepare");
    let (mut volumes, mut refused, mut complete) = (Vec::new(), 0, true);
    for (scan, result) in cohort.iter().zip(results) {
        match result {
            None => complete = false,
            Some(Ok(volume)) => volumes.push(volume),
            Some(Err(error)) => {
                if job.fail_first {
                    bail!("{}: {error}", scan.row.series);
                }
                refused += 1;
                quarantined.extend(scan.files().iter().map(|path| Quarantined {
                    file: pseudonyms.pseudonym(Kind::File, &path.to_string_lossy()),
                    series: Some(scan.row.series.clone()),
                    stage: "prepare".to_owned(),
                    reason: reason(&error),
                }));
            }
        }
    }
    if !complete {
        return Ok(false);
    }
    if volumes.is_empty() {
        bail!("no volume could be prepared; quarantine.parquet says why");
    }
    say(
        "prepare",
        &format!(
            "{}; {refused} quarantined; {}",
            counted(volumes.len(), "volume"),
            settings.recipe()
        ),
    );
    table::write(&quarantine, quarantined, &[])?;
    table::write(&output, volumes, &[("mivox.recipe", settings.recipe())])?;
    stamp.set()?;
    Ok(true)
}
