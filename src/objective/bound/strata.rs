//! InfoNCE where negatives of the positive's own kind are left out.

use super::estimate::log_sum_exp;

/// Which negatives stand in the denominator, and how often chance would have drawn
/// those that do not.
///
/// To leave out the false negatives and go on as if the rest were drawn from the
/// marginal is no bound: with k equally likely anatomies that both images show, the
/// best critic then reaches ln K whatever k is, above the true ln k. The marginal is a
/// mixture: with the probability π of the anchor's own stratum (its anatomy, its
/// place) it gives a positive, else a negative that is allowed. So the denominator
/// is π e^f of the positive + (1 − π) mean of e^f over allowed negatives. Of the best
/// critic this gives the true ln k, without the spread that chance positives make.
///
/// The estimate is at most the mean of −ln π, the entropy of the strata. Where both
/// sides tell the stratum that entropy is itself at most the mutual information, so
/// the estimate is a bound. Where the stratum is a label that the data do not tell,
/// and π is not less than 1/(1 + allowed negatives), independent sides still give at
/// most 0 on average.
#[derive(Debug, Clone, PartialEq)]
pub struct Strata {
    /// `[K, K]` row by row: whether y j may stand in the denominator of x i. The
    /// diagonal is of no account.
    pub allowed: Vec<bool>,
    /// `[K]`: the probability π that an independent draw is one of those left out.
    pub shares: Vec<f64>,
}

impl Strata {
    /// The strata of rows that are labelled, where each label has a probability.
    pub fn of_labels(labels: &[usize], probability: impl Fn(usize) -> f64) -> Self {
        let allowed = labels.iter().flat_map(|a| labels.iter().map(move |b| a != b)).collect();
        Self { allowed, shares: labels.iter().map(|&label| probability(label)).collect() }
    }

    /// ln of the weight of each score in its row's denominator, `[K, K]` row by row:
    /// what [`super::Given`] takes. What is left out has a weight of e^−1e9, that is 0. A row without
    /// any allowed negative has its positive alone, and so tells nothing.
    pub fn log_weights(&self) -> Vec<f64> {
        let k = self.shares.len();
        let mut weights = vec![-1e9; k * k];
        let rows = weights.chunks_exact_mut(k.max(1)).zip(self.allowed.chunks_exact(k.max(1)));
        for (i, ((row, allowed), share)) in rows.zip(&self.shares).enumerate() {
            let is_negative = |&(j, allowed): &(usize, &bool)| j != i && *allowed;
            let negatives = allowed.iter().enumerate().filter(is_negative).count();
            if negatives == 0 {
                row[i] = 0.0;
                continue;
            }
            let each = ((1.0 - share) / negatives as f64).ln();
            allowed.iter().enumerate().filter(is_negative).for_each(|(j, _)| row[j] = each);
            row[i] = share.ln();
        }
        weights
    }
}

/// The InfoNCE of scores `[K, K]` with strata, in nats; see [`Strata`].
pub fn info_nce_of_strata(scores: &[f64], strata: &Strata) -> f64 {
    let k = strata.shares.len();
    let weights = strata.log_weights();
    let rows = scores.chunks_exact(k.max(1)).zip(weights.chunks_exact(k.max(1)));
    let terms = rows.enumerate().map(|(i, (scores, weights))| {
        let weighted: Vec<f64> = scores.iter().zip(weights).map(|(f, w)| f + w).collect();
        scores[i] - log_sum_exp(&weighted)
    });
    terms.sum::<f64>() / k.max(1) as f64
}
