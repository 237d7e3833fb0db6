//! The `[prepare]` table.

use serde::Deserialize;

use super::{ConfigError, require, within};
use crate::{
    intensity::{self, CT_BODY_HU, PET_BODY_SUV},
    prepare::Settings,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPrepare {
    pub spacing_mm: [f64; 3],
    pub ct_window_hu: [f32; 2],
    pub clip_z: f32,
    pub pet_window_suv: Option<[f32; 2]>,
    pub percentiles: Option<[f32; 2]>,
}

impl Default for RawPrepare {
    fn default() -> Self {
        Self {
            spacing_mm: [2.0; 3],
            ct_window_hu: [-1000.0, 1000.0],
            clip_z: 5.0,
            pet_window_suv: None,
            percentiles: None,
        }
    }
}

impl RawPrepare {
    pub fn check(&self) -> Result<Settings, ConfigError> {
        let window = |[low, high]: [f32; 2], body: f32| {
            low.is_finite() && low < high && high > body && high.is_finite()
        };
        let hu = self.ct_window_hu;
        let range = "two numbers, the lower first, the other above -400, where bodies begin";
        require("prepare.ct_window_hu", &hu, window(hu, CT_BODY_HU), range)?;
        if let Some(suv) = self.pet_window_suv {
            let range = "two numbers, the lower first, the other above 0.2, where bodies begin";
            require("prepare.pet_window_suv", &suv, window(suv, PET_BODY_SUV), range)?;
        }
        for spacing in self.spacing_mm {
            within("prepare.spacing_mm", spacing, 0.05, 50.0, "0.05 to 50 each")?;
        }
        within("prepare.clip_z", f64::from(self.clip_z), 1.0, 100.0, "1 to 100")?;
        if let Some([low, high]) = self.percentiles {
            let holds = 0.0 <= low && low < high && high <= 100.0;
            let range = "two numbers from 0 to 100, the lower first";
            require("prepare.percentiles", &[low, high], holds, range)?;
        }
        Ok(Settings {
            spacing_mm: self.spacing_mm,
            intensity: intensity::Settings {
                ct_window_hu: self.ct_window_hu,
                clip_z: self.clip_z,
                pet_window_suv: self.pet_window_suv,
                percentiles: self.percentiles,
            },
        })
    }
}
