//! The files below a folder.

use std::{
    path::{Path, PathBuf},
    sync::Mutex,
    time::UNIX_EPOCH,
};

use ignore::{WalkBuilder, WalkState};

use super::IndexError;

/// A file found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its path.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Last change, in nanoseconds since 1970; 0 where the system does not say.
    pub modified: u128,
}

/// Every file below a folder, in the order of their paths, and how many entries
/// could not be read. Links are followed (data managers store scans behind
/// them), loops are not; hidden files and folders are passed over.
///
/// # Errors
/// [`IndexError::Source`] where the folder itself cannot be read.
pub fn walk(folder: &Path, source: &str) -> Result<(Vec<Found>, usize), IndexError> {
    let missing = |error| IndexError::Source { source_name: source.to_owned(), source: error };
    std::fs::read_dir(folder).map_err(missing)?;
    let found = Mutex::new((Vec::new(), 0));
    WalkBuilder::new(folder)
        .standard_filters(false)
        .hidden(true)
        .follow_links(true)
        .build_parallel()
        .run(|| {
            Box::new(|entry| {
                let file = entry.ok().map(|entry| {
                    let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
                    (!is_folder).then(|| describe(entry.into_path()))
                });
                if let Ok(mut found) = found.lock() {
                    match file {
                        Some(Some(Some(file))) => found.0.push(file),
                        Some(None) => {}
                        Some(Some(None)) | None => found.1 += 1,
                    }
                }
                WalkState::Continue
            })
        });
    let (mut files, unreadable) = found.into_inner().unwrap_or_default();
    files.sort();
    Ok((files, unreadable))
}

fn describe(path: PathBuf) -> Option<Found> {
    let data = std::fs::metadata(&path).ok()?;
    let modified = data.modified().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Some(Found { path, size: data.len(), modified: modified.map_or(0, |since| since.as_nanos()) })
}

/// Whether a file is known to lie beside scans and hold none: BIDS sidecars,
/// tables, notes, licences. Told by its name, as its content may be any text.
pub fn is_companion(path: &Path) -> bool {
    const ENDINGS: [&str; 16] = [
        "bval", "bvec", "csv", "doc", "docx", "html", "json", "log", "md", "pdf", "sha256", "toml",
        "tsv", "txt", "xlsx", "yaml",
    ];
    const NAMES: [&str; 6] = ["CHANGES", "DICOMDIR", "LICENSE", "NOTICE", "README", "VERSION"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    ENDINGS.contains(&ending.as_str()) || NAMES.contains(&name.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_every_file_once_and_in_order() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b/2", "a/1", "a/.hidden", "c"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let (files, unreadable) = walk(folder.path(), "test").unwrap();
        let names: Vec<_> =
            files.iter().map(|f| f.path.strip_prefix(folder.path()).unwrap().to_owned()).collect();
        assert_eq!(names, [Path::new("a/1"), Path::new("b/2"), Path::new("c")]);
        assert_eq!(unreadable, 0);
        assert!(walk(&folder.path().join("absent"), "test").is_err());
    }
}
