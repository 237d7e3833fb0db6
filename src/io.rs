//! Readers of scans: what a file is, its geometry and its voxels.
//!
//! [`sniff`] says what a file is by its content. [`image`] reads the files that
//! hold whole volumes: NIfTI, Analyze, NRRD and MetaImage. [`dicom`] reads one
//! DICOM file, [`series`] makes volumes of many. A path may lead into a zip
//! [`archive`]. The crate `dicom` is used nowhere else.
//!
//! Every input is hostile until read: nothing is allocated because a header
//! says so, and no message repeats a path, a patient attribute or a UID.

pub mod archive;
mod bomb;
pub mod dicom;
pub mod fields;
mod gunzip;
pub mod image;
mod metaimage;
pub mod nifti;
mod nrrd;
pub mod series;

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::Path,
};

use archive::ArchiveError;
use gunzip::Gunzip;

/// A file format that the readers know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// DICOM Part 10, or a data set without preamble.
    Dicom,
    /// NIfTI-1 or NIfTI-2, plain or gzip, or the header of a pair.
    Nifti,
    /// The header of an Analyze 7.5 pair.
    Analyze,
    /// NRRD, or the header of one whose voxels are beside it.
    Nrrd,
    /// MetaImage, or the header of one whose voxels are beside it.
    MetaImage,
}

impl Format {
    /// The word used in tables: `dicom`, `nifti`, `analyze`, `nrrd`, `metaimage`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dicom => "dicom",
            Self::Nifti => "nifti",
            Self::Analyze => "analyze",
            Self::Nrrd => "nrrd",
            Self::MetaImage => "metaimage",
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
    /// The archive that holds the file, or its member, cannot be read.
    #[error(transparent)]
    Archive(ArchiveError),
    /// A file that a media directory names and that is not in its folder.
    #[error("the media directory names a file outside its folder")]
    Outside,
    /// The path names a folder, a pipe or a device.
    #[error("this is not a regular file")]
    NotAFile,
    /// The file is gzip, and what it holds is no NIfTI image.
    #[error("the file is gzip and holds no NIfTI image")]
    AlienGzip,
    /// The content is none of the formats.
    #[error("the file is none of DICOM, NIfTI, Analyze, NRRD and MetaImage")]
    Alien,
}

/// Bytes of a file read at once for its header: most headers are shorter.
const BUFFER: usize = 1 << 14;

impl SniffError {
    fn of(error: io::Error) -> Self {
        match error.downcast() {
            Ok(error) => Self::Archive(error),
            Err(error) if error.kind() == io::ErrorKind::NotADirectory => Self::Outside,
            Err(error) => Self::Unreadable(error),
        }
    }
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
    Ok(open(path)?.0)
}

/// As [`sniff()`], and the file, open at its start: one read serves both.
///
/// # Errors
/// As [`sniff()`].
pub fn open(path: &Path) -> Result<(Format, BufReader<File>), SniffError> {
    // A pipe would be waited for.
    if path.metadata().is_ok_and(|data| !data.is_file()) {
        return Err(SniffError::NotAFile);
    }
    let file = archive::open(path).map_err(SniffError::of)?;
    let mut file = BufReader::with_capacity(BUFFER, file);
    let format = format_of(file.fill_buf().map_err(SniffError::of)?)?;
    Ok((format, file))
}

/// The format of a file that starts with these bytes.
fn format_of(bytes: &[u8]) -> Result<Format, SniffError> {
    if bytes.is_empty() {
        return Err(SniffError::Empty);
    }
    let mut reader = Gunzip::new(bytes).map_err(SniffError::of)?;
    let gzip = reader.is_gzip();
    let mut start = Vec::with_capacity(START as usize);
    // Damaged gzip is told by what came before the damage.
    let _ = reader.by_ref().take(START).read_to_end(&mut start);
    match image_format(&start) {
        Some(format @ (Format::Nifti | Format::Analyze)) => Ok(format),
        _ if gzip => Err(SniffError::AlienGzip),
        Some(format) => Ok(format),
        None if dicom::looks_like_dicom(&start) => Ok(Format::Dicom),
        None => Err(SniffError::Alien),
    }
}

/// The format of an image file that starts with these bytes, inflated.
fn image_format(start: &[u8]) -> Option<Format> {
    if nifti::looks_like_nifti(start) {
        Some(Format::Nifti)
    } else if nifti::looks_like_analyze(start) {
        Some(Format::Analyze)
    } else if nrrd::looks_like_nrrd(start) {
        Some(Format::Nrrd)
    } else if metaimage::looks_like_metaimage(start) {
        Some(Format::MetaImage)
    } else {
        None
    }
}
