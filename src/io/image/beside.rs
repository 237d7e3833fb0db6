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

/// Most files that a pattern stands for: as many as a volume has slices at most.
const MAX_NUMBERED: usize = 1 << 16;

/// Longest of them: all are made at once.
const MAX_PATTERN: usize = 1 << 10;

/// The names that `NAME%03d.raw FIRST LAST STEP` stands for, as NRRD and MetaImage have
/// it; a further number, how many axes a file has, changes nothing: files follow one
/// another. None where it is no such pattern.
pub(in crate::io) fn numbered(pattern: &str) -> Option<Vec<String>> {
    let words: Vec<&str> = pattern.split_ascii_whitespace().collect();
    let [name, first, last, step] = *words.first_chunk::<4>()?;
    if words.len() > 5 || name.len() > MAX_PATTERN {
        return None;
    }
    let [first, last, step] = [first, last, step].map(|word| word.parse::<i64>().ok());
    let (first, last, step) = (first?, last?, step?);
    let (before, rest) = name.split_once('%')?;
    let at = rest.find(['d', 'i', 'u'])?;
    let (width, after) = (&rest[..at], &rest[at + 1..]);
    if after.contains('%') || width.len() > 3 {
        return None;
    }
    let zeros = width.starts_with('0');
    let width: usize = if width.is_empty() { 0 } else { width.parse().ok()? };
    let count = last.checked_sub(first)?.checked_div(step)?;
    let count = usize::try_from(count).ok().filter(|&count| count < MAX_NUMBERED)?;
    let number = |n: usize| first + step * n as i64;
    let name = |n: usize| match zeros {
        true => format!("{before}{:0width$}{after}", number(n)),
        false => format!("{before}{:width$}{after}", number(n)),
    };
    Some((0..=count).map(name).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_its_names() {
        assert_eq!(numbered("a%03d.raw 8 10 1").unwrap(), ["a008.raw", "a009.raw", "a010.raw"]);
        assert_eq!(numbered("%d 5 1 -2 2").unwrap(), ["5", "3", "1"]);
        assert_eq!(numbered("a%2i.raw 9 10 1").unwrap(), ["a 9.raw", "a10.raw"]);
        let long = format!("{}%d.raw 1 65536 1", "a".repeat(1 << 20));
        for wrong in [
            long.as_str(),
            "a.raw",
            "a%d.raw",
            "a%d.raw 1 2",
            "a%d.raw 1 2 0",
            "a%d.raw 2 1 1",
            "a%d%d.raw 1 2 1",
            "a%s.raw 1 2 1",
            "a%d.raw 1 x 1",
            "a%0999d.raw 1 2 1",
            "a%d.raw 1 9000000000000000000 1",
            "a%d.raw -9223372036854775808 9223372036854775807 1",
        ] {
            assert!(numbered(wrong).is_none(), "{wrong}");
        }
    }
}
