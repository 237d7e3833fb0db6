//! What is known about a phantom cohort, beside its files.

use std::{fmt::Write as _, fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{PhantomError, tissue::Tissue};
use crate::{
    durable::write_atomically,
    geometry::{Affine, affine_from_rows},
};

/// Everything that is known about a cohort, as `truth.json` holds it. Paths are
/// relative to the cohort's folder, with `/` between their parts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    /// The seed of the settings.
    pub seed: u64,
    /// The subjects, in the order of their labels.
    pub subjects: Vec<SubjectTruth>,
    /// The bad inputs, none unless they were asked for.
    pub corrupt: Vec<Fault>,
}

/// How a subject's scans are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Storage {
    /// Gzip-compressed NIfTI-1, laid out as BIDS.
    Nifti,
    /// Classic DICOM, a file a slice.
    Dicom,
}

/// A subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubjectTruth {
    /// The label that [`super::Anatomy::of_subject`] and the folder `sub-…` take: `01`.
    pub label: String,
    /// How the scans are stored.
    pub storage: Storage,
    /// *Patient ID* of a DICOM subject.
    pub patient_id: Option<String>,
    /// Age in years.
    pub age_years: f64,
    /// `F` or `M`.
    pub sex: char,
    /// The parts of the head, the lesion last.
    pub parts: Vec<PartTruth>,
    /// The sessions, first to last.
    pub sessions: Vec<SessionTruth>,
}

/// An ellipsoid of one tissue in the head's own frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartTruth {
    /// `right thalamus`, `inclusion 03`, `lesion`, …
    pub name: String,
    /// What it is made of; what is painted over it may cover a part of it.
    pub tissue: Tissue,
    /// Centre in mm of the head's frame.
    pub centre_mm: [f64; 3],
    /// Half axes in mm; the lesion's are those of the first session.
    pub radii_mm: [f64; 3],
}

/// A session of a subject.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionTruth {
    /// The label: `1`.
    pub label: String,
    /// *Study Instance UID* of a DICOM subject.
    pub study_uid: Option<String>,
    /// *Frame of Reference UID*, one for all scans of the session.
    pub frame_of_reference_uid: Option<String>,
    /// The rigid pose: the head's frame to RAS+ mm, as the rows of a 4 × 4 matrix.
    pub ras_from_head: [[f64; 4]; 4],
    /// Radius of the lesion in mm.
    pub lesion_radius_mm: f64,
    /// Where the subject's parts lie, in the same order, RAS+ mm.
    pub centres_ras_mm: Vec<[f64; 3]>,
    /// The scans, in the order of the modalities asked for.
    pub scans: Vec<ScanTruth>,
}

impl SessionTruth {
    /// The rigid pose of the head: its own frame to RAS+ mm.
    pub fn pose(&self) -> Affine {
        affine_from_rows(&self.ras_from_head)
    }
}

/// A scan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScanTruth {
    /// The modality in the tables' words: `T1`.
    pub modality: String,
    /// The file of a NIfTI scan, the folder of a DICOM series.
    pub path: String,
    /// How many files hold it.
    pub files: usize,
    /// *Series Instance UID* of a DICOM subject.
    pub series_uid: Option<String>,
    /// Voxels along (i, j, k).
    pub shape: [usize; 3],
    /// Voxel index to RAS+ mm, as the rows of a 4 × 4 matrix.
    pub ras_from_voxel: [[f64; 4]; 4],
    /// Stored intensity that one unit of [`super::Contrast`] became; random for MR.
    pub scale: f64,
}

/// A bad input that was put there on purpose.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What is wrong.
    pub kind: FaultKind,
    /// The files that are useless because of it.
    pub paths: Vec<String>,
}

/// What is wrong with a bad input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A file without a byte, named as NIfTI.
    EmptyFile,
    /// A compressed NIfTI file that ends in the middle.
    TruncatedFile,
    /// A NIfTI file whose header has four times the slices that follow.
    HeaderPromisesMore,
    /// A text named as DICOM.
    TextNamedDicom,
    /// A DICOM series without one of its middle slices.
    MissingSlice,
    /// A DICOM series of which half is turned by half a degree.
    WaveringOrientation,
}

impl Truth {
    const NAME: &str = "truth.json";

    /// The truth of the cohort in a folder.
    ///
    /// # Errors
    /// [`PhantomError::Io`] where `truth.json` cannot be read: the cohort is not
    /// finished, or the folder holds none; [`PhantomError::Truth`] where it is
    /// something else.
    pub fn open(root: &Path) -> Result<Self, PhantomError> {
        let text = fs::read_to_string(root.join(Self::NAME)).map_err(PhantomError::Io)?;
        serde_json::from_str(&text).map_err(PhantomError::Truth)
    }

    /// Writes `truth.tsv` and, last of all, `truth.json`: a cohort with it is whole.
    pub(super) fn save(&self, root: &Path) -> Result<(), PhantomError> {
        fs::write(root.join("truth.tsv"), self.table()).map_err(PhantomError::Io)?;
        let text = serde_json::to_vec(self).map_err(PhantomError::Truth)?;
        write_atomically(&root.join(Self::NAME), |out| {
            std::io::Write::write_all(out, &text).map_err(PhantomError::Io)
        })
    }

    /// A row for each part in each session, mm.
    fn table(&self) -> String {
        let mut table = "subject\tsession\tpart\ttissue\tx_ras_mm\ty_ras_mm\tz_ras_mm\n".to_owned();
        for subject in &self.subjects {
            for session in &subject.sessions {
                for (part, [x, y, z]) in subject.parts.iter().zip(&session.centres_ras_mm) {
                    // Writing to a string does not fail.
                    let _ = writeln!(
                        table,
                        "{}\t{}\t{}\t{}\t{x}\t{y}\t{z}",
                        subject.label,
                        session.label,
                        part.name,
                        part.tissue.as_str()
                    );
                }
            }
        }
        table
    }
}
