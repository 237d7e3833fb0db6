//! Which two places show the same anatomy, and why.

mod augmented;
mod cross_modality;
mod cross_slice;
mod split;

use std::{collections::BTreeMap, fmt};

use glam::DVec3;
use rayon::prelude::*;
use serde::Serialize;

use crate::{
    table::record,
    view::{self, Prepared, Volumes},
};

pub use split::{HELD_OUT, Split, TRAIN};

/// Why two places are a positive pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// One place, seen twice through different augmentations (SimCLR).
    Augmented,
    /// Neighbouring slices of one series.
    CrossSlice,
    /// The same place in world mm in another modality.
    CrossModality,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Augmented, Self::CrossSlice, Self::CrossModality];

    /// The word used in tables and pipelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Augmented => "augmented",
            Self::CrossSlice => "cross-slice",
            Self::CrossModality => "cross-modality",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which pairs are made, as a pipeline sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Share of each kind in the training batches; 0 leaves it out.
    pub weights: Weights,
    /// Farthest that two slices of a cross-slice pair may lie apart, mm.
    pub max_distance_mm: f64,
    /// Least share of a view that the body must fill.
    pub min_body_share: f64,
    /// Share of the subjects that are held out from training.
    pub held_out: f64,
}

/// A weight for each kind of pair.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Weights {
    /// Of [`Kind::Augmented`].
    pub augmented: f64,
    /// Of [`Kind::CrossSlice`].
    pub cross_slice: f64,
    /// Of [`Kind::CrossModality`].
    pub cross_modality: f64,
}

impl Weights {
    /// The weight of a kind.
    pub fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Augmented => self.augmented,
            Kind::CrossSlice => self.cross_slice,
            Kind::CrossModality => self.cross_modality,
        }
    }
}

record! {
    /// A row of `pairs.parquet`: two places that show the same anatomy.
    pub struct PairRow {
        /// A word of [`Kind`].
        pub kind: String,
        /// `train` or `held-out`, the same for all pairs of a subject.
        pub split: String,
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject both places belong to.
        pub subject: String,
        /// Pseudonym of the anchor's series.
        pub anchor_series: String,
        /// Modality of the anchor.
        pub anchor_modality: String,
        /// RAS+ mm of the centre of the anchor's view.
        pub anchor_mm: [f64; 3],
        /// Pseudonym of the positive's series.
        pub positive_series: String,
        /// Modality of the positive.
        pub positive_modality: String,
        /// RAS+ mm of the centre of the positive's view.
        pub positive_mm: [f64; 3],
        /// mm between the two centres.
        pub distance_mm: f64,
        /// Why the two are a positive pair.
        pub reason: String,
    }
}

/// Why no pairs can be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PairError {
    /// There is no pair of any kind asked for.
    #[error("no pair of any kind among {volumes} volumes of {subjects} subjects:\n{reasons}")]
    None {
        /// Prepared volumes.
        volumes: usize,
        /// Subjects.
        subjects: usize,
        /// A line for each kind.
        reasons: String,
    },
    /// All weights are zero.
    #[error("every kind of pair has weight 0")]
    NoKind,
}

/// A kind that was asked for and has no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// The kind.
    pub kind: Kind,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let advice = match self.kind {
            Kind::CrossModality => {
                "no subject has two modalities in one frame of reference or session"
            }
            Kind::CrossSlice => {
                "no two slices with enough body lie close enough; raise max_distance_mm"
            }
            Kind::Augmented => "no slice shows enough of the body; lower min_body_share",
        };
        write!(f, "no {} pair: {advice}", self.kind)
    }
}

/// A volume with the slices that show enough of the body.
struct Eligible<'a> {
    volume: &'a Prepared,
    /// Indices k, ascending.
    slices: Vec<usize>,
}

/// Every pair of the kinds asked for, in a fixed order, and the kinds that have
/// none.
///
/// # Errors
/// [`PairError`] where no kind has a pair.
pub fn pairs(
    volumes: &Volumes,
    settings: &Settings,
    view: &view::Settings,
    split: &Split,
) -> Result<(Vec<PairRow>, Vec<Missing>), PairError> {
    if Kind::ALL.iter().all(|&kind| settings.weights.of(kind) <= 0.0) {
        return Err(PairError::NoKind);
    }
    let eligible: Vec<Eligible> = volumes
        .all()
        .into_par_iter()
        .map(|volume| {
            let shares = volume.body_shares(view);
            let slices =
                (0..shares.len()).filter(|&k| shares[k] >= settings.min_body_share).collect();
            Eligible { volume, slices }
        })
        .collect();
    let mut subjects: BTreeMap<&str, Vec<&Eligible>> = BTreeMap::new();
    for volume in &eligible {
        subjects.entry(&volume.volume.row.subject).or_default().push(volume);
    }
    let (mut all, mut missing) = (Vec::new(), Vec::new());
    for kind in Kind::ALL.into_iter().filter(|&kind| settings.weights.of(kind) > 0.0) {
        let before = all.len();
        for volumes in subjects.values() {
            match kind {
                Kind::Augmented => augmented::pairs(volumes, split, &mut all),
                Kind::CrossSlice => {
                    cross_slice::pairs(volumes, settings.max_distance_mm, split, &mut all);
                }
                Kind::CrossModality => cross_modality::pairs(volumes, split, &mut all),
            }
        }
        if all.len() == before {
            missing.push(Missing { kind });
        }
    }
    if all.is_empty() {
        let reasons = missing.iter().map(|m| format!("  {m}")).collect::<Vec<_>>().join("\n");
        let (volumes, subjects) = (eligible.len(), subjects.len());
        return Err(PairError::None { volumes, subjects, reasons });
    }
    Ok((all, missing))
}

/// The row of a pair.
fn row(
    kind: Kind,
    split: &Split,
    (anchor, anchor_mm): (&Prepared, DVec3),
    (positive, positive_mm): (&Prepared, DVec3),
    reason: String,
) -> PairRow {
    PairRow {
        kind: kind.as_str().to_owned(),
        split: split.of(&anchor.row.subject).to_owned(),
        source: anchor.row.source.clone(),
        subject: anchor.row.subject.clone(),
        anchor_series: anchor.row.series.clone(),
        anchor_modality: anchor.row.modality.clone(),
        anchor_mm: anchor_mm.to_array(),
        positive_series: positive.row.series.clone(),
        positive_modality: positive.row.modality.clone(),
        positive_mm: positive_mm.to_array(),
        distance_mm: anchor_mm.distance(positive_mm),
        reason,
    }
}
