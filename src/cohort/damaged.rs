//! Which series lack a slice because its file is damaged.
//!
//! A slice that is missing in the middle leaves a gap. One that is missing at an end
//! leaves a volume that looks whole, and is cut short.

use std::{collections::HashMap, fs::File, io::Read, path::Path};

use super::InputError;
use crate::io::{
    SniffError, archive,
    dicom::{DicomError, series_of_damaged},
    series::{SeriesError, SliceSource},
};

/// A file that was refused and may be a slice: of a series that it still says, or of
/// none where nothing is left of it but its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    pub series: Option<String>,
}

impl Damage {
    /// Of a file that was refused, where it may be a slice.
    pub(super) fn of(path: &Path, error: &InputError) -> Option<Self> {
        let series = match error {
            InputError::Dicom(DicomError::NotDicom) => return None,
            InputError::Dicom(_) => series_of_damaged(path),
            InputError::Sniff(
                SniffError::Empty | SniffError::Unreadable(_) | SniffError::Archive(_),
            )
            | InputError::NotUtf8 => None,
            InputError::Sniff(SniffError::Alien) if starts_with_zeros(path) => None,
            _ => return None,
        };
        Some(Self { series })
    }
}

/// Why a volume of a series is not to be used: one of the files beside its own is
/// damaged. A file that holds a whole volume lacks no other.
pub(super) fn check(
    lacking: &HashMap<String, usize>,
    series: &str,
    slices: &[SliceSource],
) -> Result<(), SeriesError> {
    let uid = series.split('#').next().unwrap_or(series);
    match lacking.get(uid) {
        Some(&files) if SliceSource::files(slices).len() > 1 => Err(SeriesError::Damaged { files }),
        _ => Ok(()),
    }
}

/// Whether a file holds a part of DICOM's preamble and nothing else, or was filled with
/// zeros where its bytes were lost.
fn starts_with_zeros(path: &Path) -> bool {
    let mut start = Vec::new();
    let read = archive::open(path).and_then(|file: File| file.take(132).read_to_end(&mut start));
    read.is_ok() && start.iter().all(|&byte| byte == 0)
}
