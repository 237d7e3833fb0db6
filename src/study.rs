//! Whose scan it is and what was scanned: identities, pseudonyms, modalities.

mod modality;
mod pseudonym;
mod word;

pub use modality::{Family, Modality, UnknownModality, known_body_part};
pub use pseudonym::{KeyError, Kind, Pseudonymizer};
pub use word::{Word, maybe_word, number_or_word, word};

use std::fmt;

/// The real identity of a series, as its files say it.
///
/// Never printed: `Debug` hides the contents, and only `linkage.parquet` holds
/// them. Everything else carries the pseudonyms made by [`Pseudonymizer`].
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity {
    /// Patient ID (DICOM) or the subject label (BIDS, pattern).
    pub subject: String,
    /// Session label, or the Study Instance UID where there is none.
    pub session: String,
    /// Study Instance UID, or subject and session where there is none.
    pub study: String,
    /// Series Instance UID with what split it, or the path within the source.
    pub series: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_does_not_print_itself() {
        let identity = Identity {
            subject: "DOE^JANE".into(),
            session: "1".into(),
            study: "1.2.3".into(),
            series: "1.2.3.4".into(),
        };
        let printed = format!("{identity:?}");
        assert!(!printed.contains("DOE") && !printed.contains("1.2"));
    }
}
