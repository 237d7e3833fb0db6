//! Why no batch can be drawn, and what the batches of a cohort lack.

use std::fmt;

/// Why no batch can be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer pairs than a batch needs.
    #[error(
        "a batch of {batch} pairs needs at least as many training pairs; there are {pairs} of \
         {subjects} subjects. Lower batch, or add scans"
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
        "no pair of {batches} batches of {batch} has a negative: the {subjects} training subjects \
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
                "max_subject_share = {asked} cannot be kept: {subjects} training subjects must fill \
                 a batch of {batch}; up to {most} pairs of a batch are of one subject"
            ),
            Self::WithoutNegatives { rows, of } => write!(
                f,
                "{rows} of {of} pairs have no negative under the rules of [pairs], and teach nothing"
            ),
        }
    }
}
