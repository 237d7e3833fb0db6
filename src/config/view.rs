//! The `[view]` table.

use serde::Deserialize;

use super::{ConfigError, within, word};
use crate::view::{Settings, Slices};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawView {
    pub size: usize,
    pub pixel_mm: f64,
    pub depth: usize,
    pub slice_mm: Option<f64>,
    pub plane: String,
    #[serde(rename = "as")]
    pub form: String,
}

impl Default for RawView {
    fn default() -> Self {
        Self {
            size: 96,
            pixel_mm: 2.5,
            depth: 1,
            slice_mm: None,
            plane: "axial".to_owned(),
            form: "box".to_owned(),
        }
    }
}

impl RawView {
    pub fn check(&self) -> Result<Settings, ConfigError> {
        within("view.size", self.size as f64, 4.0, 1024.0, "4 to 1024")?;
        within("view.pixel_mm", self.pixel_mm, 0.05, 50.0, "0.05 to 50")?;
        within("view.depth", self.depth as f64, 1.0, 256.0, "1 to 256")?;
        let slice_mm = self.slice_mm.unwrap_or(self.pixel_mm);
        within("view.slice_mm", slice_mm, 0.05, 50.0, "0.05 to 50")?;
        let (plane, form) = (word("view.plane", &self.plane)?, word("view.as", &self.form)?);
        Ok(Settings {
            size: self.size,
            pixel_mm: self.pixel_mm,
            plane,
            slices: (self.depth > 1).then_some(Slices { depth: self.depth, slice_mm, form }),
        })
    }
}
