//! The files below a folder.

use std::{
    io,
    path::{Path, PathBuf},
    sync::mpsc::SyncSender,
    time::UNIX_EPOCH,
};

use ignore::{WalkBuilder, WalkState};

use super::IndexError;
use crate::io::{archive, dicom};

/// A file found.
pub(super) struct Found {
    /// Its path.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) size: u64,
    /// Last change, in nanoseconds since 1970; 0 where the system does not say.
    pub(super) modified: u128,
}

/// Sends every file below a folder, in any order, by several threads. Links are
/// followed (data managers store scans behind them), loops are not; hidden files and
/// folders are passed over. What cannot be read, a dangling link or a closed
/// folder, is among them with size 0, so that opening it says why.
///
/// Of a zip archive, also of one in the folder, there are its members; of a DICOMDIR
/// that is the source the files it names; of any other file that file.
///
/// # Errors
/// [`IndexError::Source`] where the folder itself, or the DICOMDIR, cannot be read.
pub(super) fn walk(
    folder: &Path,
    source: &str,
    found: &SyncSender<Found>,
) -> Result<(), IndexError> {
    let missing = |error| IndexError::Source { source_name: source.to_owned(), source: error };
    if folder.is_file() && is_directory_file(folder) {
        let files = dicom::referenced_files(folder)
            .map_err(|error| missing(io::Error::new(io::ErrorKind::InvalidData, error)))?;
        for (number, file) in files.into_iter().enumerate() {
            let file = file.unwrap_or_else(|| folder.join(format!("#outside-{number}")));
            // Nobody is left to send to where the store has failed.
            let _ = found.send(describe(file));
        }
        return Ok(());
    }
    if folder.is_file() {
        send(describe(folder.to_owned()), found);
        return Ok(());
    }
    std::fs::read_dir(folder).map_err(missing)?;
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
                match path.is_none_or(|path| send(describe(path), found)) {
                    true => WalkState::Continue,
                    false => WalkState::Quit,
                }
            })
        });
    Ok(())
}

/// Sends a file, or the members of one that is an archive; gives whether somebody is
/// left to send to. An archive that cannot be read is itself among the files, so that
/// opening it says why.
fn send(file: Found, to: &SyncSender<Found>) -> bool {
    match archive::is_archive(&file.path).then(|| archive::members(&file.path)) {
        Some(Ok(members)) => {
            let hidden = |path: &Path| {
                let name = path.strip_prefix(&file.path).unwrap_or(path);
                name.iter().any(|part| part.as_encoded_bytes().starts_with(b"."))
            };
            let seen = members.into_iter().filter(|(path, _)| !hidden(path));
            seen.map(|(path, size)| Found { path, size, modified: file.modified })
                .all(|member| to.send(member).is_ok())
        }
        _ => to.send(file).is_ok(),
    }
}

fn is_directory_file(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.eq_ignore_ascii_case("DICOMDIR"))
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
    use std::sync::mpsc::sync_channel;

    use super::*;

    /// The names of what is found, in order.
    fn names(source: &Path, folder: &Path) -> Vec<String> {
        let (sender, files) = sync_channel(100);
        walk(source, "test", &sender).unwrap();
        drop(sender);
        let name =
            |file: Found| file.path.strip_prefix(folder).unwrap().to_string_lossy().into_owned();
        let mut names: Vec<String> = files.into_iter().map(name).collect();
        names.sort();
        names
    }

    #[test]
    fn an_archive_is_a_folder_of_its_members() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.zip");
        let mut zip = zip::ZipWriter::new(std::fs::File::create(&path).unwrap());
        for name in ["one", "b/two", "__MACOSX/._one", ".hidden/three"] {
            zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        }
        zip.finish().unwrap();
        std::fs::write(folder.path().join("broken.zip"), "PK").unwrap();
        let expected = ["a.zip/b/two", "a.zip/one", "broken.zip"];
        assert_eq!(names(folder.path(), folder.path()), expected);
        assert_eq!(names(&path, folder.path()), expected[..2]);
    }

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
        let names = names(folder.path(), folder.path());
        #[cfg(unix)]
        assert_eq!(names, ["a/1", "b/2", "c", "d-dangling"]);
        let (sender, _files) = sync_channel(1);
        assert!(walk(&folder.path().join("absent"), "test", &sender).is_err());
    }
}
