//! What is missing in a cohort for the pairs that were asked of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{Eligible, Kind, Settings, Split, TRAIN};

/// Something that the user of a cohort should know before training.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// A kind that was asked for and has no pair.
    Missing {
        /// The kind.
        kind: Kind,
        /// Subjects.
        subjects: usize,
        /// Subjects that have only one of what the kind needs two of.
        single: usize,
    },
    /// A kind that some subjects have no pair of.
    Lacking {
        /// The kind.
        kind: Kind,
        /// Subjects.
        subjects: usize,
        /// Subjects without.
        without: usize,
        /// Of these, subjects that have only one of what the kind needs two of.
        single: usize,
    },
    /// Pairs above the limit.
    LeftOut {
        /// The kind.
        kind: Kind,
        /// Pairs that were left out.
        pairs: usize,
        /// Subjects that had too many.
        subjects: usize,
        /// Pairs that there were.
        of: usize,
    },
    /// A modality that shares no world with another one.
    Alone {
        /// The modality.
        modality: String,
        /// Volumes of it.
        volumes: usize,
    },
    /// All training pairs are of one subject.
    OneSubject,
}

impl Remark {
    /// Whether it is to be heeded, or only to be known.
    pub fn is_warning(&self) -> bool {
        !matches!(self, Self::Lacking { .. })
    }
}

/// What a kind needs two of in a subject.
fn needed(kind: Kind) -> &'static str {
    match kind {
        Kind::CrossModality => "modality",
        Kind::Longitudinal => "session",
        Kind::MultiInstance => "series in each study",
        Kind::Augmented | Kind::CrossSlice | Kind::Context => "slice with enough of the body",
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing { kind, subjects, single } => {
                write!(f, "no {kind} pair: ")?;
                let one = || format!("{single} of {subjects} subjects have one {} only", needed(*kind));
                match kind {
                    Kind::CrossModality => write!(
                        f,
                        "{}; no two modalities of the others share a frame of reference, a session or a template",
                        one()
                    ),
                    Kind::Longitudinal => write!(
                        f,
                        "{}; no two sessions of the others share a world: align them (register = \"rigid\"), \
                         or state the template of the source",
                        one()
                    ),
                    Kind::MultiInstance => write!(f, "{}", one()),
                    Kind::CrossSlice => f.write_str(
                        "no two slices with enough body lie close enough; raise max_distance_mm",
                    ),
                    Kind::Augmented | Kind::Context => {
                        f.write_str("no slice shows enough of the body; lower min_body_share")
                    }
                }
            }
            Self::Lacking { kind, subjects, without, single } => write!(
                f,
                "{without} of {subjects} subjects have no {kind} pair, {single} of them as they have one {} only",
                needed(*kind)
            ),
            Self::LeftOut { kind, pairs, subjects, of } => write!(
                f,
                "{pairs} of {of} {kind} pairs of {subjects} subjects were left out by a seeded draw; \
                 max_pairs is the limit of a subject"
            ),
            Self::Alone { modality, volumes } => write!(
                f,
                "{modality} stands alone: none of its {volumes} volumes shares a world with another \
                 modality of its subject"
            ),
            Self::OneSubject => f.write_str(
                "all training pairs are of one subject: what the encoder learns may hold for nobody else",
            ),
        }
    }
}

/// Counts what the subjects have of one kind.
pub(super) struct Found {
    kind: Kind,
    subjects: usize,
    without: usize,
    single: usize,
    pairs: usize,
    left_out: usize,
    limited: usize,
}

impl Found {
    pub fn new(kind: Kind) -> Self {
        Self { kind, subjects: 0, without: 0, single: 0, pairs: 0, left_out: 0, limited: 0 }
    }

    /// A subject with its volumes and how many pairs of the kind it has.
    pub fn count(&mut self, volumes: &[&Eligible], pairs: usize) {
        self.subjects += 1;
        self.pairs += pairs;
        if pairs > 0 {
            return;
        }
        self.without += 1;
        let distinct = |of: &dyn Fn(&Eligible) -> String| {
            volumes.iter().map(|volume| of(volume)).collect::<BTreeSet<_>>().len()
        };
        let single = match self.kind {
            Kind::CrossModality => distinct(&|v| v.volume.row.modality.clone()) < 2,
            Kind::Longitudinal => distinct(&|v| v.volume.row.session.clone()) < 2,
            Kind::MultiInstance => distinct(&|v| v.volume.row.study.clone()) == volumes.len(),
            Kind::Augmented | Kind::CrossSlice | Kind::Context => {
                volumes.iter().map(|v| v.slices.len()).sum::<usize>() < 2
            }
        };
        self.single += usize::from(single);
    }

    /// How many pairs of a subject were above the limit.
    pub fn left_out(&mut self, pairs: usize) {
        self.left_out += pairs;
        self.limited += usize::from(pairs > 0);
    }

    pub fn missing(&self) -> Remark {
        let &Self { kind, subjects, single, .. } = self;
        Remark::Missing { kind, subjects, single }
    }

    pub fn remarks(&self) -> impl Iterator<Item = Remark> {
        let &Self { kind, subjects, without, single, pairs, left_out, limited } = self;
        let lacking = (pairs > 0 && without > 0).then_some(Remark::Lacking {
            kind,
            subjects,
            without,
            single,
        });
        let limit = (left_out > 0).then_some(Remark::LeftOut {
            kind,
            pairs: left_out,
            subjects: limited,
            of: pairs,
        });
        lacking.into_iter().chain(limit)
    }
}

/// What is amiss with a cohort as a whole.
pub(super) fn of_cohort(
    subjects: &BTreeMap<&str, Vec<&Eligible>>,
    settings: &Settings,
    split: &Split,
) -> Vec<Remark> {
    let mut remarks = Vec::new();
    if settings.weights.of(Kind::CrossModality) > 0.0 {
        let mut modalities: BTreeMap<&str, (usize, bool)> = BTreeMap::new();
        for volumes in subjects.values() {
            for one in volumes {
                let beside = volumes.iter().any(|other| {
                    other.volume.row.modality != one.volume.row.modality
                        && other.volume.world == one.volume.world
                });
                let entry = modalities.entry(&one.volume.row.modality).or_default();
                entry.0 += 1;
                entry.1 |= beside;
            }
        }
        let alone = modalities.into_iter().filter(|(_, (_, beside))| !beside);
        remarks.extend(alone.map(|(modality, (volumes, _))| {
            let modality = modality.to_owned();
            Remark::Alone { modality, volumes }
        }));
    }
    if subjects.keys().filter(|subject| split.of(subject) == TRAIN).count() == 1 {
        remarks.push(Remark::OneSubject);
    }
    remarks
}
