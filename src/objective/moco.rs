//! Momentum contrast: keys of a slowly moving encoder, kept in a queue.

use onnx_grad::{Error, Graph, Value};

use super::{Inputs, Loss, cross_entropy::cross_entropy, normalised, scores};

/// Keys of earlier batches.
#[derive(Debug, Clone, Copy)]
pub struct Queue {
    /// `[Q, P]`, of length one, the newest batch first.
    pub keys: Value,
    /// `[K, Q]`: 1 where a key may stand against an anchor, else 0.
    pub allowed: Value,
}

/// The loss in nats of anchors `[K, P]` that pick their own among the batch's keys,
/// which are the positives, and the queue's.
///
/// # Source
/// He et al. 2020 (MoCo), eq. 1 and algorithm 1. There the candidates are the own key
/// and the queue; here the batch's keys stand beside them, as if they had been put
/// into the queue before the loss and not after it: the first batches have negatives.
pub(super) fn moco(g: &mut Graph, inputs: &Inputs) -> Result<Loss, Error> {
    let anchors = normalised(g, inputs.anchors)?;
    let mut candidates = keys(g, inputs.positives)?;
    let (mut targets, mut allowed) = (inputs.targets, inputs.allowed);
    if let Some(queue) = inputs.queue {
        candidates = g.concat(&[candidates, queue.keys], 0)?;
        let zero = g.scalar(0.0);
        let no_share = g.mul(queue.allowed, zero)?;
        targets = g.concat(&[targets, no_share], 1)?;
        allowed = g.concat(&[allowed, queue.allowed], 1)?;
    }
    let scores = scores(g, anchors, candidates, inputs.temperature)?;
    cross_entropy(g, scores, targets, allowed)
}

/// The keys `[K, P]` of projections, as a queue holds them.
///
/// # Errors
/// [`Error`] where there is no axis 1.
pub fn keys(g: &mut Graph, projections: Value) -> Result<Value, Error> {
    normalised(g, projections)
}
