//! What converted files are called: pseudonyms and words from closed lists alone.

use std::collections::BTreeMap;

use crate::{cohort::CohortRow, study::Modality};

/// How converted files are named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Naming {
    /// `sub-…_ses-…_acq-…_T1w`, all in one folder.
    Flat,
    /// The same names in BIDS's folders: `sub-…/ses-…/anat/`.
    Bids,
    /// A pattern of `{subject}`, `{session}`, `{study}`, `{series}` and `{modality}`.
    Pattern(String),
}

/// Why files cannot be named.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NamingError {
    /// The pattern holds something else.
    #[error(
        "the name {pattern:?} may hold {{subject}}, {{session}}, {{study}}, {{series}}, \
         {{modality}}, letters, digits, -, _ and /, and no part of it may begin with a dot"
    )]
    Pattern {
        /// The pattern as typed.
        pattern: String,
    },
    /// Two volumes get one name.
    #[error("{volumes} volumes would be called the same by {pattern:?}; add {{series}}")]
    Ambiguous {
        /// The pattern as typed.
        pattern: String,
        /// Volumes with one name.
        volumes: usize,
    },
}

impl Naming {
    /// The naming by a pattern.
    ///
    /// # Errors
    /// [`NamingError::Pattern`] where it holds another placeholder, or leads out
    /// of the folder.
    pub fn from_pattern(pattern: &str) -> Result<Self, NamingError> {
        let wrong = || NamingError::Pattern { pattern: pattern.to_owned() };
        let mut rest = pattern.to_owned();
        for (placeholder, _) in placeholders(None) {
            rest = rest.replace(placeholder, "x");
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
        let parts = rest.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
        if parts && rest.chars().all(plain) {
            Ok(Self::Pattern(pattern.to_owned()))
        } else {
            Err(wrong())
        }
    }

    /// The names of volumes, without ending, with `/` between folders.
    ///
    /// # Errors
    /// [`NamingError::Ambiguous`].
    pub fn names(&self, rows: &[&CohortRow]) -> Result<Vec<String>, NamingError> {
        let names: Vec<String> = rows.iter().map(|row| self.name(row)).collect();
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        names.iter().for_each(|name| *counts.entry(name).or_default() += 1);
        match (counts.into_values().max(), self) {
            (Some(volumes), Self::Pattern(pattern)) if volumes > 1 => {
                Err(NamingError::Ambiguous { pattern: pattern.clone(), volumes })
            }
            _ => Ok(names),
        }
    }

    fn name(&self, row: &CohortRow) -> String {
        match self {
            Self::Flat => bids_name(row).1,
            Self::Bids => {
                let (folder, name) = bids_name(row);
                format!("{}/{}/{folder}/{name}", row.subject, row.session)
            }
            Self::Pattern(pattern) => placeholders(Some(row))
                .into_iter()
                .fold(pattern.clone(), |name, (placeholder, word)| name.replace(placeholder, word)),
        }
    }
}

fn placeholders(row: Option<&CohortRow>) -> [(&'static str, &str); 5] {
    let word = |of: fn(&CohortRow) -> &String| row.map_or("", |row| of(row));
    [
        ("{subject}", word(|row| &row.subject)),
        ("{session}", word(|row| &row.session)),
        ("{study}", word(|row| &row.study)),
        ("{series}", word(|row| &row.series)),
        ("{modality}", word(|row| &row.modality)),
    ]
}

/// BIDS's folder of a volume and its name. The series' pseudonym stands in `acq`,
/// so that no name depends on what else is converted.
///
/// # Source
/// BIDS 1.10, "Modality-specific files"; the suffixes for what BIDS does not have
/// (CT, SPECT, MR without a known weighting) are our own, see [`bids_ignored`].
fn bids_name(row: &CohortRow) -> (&'static str, String) {
    let (folder, entities, suffix) = match row.modality.parse() {
        Ok(Modality::T1) => ("anat", "", "T1w"),
        Ok(Modality::T1Post) => ("anat", "_ce-agent", "T1w"),
        Ok(Modality::T2) => ("anat", "", "T2w"),
        Ok(Modality::T2Star) => ("anat", "", "T2starw"),
        Ok(Modality::Flair) => ("anat", "", "FLAIR"),
        Ok(Modality::Pd) => ("anat", "", "PDw"),
        Ok(Modality::Mra) => ("anat", "", "angio"),
        Ok(Modality::Mr) => ("anat", "", "MR"),
        // One volume of a series is what BIDS calls a single-band reference.
        Ok(Modality::Epi) => ("func", "_task-unknown", "sbref"),
        Ok(Modality::Dwi) => ("dwi", "", "dwi"),
        Ok(Modality::Adc) => ("dwi", "", "ADC"),
        Ok(Modality::Pet) => ("pet", "", "pet"),
        Ok(Modality::Ct) => ("ct", "", "ct"),
        Ok(Modality::Spect) => ("spect", "", "spect"),
        Err(_) => ("unknown", "", "unknown"),
    };
    let label = row.series.rsplit('-').next().unwrap_or(&row.series);
    let (task, agent) = if folder == "func" { (entities, "") } else { ("", entities) };
    (folder, format!("{}_{}{task}_acq-{label}{agent}_{suffix}", row.subject, row.session))
}

/// The names that BIDS does not know, for `.bidsignore`.
pub fn bids_ignored() -> &'static str {
    "*_MR.*\n*_ct.*\n*_spect.*\n*_dwi.*\n"
}
