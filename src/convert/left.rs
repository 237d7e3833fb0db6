//! What an earlier run left under names that hold no more.

use std::{collections::HashSet, fs, io, path::Path};

use super::sidecar::Sidecar;

/// What was found of earlier runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Images that are removed: their series has another name now, or is no volume.
    pub removed: usize,
    /// Images of series that are not among those given, which stay.
    pub others: usize,
}

/// Removes below `folder` what [`convert`](super::convert()) wrote of some series under
/// other `names` than theirs are now: two files would be two volumes, and perhaps of two
/// subjects. Files without a sidecar of ours stay, and so do other series.
///
/// # Errors
/// What the system says.
pub fn remove_left(
    folder: &Path,
    names: &HashSet<&str>,
    series: &HashSet<&str>,
) -> io::Result<Left> {
    let mut left = Left::default();
    let mut open = vec![(folder.to_owned(), String::new())];
    while let Some((folder, within)) = open.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let (path, Ok(name)) = (entry.path(), entry.file_name().into_string()) else {
                continue;
            };
            if entry.file_type()?.is_dir() {
                open.push((path, format!("{within}{name}/")));
                continue;
            }
            let Some(stem) = name.strip_suffix(".json") else { continue };
            if names.contains(format!("{within}{stem}").as_str()) {
                continue;
            }
            match Sidecar::series_of(&path) {
                Some(own) if series.contains(own.as_str()) => {
                    for ending in ["nii", "nii.gz", "json"] {
                        remove(&path.with_file_name(format!("{stem}.{ending}")))?;
                    }
                    left.removed += 1;
                }
                Some(_) => left.others += 1,
                None => {}
            }
        }
    }
    Ok(left)
}

/// Removes a file, where it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
