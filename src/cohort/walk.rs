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

/// Every file below a folder, in the order of their paths. Links are followed
/// (data managers store scans behind them), loops are not; hidden files and
/// folders are passed over. What cannot be read, a dangling link or a closed
/// folder, is among them with size 0, so that opening it says why. Of a file
/// there is that file.
///
/// # Errors
/// [`IndexError::Source`] where the folder itself cannot be read.
pub fn walk(folder: &Path, source: &str) -> Result<Vec<Found>, IndexError> {
    let missing = |error| IndexError::Source { source_name: source.to_owned(), source: error };
    if folder.is_file() {
        return Ok(vec![describe(folder.to_owned())]);
    }
    std::fs::read_dir(folder).map_err(missing)?;
    let found = Mutex::new(Vec::new());
    WalkBuilder::new(folder)
        .standard_filters(false)
        .hidden(true)
        .follow_links(true)
        .build_parallel()
        .run(|| {
            Box::new(|entry| {
                let path = match entry {
                    Ok(entry) if entry.file_type().is_some_and(|kind| kind.is_dir()) => None,
                    Ok(entry) => Some(entry.into_path()),
                    Err(error) => path_of(&error),
                };
                if let (Some(path), Ok(mut found)) = (path, found.lock()) {
                    found.push(describe(path));
                }
                WalkState::Continue
            })
        });
    let mut files = found.into_inner().unwrap_or_default();
    files.sort();
    Ok(files)
}

/// Where the walk failed; a loop of links is no failure.
fn path_of(error: &ignore::Error) -> Option<PathBuf> {
    match error {
        ignore::Error::WithPath { path, err } => match **err {
            ignore::Error::Loop { .. } => None,
            _ => Some(path.clone()),
        },
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => {
            path_of(err)
        }
        _ => None,
    }
}

fn describe(path: PathBuf) -> Found {
    let data = std::fs::metadata(&path).ok();
    let modified = data.as_ref().and_then(|data| data.modified().ok());
    let since = modified.and_then(|at| at.duration_since(UNIX_EPOCH).ok());
    Found {
        path,
        size: data.map_or(0, |data| data.len()),
        modified: since.map_or(0, |since| since.as_nanos()),
    }
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
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere", folder.path().join("d-dangling")).unwrap();
            std::os::unix::fs::symlink(folder.path(), folder.path().join("e-loop")).unwrap();
        }
        let files = walk(folder.path(), "test").unwrap();
        let names: Vec<_> = files
            .iter()
            .map(|f| f.path.strip_prefix(folder.path()).unwrap().to_string_lossy().into_owned())
            .collect();
        #[cfg(unix)]
        assert_eq!(names, ["a/1", "b/2", "c", "d-dangling"]);
        assert!(walk(&folder.path().join("absent"), "test").is_err());
    }
}
