//! The bounds in memory, in f64, with what each row does to them.

use super::{Baseline, Bound};

/// What one row of a batch brings to an estimate, as the mean over its pairings.
///
/// A row stands in a batch three times: as a pair, as an x among other y, and as a
/// y among other x. All three are kept, as the spread of an estimate comes from all.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Contribution {
    /// The term of the pair; for InfoNCE with its denominator.
    pub joint: f64,
    /// Mean of e^f over the other y.
    pub as_x: f64,
    /// Mean of e^f over the other x; for InfoNCE, how much more than its share the
    /// row adds to the denominators of others.
    pub as_y: f64,
}

impl Contribution {
    /// The mean of contributions; zero of none.
    pub fn mean(of: &[Self]) -> Self {
        let n = of.len().max(1) as f64;
        let mean = |part: fn(&Self) -> f64| of.iter().map(part).sum::<f64>() / n;
        Self { joint: mean(|c| c.joint), as_x: mean(|c| c.as_x), as_y: mean(|c| c.as_y) }
    }
}

impl Bound {
    /// What each of K rows brings, from their scores `[K, K]`, row by row; the
    /// baseline is ln a(y) `[K]`, and empty where it is not learned.
    pub fn contributions(self, scores: &[f64], log_baseline: &[f64]) -> Vec<Contribution> {
        let k = scores.len().isqrt();
        if k < 2 {
            return Vec::new();
        }
        let rows: Vec<&[f64]> = scores.chunks_exact(k).collect();
        if self == Self::InfoNce {
            return info_nce(&rows);
        }
        let (mut as_x, mut as_y) = (vec![0.0; k], vec![0.0; k]);
        let ln_a = |j: usize| match self {
            Self::Tuba(Baseline::Constant(ln_a)) => f64::from(ln_a),
            Self::Tuba(Baseline::Learned) => log_baseline.get(j).copied().unwrap_or(0.0),
            _ => 0.0,
        };
        let under_mean = |score: f64| match self {
            Self::Smile { clip } => score.clamp(-f64::from(clip), f64::from(clip)).exp(),
            _ => score.exp(),
        };
        let share = 1.0 / (k - 1) as f64;
        for (i, row) in rows.iter().enumerate() {
            for (j, &score) in row.iter().enumerate().filter(|(j, _)| *j != i) {
                let part = under_mean(score - ln_a(j)) * share;
                as_x[i] += part;
                as_y[j] += part;
            }
        }
        let pair = |(i, row): (usize, &&[f64])| row[i] - ln_a(i);
        let joint = rows.iter().enumerate().map(pair);
        let parts = joint.zip(as_x).zip(as_y);
        parts.map(|((joint, as_x), as_y)| Contribution { joint, as_x, as_y }).collect()
    }

    /// How much of the estimate is due to each contribution: their mean is the
    /// estimate in nats, and their spread that of independent rows.
    ///
    /// # Source
    /// The influence function of a U-statistic: Hoeffding 1948; van der Vaart 1998,
    /// *Asymptotic Statistics*, sec. 12.1 and 20.1.
    pub fn influences(self, contributions: &[Contribution]) -> Vec<f64> {
        let mean = Contribution::mean(contributions);
        let others = |c: &Contribution| c.as_x + c.as_y - mean.as_y;
        let influence = |c: &Contribution| match self {
            Self::InfoNce => c.joint - others(c),
            Self::Nwj | Self::Tuba(_) | Self::Jsd => 1.0 + c.joint - others(c),
            Self::Dv | Self::Mine { .. } | Self::Smile { .. } => {
                c.joint - mean.as_x.ln() - (others(c) / mean.as_x - 1.0)
            }
        };
        contributions.iter().map(influence).collect()
    }

    /// The estimate in nats from the scores `[K, K]` of a batch.
    pub fn estimate(self, scores: &[f64], log_baseline: &[f64]) -> f64 {
        let influences = self.influences(&self.contributions(scores, log_baseline));
        influences.iter().sum::<f64>() / influences.len().max(1) as f64
    }
}

fn info_nce(rows: &[&[f64]]) -> Vec<Contribution> {
    let k = rows.len();
    let mut all = vec![Contribution::default(); k];
    for (i, row) in rows.iter().enumerate() {
        let log_sum = log_sum_exp(row);
        all[i].joint = row[i] - log_sum + (k as f64).ln();
        let of_others = 1.0 - (row[i] - log_sum).exp();
        for (j, &score) in row.iter().enumerate().filter(|(j, _)| *j != i) {
            all[j].as_y += (score - log_sum).exp() - of_others / (k - 1) as f64;
        }
    }
    all
}

/// ln Σ e^v, by the greatest v.
pub(super) fn log_sum_exp(values: &[f64]) -> f64 {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    most + values.iter().map(|v| (v - most).exp()).sum::<f64>().ln()
}
