//! The `[objective]` table: which keys belong to which objective.

use serde::Deserialize;

use super::{ConfigError, require, within, word};
use crate::objective::{Objective, Settings, Sides, Temperature};

/// What `kind` may say.
const KINDS: &str = "\"info-nce\", \"nt-xent\", \"supcon\", \"moco\", \"cpc\", \"vicreg\" or \
                     \"barlow-twins\"";
/// Batches in a queue, where the pipeline does not say how many keys.
const QUEUED_BATCHES: usize = 32;
/// Most keys in a queue.
const LONGEST_QUEUE: f64 = (1 << 20) as f64;
/// Fewest pairs over which variances and correlations mean anything.
const FEWEST_PAIRS: usize = 4;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawObjective {
    pub kind: Option<String>,
    pub sides: Option<String>,
    pub queue_len: Option<usize>,
    pub momentum: Option<f32>,
    pub invariance: Option<f32>,
    pub variance: Option<f32>,
    pub covariance: Option<f32>,
    pub redundancy: Option<f32>,
    pub expander: Option<usize>,
    pub temperature: Option<f32>,
    pub temperature_rule: Option<String>,
    pub temperature_end: Option<f32>,
}

impl RawObjective {
    /// The objective of batches of so many pairs.
    pub fn check(&self, batch: usize) -> Result<Settings, ConfigError> {
        let kind = self.kind.as_deref().unwrap_or("info-nce");
        let keys: &[&str] = match kind {
            "info-nce" => &["sides"],
            "moco" => &["queue_len", "momentum"],
            "vicreg" => &["invariance", "variance", "covariance", "expander"],
            "barlow-twins" => &["redundancy", "expander"],
            "nt-xent" | "supcon" | "cpc" => &[],
            name => {
                let (key, value) = ("objective.kind", format!("{name:?}"));
                return Err(ConfigError::Range { key, value, range: KINDS });
            }
        };
        self.only(keys)?;
        let kind = match kind {
            "info-nce" => {
                let sides = self.sides.as_deref().map(|text| word("objective.sides", text));
                Objective::InfoNce { sides: sides.transpose()?.unwrap_or(Sides::Both) }
            }
            "nt-xent" => Objective::NtXent,
            "supcon" => Objective::SupCon,
            "moco" => self.moco(batch)?,
            "cpc" => Objective::Cpc,
            "vicreg" => {
                let weight = |key, given: Option<f32>, default: f32| {
                    positive(key, given.unwrap_or(default), "0 to 1000000")
                };
                Objective::VicReg {
                    invariance: weight("objective.invariance", self.invariance, 25.0)?,
                    variance: weight("objective.variance", self.variance, 25.0)?,
                    covariance: weight("objective.covariance", self.covariance, 1.0)?,
                }
            }
            _ => {
                let redundancy = self.redundancy.unwrap_or(5e-3);
                positive("objective.redundancy", redundancy, "0 to 1000000")?;
                Objective::BarlowTwins { redundancy }
            }
        };
        if !kind.contrasts() {
            let range = "4 or more for this objective: it looks at variances over the batch";
            require("train.batch", &batch, batch >= FEWEST_PAIRS, range)?;
        }
        Ok(Settings { kind, temperature: self.temperature(kind)? })
    }

    /// Width of the projection of an objective that has a projector of its own.
    pub fn expander(&self, kind: Objective) -> Result<Option<usize>, ConfigError> {
        if kind.contrasts() {
            return Ok(None);
        }
        let width = self.expander.unwrap_or(512);
        within("objective.expander", width as f64, 2.0, 4096.0, "2 to 4096")?;
        Ok(Some(width))
    }

    fn moco(&self, batch: usize) -> Result<Objective, ConfigError> {
        let queue_len = self.queue_len.unwrap_or(QUEUED_BATCHES * batch);
        let (key, range) = ("objective.queue_len", "a multiple of train.batch, up to 1048576");
        within(key, queue_len as f64, batch as f64, LONGEST_QUEUE, range)?;
        require(key, &queue_len, queue_len.is_multiple_of(batch), range)?;
        let momentum = self.momentum.unwrap_or(0.999);
        within("objective.momentum", f64::from(momentum), 0.0, 0.999_999, "0 to 0.999999")?;
        Ok(Objective::Moco { queue_len, momentum })
    }

    fn temperature(&self, kind: Objective) -> Result<Temperature, ConfigError> {
        let between = |key, value: f32, least: f32, range| -> Result<f32, ConfigError> {
            require(key, &value, (least..=100.0).contains(&value), range)?;
            Ok(value)
        };
        let first = self.temperature.unwrap_or(0.1);
        between("objective.temperature", first, 1e-3, "0.001 to 100")?;
        let rule = self.temperature_rule.as_deref().unwrap_or("fixed");
        let end = self.temperature_end;
        let range = "\"fixed\" for an objective without scores";
        require("objective.temperature_rule", &rule, kind.contrasts() || rule == "fixed", range)?;
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
        let range = "left out where temperature_rule is no schedule";
        require("objective.temperature_end", &end, end.is_none(), range)?;
        Ok(temperature)
    }

    /// Refuses keys of other objectives.
    fn only(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        let number = |value: Option<f32>| value.map(|value| value.to_string());
        let count = |value: Option<usize>| value.map(|value| value.to_string());
        let given = [
            ("objective.sides", self.sides.clone()),
            ("objective.queue_len", count(self.queue_len)),
            ("objective.momentum", number(self.momentum)),
            ("objective.invariance", number(self.invariance)),
            ("objective.variance", number(self.variance)),
            ("objective.covariance", number(self.covariance)),
            ("objective.redundancy", number(self.redundancy)),
            ("objective.expander", count(self.expander)),
        ];
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

fn positive(key: &'static str, value: f32, range: &'static str) -> Result<f32, ConfigError> {
    within(key, f64::from(value), 0.0, 1e6, range)?;
    Ok(value)
}
