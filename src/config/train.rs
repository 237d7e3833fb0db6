//! The `[train]` table.

use serde::Deserialize;

use super::{ConfigError, require, within, word};
use crate::{
    objective,
    pairing::{Draw, Weights},
    train::Settings,
    view::Augments,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTrain {
    pub steps: usize,
    pub batch: usize,
    pub accumulate: usize,
    pub gradient_cache: usize,
    pub optimizer: String,
    pub precision: String,
    pub learning_rate: f32,
    pub warmup: usize,
    pub weight_decay: f32,
    pub clip_norm: f32,
    pub checkpoint_every: usize,
}

impl Default for RawTrain {
    fn default() -> Self {
        Self {
            steps: 20_000,
            batch: 128,
            accumulate: 1,
            gradient_cache: 0,
            optimizer: "adamw".to_owned(),
            precision: "f32".to_owned(),
            learning_rate: 5e-4,
            warmup: 500,
            weight_decay: 0.05,
            clip_norm: 1.0,
            checkpoint_every: 500,
        }
    }
}

impl RawTrain {
    /// How an encoder is trained by an objective on pairs of these weights, drawn like this and seen
    /// through these changes.
    pub fn check(
        &self,
        objective: objective::Settings,
        weights: Weights,
        draw: Draw,
        augment: Augments,
        seed: u64,
    ) -> Result<Settings, ConfigError> {
        within("train.steps", self.steps as f64, 1.0, 1e8, "1 to 100 million")?;
        within("train.accumulate", self.accumulate as f64, 1.0, 1024.0, "1 to 1024")?;
        let learning_rate = f64::from(self.learning_rate);
        within("train.learning_rate", learning_rate, 1e-9, 10.0, "above 0, at most 10")?;
        within("train.weight_decay", f64::from(self.weight_decay), 0.0, 10.0, "0 to 10")?;
        within("train.clip_norm", f64::from(self.clip_norm), 1e-6, 1e9, "above 0, at most 1e9")?;
        within("train.checkpoint_every", self.checkpoint_every as f64, 1.0, 1e8, "1 or more")?;
        self.check_cache(&objective)?;
        require("train.warmup", &self.warmup, self.warmup < self.steps, "less than train.steps")?;
        Ok(Settings {
            steps: self.steps,
            batch: self.batch,
            accumulate: self.accumulate,
            gradient_cache: self.gradient_cache,
            optimizer: word("train.optimizer", &self.optimizer)?,
            precision: word("train.precision", &self.precision)?,
            learning_rate: self.learning_rate,
            warmup: self.warmup,
            weight_decay: self.weight_decay,
            objective,
            clip_norm: self.clip_norm,
            checkpoint_every: self.checkpoint_every,
            weights,
            draw,
            augment,
            seed,
        })
    }

    /// Whether a gradient cache fits what else is asked for.
    fn check_cache(&self, objective: &objective::Settings) -> Result<(), ConfigError> {
        let (key, chunk) = ("train.gradient_cache", self.gradient_cache);
        if chunk == 0 {
            return Ok(());
        }
        require(key, &chunk, self.batch.is_multiple_of(chunk), "a divisor of train.batch, or 0")?;
        let range = "0 where train.accumulate is above 1: the cache takes its place";
        require(key, &chunk, self.accumulate == 1, range)?;
        let range = "0 where train.precision is \"f16\": its loss is not scaled";
        require(key, &chunk, self.precision != "f16", range)?;
        let moco = matches!(objective.kind, objective::Objective::Moco { .. });
        require(key, &chunk, !moco, "0 with the objective \"moco\", whose queue takes its place")
    }
}
