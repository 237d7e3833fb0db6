//! Identifiers that an archive names things by.

use std::fmt;

/// A UID: digits and dots, at most 64. `Debug` does not print it.
///
/// # Source
/// DICOM PS3.5 9.1.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Uid(Box<str>);

impl Uid {
    /// The UID that a text holds, without padding; none where it is no UID, so that
    /// it can stand in a URL and in a list without a second look.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim_matches([' ', '\0']);
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let dots = text.starts_with('.') || text.ends_with('.') || text.contains("..");
        (plain && !dots && (1..=64).contains(&text.len())).then(|| Self(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Uid(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uid_is_a_uid() {
        assert_eq!(
            Uid::new("1.2.840\0").map(|uid| uid.as_str().to_owned()),
            Some("1.2.840".into())
        );
        for wrong in ["", "..", "1..2", "../1", "1.2\\3", "1.2/3", "1.a", &"1".repeat(65)] {
            assert_eq!(Uid::new(wrong), None);
        }
    }
}
