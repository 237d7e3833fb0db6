//! The `[encoder]` table: which keys belong to which architecture.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ConfigError, require, within};
use crate::{
    encoder::{Architecture, Local, Own, Projector, ResNet, Settings, Vit},
    objective::Objective,
};

/// What `architecture` may say.
const ARCHITECTURES: &str = "\"vit\", \"vit-tiny\", \"vit-small\", \"resnet-18\", \"resnet-50\", \
                             \"resnet-18-3d\", \"convnext-tiny\" or \"conv-local\"";

#[derive(Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawEncoder {
    pub architecture: Option<String>,
    pub patch: Option<usize>,
    pub dim: Option<usize>,
    pub depth: Option<usize>,
    pub heads: Option<usize>,
    pub onnx: Option<PathBuf>,
    pub output: Option<String>,
    pub weights: Option<PathBuf>,
    pub train_last: Option<usize>,
    pub projection: Option<usize>,
    pub per: String,
    pub projector_per: String,
}

impl Default for RawEncoder {
    fn default() -> Self {
        Self {
            architecture: None,
            patch: None,
            dim: None,
            depth: None,
            heads: None,
            onnx: None,
            output: None,
            weights: None,
            train_last: None,
            projection: None,
            per: "all".to_owned(),
            projector_per: "all".to_owned(),
        }
    }
}

impl RawEncoder {
    /// The encoder meant, with the projector of the objective where it has one of its own,
    /// of this width. Paths are relative to `folder`.
    pub fn check(self, folder: &Path, expander: Option<usize>) -> Result<Settings, ConfigError> {
        let architecture = match (self.onnx.as_deref(), self.architecture.as_deref()) {
            (Some(_), Some(name)) => {
                let value = format!("{name:?}");
                let range = "left out where encoder.onnx names a file";
                return Err(ConfigError::Range { key: "encoder.architecture", value, range });
            }
            (Some(path), None) => {
                self.only(&[])?;
                Architecture::Imported { path: folder.join(path), output: self.output.clone() }
            }
            (None, name) => self.named(name.unwrap_or("vit"))?,
        };
        if let (None, Some(output)) = (&self.onnx, &self.output) {
            let (value, range) = (format!("{output:?}"), "left out without encoder.onnx");
            return Err(ConfigError::Range { key: "encoder.output", value, range });
        }
        let projection = self.projection.unwrap_or(128);
        within("encoder.projection", projection as f64, 1.0, 4096.0, "1 to 4096")?;
        let own = Own {
            encoder: of_modality("encoder.per", &self.per)?,
            projector: of_modality("encoder.projector_per", &self.projector_per)?,
        };
        let local = matches!(architecture, Architecture::Local(_));
        if local && (self.projection.is_some() || own.projector) {
            let key = if own.projector { "encoder.projector_per" } else { "encoder.projection" };
            let value = self.projection.map_or(self.projector_per, |width| width.to_string());
            let range = "left out for \"conv-local\": the loss sees its embedding";
            return Err(ConfigError::Range { key, value, range });
        }
        Ok(Settings {
            architecture,
            projection: expander.unwrap_or(projection),
            projector: match expander {
                _ if local => Projector::None,
                Some(_) => Projector::Expander,
                None => Projector::Mlp,
            },
            own,
            weights: self.weights.map(|path| folder.join(path)),
            train_last: self.train_last,
        })
    }

    fn named(&self, name: &str) -> Result<Architecture, ConfigError> {
        let patch = self.patch.unwrap_or(8);
        Ok(match name {
            "vit" => Architecture::Vit(Vit {
                patch,
                dim: self.dim.unwrap_or(192),
                depth: self.depth.unwrap_or(6),
                heads: self.heads.unwrap_or(6),
            }),
            "conv-local" => {
                self.only(&["patch", "dim"])?;
                let (patch, dim) = (self.patch.unwrap_or(4), self.dim.unwrap_or(16));
                Architecture::Local(Local { patch, dim })
            }
            "vit-tiny" | "vit-small" => {
                self.only(&["patch"])?;
                Architecture::Vit(if name == "vit-tiny" {
                    Vit::tiny(patch)
                } else {
                    Vit::small(patch)
                })
            }
            "resnet-18" | "resnet-50" | "resnet-18-3d" | "convnext-tiny" => {
                self.only(&[])?;
                match name {
                    "resnet-18" => Architecture::ResNet(ResNet::resnet18(2)),
                    "resnet-50" => Architecture::ResNet(ResNet::resnet50()),
                    "resnet-18-3d" => Architecture::ResNet(ResNet::resnet18(3)),
                    _ => Architecture::ConvNextTiny,
                }
            }
            _ => {
                let (key, value) = ("encoder.architecture", format!("{name:?}"));
                return Err(ConfigError::Range { key, value, range: ARCHITECTURES });
            }
        })
    }

    /// Refuses sizes that the architecture fixes itself.
    fn only(&self, allowed: &[&str]) -> Result<(), ConfigError> {
        let sizes = [
            ("encoder.patch", self.patch),
            ("encoder.dim", self.dim),
            ("encoder.depth", self.depth),
            ("encoder.heads", self.heads),
        ];
        for (key, value) in sizes {
            let name = key.trim_start_matches("encoder.");
            if let (Some(value), false) = (value, allowed.contains(&name)) {
                let range = "left out: the architecture fixes it";
                return Err(ConfigError::Range { key, value: value.to_string(), range });
            }
        }
        Ok(())
    }
}

/// Whether an objective can look at so many places.
pub(super) fn of_places(places: usize, kind: Objective) -> Result<(), ConfigError> {
    let range = "\"info-nce\" for the encoder \"conv-local\", which is told apart place by place";
    require("objective.kind", &kind, places == 1 || kind.sees_places(), range)
}

/// Whether each modality has one of its own.
fn of_modality(key: &'static str, word: &str) -> Result<bool, ConfigError> {
    match word {
        "all" => Ok(false),
        "modality" => Ok(true),
        _ => {
            let (value, range) = (format!("{word:?}"), "\"all\" or \"modality\"");
            Err(ConfigError::Range { key, value, range })
        }
    }
}
