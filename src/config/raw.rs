//! The pipeline file as typed. An unknown key is an error: a typo must not pass
//! for a default.

use std::path::PathBuf;

use serde::Deserialize;

use super::encoder::RawEncoder;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawConfig {
    pub out: Option<PathBuf>,
    pub key_file: Option<PathBuf>,
    pub seed: u64,
    pub threads: usize,
    pub device: String,
    pub cuda_graphs: bool,
    pub source: Vec<RawSource>,
    pub index: RawIndex,
    pub prepare: RawPrepare,
    pub view: RawView,
    pub pairs: RawPairs,
    pub augment: RawAugment,
    pub encoder: RawEncoder,
    pub train: RawTrain,
    pub evaluate: RawEvaluate,
}

impl Default for RawConfig {
    fn default() -> Self {
        Self {
            out: None,
            key_file: None,
            seed: 0,
            threads: 0,
            device: "auto".to_owned(),
            cuda_graphs: false,
            source: Vec::new(),
            index: RawIndex::default(),
            prepare: RawPrepare::default(),
            view: RawView::default(),
            pairs: RawPairs::default(),
            augment: RawAugment::default(),
            encoder: RawEncoder::default(),
            train: RawTrain::default(),
            evaluate: RawEvaluate::default(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSource {
    pub name: String,
    pub path: PathBuf,
    pub pattern: Option<String>,
    pub modality: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawIndex {
    pub missing: String,
}

impl Default for RawIndex {
    fn default() -> Self {
        Self { missing: "refuse".to_owned() }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPrepare {
    pub spacing_mm: [f64; 3],
    pub ct_window_hu: [f32; 2],
    pub clip_z: f32,
}

impl Default for RawPrepare {
    fn default() -> Self {
        Self { spacing_mm: [2.0; 3], ct_window_hu: [-1000.0, 1000.0], clip_z: 5.0 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawView {
    pub size: usize,
    pub pixel_mm: f64,
    pub depth: usize,
    pub slice_mm: Option<f64>,
}

impl Default for RawView {
    fn default() -> Self {
        Self { size: 96, pixel_mm: 2.5, depth: 1, slice_mm: None }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawPairs {
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
            augmented: 1.0,
            cross_slice: 1.0,
            cross_modality: 2.0,
            max_distance_mm: 6.0,
            min_body_share: 0.05,
            held_out: 0.25,
        }
    }
}

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

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawTrain {
    pub steps: usize,
    pub batch: usize,
    pub accumulate: usize,
    pub optimizer: String,
    pub precision: String,
    pub learning_rate: f32,
    pub warmup: usize,
    pub weight_decay: f32,
    pub temperature: f32,
    pub clip_norm: f32,
    pub checkpoint_every: usize,
}

impl Default for RawTrain {
    fn default() -> Self {
        Self {
            steps: 20_000,
            batch: 128,
            accumulate: 1,
            optimizer: "adamw".to_owned(),
            precision: "f32".to_owned(),
            learning_rate: 5e-4,
            warmup: 500,
            weight_decay: 0.05,
            temperature: 0.1,
            clip_norm: 1.0,
            checkpoint_every: 500,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEvaluate {
    pub tolerance_mm: f64,
}

impl Default for RawEvaluate {
    fn default() -> Self {
        Self { tolerance_mm: 4.0 }
    }
}
