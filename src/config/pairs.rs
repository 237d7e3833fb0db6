//! The `[pairs]` table.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{ConfigError, require, within, word};
use crate::{
    pairing::{DistanceLaw, Draw, Settings, Weights, mask::Rules},
    view,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPairs {
    pub register: String,
    pub augmented: f64,
    pub cross_slice: f64,
    pub cross_modality: f64,
    pub longitudinal: f64,
    pub multi_instance: f64,
    pub context: f64,
    pub max_distance_mm: f64,
    pub distance_law: String,
    pub distance_scale_mm: f64,
    pub multi_instance_level: String,
    pub context_direction: String,
    pub max_pairs: usize,
    pub min_body_share: f64,
    pub held_out: f64,
    pub max_subject_share: f64,
    pub exclude_within_mm: f64,
    pub exclude_unplaced: bool,
    pub exclude_subject: bool,
    pub exclude_template_mm: f64,
    pub soft_positives_mm: f64,
}

impl Default for RawPairs {
    fn default() -> Self {
        Self {
            register: "none".to_owned(),
            augmented: 1.0,
            cross_slice: 1.0,
            cross_modality: 2.0,
            longitudinal: 0.0,
            multi_instance: 0.0,
            context: 0.0,
            max_distance_mm: 6.0,
            distance_law: "uniform".to_owned(),
            distance_scale_mm: 3.0,
            multi_instance_level: "relative".to_owned(),
            context_direction: "both".to_owned(),
            max_pairs: 20_000,
            min_body_share: 0.05,
            held_out: 0.25,
            max_subject_share: 0.25,
            exclude_within_mm: 6.0,
            exclude_unplaced: true,
            exclude_subject: false,
            exclude_template_mm: 0.0,
            soft_positives_mm: 0.0,
        }
    }
}

impl RawPairs {
    /// Which pairs are made of these views, and how they are drawn.
    pub fn check(
        &self,
        templates: BTreeMap<String, String>,
        view: &view::Settings,
    ) -> Result<(Settings, Draw), ConfigError> {
        let weights = Weights {
            augmented: self.augmented,
            cross_slice: self.cross_slice,
            cross_modality: self.cross_modality,
            longitudinal: self.longitudinal,
            multi_instance: self.multi_instance,
            context: self.context,
        };
        let each = [
            weights.augmented,
            weights.cross_slice,
            weights.cross_modality,
            weights.longitudinal,
            weights.multi_instance,
            weights.context,
        ];
        for weight in each {
            within("pairs weights", weight, 0.0, 1e6, "0 to 1e6")?;
        }
        let any = each.iter().any(|&weight| weight > 0.0);
        require("pairs weights", &each, any, "above 0 for one kind at least")?;
        let deep = weights.context == 0.0 || view.depth() >= 3;
        require("pairs.context", &weights.context, deep, "0 where view.depth is below 3")?;
        let millimetres = |key, mm| within(key, mm, 0.0, 1000.0, "0 to 1000");
        let law = match self.distance_law.as_str() {
            "uniform" => DistanceLaw::Uniform,
            "exponential" => {
                let key = "pairs.distance_scale_mm";
                let scale_mm = within(key, self.distance_scale_mm, 0.01, 1000.0, "0.01 to 1000")?;
                DistanceLaw::Exponential { scale_mm }
            }
            law => {
                let (key, value) = ("pairs.distance_law", format!("{law:?}"));
                let range = "\"uniform\" or \"exponential\"";
                return Err(ConfigError::Range { key, value, range });
            }
        };
        let most = self.max_pairs as f64;
        within("pairs.max_pairs", most, 1.0, 1e9, "1 to a thousand million")?;
        let share = self.max_subject_share;
        let settings = Settings {
            weights,
            max_distance_mm: millimetres("pairs.max_distance_mm", self.max_distance_mm)?,
            level: word("pairs.multi_instance_level", &self.multi_instance_level)?,
            direction: word("pairs.context_direction", &self.context_direction)?,
            max_pairs: self.max_pairs,
            min_body_share: within(
                "pairs.min_body_share",
                self.min_body_share,
                0.0,
                1.0,
                "0 to 1",
            )?,
            held_out: within("pairs.held_out", self.held_out, 0.0, 0.9, "0 to 0.9")?,
            templates,
        };
        let draw = Draw {
            distance_law: law,
            max_subject_share: within("pairs.max_subject_share", share, 1e-6, 1.0, "above 0 to 1")?,
            rules: Rules {
                within_mm: millimetres("pairs.exclude_within_mm", self.exclude_within_mm)?,
                unplaced: self.exclude_unplaced,
                subject: self.exclude_subject,
                template_mm: millimetres("pairs.exclude_template_mm", self.exclude_template_mm)?,
                soft_positives_mm: millimetres("pairs.soft_positives_mm", self.soft_positives_mm)?,
                plane: view.plane,
            },
        };
        Ok((settings, draw))
    }
}
