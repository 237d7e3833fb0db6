//! Data files that lie beside their header.
//!
//! What a header says of them is not to be trusted: the file must lie in the
//! folder of the header or below it, and neither it nor a folder on the way may
//! be a link.

use std::path::{Component, Path, PathBuf};

use super::ImageError;
use crate::io::archive;

fn refuse(reason: &'static str) -> ImageError {
    ImageError::DataFile { reason }
}

/// The file that a header names, checked to be a plain file in the header's
/// folder or below it.
///
/// # Errors
/// [`ImageError::DataFile`].
pub(in crate::io) fn named(header: &Path, name: &str) -> Result<PathBuf, ImageError> {
    let mut path = header.parent().unwrap_or(Path::new("")).to_owned();
    let mut parts = 0;
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => {
                path.push(part);
                parts += 1;
                let is_link = path.symlink_metadata().is_ok_and(|data| data.is_symlink());
                if is_link {
                    return Err(refuse("is a link or behind one"));
                }
            }
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(refuse("is not in the header's folder"));
            }
        }
    }
    // On Unix a backslash is a letter; a header made on Windows means folders.
    if parts == 0 || name.contains('\\') {
        return Err(refuse("has no usable name"));
    }
    checked(path)
}

/// The file of the voxels of a pair, whose two names differ in their endings.
///
/// # Errors
/// [`ImageError::DataFile`].
pub(in crate::io) fn companion(header: &Path) -> Result<PathBuf, ImageError> {
    let name = header.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let (bare, packed) = match name.rsplit_once('.') {
        Some((bare, ending)) if ending.eq_ignore_ascii_case("gz") => (bare, true),
        _ => (name, false),
    };
    let Some((stem, ending)) = bare.rsplit_once('.') else {
        return Err(refuse("is not known, as the header's name does not end in .hdr"));
    };
    let image = match ending {
        "hdr" => "img",
        "HDR" => "IMG",
        _ => return Err(refuse("is not known, as the header's name does not end in .hdr")),
    };
    let (plain, gzip) = (format!("{stem}.{image}"), format!("{stem}.{image}.gz"));
    let names = if packed { [gzip, plain] } else { [plain, gzip] };
    let [first, second] = names.map(|name| header.with_file_name(name));
    let there = |path: &Path| path.symlink_metadata().is_ok() || archive::len(path).is_some();
    let path = if there(&first) || !there(&second) { first } else { second };
    if path.is_symlink() {
        return Err(refuse("is a link or behind one"));
    }
    checked(path)
}

fn checked(path: PathBuf) -> Result<PathBuf, ImageError> {
    match archive::len(&path) {
        Some(_) => Ok(path),
        None if path.exists() => Err(refuse("is no regular file")),
        None => Err(refuse("is missing")),
    }
}
