//! Index: the series found below some folders, as a table.

mod bids;
mod build;
mod damaged;
mod index;
mod look;
pub mod naming;
mod record;
mod scan;
mod sidecar;
mod store;
mod walk;

use std::{io, path::PathBuf};

use crate::{
    durable::DurableError,
    io::{
        SniffError,
        dicom::DicomError,
        image::ImageError,
        series::{Missing, SeriesError},
    },
    study::Modality,
    table::TableError,
};

pub use index::Index;
use naming::{NameError, Pattern};
pub use record::{CohortRow, Link, Quarantined, reason};
pub use scan::{LastImage, Origin, ReadError, Scan, scans};
pub use walk::is_companion;

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
    /// What becomes of DICOM series that lack slices.
    pub missing: Missing,
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
    /// The store of what was read cannot be made or used.
    #[error("the index's store cannot be used; delete linkage.sqlite where it is damaged")]
    Store(#[from] rusqlite::Error),
    /// What was kept of a file cannot be read back.
    #[error("the index's store holds what this version cannot read; delete linkage.sqlite")]
    Kept,
    /// The store cannot be made.
    #[error(transparent)]
    Durable(#[from] DurableError),
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
    /// Its name cannot stand in a table.
    #[error("its name is not UTF-8; rename it")]
    NotUtf8,
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
    /// Why files were not used, and how many, the commonest reason first.
    pub reasons: Vec<(String, usize)>,
    /// Files looked at.
    pub files: usize,
    /// Files that lie beside scans: sidecars, tables, masks, notes.
    pub companions: usize,
}

impl Cohort {
    /// Files that were not used.
    pub fn quarantined(&self) -> usize {
        self.reasons.iter().map(|(_, count)| count).sum()
    }
}

impl Source {
    /// What decides how its files are read, beside the files.
    fn reading(&self) -> String {
        // What is missing between slices decides of their series, not of them.
        let Self { name: _, path, pattern, modality, unnamed, missing: _ } = self;
        let version = env!("CARGO_PKG_VERSION");
        format!("{version} {} {pattern:?} {modality:?} {unnamed}", path.display())
    }
}
