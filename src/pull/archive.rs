//! What every archive can be asked for, in whichever protocol.

use std::{collections::BTreeSet, sync::Arc};

use super::{PullError, Uid, inbox::Inbox, query::Filter};

/// What a list is of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Level<'a> {
    Studies(Filter<'a>),
    Series { study: &'a Uid },
    Instances { study: &'a Uid, series: &'a Uid },
}

impl std::fmt::Debug for Filter<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Filter(hidden)")
    }
}

/// One row of a list, as the archive gives it. What it left out is `None`.
#[derive(Default, Clone)]
pub(super) struct Answer {
    pub study_date: Option<String>,
    pub modality: Option<String>,
    pub modalities: Option<Vec<String>>,
    pub patient_id: Option<String>,
    pub study: Option<String>,
    pub series: Option<String>,
    pub instance: Option<String>,
    pub sop_class: Option<String>,
}

impl Answer {
    /// Characters of all values.
    pub fn length(&self) -> usize {
        let own = [
            &self.study_date,
            &self.modality,
            &self.patient_id,
            &self.study,
            &self.series,
            &self.instance,
            &self.sop_class,
        ];
        let many = self.modalities.iter().flatten().map(String::len).sum::<usize>();
        own.into_iter().flatten().map(String::len).sum::<usize>() + many
    }
}

/// Most rows of one list.
pub(super) const MAX_ROWS: usize = 1_000_000;

/// An instance that is wanted.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wanted {
    pub uid: Uid,
    /// Its class, where the archive says it.
    pub class: Option<Uid>,
}

/// A series that an archive lists.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Listed {
    pub uid: Uid,
    /// *Modality*, where the archive says it.
    pub modality: Option<String>,
}

/// Instances of one series that are fetched together.
#[derive(Clone)]
pub(super) struct Batch {
    pub study: Uid,
    pub series: Uid,
    /// *Modality* of the series, where the archive says it.
    pub modality: Option<String>,
    pub wanted: Vec<Wanted>,
    /// Whether these are all that the series has.
    pub whole: bool,
}

/// An archive that can be asked.
pub(super) trait Archive: Sync {
    /// A list of studies, series or instances.
    fn find(&self, level: Level<'_>) -> Result<Vec<Answer>, PullError>;

    /// Fetches what its inbox still lacks of a batch. What fails by itself is refused in the inbox;
    /// an error says why something is still missing.
    fn fetch(&self, batch: &Batch, inbox: &Arc<Inbox>) -> Result<(), PullError>;

    /// Whether the archive is there and answers.
    fn ping(&self) -> Result<(), PullError>;

    /// Most instances of a batch.
    fn batch(&self) -> usize;
}

/// Studies that match, and how many answers did not hold to the question.
pub(super) struct Studies {
    pub uids: Vec<Uid>,
    /// Answers with another patient, date or modality than was asked for, or
    /// without a valid UID.
    pub alien: usize,
}

/// The studies that match a filter. Archives may pass over keys that they do not
/// know, and then answer with everything they have; so every answer is looked at.
pub(super) fn studies(archive: &dyn Archive, filter: Filter<'_>) -> Result<Studies, PullError> {
    let mut uids = BTreeSet::new();
    let mut alien = 0;
    for answer in archive.find(Level::Studies(filter))? {
        let given = |text: &Option<String>| text.as_deref().map(str::trim).unwrap_or("").to_owned();
        let (date, patient) = (given(&answer.study_date), given(&answer.patient_id));
        let modalities = answer.modalities.unwrap_or_default();
        let other = filter.dates.is_some_and(|dates| !date.is_empty() && !dates.contain(&date))
            || filter.patient.is_some_and(|id| !patient.is_empty() && patient != id.trim())
            || filter.modality.is_some_and(|code| {
                !modalities.is_empty() && !modalities.iter().any(|given| given.trim() == code)
            });
        match answer.study.as_deref().and_then(Uid::new) {
            Some(uid) if !other && filter.study.is_none_or(|study| *study == uid) => {
                uids.insert(uid);
            }
            _ => alien += 1,
        }
    }
    Ok(Studies { uids: uids.into_iter().collect(), alien })
}

/// The series of a study, and how many answers are of another study or have no valid UID.
pub(super) fn series(
    archive: &dyn Archive,
    study: &Uid,
) -> Result<(Vec<Listed>, usize), PullError> {
    let answers = archive.find(Level::Series { study })?;
    unique(answers, |answer| {
        if is_other(&answer.study, study) {
            return None;
        }
        let modality = answer.modality.map(|code| code.trim().to_ascii_uppercase());
        let uid = Uid::new(&answer.series?)?;
        Some(Listed { uid, modality: modality.filter(|code| !code.is_empty()) })
    })
}

/// The instances of a series, and how many answers are of another one or have no valid UID.
pub(super) fn instances(
    archive: &dyn Archive,
    study: &Uid,
    series: &Uid,
) -> Result<(Vec<Wanted>, usize), PullError> {
    let answers = archive.find(Level::Instances { study, series })?;
    unique(answers, |answer| {
        if is_other(&answer.study, study) || is_other(&answer.series, series) {
            return None;
        }
        let uid = Uid::new(&answer.instance?)?;
        Some(Wanted { uid, class: answer.sop_class.as_deref().and_then(Uid::new) })
    })
}

/// Whether an answer says a UID, and another one than was asked for.
fn is_other(given: &Option<String>, asked: &Uid) -> bool {
    let given = given.as_deref().map(|text| text.trim_matches([' ', '\0']));
    given.is_some_and(|given| !given.is_empty() && given != asked.as_str())
}

fn unique<T: Ord>(
    answers: Vec<Answer>,
    read: impl Fn(Answer) -> Option<T>,
) -> Result<(Vec<T>, usize), PullError> {
    let count = answers.len();
    let mut found: Vec<T> = answers.into_iter().filter_map(read).collect();
    let invalid = count - found.len();
    found.sort();
    found.dedup();
    Ok((found, invalid))
}
