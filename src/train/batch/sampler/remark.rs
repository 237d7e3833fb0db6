//! Why no batch can be drawn, and what the batches of a cohort lack.

use std::fmt;

use super::Slot;

/// Why no batch can be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer pairs than a batch needs.
    #[error(
        "a batch of {batch} pairs needs at least as many training pairs; there are {pairs}, from \
         {subjects} subject(s). Lower batch, or add scans"
    )]
    TooFew {
        /// Pairs in a batch.
        batch: usize,
        /// Training pairs.
        pairs: usize,
        /// Subjects that they are of.
        subjects: usize,
    },
    /// All weights are zero for the kinds there are.
    #[error("no kind of training pair has a weight above 0")]
    NoKind,
    /// The rules of false negatives leave no negative to anyone.
    #[error(
        "no pair of {batches} batches of {batch} has a negative: {subjects} training subject(s) \
         are too few for the rules of [pairs] (exclude_within_mm, exclude_subject, \
         exclude_unplaced, exclude_template_mm); switch one off, or add scans"
    )]
    NoNegatives {
        /// Batches that were looked at.
        batches: usize,
        /// Pairs in each.
        batch: usize,
        /// Training subjects.
        subjects: usize,
    },
}

/// What the batches of a cohort lack.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum BatchRemark {
    /// The bound on a subject's share cannot be kept.
    Share {
        /// Largest share that was asked for.
        asked: f64,
        /// Pairs in a batch.
        batch: usize,
        /// Training subjects.
        subjects: usize,
        /// Pairs that a subject may have in a batch instead.
        most: usize,
    },
    /// So few pairs are of two modalities that a batch has none of them.
    NoSlot {
        /// The modalities.
        slot: Slot,
    },
    /// Some anchors have no negative.
    WithoutNegatives {
        /// Anchors without.
        rows: usize,
        /// Anchors looked at.
        of: usize,
    },
}

impl fmt::Display for BatchRemark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share { asked, batch, subjects, most } => write!(
                f,
                "max_subject_share = {asked} cannot be kept: {subjects} training subject(s) must fill \
                 a batch of {batch}; up to {most} pairs of a batch are of one subject"
            ),
            Self::NoSlot { slot: Slot { anchor_modality, positive_modality } } => write!(
                f,
                "no pair of a batch is {anchor_modality}→{positive_modality}, as their share is \
                 below one pair: nothing is learned of them. Raise batch, or leave them out"
            ),
            Self::WithoutNegatives { rows, of } => write!(
                f,
                "{rows} of {of} pairs have no negative under the rules of [pairs], and teach nothing"
            ),
        }
    }
}
