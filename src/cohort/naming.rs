//! What an image file's name says, by a pattern of the pipeline.

use std::path::Path;

use regex::Regex;

use super::bids;
use crate::study::{Modality, UnknownModality};

/// What a name says of a volume.
#[derive(Clone, PartialEq, Eq)]
pub struct Named {
    /// Subject label.
    pub subject: String,
    /// Session label, empty where the name has none.
    pub session: String,
    /// What was measured.
    pub modality: Modality,
    /// What the image is, where it is no scan of intensities.
    pub kind: Option<&'static str>,
}

/// Why a name is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Neither BIDS nor the pattern.
    #[error("its name is not BIDS and fits no pattern, so its subject is not known")]
    NoSubject,
    /// The subject is known, the modality is not.
    #[error("{0}")]
    Modality(#[from] UnknownModality),
}

/// Why a pattern of the pipeline cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PatternError {
    /// A placeholder is not one of the known ones, or stands twice.
    #[error(
        "the pattern {pattern:?} may hold {{subject}}, {{session}}, {{modality}} and *, each placeholder once"
    )]
    Placeholder {
        /// The pattern as typed.
        pattern: String,
    },
    /// There is no `{subject}`.
    #[error("the pattern {pattern:?} needs a {{subject}}: without one, splits could leak")]
    NoSubject {
        /// The pattern as typed.
        pattern: String,
    },
}

/// A pattern such as `{subject}/study{session}_{modality}.nii.gz`, matched
/// against the end of a path whose parts are joined by `/`.
#[derive(Debug, Clone)]
pub struct Pattern {
    regex: Regex,
}

impl Pattern {
    /// The pattern of a text; `*` stands for any characters within a part.
    ///
    /// # Errors
    /// [`PatternError`].
    pub fn new(text: &str) -> Result<Self, PatternError> {
        let wrong = || PatternError::Placeholder { pattern: text.to_owned() };
        let mut regex = String::from("(?:^|/)");
        let mut rest = text;
        let mut seen = Vec::new();
        while let Some(at) = rest.find(['{', '*']) {
            let (literal, special) = rest.split_at(at);
            regex.push_str(&regex::escape(literal));
            if let Some(after) = special.strip_prefix('*') {
                regex.push_str("[^/]*");
                rest = after;
                continue;
            }
            let (name, after) = special[1..].split_once('}').ok_or_else(wrong)?;
            if !["subject", "session", "modality"].contains(&name) || seen.contains(&name) {
                return Err(wrong());
            }
            seen.push(name);
            regex.push_str(&format!("(?P<{name}>[^/]+?)"));
            rest = after;
        }
        if !seen.contains(&"subject") {
            return Err(PatternError::NoSubject { pattern: text.to_owned() });
        }
        regex.push_str(&regex::escape(rest));
        regex.push('$');
        Ok(Self { regex: Regex::new(&regex).map_err(|_| wrong())? })
    }

    /// The subject that a path names, whatever else it says.
    pub fn subject(&self, path: &str) -> Option<String> {
        Some(self.regex.captures(path)?.name("subject")?.as_str().to_owned())
    }

    fn read(&self, path: &str, modality: Option<Modality>) -> Option<Result<Named, NameError>> {
        let captures = self.regex.captures(path)?;
        let part = |name| captures.name(name).map(|m| m.as_str().to_owned());
        let modality = match (part("modality"), modality) {
            (Some(word), _) => word.parse().map_err(NameError::Modality),
            (None, Some(fixed)) => Ok(fixed),
            (None, None) => Err(NameError::Modality(UnknownModality)),
        };
        Some(modality.map(|modality| Named {
            subject: part("subject").unwrap_or_default(),
            session: part("session").unwrap_or_default(),
            modality,
            kind: None,
        }))
    }
}

/// What the path of an image file, relative to its source and joined by `/`, says
/// by the source's pattern, or by BIDS where it has none. `modality` is what the
/// source states for files whose names do not.
///
/// `Ok(None)` is a file that is beside the scans: a mask or a segmentation in a
/// BIDS tree, or one that does not fit the pattern although others do.
///
/// # Errors
/// [`NameError`] where a scan's subject or modality cannot be known.
pub fn read_name(
    path: &str,
    pattern: Option<&Pattern>,
    modality: Option<Modality>,
) -> Result<Option<Named>, NameError> {
    match pattern {
        Some(pattern) => pattern.read(path, modality).transpose(),
        None => bids::read(path, modality),
    }
}

/// The word for the modality that stands alone in a file's name, `unknown` where
/// none does: for labels only.
pub(super) fn word(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let words = name.split(|c: char| !c.is_ascii_alphanumeric());
    let known = words.filter_map(|word| word.parse::<Modality>().ok()).next();
    known.map_or("unknown", Modality::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(subject: &str, session: &str, modality: Modality) -> Result<Option<Named>, NameError> {
        let (subject, session) = (subject.into(), session.into());
        Ok(Some(Named { subject, session, modality, kind: None }))
    }

    #[test]
    fn a_pattern_reads_paths_from_their_end() {
        let pattern = Pattern::new("{subject}/study{session}_{modality}.nii.gz").unwrap();
        let read = |path| read_name(path, Some(&pattern), None);
        assert!(read("patient01/study2_T1W.nii.gz") == named("patient01", "2", Modality::T1));
        assert!(read("deep/er/p7/study1_FLAIR.nii.gz") == named("p7", "1", Modality::Flair));
        assert!(read("patient01/gt.nii.gz") == Ok(None));
        assert!(matches!(read("p/study1_lesions.nii.gz"), Err(NameError::Modality(_))));
    }

    #[test]
    fn a_star_and_a_stated_modality_serve_other_layouts() {
        let pattern = Pattern::new("{subject}_0000*").unwrap();
        let read = read_name("imagesTr/case_12_0000.nii.gz", Some(&pattern), Some(Modality::Ct));
        assert!(read == named("case_12", "", Modality::Ct));
    }

    #[test]
    fn patterns_that_would_leak_or_mean_nothing_are_refused() {
        assert!(matches!(Pattern::new("{modality}.nii"), Err(PatternError::NoSubject { .. })));
        for wrong in ["{subject}/{what}.nii", "{subject}{subject}", "{subject"] {
            assert!(
                matches!(Pattern::new(wrong), Err(PatternError::Placeholder { .. })),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_label_is_a_known_word_of_the_name_or_none() {
        for (path, expected) in
            [("CT/study2_T1W.nii.gz", "T1"), ("a/gt.nii", "unknown"), ("Smith-CT.nii", "CT")]
        {
            assert_eq!(word(Path::new(path)), expected);
        }
    }
}
