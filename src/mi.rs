//! How much two tables know of each other: the mutual information of their rows,
//! estimated by a critic on subjects that it was not trained on.

mod error;
mod estimate;
mod fit;
mod folds;
mod interval;
mod judge;
mod pairs;
mod side;
mod sources;

use crate::{
    objective::bound::{Bound, CriticSettings},
    table::record,
};

pub use error::MiError;
pub use estimate::{check, estimate};
pub use fit::{Scorer, Trainer};
pub use interval::Interval;
pub use pairs::{Pairs, Remarks};
pub use side::{MAX_CATEGORIES, Side};
pub use sources::{Request, open};

/// How mutual information is estimated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// The bound.
    pub bound: Bound,
    /// The critic.
    pub critic: CriticSettings,
    /// Parts that the subjects are cut into; each is held out once.
    pub folds: usize,
    /// Steps of training a fold.
    pub steps: usize,
    /// Pairs in a batch, K.
    pub batch: usize,
    /// Learning rate of Adam.
    pub learning_rate: f32,
    /// Seed of every draw.
    pub seed: u64,
}

impl Default for Settings {
    /// InfoNCE with the critic, batch and learning rate of Poole et al. 2019, in five folds.
    fn default() -> Self {
        Self {
            bound: Bound::InfoNce,
            critic: CriticSettings::default(),
            folds: 5,
            steps: 2_000,
            batch: 64,
            learning_rate: 5e-4,
            seed: 0,
        }
    }
}

/// An estimate over all folds.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// The estimate and its 95 % interval, nats.
    pub interval: Interval,
    /// Estimate of each fold, nats, and the step whose critic it is from.
    pub folds: Vec<(f64, usize)>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// The pairs as they are.
    pub pairs: Estimate,
    /// The control: the same with y of another group, which has nothing to learn.
    pub shuffled: Estimate,
    /// Pairs of a batch that estimates, K, each of another group.
    pub k: usize,
}

record! {
    /// A row of the table of estimates: one fold, or all.
    pub struct MiRow {
        /// The bound.
        pub bound: String,
        /// The critic.
        pub critic: String,
        /// Columns of A.
        pub columns_a: String,
        /// Columns of B.
        pub columns_b: String,
        /// `pairs`, or `shuffled` for the control.
        pub kind: String,
        /// The fold that was held out, from 0; empty for all of them together.
        pub fold: Option<u32>,
        /// The estimate, nats.
        pub estimate_nats: f64,
        /// Lower end of the 95 % interval over groups; empty for a fold.
        pub low_nats: Option<f64>,
        /// Upper end.
        pub high_nats: Option<f64>,
        /// What the estimate cannot exceed; empty where there is no limit.
        pub ceiling_nats: Option<f64>,
        /// Entropy of B where it is discrete: mutual information cannot exceed it.
        pub entropy_b_nats: Option<f64>,
        /// Pairs of rows.
        pub rows: u64,
        /// Groups that they come from.
        pub groups: u32,
        /// Pairs of a batch that estimates, K.
        pub k: u32,
        /// Step whose critic was taken; empty for all folds together.
        pub step: Option<u32>,
    }
}

#[cfg(test)]
mod tests;
