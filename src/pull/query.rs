//! What is asked of an archive.

use std::{fmt, fs, path::Path};

use super::{PullError, Uid};

/// Longest *Patient ID* (LO).
const MAX_PATIENT_ID: usize = 64;

/// Which studies and series are wanted. `Debug` prints no identifier.
#[derive(Clone, Default)]
pub struct Query {
    /// *Study Date* from and to, `YYYYMMDD`, both included; either may be open.
    pub dates: Option<Dates>,
    /// *Modality* of the series, such as `MR`; empty for all.
    pub modalities: Vec<String>,
    /// Whose studies.
    pub whose: Whose,
}

/// Whose studies are wanted.
#[derive(Clone, Default)]
pub enum Whose {
    /// Everybody's.
    #[default]
    Everybody,
    /// Those of patients, by *Patient ID*.
    Patients(Vec<String>),
    /// These studies.
    Studies(Vec<Uid>),
}

impl fmt::Debug for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Query(hidden)")
    }
}

/// A range of dates as text `YYYYMMDD`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dates {
    first: Option<String>,
    last: Option<String>,
}

impl Dates {
    /// Reads `20240131`, `20240101-20241231`, `20240101-` or `-20241231`.
    ///
    /// # Errors
    /// [`PullError::Query`].
    ///
    /// # Source
    /// DICOM PS3.4 C.2.2.2.5 (range matching).
    pub fn new(text: &str) -> Result<Self, PullError> {
        let wrong = || PullError::Query {
            what: "a study date is YYYYMMDD, or a range such as 20240101-20241231".to_owned(),
        };
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let date = |text: &str| match text {
            "" => Ok(None),
            _ if is_date(text) => Ok(Some(text.to_owned())),
            _ => Err(wrong()),
        };
        let (first, last) = (date(first)?, date(last)?);
        match (&first, &last) {
            (None, None) => Err(wrong()),
            (Some(first), Some(last)) if first > last => Err(wrong()),
            _ => Ok(Self { first, last }),
        }
    }

    /// The range as the standard writes it.
    pub(super) fn to_matching(&self) -> String {
        match (&self.first, &self.last) {
            (Some(first), Some(last)) if first == last => first.clone(),
            (first, last) => {
                let side = |date: &Option<String>| date.clone().unwrap_or_default();
                format!("{}-{}", side(first), side(last))
            }
        }
    }

    pub(super) fn contain(&self, date: &str) -> bool {
        // Old writers put dots between the parts.
        let date: String = date.chars().filter(char::is_ascii_digit).collect();
        self.first.as_ref().is_none_or(|first| *first <= date)
            && self.last.as_ref().is_none_or(|last| date <= *last)
    }
}

fn is_date(text: &str) -> bool {
    let digits = text.len() == 8 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && chrono::NaiveDate::parse_from_str(text, "%Y%m%d").is_ok()
}

/// A code of *Modality*, in capitals.
///
/// # Errors
/// [`PullError::Query`].
pub fn modality_code(text: &str) -> Result<String, PullError> {
    let code = text.trim().to_ascii_uppercase();
    let plain = code.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    if plain && (1..=16).contains(&code.len()) {
        return Ok(code);
    }
    Err(PullError::Query { what: "a modality is a code such as MR, CT or PT".to_owned() })
}

/// The patient ids in a file, one a line.
///
/// # Errors
/// [`PullError::File`] where it cannot be read, is empty, or holds wildcards.
pub fn read_patient_ids(path: &Path) -> Result<Vec<String>, PullError> {
    read_lines(path, |line| {
        // These would match other patients as well.
        let wild = line.contains(['*', '?', '\\']);
        let long = line.chars().count() > MAX_PATIENT_ID;
        (!wild && !long && !line.chars().any(char::is_control)).then(|| line.to_owned())
    })
}

/// The Study Instance UIDs in a file, one a line.
///
/// # Errors
/// [`PullError::File`] where it cannot be read, is empty, or holds something else.
pub fn read_study_uids(path: &Path) -> Result<Vec<Uid>, PullError> {
    read_lines(path, Uid::new)
}

fn read_lines<T: Ord>(path: &Path, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, PullError> {
    let wrong = |what: String| PullError::File { what, path: path.to_owned() };
    let text = fs::read_to_string(path).map_err(|_| wrong("cannot read".to_owned()))?;
    let mut found = Vec::new();
    for (n, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() {
            continue;
        }
        found.push(parse(line).ok_or_else(|| {
            wrong(format!("line {} is no identifier (wildcards are none either) in", n + 1))
        })?);
    }
    found.sort();
    found.dedup();
    if found.is_empty() {
        return Err(wrong("no identifier is in".to_owned()));
    }
    Ok(found)
}

/// One question for studies.
#[derive(Clone, Copy, Default)]
pub(super) struct Filter<'a> {
    pub dates: Option<&'a Dates>,
    pub modality: Option<&'a str>,
    pub patient: Option<&'a str>,
    pub study: Option<&'a Uid>,
}

impl Query {
    /// Whether it asks for everything that an archive has.
    pub fn is_open(&self) -> bool {
        let everybody = matches!(self.whose, Whose::Everybody);
        self.dates.is_none() && self.modalities.is_empty() && everybody
    }

    /// The questions that together ask for everything wanted.
    pub(super) fn filters(&self) -> Vec<Filter<'_>> {
        let base = Filter { dates: self.dates.as_ref(), ..Filter::default() };
        let whose: Vec<Filter<'_>> = match &self.whose {
            Whose::Everybody => vec![base],
            Whose::Patients(ids) => {
                ids.iter().map(|id| Filter { patient: Some(id), ..base }).collect()
            }
            Whose::Studies(uids) => {
                uids.iter().map(|uid| Filter { study: Some(uid), ..base }).collect()
            }
        };
        if self.modalities.is_empty() {
            return whose;
        }
        let mut each = Vec::with_capacity(whose.len() * self.modalities.len());
        for filter in whose {
            each.extend(
                self.modalities.iter().map(|code| Filter { modality: Some(code), ..filter }),
            );
        }
        each
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_and_matched() {
        let range = Dates::new("20240101-20241231").unwrap();
        assert_eq!(range.to_matching(), "20240101-20241231");
        assert!(range.contain("20240615") && range.contain("2024.06.15"));
        assert!(!range.contain("20250101"));
        assert_eq!(Dates::new("20240229").unwrap().to_matching(), "20240229");
        assert_eq!(Dates::new("-20240229").unwrap().to_matching(), "-20240229");
        for wrong in ["", "-", "2024", "20230229", "20240202-20240101", "2024010a"] {
            assert!(Dates::new(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_wildcard_is_no_patient() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ids");
        fs::write(&path, "\u{feff}DOE-1\r\n\n 77 \nDOE-1\n").unwrap();
        assert_eq!(read_patient_ids(&path).unwrap(), ["77", "DOE-1"]);
        fs::write(&path, "77\nDOE*\n").unwrap();
        let error = read_patient_ids(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("DOE"), "{error}");
    }

    #[test]
    fn a_question_for_every_patient_and_modality() {
        let query = Query {
            modalities: vec!["MR".into(), "CT".into()],
            whose: Whose::Patients(vec!["1".into(), "2".into()]),
            ..Query::default()
        };
        assert_eq!(query.filters().len(), 4);
        assert!(!query.is_open() && Query::default().is_open());
    }
}
