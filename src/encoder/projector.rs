//! The projector: what the loss sees, thrown away afterwards.

use onnx_grad::Value;
use serde::Serialize;

use super::{EncoderError, Settings, builder::Builder};

/// Which projector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Projector {
    /// A hidden layer as wide as the embedding.
    ///
    /// # Source
    /// Chen et al. 2020 (SimCLR), § 4.2: a hidden layer helps the layer before it.
    #[default]
    Mlp,
    /// Three layers as wide as the projection, with batch normalisation between them, for
    /// losses that look at every number over the batch.
    ///
    /// # Source
    /// Zbontar et al. 2021 (Barlow Twins), § 2.2; Bardes, Ponce and LeCun 2022 (VICReg),
    /// § 4.2, where it is called expander.
    Expander,
    /// None: the loss sees the embedding.
    None,
}

/// From embeddings `[N, dim]` to projections `[N, projection]`.
pub(super) fn forward(
    b: &mut Builder,
    h: Value,
    settings: &Settings,
) -> Result<Value, EncoderError> {
    let width = settings.projection;
    match settings.projector {
        Projector::Mlp => {
            let dim = b.g.shape(h).last().copied().unwrap_or(1);
            let hidden = b.linear(h, "projector1", dim)?;
            let hidden = b.g.gelu(hidden)?;
            b.linear(hidden, "projector2", width)
        }
        Projector::Expander => {
            let mut x = h;
            for n in 1..=2 {
                x = b.linear(x, &format!("projector{n}"), width)?;
                x = b.batch_norm(x, &format!("projector{n}.norm"))?;
                x = b.g.relu(x)?;
            }
            b.linear(x, "projector3", width)
        }
        Projector::None => Ok(h),
    }
}
