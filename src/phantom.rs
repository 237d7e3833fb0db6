//! A cohort of scanned heads whose truth is known: what a first try and the
//! tests of learning run on.
//!
//! [`generate`] draws heads out of a seed, scans each with several modalities
//! in several sessions, and writes the scans as a hospital would have them:
//!
//! ```text
//! dataset_description.json  participants.tsv  .bidsignore
//! sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz     and pet/, ct/: BIDS
//! dicom/3f9c…/a01b…                             a folder a session, all its series mixed
//! truth.json  truth.tsv                         what is known: see [`Truth`]
//! ```
//!
//! The anatomy is a formula ([`Anatomy`]), so that [`intensity_at`] gives the
//! right answer at every point. The modalities of a session show one geometry
//! in contrasts of which none is a monotonic function of another, each on its
//! own oblique grid: pixels do not tell which T2 slice belongs to a T1 slice,
//! anatomy does. Heads differ in size, shape, folding, and in 10 to 20
//! inclusions of their own; between sessions the head moves and a lesion grows.

mod anatomy;
mod blur;
mod cohort;
mod draw;
mod faults;
mod organs;
mod scan;
mod settings;
mod shape;
mod store;
mod tissue;
mod truth;

#[cfg(test)]
mod tests;

pub use anatomy::Anatomy;
pub use scan::{Scene, intensity_at};
pub use settings::Settings;
pub use tissue::{Contrast, Mixture, Tissue};
pub use truth::{
    Fault, FaultKind, PartTruth, ScanTruth, SessionTruth, Storage, SubjectTruth, Truth,
};

use std::{fmt::Write as _, fs, io, path::Path};

use rayon::prelude::*;

use crate::study::Modality;

/// Why a phantom cohort was not made, or its truth cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomError {
    /// A setting is outside its limits.
    #[error("{setting} is {value}, not within {least} to {most}")]
    Limit {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// Least value allowed.
        least: f64,
        /// Largest value allowed.
        most: f64,
    },
    /// The phantom has no contrast for a modality, or it is named twice.
    #[error("modality {modality}: named twice, or none of T1, T2, FLAIR, PD, CT, PET")]
    Modality {
        /// The modality.
        modality: Modality,
    },
    /// The folder holds something, perhaps a cohort that was not finished.
    #[error("the folder for the phantom is not empty; choose another, or remove it")]
    NotEmpty,
    /// A file or folder of the cohort cannot be written or read.
    #[error("a file of the phantom cannot be written or read")]
    Io(#[source] io::Error),
    /// A DICOM slice cannot be written.
    #[error("a DICOM slice of the phantom cannot be written")]
    Dicom(#[from] crate::io::dicom::WriteError),
    /// The truth cannot be written whole.
    #[error("the truth of the phantom cannot be written")]
    Durable(#[from] crate::durable::DurableError),
    /// `truth.json` is not the truth of a cohort.
    #[error("truth.json is not the truth of a phantom")]
    Truth(#[source] serde_json::Error),
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Subjects, without those of bad inputs.
    pub subjects: usize,
    /// Scans, without bad inputs.
    pub scans: usize,
    /// Files that hold the scans.
    pub files: usize,
    /// Bad inputs.
    pub corrupt: usize,
}

/// What was written into a new or empty folder: a cohort that the settings
/// decide to the last byte, whatever the number of threads.
///
/// `truth.json` is written last, so that a cohort that was cut short has none.
/// Subjects are made in parallel, and `on_subject` is called after each.
///
/// # Errors
/// [`PhantomError::Limit`] and [`PhantomError::Modality`] for settings that
/// [`Settings::check`] refuses, before anything is written;
/// [`PhantomError::NotEmpty`]; [`PhantomError::Io`] and [`PhantomError::Dicom`]
/// where a file cannot be written.
pub fn generate(
    root: &Path,
    settings: &Settings,
    on_subject: &(dyn Fn() + Sync),
) -> Result<Summary, PhantomError> {
    settings.check()?;
    fs::create_dir_all(root).map_err(PhantomError::Io)?;
    if fs::read_dir(root).map_err(PhantomError::Io)?.next().is_some() {
        return Err(PhantomError::NotEmpty);
    }
    let subjects = (0..settings.subjects)
        .into_par_iter()
        .map(|subject| {
            let truth = cohort::write_subject(root, settings, subject)?;
            on_subject();
            Ok(truth)
        })
        .collect::<Result<Vec<_>, PhantomError>>()?;
    let corrupt = if settings.corrupt { faults::write_faults(root, settings)? } else { Vec::new() };
    let truth = Truth { seed: settings.seed, subjects, corrupt };
    write_bids_texts(root, &truth).map_err(PhantomError::Io)?;
    truth.save(root)?;
    let scans = || truth.subjects.iter().flat_map(|s| &s.sessions).flat_map(|s| &s.scans);
    Ok(Summary {
        subjects: truth.subjects.len(),
        scans: scans().count(),
        files: scans().map(|scan| scan.files).sum(),
        corrupt: truth.corrupt.len(),
    })
}

/// The files that make a folder a BIDS data set.
///
/// # Source
/// BIDS 1.10, *Modality agnostic files*.
fn write_bids_texts(root: &Path, truth: &Truth) -> io::Result<()> {
    let description = serde_json::json!({
        "Name": store::DESCRIPTION,
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "License": "CC0",
        "GeneratedBy": [{"Name": "mivox", "Version": env!("CARGO_PKG_VERSION")}],
    });
    fs::write(root.join("dataset_description.json"), format!("{description:#}\n"))?;
    fs::write(root.join(".bidsignore"), "dicom/\ntruth.*\nsub-bad*\n**/ct/\n")?;
    let mut participants = "participant_id\tage\tsex\n".to_owned();
    for subject in truth.subjects.iter().filter(|s| s.storage == Storage::Nifti) {
        let SubjectTruth { label, age_years, sex, .. } = subject;
        // Writing to a string does not fail.
        let _ = writeln!(participants, "sub-{label}\t{age_years}\t{sex}");
    }
    fs::write(root.join("participants.tsv"), participants)
}
