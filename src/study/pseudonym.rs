//! Keyed pseudonyms: the same person gives the same word under one key, and
//! nobody without the key can test a guess.

use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a pseudonym stands for. Kinds never share words: the subject `1` and
/// the session `1` are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A patient.
    Subject,
    /// A visit.
    Session,
    /// A study.
    Study,
    /// A series, or one volume of it.
    Series,
    /// A frame of reference.
    Frame,
    /// A file.
    File,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Subject => "sub",
            Self::Session => "ses",
            Self::Study => "std",
            Self::Series => "ser",
            Self::Frame => "for",
            Self::File => "file",
        }
    }
}

/// Makes pseudonyms under one secret key.
///
/// # Source
/// HMAC-SHA-256 (RFC 2104, FIPS 198-1), cut to 64 bits: among a million
/// subjects the chance of any two sharing a word is 3e-8.
#[derive(Clone)]
pub struct Pseudonymizer {
    keyed: Hmac<Sha256>,
}

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// The key file cannot be read or written.
    #[error("the pseudonym key {path} cannot be used", path = .path.display())]
    Io {
        /// The key file, as the pipeline names it.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The key file holds something else.
    #[error("the pseudonym key {path} must be 64 hexadecimal digits", path = .path.display())]
    Malformed {
        /// The key file, as the pipeline names it.
        path: PathBuf,
    },
}

impl std::fmt::Debug for Pseudonymizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pseudonymizer(hidden)")
    }
}

impl Pseudonymizer {
    /// Pseudonyms under the 32-byte key given.
    pub fn from_key(key: &[u8; 32]) -> Self {
        // A SHA-256 block is 64 bytes, so a 32-byte key is padded, never refused.
        let mut block = [0u8; 64];
        block[..32].copy_from_slice(key);
        Self { keyed: Hmac::new(&block.into()) }
    }

    /// Pseudonyms under the key in a file; where there is none, a random key is
    /// made and kept there with mode 0600.
    ///
    /// # Errors
    /// [`KeyError`] where the file cannot be read or written, or holds no key.
    pub fn open_or_create(path: &Path) -> Result<Self, KeyError> {
        let io = |source| KeyError::Io { path: path.to_owned(), source };
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                create_key(path).map_err(io)?;
                fs::read_to_string(path).map_err(io)?
            }
            Err(error) => return Err(io(error)),
        };
        let key = key_from_hex(text.trim())
            .ok_or_else(|| KeyError::Malformed { path: path.to_owned() })?;
        Ok(Self::from_key(&key))
    }

    /// Pseudonyms under a random key that is kept nowhere: they tell apart what is
    /// seen together, and mean nothing afterwards.
    ///
    /// # Errors
    /// Where the system has no random numbers.
    pub fn of_this_run() -> io::Result<Self> {
        let mut key = [0u8; 32];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        Ok(Self::from_key(&key))
    }

    /// The pseudonym of a real identifier: `sub-3f2a9c…`, 16 hexadecimal digits.
    pub fn pseudonym(&self, kind: Kind, real: &str) -> String {
        let mut mac = self.keyed.clone();
        mac.update(kind.prefix().as_bytes());
        mac.update(&[0]);
        mac.update(real.as_bytes());
        let digest = mac.finalize().into_bytes();
        let hex: String = digest.iter().take(8).map(|b| format!("{b:02x}")).collect();
        format!("{}-{hex}", kind.prefix())
    }
}

fn key_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut key = [0u8; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

fn create_key(path: &Path) -> io::Result<()> {
    let mut key = [0u8; 32];
    getrandom::fill(&mut key).map_err(io::Error::other)?;
    let hex: String = key.iter().map(|b| format!("{b:02x}")).collect();
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = match options.open(path) {
        // Another process of the same job was first: its key is the key.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    };
    writeln!(file, "{hex}")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_the_kind_decide_the_word() {
        let one = Pseudonymizer::from_key(&[1; 32]);
        let two = Pseudonymizer::from_key(&[2; 32]);
        let word = one.pseudonym(Kind::Subject, "DOE^JANE");
        assert_eq!(word, one.pseudonym(Kind::Subject, "DOE^JANE"));
        assert_ne!(word, two.pseudonym(Kind::Subject, "DOE^JANE"));
        assert_ne!(word[4..], one.pseudonym(Kind::Session, "DOE^JANE")[4..]);
        assert!(word.starts_with("sub-") && word.len() == 20);
    }

    #[test]
    fn agrees_with_a_published_hmac() {
        // RFC 4231 test case 1 uses a key of 20 bytes 0x0b; zero padding makes it ours.
        let mut key = [0u8; 32];
        key[..20].fill(0x0b);
        let mut mac = Pseudonymizer::from_key(&key).keyed;
        mac.update(b"Hi There");
        let digest = mac.finalize().into_bytes();
        assert_eq!(digest[..4], [0xb0, 0x34, 0x4c, 0x61]);
    }

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        let first = Pseudonymizer::open_or_create(&path).unwrap();
        let again = Pseudonymizer::open_or_create(&path).unwrap();
        assert_eq!(first.pseudonym(Kind::File, "a"), again.pseudonym(Kind::File, "a"));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
        fs::write(&path, "not a key").unwrap();
        assert!(matches!(Pseudonymizer::open_or_create(&path), Err(KeyError::Malformed { .. })));
    }
}
