//! Readers of scans: what a file is, its geometry and its voxels.
//!
//! [`sniff`] says what a file is by its content. [`nifti`] reads NIfTI-1,
//! [`dicom`] one DICOM file, [`series`] makes volumes of many. The crates
//! `dicom` and `nifti` are used nowhere else.
//!
//! Every input is hostile until read: nothing is allocated because a header
//! says so, and no message repeats a path, a patient attribute or a UID.

pub mod dicom;
pub mod nifti;
pub mod series;

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;

/// A file format that the readers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// DICOM Part 10, or a data set without preamble.
    Dicom,
    /// NIfTI-1 or NIfTI-2, plain or gzip.
    Nifti,
}

impl Format {
    /// The word used in tables: `dicom`, `nifti`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::Nifti => "nifti",
        }
    }
}

/// Why a file is no scan.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SniffError {
    /// The file holds no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file cannot be opened or read.
    #[error("the file cannot be read")]
    Unreadable(#[source] io::Error),
    /// The path names a folder, a pipe or a device.
    #[error("this is not a regular file")]
    NotAFile,
    /// The file is gzip, and what it holds is no NIfTI image.
    #[error("the file is gzip and holds no NIfTI image")]
    AlienGzip,
    /// The content is neither DICOM nor NIfTI.
    #[error("the file is neither DICOM nor NIfTI")]
    Alien,
}

/// The first bytes that decide: the longer of the NIfTI-2 header (540) and
/// DICOM's preamble with its first element (144).
const START: u64 = 544;

/// The format of a file, by its content: the name is not looked at.
///
/// Of a gzip file the first 544 bytes inside are looked at. A match says what
/// the file claims to be, not that it is sound.
///
/// # Errors
/// [`SniffError`] where the file is empty, cannot be read or is something else.
///
/// # Source
/// DICOM PS3.10 7.1; `nifti1.h` and `nifti2.h` (`sizeof_hdr`, `magic`).
pub fn sniff(path: &Path) -> Result<Format, SniffError> {
    if !path.metadata().map_err(SniffError::Unreadable)?.is_file() {
        return Err(SniffError::NotAFile);
    }
    let file = File::open(path).map_err(SniffError::Unreadable)?;
    let mut reader = BufReader::with_capacity(4096, file);
    let start = start_of(&mut reader).map_err(SniffError::Unreadable)?;
    if start.is_empty() {
        return Err(SniffError::Empty);
    }
    if start.starts_with(&nifti::GZIP_MAGIC) {
        return match inflated_start(path) {
            Ok(inner) if nifti::looks_like_nifti(&inner) => Ok(Format::Nifti),
            _ => Err(SniffError::AlienGzip),
        };
    }
    if nifti::looks_like_nifti(&start) {
        Ok(Format::Nifti)
    } else if dicom::looks_like_dicom(&start) {
        Ok(Format::Dicom)
    } else {
        Err(SniffError::Alien)
    }
}

fn start_of(reader: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut start = Vec::with_capacity(START as usize);
    reader.take(START).read_to_end(&mut start)?;
    Ok(start)
}

fn inflated_start(path: &Path) -> io::Result<Vec<u8>> {
    let file = BufReader::with_capacity(4096, File::open(path)?);
    start_of(&mut MultiGzDecoder::new(file))
}
