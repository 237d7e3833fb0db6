//! The pipeline file as typed. An unknown key is an error: a typo must not pass
//! for a default.

use std::path::PathBuf;

use serde::Deserialize;

use super::{
    augment::RawAugment, encoder::RawEncoder, monitor::RawMonitor, objective::RawObjective,
    pairs::RawPairs, prepare::RawPrepare, train::RawTrain, view::RawView,
};

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
    pub objective: RawObjective,
    pub train: RawTrain,
    pub monitor: RawMonitor,
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
            objective: RawObjective::default(),
            train: RawTrain::default(),
            monitor: RawMonitor::default(),
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
    pub template: Option<String>,
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
pub(super) struct RawEvaluate {
    pub tolerance_mm: f64,
}

impl Default for RawEvaluate {
    fn default() -> Self {
        Self { tolerance_mm: 4.0 }
    }
}
