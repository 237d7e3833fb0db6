//! What is worth knowing about a model before it is trained.

use std::fmt;

use super::program::Step;

/// Something about an imported model that training is affected by.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// All convolutions have biases and nothing normalises: the exporter has
    /// probably folded BatchNormalization into them, and it is not trained.
    FoldedNorms {
        /// The number of convolutions.
        convolutions: usize,
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
                "{convolutions} convolutions, all with a bias, and no normalisation: the exporter \
                 has probably folded BatchNormalization into them; to train it too, export with \
                 torch.onnx.export(..., training=TrainingMode.TRAINING, do_constant_folding=False)"
            ),
            Self::Converted { tensor } => write!(f, "{tensor} was converted to f32"),
        }
    }
}

/// Whether normalisation seems to have been folded into convolutions.
pub(super) fn folded_norms(steps: &[Step]) -> Option<Remark> {
    let convolutions: Vec<&Step> = steps.iter().filter(|s| s.operator == "Conv").collect();
    let biased = convolutions.iter().all(|s| matches!(s.inputs[..], [_, _, Some(_)]));
    // norms that an exporter took apart take a root of a mean of squares
    let normalises = |s: &Step| s.operator.contains("Normalization") || s.operator == "Sqrt";
    if convolutions.len() < 2 || !biased || steps.iter().any(normalises) {
        return None;
    }
    Some(Remark::FoldedNorms { convolutions: convolutions.len() })
}
