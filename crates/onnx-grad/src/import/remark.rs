//! What is worth knowing about a model before it is trained.

use std::fmt;

use super::program::Step;
use crate::model::NodeProto;

/// Something about an imported model that training is affected by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// The exporter has folded BatchNormalization into the layers before it, so
    /// that it is not trained.
    FoldedNorms {
        /// The number of layers.
        layers: usize,
        /// Whether the file says so. Otherwise there are convolutions, and
        /// nothing normalises.
        certain: bool,
    },
    /// An initializer whose elements are all equal has several users, and was
    /// made a parameter for each: exporters merge what is merely equal.
    Parted {
        /// The tensor.
        tensor: String,
        /// The number of its users.
        users: usize,
    },
    /// A tensor of another float type was converted to `f32`.
    Converted {
        /// The tensor.
        tensor: String,
    },
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FoldedNorms { layers, certain } => {
                match certain {
                    true => {
                        write!(f, "the exporter folded BatchNormalization into {layers} layers")?
                    }
                    false => write!(
                        f,
                        "{layers} convolutions and no normalisation: the exporter has probably \
                         folded BatchNormalization into them"
                    )?,
                }
                f.write_str(
                    "; to train it too, export with torch.onnx.export(..., dynamo=True, \
                     optimize=False), or with dynamo=False, training=TrainingMode.TRAINING, \
                     do_constant_folding=False",
                )
            }
            Self::Parted { tensor, users } => {
                write!(f, "{tensor}, all of whose elements are equal, was made {users} parameters")
            }
            Self::Converted { tensor } => write!(f, "{tensor} was converted to f32"),
        }
    }
}

/// Whether normalisation was folded into the layers before it, or seems so.
pub(super) fn folded_norms(nodes: &[NodeProto], steps: &[Step]) -> Option<Remark> {
    // what PyTorch's exporter writes at the nodes that it has changed
    let rewritten = |node: &&NodeProto| {
        let mut notes = node.metadata_props.iter();
        notes.any(|note| {
            note.key == "pkg.onnxscript.rewriter.rule_name"
                && note.value.contains("FuseBatchNormInto")
        })
    };
    let layers = nodes.iter().filter(rewritten).count();
    if layers > 0 {
        return Some(Remark::FoldedNorms { layers, certain: true });
    }
    let convolutions = steps.iter().filter(|s| s.operator == "Conv").count();
    // norms that an exporter took apart take a root of a mean of squares
    let normalises = |s: &Step| s.operator.contains("Normalization") || s.operator == "Sqrt";
    let folded = convolutions > 1 && !steps.iter().any(normalises);
    folded.then_some(Remark::FoldedNorms { layers: convolutions, certain: false })
}
