//! Which series lack a slice because its file is damaged.
//!
//! A slice that is missing in the middle leaves a gap. One that is missing at an end
//! leaves a volume that looks whole, and is cut short.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::InputError;
use crate::io::{
    SniffError,
    dicom::{DicomError, Instance, series_of_damaged},
    series::{SeriesError, SliceSource},
};

/// DICOM files that were refused, and their series where they still say it.
#[derive(Default)]
pub(super) struct Damaged {
    files: Vec<(PathBuf, Option<String>)>,
}

impl Damaged {
    /// Notes a file that was refused, where it may be a slice.
    pub(super) fn note(&mut self, path: &Path, error: &InputError) {
        let series = match error {
            InputError::Dicom(DicomError::NotDicom) => return,
            InputError::Dicom(_) => series_of_damaged(path),
            // Nothing is left of it but its name: see `by_series`.
            InputError::Sniff(SniffError::Empty) if path.extension().is_some() => None,
            InputError::Sniff(SniffError::Alien) if starts_with_zeros(path) => None,
            _ => return,
        };
        self.files.push((path.to_owned(), series));
    }

    /// How many files each series lacks. A file that does not say its series any more
    /// belongs to the one in its folder, where there is one alone whose files have its
    /// ending.
    pub(super) fn by_series(&self, instances: &[Instance]) -> HashMap<String, usize> {
        let mut beside: HashMap<_, HashSet<&str>> = HashMap::new();
        for instance in instances {
            let place = (instance.file.parent(), instance.file.extension());
            beside.entry(place).or_default().insert(&instance.series_uid);
        }
        let mut lacking = HashMap::new();
        for (path, series) in &self.files {
            let only = || {
                let there = beside.get(&(path.parent(), path.extension()))?;
                let series = there.iter().next().filter(|_| there.len() == 1)?;
                Some((*series).to_owned())
            };
            if let Some(series) = series.clone().or_else(only) {
                *lacking.entry(series).or_default() += 1;
            }
        }
        lacking
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
    let read = File::open(path).and_then(|file| file.take(132).read_to_end(&mut start));
    read.is_ok() && start.iter().all(|&byte| byte == 0)
}
