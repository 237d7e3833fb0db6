//! The `[augment]` table.

use serde::Deserialize;

use super::{ConfigError, within};
use crate::view::{Augment, Augments};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawAugment {
    pub shift_mm: f64,
    pub rotate_deg: f64,
    pub scale: f64,
    pub contrast: f64,
    pub brightness: f64,
    pub noise: f64,
}

impl Default for RawAugment {
    fn default() -> Self {
        Self {
            shift_mm: 8.0,
            rotate_deg: 10.0,
            scale: 0.1,
            contrast: 0.2,
            brightness: 0.2,
            noise: 0.1,
        }
    }
}

impl RawAugment {
    pub fn check(&self) -> Result<Augments, ConfigError> {
        Ok(Augments { of: Default::default(), all: self.one()? })
    }

    fn one(&self) -> Result<Augment, ConfigError> {
        Ok(Augment {
            shift_mm: within("augment.shift_mm", self.shift_mm, 0.0, 1000.0, "0 to 1000")?,
            rotate_deg: within("augment.rotate_deg", self.rotate_deg, 0.0, 180.0, "0 to 180")?,
            scale: within("augment.scale", self.scale, 0.0, 0.9, "0 to 0.9")?,
            contrast: within("augment.contrast", self.contrast, 0.0, 1.0, "0 to 1")? as f32,
            brightness: within("augment.brightness", self.brightness, 0.0, 10.0, "0 to 10")? as f32,
            noise: within("augment.noise", self.noise, 0.0, 10.0, "0 to 10")? as f32,
        })
    }
}
