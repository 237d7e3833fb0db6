//! Bounds on the mutual information of two variables, from the scores of a critic.
//!
//! A critic gives a score f(x, y) to every pairing of K rows of x with K rows of y:
//! a matrix `[K, K]` whose diagonal holds pairs that belong together, and whose
//! other elements are pairings of independent draws. A bound makes a number of
//! nats of it: as a graph, to train the critic ([`Bound::fragment`]), and in f64 in
//! memory, to estimate by a trained one ([`Bound::estimate`]).

mod critic;
mod estimate;
mod fragment;
mod strata;

use std::str::FromStr;

pub use critic::{CRITICS, Critic, CriticKind, CriticSettings};
pub use estimate::Contribution;
pub use fragment::{Fragment, Given};
pub use strata::{Strata, info_nce_of_strata};

/// Which bound, with what it is given.
///
/// # Source
/// Each variant names its own; Poole et al. 2019 compare most of them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Bound {
    /// E ln (e^f(xᵢ,yᵢ) / mean over j of e^f(xᵢ,yⱼ)): never above ln K.
    ///
    /// van den Oord, Li and Vinyals 2018, eq. 4; Poole et al. 2019, eq. 10.
    InfoNce,
    /// 1 + E f − E e^f over independent pairings: the bound of Nguyen, Wainwright
    /// and Jordan with T = 1 + f as critic, so that f = 0 knows nothing and gives 0.
    ///
    /// Nguyen, Wainwright and Jordan 2010; Poole et al. 2019, eq. 6.
    Nwj,
    /// 1 + E (f − ln a) − E e^f / a, with a baseline a(y).
    ///
    /// Poole et al. 2019, eq. 5.
    Tuba(Baseline),
    /// Trained by the Jensen-Shannon divergence, whose best critic is the log
    /// density ratio; estimated by NWJ.
    ///
    /// Nowozin, Cseke and Tomioka 2016; Hjelm et al. 2019; Poole et al. 2019, sec. 2.5.
    Jsd,
    /// E f − ln E e^f: a bound with the true mean, and biased upwards with one of
    /// a batch.
    ///
    /// Donsker and Varadhan 1983.
    Dv,
    /// Donsker and Varadhan's, with the gradient of ln E e^f taken through a moving
    /// average of the mean, of which the newest batch is the share `rate`.
    ///
    /// Belghazi et al. 2018, sec. 3.2.
    Mine {
        /// Share of the newest batch, above 0 and at most 1.
        rate: f32,
    },
    /// Donsker and Varadhan's with e^f cut to e^−τ … e^τ under the mean: less
    /// variance, and no bound any more. Trained by the Jensen-Shannon divergence.
    ///
    /// Song and Ermon 2020, eq. 12.
    Smile {
        /// τ, above 0.
        clip: f32,
    },
}

/// The baseline a(y) of [`Bound::Tuba`], as its logarithm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Baseline {
    /// A network of y that is trained with the critic.
    Learned,
    /// One number.
    Constant(f32),
}

/// Names of all bounds.
pub const BOUNDS: [&str; 7] = ["infonce", "nwj", "tuba", "jsd", "dv", "mine", "smile"];

impl Bound {
    /// The name that a command line knows it by.
    pub fn name(self) -> &'static str {
        match self {
            Self::InfoNce => "infonce",
            Self::Nwj => "nwj",
            Self::Tuba(_) => "tuba",
            Self::Jsd => "jsd",
            Self::Dv => "dv",
            Self::Mine { .. } => "mine",
            Self::Smile { .. } => "smile",
        }
    }

    /// Whether its expectation is never above the mutual information. Donsker and
    /// Varadhan's is not, as the logarithm of a batch's mean is below that of the true mean.
    pub fn holds(self) -> bool {
        !matches!(self, Self::Dv | Self::Mine { .. } | Self::Smile { .. })
    }

    /// What no estimate from batches of `k` pairs exceeds, in nats; none where
    /// there is no such limit.
    pub fn ceiling_nats(self, k: usize) -> Option<f64> {
        matches!(self, Self::InfoNce).then(|| (k as f64).ln())
    }

    /// Whether the critic has a network for the baseline.
    pub fn learns_baseline(self) -> bool {
        self == Self::Tuba(Baseline::Learned)
    }
}

/// A name is none of a bound or critic.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{received:?} is none of {known}")]
pub struct UnknownName {
    received: String,
    known: String,
}

impl UnknownName {
    fn new(received: &str, known: &[&str]) -> Self {
        Self { received: received.to_owned(), known: known.join(", ") }
    }
}

impl FromStr for Bound {
    type Err = UnknownName;

    /// The bound of a name, with τ = 5, a rate of 0.01 and a learned baseline.
    fn from_str(name: &str) -> Result<Self, UnknownName> {
        Ok(match name {
            "infonce" => Self::InfoNce,
            "nwj" => Self::Nwj,
            "tuba" => Self::Tuba(Baseline::Learned),
            "jsd" => Self::Jsd,
            "dv" => Self::Dv,
            "mine" => Self::Mine { rate: 0.01 },
            "smile" => Self::Smile { clip: 5.0 },
            _ => return Err(UnknownName::new(name, &BOUNDS)),
        })
    }
}
