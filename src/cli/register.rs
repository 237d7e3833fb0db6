//! `mivox register`

use std::collections::{BTreeSet, HashMap};

use anyhow::bail;
use rayon::prelude::*;

use super::job::{self, Job, counted, say};
use crate::{
    cohort::{CohortRow, LastImage, Link, Quarantined, ReadError, Scan, scans},
    durable::Stamp,
    progress::Progress,
    register::{
        ALIGNED, AlignmentRow, Image, Mode, REFERENCE, REFUSED, RegisterError, Settings,
        align_subject, plan,
    },
    stop,
    study::{Kind, Modality},
    table,
};

const STAGE: &str = "register";
const OUTPUT: &str = "alignment.parquet";

pub(super) fn run(job: &Job) -> anyhow::Result<bool> {
    if job.config.register == Mode::None {
        forget(job)?;
        say(STAGE, "not asked for: [pairs] register = \"none\"");
        return Ok(true);
    }
    let (stamp, output) = (stamp(job)?, job.path(OUTPUT));
    if stamp.is_set(std::slice::from_ref(&output)) {
        say(STAGE, "unchanged");
        return Ok(true);
    }
    stamp.clear()?;
    let settings = Settings::new(job.cohort_seed);
    let rows = job.volume_rows()?;
    let links: Vec<Link> = table::read(&job.path("linkage.parquet"))?;
    let wanted: BTreeSet<&str> = rows.iter().map(|row| row.series.as_str()).collect();
    let mut cohort: Vec<CohortRow> = table::read(&job.path("cohort.parquet"))?;
    cohort.retain(|row| wanted.contains(row.series.as_str()));
    let scans: HashMap<String, Scan> =
        scans(cohort, &links).into_iter().map(|scan| (scan.row.series.clone(), scan)).collect();
    drop(links);
    let scan_of = |n: usize| scans.get(&rows[n].series);
    let voxels_mm3: Vec<f64> = (0..rows.len())
        .map(|n| scan_of(n).and_then(|scan| scan.row.spacing_mm).unwrap_or(rows[n].spacing_mm))
        .map(|spacing_mm| spacing_mm.iter().product())
        .collect();
    let plans = plan::plan(&rows, &voxels_mm3);
    let intensity = &job.config.prepare.intensity;
    let read = |n: usize| -> Result<Image, RegisterError> {
        let missing = || ReadError::Incomplete { missing: "series" };
        let scan = scan_of(n).ok_or_else(missing)?;
        let grid = scan.row.grid().ok_or_else(missing)?;
        let family = scan.row.modality.parse::<Modality>()?.family();
        let voxels = scan.read(&mut LastImage::default())?;
        Image::new(voxels, &grid, family, intensity, settings.finest_mm)
    };
    let steps = plans.iter().map(|plan| plan.steps.len()).sum();
    let progress = Progress::new(STAGE, "alignments", steps);
    let done: Option<Vec<Vec<AlignmentRow>>> = plans
        .par_iter()
        .map(|plan| {
            let aligned = align_subject(&rows, plan, &read, &settings, &stop::requested);
            progress.advance(plan.steps.len());
            aligned
        })
        .collect();
    progress.finish();
    let Some(done) = done else { return Ok(false) };
    let all: Vec<AlignmentRow> = done.into_iter().flatten().collect();
    quarantine(job, &all, &scans)?;
    summarise(&all);
    table::write(&output, all, &[("mivox.register", serde_json::to_string(&settings)?)])?;
    stamp.set()?;
    Ok(true)
}

/// The stage whose outcome the pairs rest on.
pub(super) fn before_pairs(job: &Job) -> &'static str {
    match job.config.register {
        Mode::None => "prepare",
        Mode::Rigid => STAGE,
    }
}

/// The alignments, `None` where none were asked for.
///
/// # Errors
/// Where they were not made from the present volumes by the present settings.
pub(super) fn alignments(job: &Job) -> anyhow::Result<Option<Vec<AlignmentRow>>> {
    if job.config.register == Mode::None {
        return Ok(None);
    }
    let output = job.path(OUTPUT);
    if !stamp(job)?.is_set(std::slice::from_ref(&output)) {
        bail!("the volumes are not aligned: run `mivox register` with this pipeline first");
    }
    Ok(Some(table::read(&output)?))
}

fn stamp(job: &Job) -> anyhow::Result<Stamp> {
    let depends = (job.config.register, Settings::new(job.cohort_seed));
    job.stamp(STAGE, Some("prepare"), &depends)
}

/// What an earlier run with alignment left must not speak for this one.
fn forget(job: &Job) -> anyhow::Result<()> {
    let output = job.path(OUTPUT);
    if output.exists() {
        stamp(job)?.clear()?;
        std::fs::remove_file(&output)?;
        write_quarantine(job, Vec::new())?;
    }
    Ok(())
}

fn quarantine(
    job: &Job,
    all: &[AlignmentRow],
    scans: &HashMap<String, Scan>,
) -> anyhow::Result<()> {
    let pseudonyms = job.pseudonyms()?;
    let mut refused = Vec::new();
    for row in all.iter().filter(|row| row.status == REFUSED) {
        if job.fail_first {
            bail!("{}: {}", row.series, row.reason);
        }
        let files = scans.get(&row.series).map(Scan::files).unwrap_or_default();
        refused.extend(files.iter().map(|path| Quarantined {
            file: pseudonyms.pseudonym(Kind::File, &path.to_string_lossy()),
            series: Some(row.series.clone()),
            stage: STAGE.to_owned(),
            reason: row.reason.clone(),
        }));
    }
    write_quarantine(job, refused)
}

fn write_quarantine(job: &Job, refused: Vec<Quarantined>) -> anyhow::Result<()> {
    let path = job.path("quarantine.parquet");
    let mut all = job::quarantined(&path)?;
    all.retain(|row| row.stage != STAGE);
    all.extend(refused);
    Ok(table::write(&path, all, &[])?)
}

fn summarise(all: &[AlignmentRow]) {
    let count = |status: &str| all.iter().filter(|row| row.status == status).count();
    let mut apart: Vec<f64> =
        all.iter().filter(|row| row.status == ALIGNED).filter_map(|row| row.quality).collect();
    apart.sort_by(f64::total_cmp);
    let halves = match apart.get(apart.len() / 2) {
        Some(median) => format!("; by halves of the body {median:.1} mm apart (median)"),
        None => String::new(),
    };
    say(
        STAGE,
        &format!(
            "{} of {} aligned, {} refused{halves}",
            counted(count(ALIGNED), "series"),
            counted(count(REFERENCE), "subject"),
            count(REFUSED)
        ),
    );
    let mut reasons: Vec<&str> =
        all.iter().filter(|row| row.status == REFUSED).map(|row| row.reason.as_str()).collect();
    reasons.sort_unstable();
    for reason in reasons.iter().take(5) {
        say(STAGE, &format!("WARNING: refused: {reason}"));
    }
}
