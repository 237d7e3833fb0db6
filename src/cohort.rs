//! Index: the series found below some folders, as a table.

mod bids;
mod build;
mod damaged;
mod look;
pub mod naming;
mod record;
mod scan;
mod sidecar;
mod walk;

use std::{io, path::PathBuf};

use crate::{
    io::{SniffError, dicom::DicomError, image::ImageError, series::SeriesError},
    progress::Progress,
    study::{Modality, Pseudonymizer},
    table::TableError,
};

use build::Builder;
use naming::{NameError, Pattern};
pub use record::{CohortRow, Link, Quarantined, reason};
pub use scan::{LastImage, Origin, ReadError, Scan, scans};
pub use walk::{Found, is_companion, walk};

/// A folder of scans, or one file.
#[derive(Debug, Clone)]
pub struct Source {
    /// Its name in the tables.
    pub name: String,
    /// The folder or file.
    pub path: PathBuf,
    /// What names of image files mean, `None` for BIDS; and whose a DICOM file is
    /// that has no Patient ID.
    pub pattern: Option<Pattern>,
    /// The modality of image files whose names do not say it.
    pub modality: Option<Modality>,
    /// Whether NIfTI files whose names say nothing are taken too, each as a
    /// subject of its own whose modality is not known: for looking at, never for
    /// learning, where a subject told apart wrongly would leak.
    pub unnamed: bool,
}

/// Why an index cannot be made at all. What is wrong with one file is a
/// [`Quarantined`] row.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// A source's folder cannot be read.
    #[error("the folder of source {source_name:?} cannot be read")]
    Source {
        /// Name of the source.
        source_name: String,
        /// What the system said.
        source: io::Error,
    },
    /// No file was found in any source.
    #[error("no file was found in any source")]
    NoFiles,
    /// A table cannot be written or read.
    #[error(transparent)]
    Table(#[from] TableError),
}

/// Why one input was not used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InputError {
    /// No scan, or not readable.
    #[error(transparent)]
    Sniff(#[from] SniffError),
    /// Not a DICOM image that can be read.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// Not an image file that can be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Its name does not say whose it is.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Its series is not a volume.
    #[error(transparent)]
    Series(#[from] SeriesError),
}

/// What an index found.
#[derive(Debug, Default)]
pub struct Cohort {
    /// Volumes and other series.
    pub rows: Vec<CohortRow>,
    /// Files that were not used.
    pub quarantined: Vec<Quarantined>,
    /// Who is behind the pseudonyms.
    pub links: Vec<Link>,
    /// Files looked at.
    pub files: usize,
    /// Files that lie beside scans: sidecars, tables, masks, notes.
    pub companions: usize,
}

/// Indexes sources: every file's header is read once, in parallel, and DICOM
/// files are grouped into series.
///
/// # Errors
/// [`IndexError`] where a source cannot be walked or holds no file.
pub fn index(
    sources: &[(Source, Vec<Found>)],
    pseudonyms: &Pseudonymizer,
    progress: &Progress,
) -> Result<Cohort, IndexError> {
    let mut cohort = Cohort::default();
    for (source, files) in sources {
        cohort = Builder::new(pseudonyms, source, files, cohort).add(files, progress);
    }
    if cohort.files == 0 {
        return Err(IndexError::NoFiles);
    }
    // By pseudonym: an order by real id would tell something of the ids.
    cohort.rows.sort_by(|a, b| (&a.subject, &a.series).cmp(&(&b.subject, &b.series)));
    cohort.quarantined.sort_by(|a, b| a.file.cmp(&b.file));
    Ok(cohort)
}
