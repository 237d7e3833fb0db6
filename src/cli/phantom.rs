//! `mivox phantom`

use std::path::PathBuf;

use clap::Args;

use super::{
    End,
    job::{counted, say},
};
use crate::{
    phantom::{Settings, generate},
    progress::Progress,
    study::{Modality, UnknownModality},
};

#[derive(Args)]
pub(super) struct PhantomArgs {
    /// The folder to write to
    folder: PathBuf,
    /// Subjects
    #[arg(long, default_value_t = 24)]
    subjects: usize,
    /// Subjects, the last ones, that are written as DICOM; a quarter by default
    #[arg(long)]
    dicom_subjects: Option<usize>,
    /// Sessions of each subject
    #[arg(long, default_value_t = 2)]
    sessions: usize,
    /// What is scanned in every session
    #[arg(long, value_delimiter = ',', default_value = "T1,T2")]
    modalities: Vec<String>,
    /// The same seed writes the same bytes
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Add known bad inputs, to see what happens to them
    #[arg(long)]
    corrupt: bool,
}

pub(super) fn run(args: &PhantomArgs) -> anyhow::Result<End> {
    let defaults = Settings::with_subjects(args.subjects);
    let modalities: Result<Vec<Modality>, UnknownModality> =
        args.modalities.iter().map(|word| word.parse()).collect();
    let settings = Settings {
        seed: args.seed,
        sessions: args.sessions,
        modalities: modalities?,
        dicom_subjects: args.dicom_subjects.unwrap_or(defaults.dicom_subjects),
        corrupt: args.corrupt,
        ..defaults
    };
    let progress = Progress::new("phantom", "subjects", settings.subjects);
    let summary = generate(&args.folder, &settings, &|| progress.advance(1))?;
    progress.finish();
    say(
        "phantom",
        &format!(
            "{} of {} in {}, {}; the truth is in truth.json",
            counted(summary.scans, "scan"),
            counted(summary.subjects, "subject"),
            counted(summary.files, "file"),
            counted(summary.corrupt, "bad input"),
        ),
    );
    Ok(End::Good)
}
