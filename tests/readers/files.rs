//! What the tests share: files on disk and the real scans.

use std::path::{Path, PathBuf};

use mivox::io::{
    dicom::{Instance, decode_in, open_header},
    series::{Assembly, assemble},
};

/// Decodes in workers from here on, as the program does.
pub fn decode_apart() {
    decode_in(env!("CARGO_BIN_EXE_mivox").into());
}

/// The real scans, or `None`, said on stderr, where they are absent.
pub fn scans() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/scans");
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("skipped: ../shared/scans is absent");
    None
}

/// The files of a folder, sorted by name.
pub fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

pub fn headers(files: &[PathBuf]) -> Vec<Instance> {
    files.iter().map(|file| open_header(file).unwrap()).collect()
}

pub fn assemble_files(files: &[PathBuf]) -> Assembly {
    assemble(headers(files))
}
