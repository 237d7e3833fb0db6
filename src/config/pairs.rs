//! The `[pairs]` table.

use serde::Deserialize;

use super::{ConfigError, within};
use crate::pairing::{Settings, Weights};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPairs {
    pub register: String,
    pub augmented: f64,
    pub cross_slice: f64,
    pub cross_modality: f64,
    pub max_distance_mm: f64,
    pub min_body_share: f64,
    pub held_out: f64,
}

impl Default for RawPairs {
    fn default() -> Self {
        Self {
            register: "none".to_owned(),
            augmented: 1.0,
            cross_slice: 1.0,
            cross_modality: 2.0,
            max_distance_mm: 6.0,
            min_body_share: 0.05,
            held_out: 0.25,
        }
    }
}

impl RawPairs {
    pub fn check(&self) -> Result<Settings, ConfigError> {
        let weights = Weights {
            augmented: self.augmented,
            cross_slice: self.cross_slice,
            cross_modality: self.cross_modality,
        };
        for weight in [weights.augmented, weights.cross_slice, weights.cross_modality] {
            within("pairs weights", weight, 0.0, 1e6, "0 or more")?;
        }
        within("pairs.max_distance_mm", self.max_distance_mm, 0.0, 1000.0, "0 to 1000")?;
        within("pairs.min_body_share", self.min_body_share, 0.0, 1.0, "0 to 1")?;
        within("pairs.held_out", self.held_out, 0.0, 0.9, "0 to 0.9")?;
        Ok(Settings {
            weights,
            max_distance_mm: self.max_distance_mm,
            min_body_share: self.min_body_share,
            held_out: self.held_out,
        })
    }
}
