//! The bounds as graphs.

use onnx_grad::{Error, Graph, Value};

use super::{Baseline, Bound};

/// What takes an element out of an exponential mean: far below any score, and far
/// from the limit of f32.
const OUT: f32 = -1e9;

/// What a bound is computed from, in a graph.
#[derive(Debug, Clone, Copy)]
pub struct Given {
    /// The scores `[K, K]`: x along the rows, y along the columns.
    pub scores: Value,
    /// InfoNCE: ln of the weight of each score in the denominator `[K, K]`, of rows
    /// that sum to 1; 1/K each where there is none. See [`super::Strata`].
    pub log_weights: Option<Value>,
    /// TUBA with a learned baseline: ln a(y) `[K]`.
    pub log_baseline: Option<Value>,
    /// MINE: ln of the moving average of E e^f so far, `[1]`; 0 before the first step.
    pub log_mean: Option<Value>,
}

impl Given {
    /// Scores and nothing else.
    pub fn scores(scores: Value) -> Self {
        Self { scores, log_weights: None, log_baseline: None, log_mean: None }
    }
}

/// A bound in a graph.
#[derive(Debug, Clone, Copy)]
pub struct Fragment {
    /// What training minimises, a scalar.
    pub loss: Value,
    /// The batch's estimate in nats, a scalar.
    pub estimate: Value,
    /// MINE: ln of the moving average after this batch, `[1]`.
    pub log_mean: Option<Value>,
}

impl Bound {
    /// The loss and the estimate of a batch's scores.
    ///
    /// All means of e^f are taken as logarithms first, so a score must exceed 88
    /// before anything overflows.
    ///
    /// # Errors
    /// [`Error`] where the shapes differ from those of [`Given`].
    pub fn fragment(self, g: &mut Graph, given: Given) -> Result<Fragment, Error> {
        let Given { scores, log_baseline, .. } = given;
        match self {
            Self::InfoNce => {
                let estimate = info_nce(g, scores, given.log_weights)?;
                maximised(g, estimate)
            }
            Self::Nwj => {
                let estimate = tuba(g, scores)?;
                maximised(g, estimate)
            }
            Self::Tuba(baseline) => {
                let baseline = match (baseline, log_baseline) {
                    (Baseline::Constant(ln_a), _) => g.scalar(ln_a),
                    (Baseline::Learned, Some(log_baseline)) => log_baseline,
                    (Baseline::Learned, None) => g.scalar(0.0),
                };
                // one a column, as a depends on y
                let scores = g.sub(scores, baseline)?;
                let estimate = tuba(g, scores)?;
                maximised(g, estimate)
            }
            Self::Jsd => {
                let loss = jensen_shannon(g, scores)?;
                let estimate = tuba(g, scores)?;
                Ok(Fragment { loss, estimate, log_mean: None })
            }
            Self::Dv => {
                let estimate = donsker_varadhan(g, scores, scores)?;
                maximised(g, estimate)
            }
            Self::Mine { rate } => mine(g, given, rate),
            Self::Smile { clip } => {
                let loss = jensen_shannon(g, scores)?;
                let clipped = g.clip(scores, -clip, clip)?;
                let estimate = donsker_varadhan(g, scores, clipped)?;
                Ok(Fragment { loss, estimate, log_mean: None })
            }
        }
    }
}

fn maximised(g: &mut Graph, estimate: Value) -> Result<Fragment, Error> {
    Ok(Fragment { loss: g.neg(estimate)?, estimate, log_mean: None })
}

/// Mean over i of ln (wᵢᵢ e^fᵢᵢ / Σⱼ wᵢⱼ e^fᵢⱼ) − ln wᵢᵢ.
fn info_nce(g: &mut Graph, scores: Value, log_weights: Option<Value>) -> Result<Value, Error> {
    let k = count(g, scores);
    let log_share = match log_weights {
        Some(log_weights) => {
            let weighted = g.add(scores, log_weights)?;
            let log_share = g.log_softmax(weighted, 1)?;
            g.sub(log_share, log_weights)?
        }
        None => {
            let log_share = g.log_softmax(scores, 1)?;
            let ln_k = g.scalar((k as f32).ln());
            g.add(log_share, ln_k)?
        }
    };
    of_pairs(g, log_share)
}

/// 1 + E f − E e^f.
fn tuba(g: &mut Graph, scores: Value) -> Result<Value, Error> {
    let joint = of_pairs(g, scores)?;
    let log_mean = log_mean_of_others(g, scores)?;
    let marginal = g.exp(log_mean)?;
    let one = g.scalar(1.0);
    let joint = g.add(joint, one)?;
    g.sub(joint, marginal)
}

/// E f − ln E e^f', with f' the scores under the mean.
fn donsker_varadhan(g: &mut Graph, scores: Value, under_mean: Value) -> Result<Value, Error> {
    let joint = of_pairs(g, scores)?;
    let log_mean = log_mean_of_others(g, under_mean)?;
    g.sub(joint, log_mean)
}

/// E softplus(−f) of pairs + E softplus(f) of others: the binary cross-entropy of
/// telling pairs from others.
fn jensen_shannon(g: &mut Graph, scores: Value) -> Result<Value, Error> {
    let k = count(g, scores);
    let negated = g.neg(scores)?;
    let missed = g.softplus(negated)?;
    let missed = of_pairs(g, missed)?;
    let taken = g.softplus(scores)?;
    let others: Vec<f32> = diagonal(k).iter().map(|on| 1.0 - on).collect();
    let others = g.constant_f32(&[k, k], &others)?;
    let taken = g.mul(taken, others)?;
    let taken = g.reduce_sum(taken, &[0, 1], false)?;
    let share = g.scalar(1.0 / (k * (k - 1)).max(1) as f32);
    let taken = g.mul(taken, share)?;
    g.add(missed, taken)
}

/// The value is Donsker and Varadhan's. The gradient is that of
/// −E f + E e^f / average, the average held fixed.
fn mine(g: &mut Graph, given: Given, rate: f32) -> Result<Fragment, Error> {
    let joint = of_pairs(g, given.scores)?;
    let log_mean = log_mean_of_others(g, given.scores)?;
    let estimate = g.sub(joint, log_mean)?;
    let before = match given.log_mean {
        Some(before) => before,
        None => g.constant_f32(&[1], &[0.0])?,
    };
    // ln ((1 − rate) e^before + rate e^new)
    let new = g.stop_gradient(log_mean)?;
    let new = g.reshape(new, &[1])?;
    let (kept, added) = (g.scalar((1.0 - rate).ln().max(OUT)), g.scalar(rate.ln()));
    let kept = g.add(before, kept)?;
    let added = g.add(new, added)?;
    let most = g.maximum(kept, added)?;
    let gap = g.sub(kept, added)?;
    let gap = g.abs(gap)?;
    let gap = g.neg(gap)?;
    let gap = g.softplus(gap)?;
    // softplus(−|a − b|) is ln (1 + e^−|a − b|)
    let after = g.add(most, gap)?;
    let after_scalar = g.reshape(after, &[])?;
    let ratio = g.sub(log_mean, after_scalar)?;
    let ratio = g.exp(ratio)?;
    let loss = g.sub(ratio, joint)?;
    Ok(Fragment { loss, estimate, log_mean: Some(after) })
}

/// The mean of the diagonal.
fn of_pairs(g: &mut Graph, matrix: Value) -> Result<Value, Error> {
    let k = count(g, matrix);
    let identity = g.constant_f32(&[k, k], &diagonal(k))?;
    let on = g.mul(matrix, identity)?;
    let sum = g.reduce_sum(on, &[0, 1], false)?;
    let share = g.scalar(1.0 / k as f32);
    g.mul(sum, share)
}

/// ln of the mean of e^f over all elements off the diagonal, by their greatest.
fn log_mean_of_others(g: &mut Graph, scores: Value) -> Result<Value, Error> {
    let k = count(g, scores);
    let out: Vec<f32> = diagonal(k).iter().map(|on| on * OUT).collect();
    let out = g.constant_f32(&[k, k], &out)?;
    let others = g.add(scores, out)?;
    let most = g.reduce_max(others, &[0, 1], false)?;
    let most = g.stop_gradient(most)?;
    let below = g.sub(others, most)?;
    let exponentials = g.exp(below)?;
    let sum = g.reduce_sum(exponentials, &[0, 1], false)?;
    let log_sum = g.log(sum)?;
    let log_sum = g.add(log_sum, most)?;
    let log_count = g.scalar(((k * (k - 1)).max(1) as f32).ln());
    g.sub(log_sum, log_count)
}

fn count(g: &Graph, scores: Value) -> usize {
    g.shape(scores).first().copied().unwrap_or(1)
}

/// The identity, row by row.
fn diagonal(k: usize) -> Vec<f32> {
    let mut identity = vec![0.0; k * k];
    identity.iter_mut().step_by(k + 1).for_each(|v| *v = 1.0);
    identity
}
