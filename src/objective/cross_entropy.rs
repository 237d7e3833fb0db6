//! Which candidate is the positive: the cross entropy that contrastive losses
//! share, with negatives left out and positives that share their mass.

use onnx_grad::{Error, Graph, Value};

use super::Loss;

/// What a candidate that is left out gets added to its score: its exponential is
/// zero in f32 and no sum with it becomes infinite.
const EXCLUDED: f32 = 1e9;

/// What a contrastive loss chose among, scalars of a graph.
#[derive(Debug, Clone, Copy)]
pub struct Candidates {
    /// Mean of the logarithm of a row's candidates, in nats; the bound on the
    /// information is this less the loss.
    pub ceiling: Value,
    /// Mean number of negatives of a row.
    pub negatives: Value,
    /// Rows that have no negative left; they count 0 in the loss and in the ceiling.
    pub alone: Value,
}

/// The mean over the rows of −Σ targets · log softmax(scores), all `[R, C]`. A
/// candidate is in the denominator where `allowed` is 1 or it has a share of
/// the row's positive mass. A row without any negative has a loss of 0.
pub(super) fn cross_entropy(
    g: &mut Graph,
    scores: Value,
    targets: Value,
    allowed: Value,
) -> Result<Loss, Error> {
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let positive = g.less(zero, targets)?;
    let candidate = g.where_(positive, one, allowed)?;
    let negative = g.where_(positive, zero, allowed)?;

    let left_out = g.sub(candidate, one)?;
    let far = g.scalar(EXCLUDED);
    let left_out = g.mul(left_out, far)?;
    let scores = g.add(scores, left_out)?;
    let log_probability = g.log_softmax(scores, 1)?;
    let of_positives = g.mul(targets, log_probability)?;
    let row_losses = g.reduce_sum(of_positives, &[1], false)?;

    let negatives = g.reduce_sum(negative, &[1], false)?;
    // 0 where a row has no negative, 1 elsewhere
    let counts = g.minimum(negatives, one)?;
    let row_losses = g.mul(row_losses, counts)?;
    let mean = g.reduce_mean(row_losses, &[0], false)?;
    let loss = g.neg(mean)?;

    let candidates = g.reduce_sum(candidate, &[1], false)?;
    let ceilings = g.log(candidates)?;
    let ceilings = g.mul(ceilings, counts)?;
    let ceiling = g.reduce_mean(ceilings, &[0], false)?;
    let alone = g.sub(one, counts)?;
    let alone = g.reduce_sum(alone, &[0], false)?;
    let negatives = g.reduce_mean(negatives, &[0], false)?;
    Ok(Loss { loss, candidates: Some(Candidates { ceiling, negatives, alone }) })
}

/// The mean of two losses, and of what they chose among.
pub(super) fn mean_of(g: &mut Graph, [a, b]: [Loss; 2]) -> Result<Loss, Error> {
    let loss = g.mean(&[a.loss, b.loss])?;
    let candidates = match (a.candidates, b.candidates) {
        (Some(a), Some(b)) => Some(Candidates {
            ceiling: g.mean(&[a.ceiling, b.ceiling])?,
            negatives: g.mean(&[a.negatives, b.negatives])?,
            alone: g.mean(&[a.alone, b.alone])?,
        }),
        _ => None,
    };
    Ok(Loss { loss, candidates })
}

/// Targets whose rows sum to 1.
pub(super) fn shares(g: &mut Graph, targets: Value) -> Result<Value, Error> {
    let sum = g.reduce_sum(targets, &[1], true)?;
    g.div(targets, sum)
}
