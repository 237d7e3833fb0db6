//! How anything reaches the disk: whole or not at all, and only once.

use std::{
    fs::{self, File, TryLockError},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

/// Why a file did not reach the disk, or a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DurableError {
    /// The system refused.
    #[error("cannot {action} {name}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// Name of the output, without its folder.
        name: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process writes the same results.
    #[error(
        "another mivox is at work in this results folder; wait for it, or choose another --out"
    )]
    Locked,
}

fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DurableError {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    move |source| DurableError::Io { action, name, source }
}

/// Writes a file whole or not at all: to a temporary name beside it, synced,
/// then renamed. Readers see the old file or the new one, never a part.
///
/// # Errors
/// [`DurableError::Io`], or what `write` returns; the old file then stays.
pub fn write_atomically<E: From<DurableError>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    write_with_mode(path, 0o644, write)
}

/// [`write_atomically`] for what only its owner may read (mode 0600).
///
/// # Errors
/// As [`write_atomically`].
pub fn write_private<E: From<DurableError>>(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    write_with_mode(path, 0o600, write)
}

fn write_with_mode<E: From<DurableError>>(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut BufWriter<&mut File>) -> Result<(), E>,
) -> Result<(), E> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    create_folder(folder)?;
    let mut draft = Draft::new_in(folder)?;
    {
        let mut out = BufWriter::with_capacity(1 << 20, draft.file());
        write(&mut out)?;
        out.flush().map_err(failed("write", path))?;
    }
    draft.keep(path, mode).map_err(E::from)
}

/// A file under a temporary name, which gets its own name once it is whole. Until
/// then, or where it is dropped, nothing of it is seen.
#[derive(Debug)]
pub struct Draft {
    temporary: tempfile::NamedTempFile,
}

impl Draft {
    /// An empty draft in a folder that is there, on the file system where the file
    /// is to lie. Only its owner may read it.
    ///
    /// # Errors
    /// [`DurableError::Io`].
    pub fn new_in(folder: &Path) -> Result<Self, DurableError> {
        let temporary = tempfile::Builder::new()
            .prefix(".writing-")
            .tempfile_in(folder)
            .map_err(failed("make a temporary file in", folder))?;
        Ok(Self { temporary })
    }

    /// The file, to write to.
    pub fn file(&mut self) -> &mut File {
        self.temporary.as_file_mut()
    }

    /// Its temporary path, to look at what was written.
    pub fn path(&self) -> &Path {
        self.temporary.path()
    }

    /// Syncs the file and gives it its name, in place of what had it before, and
    /// the permissions of `mode`.
    ///
    /// # Errors
    /// [`DurableError::Io`]; the draft is then gone.
    pub fn keep(self, path: &Path, mode: u32) -> Result<(), DurableError> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            self.temporary
                .as_file()
                .set_permissions(fs::Permissions::from_mode(mode))
                .map_err(failed("set the permissions of", path))?;
        }
        self.temporary.as_file().sync_all().map_err(failed("sync", path))?;
        self.temporary.persist(path).map_err(|e| failed("rename to", path)(e.error))?;
        // The rename itself is durable once the folder is.
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        if let Ok(handle) = File::open(folder) {
            handle.sync_all().map_err(failed("sync the folder of", path))?;
        }
        Ok(())
    }
}

/// Makes a folder and those above it.
///
/// # Errors
/// [`DurableError::Io`].
pub fn create_folder(path: &Path) -> Result<(), DurableError> {
    fs::create_dir_all(path).map_err(failed("make the folder", path))
}

/// [`create_folder`] for what only its owner may enter (mode 0700). A folder that
/// is there already keeps its mode.
///
/// # Errors
/// [`DurableError::Io`].
pub fn create_private_folder(path: &Path) -> Result<(), DurableError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(failed("make the folder", path))
}

/// A folder of results, held by this process alone until dropped.
#[derive(Debug)]
pub struct Lock {
    // The lock lives as long as the open file.
    _file: File,
}

impl Lock {
    /// Takes the lock of a results folder, making the folder where needed.
    ///
    /// # Errors
    /// [`DurableError::Locked`] where another process holds it.
    pub fn take(folder: &Path) -> Result<Self, DurableError> {
        create_folder(folder)?;
        let path = folder.join(".lock");
        let file = File::create(&path).map_err(failed("open", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(DurableError::Locked),
            Err(TryLockError::Error(source)) => Err(failed("lock", &path)(source)),
        }
    }
}

/// A SHA-256 digest in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The mark of a finished stage: which configuration and inputs its outputs
/// come from. A stage that finds its own digest there does nothing.
#[derive(Debug)]
pub struct Stamp {
    path: PathBuf,
    digest: String,
}

impl Stamp {
    /// The stamp of a stage in a results folder; `digest` covers all that the
    /// stage's outputs depend on.
    pub fn new(results: &Path, stage: &str, digest: String) -> Self {
        Self { path: results.join("stages").join(stage), digest }
    }

    /// The digest that a stage left when it was done, if it is.
    pub fn read(results: &Path, stage: &str) -> Option<String> {
        let text = fs::read_to_string(results.join("stages").join(stage)).ok()?;
        Some(text.trim().to_owned())
    }

    /// The digest of what the outputs depend on.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Whether the stage is done and its outputs are still there.
    pub fn is_set(&self, outputs: &[PathBuf]) -> bool {
        fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.digest)
            && outputs.iter().all(|path| path.exists())
    }

    /// Takes the mark away, before the outputs are written anew.
    ///
    /// # Errors
    /// [`DurableError::Io`].
    pub fn clear(&self) -> Result<(), DurableError> {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(failed("remove", &self.path)(error))
            }
            _ => Ok(()),
        }
    }

    /// Marks the stage as done.
    ///
    /// # Errors
    /// [`DurableError::Io`].
    pub fn set(&self) -> Result<(), DurableError> {
        write_atomically(&self.path, |out| {
            writeln!(out, "{}", self.digest).map_err(failed("write", &self.path))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_no_litter() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("table");
        let write = |text: &'static str, fail: bool| {
            write_atomically(&path, |out| {
                out.write_all(text.as_bytes()).map_err(failed("write", &path))?;
                if fail { Err(DurableError::Locked) } else { Ok(()) }
            })
        };
        write("old", false).unwrap();
        assert!(write("half of the n", true).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn private_files_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linkage");
        write_private::<DurableError>(&path, |_| Ok(())).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn a_stamp_holds_for_its_digest_and_outputs_only() {
        let folder = tempfile::tempdir().unwrap();
        let output = folder.path().join("cohort");
        let stamp = Stamp::new(folder.path(), "index", sha256_hex(b"one"));
        stamp.set().unwrap();
        assert!(!stamp.is_set(std::slice::from_ref(&output)));
        fs::write(&output, "").unwrap();
        assert!(stamp.is_set(std::slice::from_ref(&output)));
        let other = Stamp::new(folder.path(), "index", sha256_hex(b"two"));
        assert!(!other.is_set(&[output]));
    }

    #[test]
    fn one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take(folder.path()).unwrap();
        assert!(matches!(Lock::take(folder.path()), Err(DurableError::Locked)));
        drop(held);
        assert!(Lock::take(folder.path()).is_ok());
    }
}
