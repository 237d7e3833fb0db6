//! The projector: what the loss sees, thrown away afterwards.
//!
//! # Source
//! Chen et al. 2020 (SimCLR), § 4.2: a hidden layer helps the layer before it.

use onnx_grad::Value;

use super::{EncoderError, builder::Builder};

/// The parameters of the projector, the last of an encoder's.
pub(super) const PARAMETERS: usize = 4;

/// From embeddings `[N, dim]` to projections `[N, projection]`.
pub(super) fn forward(b: &mut Builder, h: Value, projection: usize) -> Result<Value, EncoderError> {
    let dim = b.g.shape(h).last().copied().unwrap_or(1);
    let hidden = b.linear(h, "projector1", dim)?;
    let hidden = b.g.gelu(hidden)?;
    b.linear(hidden, "projector2", projection)
}
