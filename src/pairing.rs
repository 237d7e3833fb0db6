//! Which two places show the same anatomy, and why.

mod augmented;
mod candidate;
mod context;
mod cross_modality;
mod cross_slice;
mod longitudinal;
pub mod mask;
mod multi_instance;
mod remark;
mod row;
mod settings;
mod split;

use std::collections::BTreeMap;

use rayon::prelude::*;

use crate::view::{self, Prepared, Stack, Volumes};

use candidate::Candidates;
pub use context::Direction;
pub use remark::Remark;
pub use row::{Changes, Kind, PairRow, Side};
pub use settings::{DistanceLaw, Draw, Level, Settings, Weights};
pub use split::{HELD_OUT, Split, TRAIN};

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
    /// A slab of fewer slices than context pairs need.
    #[error("context pairs need view.depth = 3 or more; it is {depth}")]
    Depth {
        /// Slices of a view.
        depth: usize,
    },
}

/// The pairs of a cohort.
#[derive(Debug)]
pub struct Plan {
    /// Every pair of the kinds asked for, in a fixed order.
    pub pairs: Vec<PairRow>,
    /// What is missing or was left out.
    pub remarks: Vec<Remark>,
}

/// A volume with the slices that show enough of the body.
struct Eligible<'a> {
    volume: &'a Prepared,
    stack: Stack,
    /// Numbers of slices in the stack, ascending.
    slices: Vec<usize>,
}

impl Eligible<'_> {
    /// Whether the slice at a place shows enough of the body.
    fn shows(&self, place_mm: glam::DVec3) -> bool {
        self.stack.at(place_mm).is_some_and(|n| self.slices.binary_search(&n).is_ok())
    }
}

/// Every pair of the kinds asked for, and what is missing. Where a subject has
/// more of a kind than `max_pairs`, a draw of the seed decides which are kept.
///
/// # Errors
/// [`PairError`] where no kind has a pair.
pub fn plan(
    volumes: &Volumes,
    settings: &Settings,
    view: &view::Settings,
    split: &Split,
    seed: u64,
) -> Result<Plan, PairError> {
    let asked = || Kind::ALL.into_iter().filter(|&kind| settings.weights.of(kind) > 0.0);
    if asked().next().is_none() {
        return Err(PairError::NoKind);
    }
    if settings.weights.of(Kind::Context) > 0.0 && view.depth() < 3 {
        return Err(PairError::Depth { depth: view.depth() });
    }
    let eligible: Vec<Eligible> = volumes
        .all()
        .into_par_iter()
        .map(|volume| {
            let shares = volume.body_shares(view);
            let slices =
                (0..shares.len()).filter(|&n| shares[n] >= settings.min_body_share).collect();
            Eligible { volume, stack: volume.stack(view.plane), slices }
        })
        .collect();
    let mut subjects: BTreeMap<&str, Vec<&Eligible>> = BTreeMap::new();
    for volume in &eligible {
        subjects.entry(&volume.volume.row.subject).or_default().push(volume);
    }
    let (mut pairs, mut remarks) = (Vec::new(), Vec::new());
    let mut missing = Vec::new();
    for kind in asked() {
        let before = pairs.len();
        let mut found = remark::Found::new(kind);
        for (&subject, volumes) in &subjects {
            let mut all = Candidates::new(kind, seed, subject);
            match kind {
                Kind::Augmented => augmented::candidates(volumes, &mut all),
                Kind::CrossSlice => {
                    cross_slice::candidates(volumes, settings.max_distance_mm, &mut all);
                }
                Kind::CrossModality => cross_modality::candidates(volumes, &mut all),
                Kind::Longitudinal => longitudinal::candidates(volumes, &mut all),
                Kind::MultiInstance => {
                    multi_instance::candidates(volumes, settings.level, &mut all);
                }
                Kind::Context => context::candidates(volumes, settings.direction, &mut all),
            }
            found.count(volumes, all.len());
            found.left_out(all.limit(settings.max_pairs));
            pairs.extend(all.into_rows(split));
        }
        remarks.extend(found.remarks());
        if pairs.len() == before {
            missing.push(found.missing());
        }
    }
    if pairs.is_empty() {
        let reasons = missing.iter().map(|m| format!("  {m}")).collect::<Vec<_>>().join("\n");
        let (volumes, subjects) = (eligible.len(), subjects.len());
        return Err(PairError::None { volumes, subjects, reasons });
    }
    remarks.splice(0..0, missing);
    remarks.extend(remark::of_cohort(&subjects, settings, split));
    Ok(Plan { pairs, remarks })
}
