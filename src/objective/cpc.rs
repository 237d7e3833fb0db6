//! Contrastive predictive coding: a context predicts what it leaves out.

use onnx_grad::{Error, Graph, Value};

use super::{
    Inputs, Loss,
    info_nce::{Sides, info_nce},
};

/// How anchors become predictions.
#[derive(Debug, Clone, Copy)]
pub struct Prediction {
    /// W, `[P, P]`: from a context's projection to that of what it leaves out.
    pub weight: Value,
    /// `[K, 1]`: 1 where the anchor is a context; the others stand for themselves.
    pub context: Value,
}

/// The loss in nats of anchors `[K, P]` that pick their positives: a context's
/// projection c is first taken to its prediction W c. Pairs of other kinds in the
/// same batch are compared as they are, and are negatives like all.
///
/// # Source
/// van den Oord, Li and Vinyals 2018, eq. 3–4, with one W for the one step ahead that
/// a pair is, and the cosine over the temperature in place of the bare product, so
/// that kinds of pairs mix on one scale.
pub(super) fn cpc(g: &mut Graph, inputs: &Inputs) -> Result<Loss, Error> {
    let mut anchors = inputs.anchors;
    if let Some(Prediction { weight, context }) = inputs.prediction {
        let predicted = g.matmul(anchors, weight)?;
        let zero = g.scalar(0.0);
        let is_context = g.less(zero, context)?;
        anchors = g.where_(is_context, predicted, anchors)?;
    }
    info_nce(g, &Inputs { anchors, ..*inputs }, Sides::Anchor)
}

/// The first W: a prediction begins as its context.
pub(super) fn identity(width: usize) -> Vec<f32> {
    let mut identity = vec![0.0; width * width];
    identity.iter_mut().step_by(width + 1).for_each(|v| *v = 1.0);
    identity
}
