//! Which pairs are made and drawn, as a pipeline sets it.

use std::{collections::BTreeMap, str::FromStr};

use serde::Serialize;

use super::{Direction, Kind, mask::Rules};

/// Which pairs are made, as a pipeline sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Share of each kind in the training batches; 0 leaves it out.
    pub weights: Weights,
    /// Farthest that two slices of a cross-slice pair may lie apart, mm.
    pub max_distance_mm: f64,
    /// Which slice of another series is the positive of a multi-instance pair.
    pub level: Level,
    /// From which side the slices of a context pair come.
    pub direction: Direction,
    /// Most pairs of one kind that a subject may have in the manifest.
    pub max_pairs: usize,
    /// Least share of a view that the body must fill.
    pub min_body_share: f64,
    /// Share of the subjects that are held out from training.
    pub held_out: f64,
    /// The template that the scans of a source lie in, by the source's name.
    pub templates: BTreeMap<String, String>,
}

/// How batches are drawn from the pairs.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Draw {
    /// With what chance the slices of a cross-slice pair lie how far apart.
    pub distance_law: DistanceLaw,
    /// Largest share of a batch that one subject may have.
    pub max_subject_share: f64,
    /// Whose views are no negatives of whom.
    pub rules: Rules,
}

/// A weight for each kind of pair.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Weights {
    /// Of [`Kind::Augmented`].
    pub augmented: f64,
    /// Of [`Kind::CrossSlice`].
    pub cross_slice: f64,
    /// Of [`Kind::CrossModality`].
    pub cross_modality: f64,
    /// Of [`Kind::Longitudinal`].
    pub longitudinal: f64,
    /// Of [`Kind::MultiInstance`].
    pub multi_instance: f64,
    /// Of [`Kind::Context`].
    pub context: f64,
}

impl Weights {
    /// The weight of a kind.
    pub fn of(&self, kind: Kind) -> f64 {
        match kind {
            Kind::Augmented => self.augmented,
            Kind::CrossSlice => self.cross_slice,
            Kind::CrossModality => self.cross_modality,
            Kind::Longitudinal => self.longitudinal,
            Kind::MultiInstance => self.multi_instance,
            Kind::Context => self.context,
        }
    }
}

/// The law that the distance of a cross-slice pair is drawn from.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub enum DistanceLaw {
    /// All pairs within `max_distance_mm` alike: on evenly spaced slices, all distances.
    #[default]
    Uniform,
    /// The chance of a pair falls with its distance d as exp(−d / scale).
    Exponential {
        /// mm over which it falls to 1/e.
        scale_mm: f64,
    },
}

impl DistanceLaw {
    /// How likely a pair is, beside one of distance 0.
    pub fn weight(self, distance_mm: f64) -> f64 {
        match self {
            Self::Uniform => 1.0,
            Self::Exponential { scale_mm } => (-distance_mm / scale_mm).exp(),
        }
    }
}

/// Which slice of another series of the study is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Level {
    /// The one at the same share of the way through the slices that show the body.
    #[default]
    Relative,
    /// Any that shows the body, drawn by the seed.
    Any,
}

impl FromStr for Level {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "relative" => Ok(Self::Relative),
            "any" => Ok(Self::Any),
            _ => Err("\"relative\" or \"any\""),
        }
    }
}
