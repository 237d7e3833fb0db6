//! The `[augment]` table, and those of the modalities below it.

use serde::{Deserialize, Deserializer, de::Error};
use toml::{Table, Value};

use super::{ConfigError, require, within};
use crate::{
    study::Modality,
    view::{Augment, Augments},
};

/// What is typed for all modalities, and what else for some: a table below
/// `[augment]` says only what is different.
#[derive(Default)]
pub(super) struct RawAugment {
    all: RawChanges,
    of: Vec<(Modality, RawChanges)>,
    batch: Option<RawChanges>,
}

/// What moves a view and leaves its values, and so may be of a batch.
const MOVES: [&str; 10] = [
    "shift_mm",
    "rotate_deg",
    "tilt_deg",
    "scale",
    "crop",
    "flip_left_right",
    "flip_anterior_posterior",
    "flip_superior_inferior",
    "elastic_mm",
    "elastic_spacing_mm",
];

impl<'de> Deserialize<'de> for RawAugment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = Table::deserialize(deserializer)?;
        let (mut below, all): (Table, Table) = table.into_iter().partition(|(_, v)| v.is_table());
        let batch = match below.remove("batch") {
            Some(Value::Table(moves)) => Some(of_batch(&moves).map_err(D::Error::custom)?),
            _ => None,
        };
        let mut of: Vec<(Modality, RawChanges)> = Vec::new();
        for (name, value) in below {
            let Ok(modality) = name.parse() else {
                return Err(D::Error::custom(format!("augment.{name}: no modality of that name")));
            };
            if of.iter().any(|&(known, _)| known == modality) {
                let words = "another table is of the same modality";
                return Err(D::Error::custom(format!("augment.{name}: {words}")));
            }
            let mut merged = all.clone();
            if let Value::Table(other) = value {
                merged.extend(other);
            }
            let about = |error| D::Error::custom(format!("augment.{name}: {error}"));
            of.push((modality, merged.try_into().map_err(about)?));
        }
        let about = |error| D::Error::custom(format!("augment: {error}"));
        Ok(Self { all: all.try_into().map_err(about)?, of, batch })
    }
}

/// What all views of a batch share: nothing but what is typed.
fn of_batch(moves: &Table) -> Result<RawChanges, String> {
    if let Some(key) = moves.keys().find(|key| !MOVES.contains(&key.as_str())) {
        return Err(format!("augment.batch.{key}: only what moves a view can be of a batch"));
    }
    let spacing = ("elastic_spacing_mm".to_owned(), Value::Float(40.0));
    let off = MOVES[..9].iter().map(|&key| (key.to_owned(), Value::Float(0.0)));
    let mut all: Table = off.chain([spacing]).collect();
    all.extend(moves.clone());
    all.try_into().map_err(|error| format!("augment.batch: {error}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
struct RawChanges {
    shift_mm: f64,
    rotate_deg: f64,
    tilt_deg: f64,
    scale: f64,
    crop: f64,
    flip_left_right: f64,
    flip_anterior_posterior: f64,
    flip_superior_inferior: f64,
    elastic_mm: f64,
    elastic_spacing_mm: f64,
    thickness_mm: f64,
    blur_mm: f64,
    bias_field: f64,
    gamma: f64,
    contrast: f64,
    brightness: f64,
    noise: f64,
    noise_law: String,
    cut_out: f64,
}

impl Default for RawChanges {
    fn default() -> Self {
        Self {
            shift_mm: 8.0,
            rotate_deg: 10.0,
            tilt_deg: 0.0,
            scale: 0.1,
            crop: 0.0,
            flip_left_right: 0.0,
            flip_anterior_posterior: 0.0,
            flip_superior_inferior: 0.0,
            elastic_mm: 0.0,
            elastic_spacing_mm: 40.0,
            thickness_mm: 0.0,
            blur_mm: 0.0,
            bias_field: 0.0,
            gamma: 0.0,
            contrast: 0.2,
            brightness: 0.2,
            noise: 0.1,
            noise_law: "gaussian".to_owned(),
            cut_out: 0.0,
        }
    }
}

impl RawAugment {
    pub fn check(&self) -> Result<Augments, ConfigError> {
        let of = self.of.iter().map(|(modality, changes)| Ok((*modality, changes.check()?)));
        let of = of.collect::<Result<_, ConfigError>>()?;
        let batch = self.batch.as_ref().map(RawChanges::check).transpose()?;
        Ok(Augments { all: self.all.check()?, of, batch })
    }
}

impl RawChanges {
    fn check(&self) -> Result<Augment, ConfigError> {
        let millimetres = |key, mm| within(key, mm, 0.0, 1000.0, "0 to 1000");
        let degrees = |key, angle| within(key, angle, 0.0, 180.0, "0 to 180");
        let chance = |key, chance| within(key, chance, 0.0, 1.0, "0 to 1");
        let most = |key, value| within(key, value, 0.0, 0.9, "0 to 0.9");
        let spacing = self.elastic_spacing_mm;
        let laws = "\"gaussian\" or \"rician\"";
        let law = self.noise_law.as_str();
        require("augment.noise_law", &law, matches!(law, "gaussian" | "rician"), laws)?;
        Ok(Augment {
            shift_mm: millimetres("augment.shift_mm", self.shift_mm)?,
            rotate_deg: degrees("augment.rotate_deg", self.rotate_deg)?,
            tilt_deg: degrees("augment.tilt_deg", self.tilt_deg)?,
            scale: most("augment.scale", self.scale)?,
            crop: most("augment.crop", self.crop)?,
            flip_left_right: chance("augment.flip_left_right", self.flip_left_right)?,
            flip_anterior_posterior: chance(
                "augment.flip_anterior_posterior",
                self.flip_anterior_posterior,
            )?,
            flip_superior_inferior: chance(
                "augment.flip_superior_inferior",
                self.flip_superior_inferior,
            )?,
            elastic_mm: millimetres("augment.elastic_mm", self.elastic_mm)?,
            elastic_spacing_mm: within(
                "augment.elastic_spacing_mm",
                spacing,
                1.0,
                1000.0,
                "1 to 1000",
            )?,
            thickness_mm: within("augment.thickness_mm", self.thickness_mm, 0.0, 50.0, "0 to 50")?,
            blur_mm: within("augment.blur_mm", self.blur_mm, 0.0, 50.0, "0 to 50")?,
            bias_field: within("augment.bias_field", self.bias_field, 0.0, 3.0, "0 to 3")? as f32,
            gamma: within("augment.gamma", self.gamma, 0.0, 3.0, "0 to 3")? as f32,
            contrast: within("augment.contrast", self.contrast, 0.0, 1.0, "0 to 1")? as f32,
            brightness: within("augment.brightness", self.brightness, 0.0, 10.0, "0 to 10")? as f32,
            noise: within("augment.noise", self.noise, 0.0, 10.0, "0 to 10")? as f32,
            rician: law == "rician",
            cut_out: most("augment.cut_out", self.cut_out)?,
        })
    }
}
