//! The `[objective]` table: which keys belong to which objective.

use serde::Deserialize;

use super::{ConfigError, within, word};
use crate::objective::{Objective, Settings, Sides, Temperature};

/// What `kind` may say.
const KINDS: &str = "\"info-nce\", \"nt-xent\" or \"supcon\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawObjective {
    pub kind: String,
    pub sides: Option<String>,
    pub temperature: Option<f32>,
    pub temperature_rule: Option<String>,
    pub temperature_end: Option<f32>,
}

impl Default for RawObjective {
    fn default() -> Self {
        Self {
            kind: "info-nce".to_owned(),
            sides: None,
            temperature: None,
            temperature_rule: None,
            temperature_end: None,
        }
    }
}

impl RawObjective {
    pub fn check(&self) -> Result<Settings, ConfigError> {
        let kind = match self.kind.as_str() {
            "info-nce" => {
                self.only(&["sides"])?;
                let sides = self.sides.as_deref().map(|text| word("objective.sides", text));
                Objective::InfoNce { sides: sides.transpose()?.unwrap_or(Sides::Both) }
            }
            "nt-xent" => {
                self.only(&[])?;
                Objective::NtXent
            }
            "supcon" => {
                self.only(&[])?;
                Objective::SupCon
            }
            name => {
                let (key, value) = ("objective.kind", format!("{name:?}"));
                return Err(ConfigError::Range { key, value, range: KINDS });
            }
        };
        Ok(Settings { kind, temperature: self.temperature()? })
    }

    fn temperature(&self) -> Result<Temperature, ConfigError> {
        let between = |key, value: f32, least, range| -> Result<f32, ConfigError> {
            within(key, f64::from(value), least, 100.0, range).map(|_| value)
        };
        let first = self.temperature.unwrap_or(0.1);
        between("objective.temperature", first, 1e-3, "0.001 to 100")?;
        let rule = self.temperature_rule.as_deref().unwrap_or("fixed");
        let end = self.temperature_end;
        let temperature = match rule {
            "fixed" => Temperature::Fixed(first),
            "learned" => {
                let range = "0.01 to 100 where it is learned";
                between("objective.temperature", first, 0.01, range)?;
                Temperature::Learned(first)
            }
            name => {
                let shape = word("objective.temperature_rule", name)?;
                let to = end.ok_or(ConfigError::Range {
                    key: "objective.temperature_end",
                    value: "nothing".to_owned(),
                    range: "given where temperature_rule is a schedule",
                })?;
                between("objective.temperature_end", to, 1e-3, "0.001 to 100")?;
                return Ok(Temperature::Scheduled { from: first, to, shape });
            }
        };
        match end {
            None => Ok(temperature),
            Some(end) => Err(ConfigError::Range {
                key: "objective.temperature_end",
                value: end.to_string(),
                range: "left out where temperature_rule is no schedule",
            }),
        }
    }

    /// Refuses keys of other objectives.
    fn only(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        let given = [("objective.sides", self.sides.clone())];
        for (key, value) in given {
            let name = key.trim_start_matches("objective.");
            if let (Some(value), false) = (value, allowed.contains(&name)) {
                let range = "left out: this objective has no such key";
                return Err(ConfigError::Range { key, value, range });
            }
        }
        Ok(())
    }
}
