//! Zip archives as folders: the path of a member is that of the archive with the
//! member's name behind it.
//!
//! [`open`] opens a file or a member alike, so that no reader knows of archives. A
//! member is inflated into a temporary file without a name, which is gone with the
//! last reader: nothing of a patient stays unpacked on the disk.

use std::{
    cell::RefCell,
    fs::File,
    io::{self, BufReader, ErrorKind, Read, Seek},
    path::{Path, PathBuf},
};

use zip::{ZipArchive, read::ZipFile, result::ZipError};

/// Largest member that is read.
const MAX_MEMBER: u64 = 4 << 30;

/// Most members of an archive.
const MAX_MEMBERS: usize = 1 << 20;

/// Most that one byte of deflate can become: an archive that promises more than
/// this many times its own length counts bytes twice.
///
/// # Source
/// RFC 1951 3.2.5; zlib's technical notes give the number.
const DEFLATE_RATIO: u64 = 1032;

/// Under what a member is listed whose own name cannot be used.
const REFUSED: &str = "#refused-";

/// Why an archive, or a member of one, cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file cannot be opened or read.
    #[error("the archive cannot be read")]
    Io(#[from] io::Error),
    /// The file is no zip archive, or a damaged one.
    #[error("the archive is damaged")]
    Damaged,
    /// It has more members than are looked at.
    #[error("the archive has {members} members, the limit is {limit}")]
    TooMany {
        /// Members announced.
        members: usize,
        /// Most members read.
        limit: usize,
    },
    /// Its members share their bytes.
    #[error("the archive of {bytes} bytes promises {promised}, more than it can hold")]
    Bomb {
        /// Its length.
        bytes: u64,
        /// What its members would have.
        promised: u64,
    },
    /// A name with `..`, an absolute name, or a link.
    #[error("the member of the archive leads out of it")]
    Outside,
    /// A member that a password protects.
    #[error("the member of the archive is encrypted")]
    Encrypted,
    /// A member that is larger than is read.
    #[error("the member of the archive has {bytes} bytes or more, the limit is {limit}")]
    TooLarge {
        /// Bytes announced or found.
        bytes: u64,
        /// Most bytes read.
        limit: u64,
    },
}

impl From<ZipError> for ArchiveError {
    fn from(error: ZipError) -> Self {
        match error {
            ZipError::Io(error) => Self::Io(error),
            _ => Self::Damaged,
        }
    }
}

/// Whether a path is named like an archive.
pub fn is_archive(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"))
}

/// Opens a file, or a member of an archive.
///
/// # Errors
/// What the system says, or an [`ArchiveError`] inside [`io::Error`].
pub fn open(path: &Path) -> io::Result<File> {
    match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotADirectory => match split(path) {
            Some((archive, name)) => unpack(archive, name).map_err(io::Error::other),
            None => Err(error),
        },
        opened => opened,
    }
}

/// Bytes of a regular file or of an archive's member; `None` for all else.
pub fn len(path: &Path) -> Option<u64> {
    match path.metadata() {
        Ok(data) => data.is_file().then_some(data.len()),
        Err(error) if error.kind() == ErrorKind::NotADirectory => {
            let (archive, name) = split(path)?;
            with(archive, |zip| {
                let index = find(zip, name)?;
                Ok(zip.by_index_raw(index)?.size())
            })
            .ok()
        }
        Err(_) => None,
    }
}

/// The members of an archive that are files: path and size. What is refused is
/// among them, so that opening it says why.
///
/// # Errors
/// [`ArchiveError`] where the archive as a whole cannot be read.
pub fn members(archive: &Path) -> Result<Vec<(PathBuf, u64)>, ArchiveError> {
    let bytes = archive.metadata()?.len();
    with(archive, |zip| {
        if zip.len() > MAX_MEMBERS {
            return Err(ArchiveError::TooMany { members: zip.len(), limit: MAX_MEMBERS });
        }
        let (mut found, mut promised) = (Vec::new(), 0u64);
        for index in 0..zip.len() {
            let member = zip.by_index_raw(index)?;
            if member.is_dir() {
                continue;
            }
            promised = promised.saturating_add(member.size());
            let name = name_of(&member).unwrap_or_else(|| format!("{REFUSED}{index}").into());
            found.push((archive.join(name), member.size()));
        }
        if promised > bytes.saturating_mul(DEFLATE_RATIO) {
            return Err(ArchiveError::Bomb { bytes, promised });
        }
        Ok(found)
    })
}

/// The archive that a path leads into, and the name within it.
fn split(path: &Path) -> Option<(&Path, &Path)> {
    let archive = path.ancestors().skip(1).find(|parent| is_archive(parent) && parent.is_file())?;
    Some((archive, path.strip_prefix(archive).ok()?))
}

/// A temporary file of a member's bytes.
fn unpack(archive: &Path, name: &Path) -> Result<File, ArchiveError> {
    with(archive, |zip| {
        let index = find(zip, name)?;
        let raw = zip.by_index_raw(index)?;
        let (encrypted, announced) = (raw.encrypted(), raw.size());
        drop(raw);
        if encrypted {
            return Err(ArchiveError::Encrypted);
        }
        let too_large = |bytes| ArchiveError::TooLarge { bytes, limit: MAX_MEMBER };
        if announced > MAX_MEMBER {
            return Err(too_large(announced));
        }
        let mut file = tempfile::tempfile()?;
        // The checksum at the end is looked at by the reader of the archive.
        let copied = io::copy(&mut zip.by_index(index)?.take(announced + 1), &mut file);
        match copied {
            Ok(found) if found == announced => {}
            Ok(found) if found > announced => return Err(too_large(found)),
            Ok(_) => return Err(ArchiveError::Damaged),
            Err(error) if error.kind() == ErrorKind::StorageFull => return Err(error.into()),
            Err(_) => return Err(ArchiveError::Damaged),
        }
        file.rewind()?;
        Ok(file)
    })
}

fn find(zip: &mut ZipArchive<BufReader<File>>, name: &Path) -> Result<usize, ArchiveError> {
    let text = name.to_string_lossy();
    if text.starts_with(REFUSED) {
        return Err(ArchiveError::Outside);
    }
    let missing = || io::Error::from(ErrorKind::NotFound);
    match zip.index_for_name(&text) {
        Some(index) => Ok(index),
        // It may be written otherwise, as with backslashes.
        None => (0..zip.len())
            .find(|&index| {
                zip.by_index_raw(index)
                    .is_ok_and(|member| name_of(&member).as_deref() == Some(name))
            })
            .ok_or_else(|| missing().into()),
    }
}

/// The name of a member that stays inside and is no link.
fn name_of<R: Read>(member: &ZipFile<'_, R>) -> Option<PathBuf> {
    let name = member.name().ok()?;
    // `enclosed_name` resolves `..` where it stays inside: refuse it all the same.
    let plain = !name.split(['/', '\\']).any(|part| part == "..");
    let absolute = name.starts_with(['/', '\\']) || name.contains(':');
    let inside = plain && !absolute && !member.is_symlink();
    member.enclosed_name().filter(|_| inside)
}

/// Lends an archive, which a thread keeps open: members are read one by one.
fn with<T>(
    archive: &Path,
    action: impl FnOnce(&mut ZipArchive<BufReader<File>>) -> Result<T, ArchiveError>,
) -> Result<T, ArchiveError> {
    type Last = Option<(PathBuf, ZipArchive<BufReader<File>>)>;
    thread_local! {
        static LAST: RefCell<Last> = const { RefCell::new(None) };
    }
    LAST.with_borrow_mut(|last| {
        if last.as_ref().is_none_or(|(path, _)| path != archive) {
            let file = BufReader::new(File::open(archive)?);
            *last = Some((archive.to_owned(), ZipArchive::new(file)?));
        }
        match last {
            Some((_, zip)) => action(zip),
            None => Err(ArchiveError::Damaged),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn made(path: &Path, members: &[(&str, &[u8])]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        for (name, bytes) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    fn read(path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        open(path)?.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    #[test]
    fn members_are_opened_like_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.ZIP");
        made(&path, &[("a/one", b"first"), ("two", b"second"), ("empty", b"")]);
        let found = members(&path).unwrap();
        assert_eq!(found.len(), 3);
        assert_eq!(read(&path.join("a/one")).unwrap(), b"first");
        assert_eq!(len(&path.join("two")), Some(6));
        assert_eq!(len(&path.join("three")), None);
        let missing = read(&path.join("three")).unwrap_err();
        assert!(missing.to_string().contains("cannot be read"), "{missing}");
        assert!(read(&folder.path().join("none.zip/a")).is_err());
    }

    #[test]
    fn a_name_that_leads_out_is_listed_and_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.zip");
        made(
            &path,
            &[("../one", b"1"), ("/two", b"2"), ("a/../../three", b"3"), ("C:\\four", b"4")],
        );
        let mut zip =
            ZipWriter::new_append(File::options().read(true).write(true).open(&path).unwrap())
                .unwrap();
        zip.add_symlink("five", "/etc/passwd", SimpleFileOptions::default()).unwrap();
        zip.start_file("six", SimpleFileOptions::default()).unwrap();
        zip.write_all(b"6").unwrap();
        zip.finish().unwrap();
        let found = members(&path).unwrap();
        assert_eq!(found.len(), 6);
        for (member, _) in &found[..5] {
            let error = read(member).unwrap_err();
            assert!(error.to_string().contains("leads out"), "{error}");
        }
        assert_eq!(read(&found[5].0).unwrap(), b"6");
    }

    #[test]
    fn a_damaged_archive_costs_what_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("export.zip");
        made(&path, &[("one", &[b'a'; 1000]), ("two", b"second")]);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[36] ^= 0xFF;
        let other = folder.path().join("other.zip");
        std::fs::write(&other, &bytes).unwrap();
        assert!(read(&other.join("one")).is_err());
        assert_eq!(read(&other.join("two")).unwrap(), b"second");
        std::fs::write(&other, &bytes[..bytes.len() - 30]).unwrap();
        let fresh = folder.path().join("cut.zip");
        std::fs::rename(&other, &fresh).unwrap();
        assert!(members(&fresh).is_err());
    }

    /// An archive of one member, listed many times over.
    fn listed(path: &Path, times: u16) {
        made(path, &[("m00000", &[0; 1 << 20])]);
        let bytes = std::fs::read(path).unwrap();
        let find = |mark: &[u8]| bytes.windows(4).rposition(|four| four == mark).unwrap();
        let (start, end) = (find(b"PK\x01\x02"), find(b"PK\x05\x06"));
        let (mut record, mut tail) = (bytes[start..end].to_vec(), bytes[end..].to_vec());
        let mut whole = bytes[..start].to_vec();
        for number in 0..times {
            record[46..52].copy_from_slice(format!("m{number:05}").as_bytes());
            whole.extend(&record);
        }
        let len = (whole.len() - start) as u32;
        tail[8..10].copy_from_slice(&times.to_le_bytes());
        tail[10..12].copy_from_slice(&times.to_le_bytes());
        tail[12..16].copy_from_slice(&len.to_le_bytes());
        whole.extend(tail);
        std::fs::write(path, whole).unwrap();
    }

    #[test]
    fn members_that_share_their_bytes_are_no_archive() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.zip");
        listed(&path, 1);
        assert_eq!(members(&path).unwrap().len(), 1);
        let path = folder.path().join("bomb2.zip");
        listed(&path, 20_000);
        let error = members(&path).unwrap_err();
        // The library may see it first.
        assert!(matches!(error, ArchiveError::Bomb { .. } | ArchiveError::Damaged), "{error:?}");
    }

    #[test]
    fn any_bytes_may_be_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("whole.zip");
        made(&path, &[("a/one", &[7; 3000]), ("two", b"second"), ("three", b"")]);
        let whole = std::fs::read(&path).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(1);
        let (mut opened, mut refused) = (0, 0);
        for number in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..random.random_range(1..=6) {
                let at = random.random_range(0..bytes.len());
                bytes[at] = [random.random(), 0, 0xFF, 0x7F][random.random_range(0..4)];
            }
            // Another name each time: a thread keeps the last one open.
            let path = folder.path().join(format!("{number}.zip"));
            std::fs::write(&path, bytes).unwrap();
            match members(&path) {
                Ok(found) => {
                    for (member, _) in found {
                        match read(&member) {
                            Ok(_) => opened += 1,
                            Err(_) => refused += 1,
                        }
                    }
                }
                Err(_) => refused += 1,
            }
            std::fs::remove_file(&path).unwrap();
        }
        assert!(opened > 0 && refused > 0, "{opened} opened, {refused} refused");
    }
}
