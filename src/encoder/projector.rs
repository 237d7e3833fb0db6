//! The projector: what the loss sees, thrown away afterwards.
//!
//! # Source
//! Chen et al. 2020 (SimCLR), § 4.2: a hidden layer helps the layer before it.

use onnx_grad::{Graph, Layout, Value};

use super::{EncoderError, Settings, Weights, push_linear};

pub(super) fn push_parameters(
    layout: &mut Layout,
    settings: &Settings,
) -> Result<(), onnx_grad::Error> {
    push_linear(layout, "projector1", settings.dim, settings.dim)?;
    push_linear(layout, "projector2", settings.dim, settings.projection)
}

/// From embeddings `[N, dim]` to projections `[N, projection]`.
pub(super) fn forward(g: &mut Graph, weights: &Weights, h: Value) -> Result<Value, EncoderError> {
    let hidden = weights.linear(g, h, "projector1")?;
    let hidden = g.gelu(hidden)?;
    weights.linear(g, hidden, "projector2")
}
