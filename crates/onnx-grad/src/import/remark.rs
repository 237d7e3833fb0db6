//! What is worth knowing about a model before it is trained.

use std::fmt;

use super::program::Step;

/// Something about an imported model that training is affected by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// There are convolutions and nothing normalises: the exporter has probably
    /// folded BatchNormalization into them, and it is not trained.
    FoldedNorms {
        /// The number of convolutions.
        convolutions: usize,
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
            Self::FoldedNorms { convolutions } => write!(
                f,
                "{convolutions} convolutions and no normalisation: the exporter has probably folded \
                 BatchNormalization into them; to train it too, export model.eval() with \
                 torch.onnx.export(..., dynamo=False, training=TrainingMode.PRESERVE, \
                 do_constant_folding=False)"
            ),
            Self::Parted { tensor, users } => {
                write!(f, "{tensor}, all of whose elements are equal, was made {users} parameters")
            }
            Self::Converted { tensor } => write!(f, "{tensor} was converted to f32"),
        }
    }
}

/// Whether normalisation seems to have been folded into convolutions.
pub(super) fn folded_norms(steps: &[Step]) -> Option<Remark> {
    let convolutions = steps.iter().filter(|s| s.operator == "Conv").count();
    // norms that an exporter took apart take a root of a mean of squares
    let normalises = |s: &Step| s.operator.contains("Normalization") || s.operator == "Sqrt";
    let folded = convolutions > 1 && !steps.iter().any(normalises);
    folded.then_some(Remark::FoldedNorms { convolutions })
}
