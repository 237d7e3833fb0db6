//! Which rule moves the parameters, as a pipeline sets it.

use std::str::FromStr;

use onnx_grad::{AdamW, Lars, Optimizer, Sgd};
use serde::Serialize;

pub use onnx_grad::model::Precision;

/// The decay rate of AdamW's second moment, below the usual 0.999: contrastive
/// runs are short, and a long memory of it keeps the warm-up's.
const BETA2: f32 = 0.98;

/// The rule that moves the parameters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum OptimizerKind {
    /// Adam with decoupled weight decay.
    AdamW,
    /// Momentum 0.9, for large batches a rate of each layer's own.
    Lars,
    /// Momentum 0.9.
    Sgd,
}

/// The momentum of SGD and LARS.
const MOMENTUM: f32 = 0.9;

impl OptimizerKind {
    /// The rule with this weight decay.
    pub(super) fn rule(self, weight_decay: f32) -> Box<dyn Optimizer> {
        match self {
            Self::AdamW => Box::new(AdamW { beta2: BETA2, weight_decay, ..AdamW::default() }),
            Self::Lars => Box::new(Lars { momentum: MOMENTUM, weight_decay, ..Lars::default() }),
            Self::Sgd => Box::new(Sgd { momentum: MOMENTUM, weight_decay, ..Sgd::default() }),
        }
    }
}

impl FromStr for OptimizerKind {
    type Err = &'static str;

    /// From its name in a pipeline; the error says which there are.
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "adamw" => Ok(Self::AdamW),
            "lars" => Ok(Self::Lars),
            "sgd" => Ok(Self::Sgd),
            _ => Err("\"adamw\", \"lars\" or \"sgd\""),
        }
    }
}

pub(super) fn precision_name<S: serde::Serializer>(
    precision: &Precision,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{precision:?}"))
}
