//! One command's work on one results folder.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context, bail};
use rayon::prelude::*;
use serde::Serialize;

use super::{End, PipelineArgs, register};
use crate::{
    cohort::{LastImage, Quarantined, Scan},
    config::Config,
    durable::{Lock, Stamp, sha256_hex},
    pairing::Split,
    prepare::VolumeRow,
    register::REFUSED,
    stop,
    study::Pseudonymizer,
    table,
    view::Volumes,
};

/// What the stages of a command share: the pipeline and the locked results.
pub(super) struct Job {
    pub config: Config,
    pub fail_first: bool,
    /// Where the stages from the pairs on write; the results folder itself, but for
    /// the folds of a cross-validation.
    run: PathBuf,
    /// The seed of what all folds share.
    pub cohort_seed: u64,
    /// The only subject that is held out, in place of a share of them.
    held_out: Option<String>,
    _lock: Arc<Lock>,
}

/// The folder of the folds.
pub(super) const FOLDS: &str = "leave-one-out";

/// The stages whose results all folds share.
const SHARED: [&str; 3] = ["index", "prepare", "register"];

/// A stage: whether it was done to its end.
pub(super) type Stage<'a> = &'a dyn Fn(&Job) -> anyhow::Result<bool>;

/// Runs one stage on the results of a pipeline.
pub(super) fn with(
    args: &PipelineArgs,
    stage: impl FnOnce(&Job) -> anyhow::Result<bool>,
) -> anyhow::Result<End> {
    let job = Job::open(args)?;
    let complete = stage(&job)?;
    job.end(complete)
}

impl Job {
    pub fn open(args: &PipelineArgs) -> anyhow::Result<Self> {
        let config = Config::open(&args.pipeline, &args.overrides())?;
        stop::listen().context("signals cannot be listened to")?;
        let lock = Lock::take(&config.out)?;
        let run = config.out.clone();
        let fail_first = args.fail_first;
        let cohort_seed = config.seed;
        Ok(Self { config, fail_first, run, cohort_seed, held_out: None, _lock: Arc::new(lock) })
    }

    /// The same cohort with one subject held out and a seed of its own; its pairs,
    /// encoder and evaluation go to a folder within the results.
    pub fn fold(&self, subject: &str, seed: u64) -> Self {
        let run = self.path(FOLDS).join(subject).join(format!("seed-{seed}"));
        Self {
            config: self.config.clone().with_seed(seed),
            fail_first: self.fail_first,
            run,
            cohort_seed: self.cohort_seed,
            held_out: Some(subject.to_owned()),
            _lock: Arc::clone(&self._lock),
        }
    }

    /// A file or folder of the cohort: what all folds share.
    pub fn path(&self, name: &str) -> PathBuf {
        self.config.out.join(name)
    }

    /// A file or folder of what follows from the split: pairs, encoder, evaluation.
    pub fn run_path(&self, name: &str) -> PathBuf {
        self.run.join(name)
    }

    /// The folder of those.
    pub fn run_folder(&self) -> &Path {
        &self.run
    }

    fn folder(&self, stage: &str) -> &Path {
        if SHARED.contains(&stage) { &self.config.out } else { &self.run }
    }

    /// The stamp of a stage whose outputs depend on what is given, and on the
    /// stage before it.
    pub fn stamp(
        &self,
        stage: &str,
        after: Option<&str>,
        depends: &impl Serialize,
    ) -> anyhow::Result<Stamp> {
        let before = match after {
            Some(before) => self.digest_of(before)?,
            None => String::new(),
        };
        let settings = serde_json::to_string(depends).context("the settings cannot be written")?;
        let text = format!("{}\n{stage}\n{before}\n{settings}", env!("CARGO_PKG_VERSION"));
        Ok(Stamp::new(self.folder(stage), stage, sha256_hex(text.as_bytes())))
    }

    /// The digest that a finished stage left.
    pub fn digest_of(&self, stage: &str) -> anyhow::Result<String> {
        match Stamp::read(self.folder(stage), stage) {
            Some(digest) => Ok(digest),
            None => bail!(
                "the stage before is not done: run `mivox {stage}` with this pipeline first, or `mivox run`"
            ),
        }
    }

    /// Pseudonyms under the pipeline's key, or one kept with the results.
    pub fn pseudonyms(&self) -> anyhow::Result<Pseudonymizer> {
        let path = self.config.key_file.clone().unwrap_or_else(|| self.path("pseudonym.key"));
        Ok(Pseudonymizer::open_or_create(&path)?)
    }

    /// The prepared volumes' rows.
    pub fn volume_rows(&self) -> anyhow::Result<Vec<VolumeRow>> {
        Ok(table::read(&self.path("volumes.parquet"))?)
    }

    /// The prepared volumes, mapped, each subject's in one world where the pipeline
    /// asks for alignment.
    pub fn volumes(&self) -> anyhow::Result<Volumes> {
        let mut refused = BTreeSet::new();
        let volumes = match register::alignments(self)? {
            Some(alignments) => {
                let rows = alignments.iter().filter(|row| row.status == REFUSED);
                refused.extend(rows.map(|row| row.series.clone()));
                Volumes::open_aligned(&self.config.out, self.volume_rows()?, &alignments)?
            }
            None => self.volumes_as_scanned()?,
        };
        Ok(volumes.in_templates(&self.config.pairs.templates, &refused))
    }

    /// The prepared volumes, mapped, in the coordinates of their scanner.
    pub fn volumes_as_scanned(&self) -> anyhow::Result<Volumes> {
        Ok(Volumes::open(&self.config.out, self.volume_rows()?)?)
    }

    /// Who is trained on and who is held out.
    pub fn split(&self, rows: &[VolumeRow]) -> Split {
        if let Some(subject) = &self.held_out {
            return Split::of_one(subject);
        }
        let subjects = rows.iter().map(|row| (row.source.as_str(), row.subject.as_str()));
        Split::new(subjects, self.config.pairs.held_out, self.config.seed)
    }

    /// How the command ended, with a word on what was quarantined.
    pub fn end(&self, complete: bool) -> anyhow::Result<End> {
        let quarantined = quarantined(&self.path("quarantine.parquet"))?.len();
        if !complete {
            eprintln!("stopped; the same command goes on from here (train: with --resume)");
            return Ok(End::Stopped);
        }
        if quarantined > 0 {
            eprintln!("{quarantined} files were not used; quarantine.parquet says why");
            return Ok(End::Quarantined);
        }
        Ok(End::Good)
    }
}

/// The rows of `quarantine.parquet`, none where there is no such file.
pub(super) fn quarantined(path: &Path) -> anyhow::Result<Vec<Quarantined>> {
    if path.exists() { Ok(table::read(path)?) } else { Ok(Vec::new()) }
}

/// The rows of `quarantine.parquet` that are of a pull: no index makes them again.
pub(super) fn pulled(path: &Path) -> anyhow::Result<Vec<Quarantined>> {
    let mut rows = quarantined(path)?;
    rows.retain(|row| row.stage == "pull");
    Ok(rows)
}

/// # Errors
/// Where no memory is left for anything.
pub(super) fn check_memory(gibibytes: f64) -> anyhow::Result<()> {
    if !(gibibytes.is_finite() && gibibytes > 0.0) {
        bail!("--memory must be above 0, not {gibibytes}");
    }
    Ok(())
}

/// Does some work on every scan in parallel, as much at a time as fits into the
/// memory given in GiB. The frames of one file follow one another, so that it is
/// read once. Nothing comes of what was not begun before a stop, nor, with `fail_first`,
/// before the first failure.
pub(super) fn each_scan<R: Send, E: Send>(
    scans: &[Scan],
    (gibibytes, bytes_per_voxel): (f64, usize),
    fail_first: bool,
    each: impl Fn(usize, &mut LastImage) -> Result<R, E> + Sync,
) -> Vec<Option<Result<R, E>>> {
    let failed = AtomicBool::new(false);
    let go_on = || !stop::requested() && !failed.load(Ordering::Relaxed);
    let place = |&n: &usize| (scans[n].slices.first().map(|slice| &slice.file), scans[n].row.frame);
    let mut order: Vec<usize> = (0..scans.len()).collect();
    order.sort_by_key(place);
    let by_file: Vec<&[usize]> = order.chunk_by(|a, b| place(a).0 == place(b).0).collect();
    let bytes = |rows: &&[usize]| {
        let most = rows.iter().map(|&n| scans[n].voxel_count()).fold(0.0, f64::max);
        most * bytes_per_voxel as f64
    };
    let done = within_memory(&by_file, gibibytes, bytes, |rows| {
        let mut last = LastImage::default();
        let one = |&n: &usize| {
            let result = go_on().then(|| each(n, &mut last));
            if fail_first && matches!(result, Some(Err(_))) {
                failed.store(true, Ordering::Relaxed);
            }
            (n, result)
        };
        rows.iter().map(one).collect::<Vec<_>>()
    });
    let mut results: Vec<Option<_>> = scans.iter().map(|_| None).collect();
    for (n, result) in done.into_iter().flatten().flatten() {
        results[n] = result;
    }
    results
}

/// Does some work in parallel, as much at a time as fits into the memory given in
/// GiB, the rest after it; a piece that is larger is done alone. Nothing comes of
/// what was not begun before a stop.
pub(super) fn within_memory<T: Sync, R: Send>(
    work: &[T],
    gibibytes: f64,
    bytes: impl Fn(&T) -> f64,
    each: impl Fn(&T) -> R + Sync,
) -> Vec<Option<R>> {
    let limit = gibibytes * f64::from(1 << 30);
    let mut results = Vec::with_capacity(work.len());
    while results.len() < work.len() {
        let rest = &work[results.len()..];
        let mut sum = 0.0;
        let fitting = rest.iter().take_while(|piece| {
            sum += bytes(piece);
            sum <= limit
        });
        let batch = &rest[..fitting.count().max(1)];
        results.par_extend(batch.par_iter().map(|piece| (!stop::requested()).then(|| each(piece))));
    }
    results
}

/// Prints a stage's line in the summary.
pub(super) fn say(stage: &str, text: &str) {
    println!("{stage:9} {text}");
}

/// `1 volume`, `2 volumes`.
pub(super) fn counted(count: usize, noun: &str) -> String {
    let plural = match noun {
        "series" => "series".to_owned(),
        _ => format!("{noun}s"),
    };
    if count == 1 { format!("1 {noun}") } else { format!("{count} {plural}") }
}
