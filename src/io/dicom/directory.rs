//! The media directory of a file-set: which files a DICOMDIR names.

use std::path::{Path, PathBuf};

use super::{DicomError, source::Source, tags, walk::walk};

/// The files that a DICOMDIR names; none stands for a name that leads out of its
/// folder, by `..`, as an absolute name, or over a link.
///
/// # Errors
/// [`DicomError`] where the file is no media directory or a damaged one.
///
/// # Source
/// DICOM PS3.3 F.3.2.2 (directory records), PS3.10 8.2 (File IDs).
pub fn referenced_files(directory: &Path) -> Result<Vec<Option<PathBuf>>, DicomError> {
    let walked = walk(Source::open(directory)?)?;
    let records = walked.values.items(tags::DIRECTORY_RECORDS);
    if records.is_empty() {
        return Err(DicomError::Missing { attribute: tags::name(tags::DIRECTORY_RECORDS) });
    }
    let folder = directory.parent().unwrap_or(Path::new(""));
    let whole = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    let whole = whole.canonicalize()?;
    let ids = records.iter().filter_map(|record| record.text(tags::REFERENCED_FILE));
    Ok(ids.map(|id| inside(folder, &whole, &id)).collect())
}

fn inside(folder: &Path, whole: &Path, id: &str) -> Option<PathBuf> {
    let mut file = folder.to_owned();
    for part in id.split('\\').map(str::trim) {
        if part.is_empty() || part == "." || part == ".." || part.contains(['/', ':', '\0']) {
            return None;
        }
        file.push(part);
    }
    // A file that is not there is not outside: opening it says so.
    match file.canonicalize() {
        Ok(real) if !real.starts_with(whole) => None,
        _ => Some(file),
    }
}
