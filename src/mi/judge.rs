//! What a critic makes of groups that it was not trained on.

use super::{
    MiError, Pairs, Settings,
    fit::Scorer,
    folds::{Part, Purpose},
    side::Standard,
};
use crate::{
    objective::bound::{Contribution, Critic},
    runtime::Runtime,
};

/// The rows of both sides, standard by those that are trained on.
pub(super) struct Rows<'a> {
    pairs: &'a Pairs,
    x: Standard,
    y: Standard,
}

impl<'a> Rows<'a> {
    /// Rows of which those of a part have mean 0 and variance 1.
    pub fn standard_by(pairs: &'a Pairs, part: &Part) -> Self {
        let rows = |n: usize| -> Vec<usize> {
            part.pairs().filter_map(|pair| pair.get(n).copied()).collect()
        };
        Self { pairs, x: pairs.x.standard(&rows(0)), y: pairs.y.standard(&rows(1)) }
    }

    /// `[K, width]` of x and of y.
    pub fn batch(&self, drawn: &[[usize; 2]]) -> [Vec<f32>; 2] {
        let [mut x, mut y] = [Vec::new(), Vec::new()];
        for &[a, b] in drawn {
            self.x.extend(&mut x, self.pairs.x.row(a));
            self.y.extend(&mut y, self.pairs.y.row(b));
        }
        [x, y]
    }

    /// `[K, width of x + width of y]`.
    fn beside(&self, drawn: &[(usize, [usize; 2])]) -> Vec<f32> {
        let mut rows = Vec::new();
        for &(_, [a, b]) in drawn {
            self.x.extend(&mut rows, self.pairs.x.row(a));
            self.y.extend(&mut rows, self.pairs.y.row(b));
        }
        rows
    }
}

/// A part that critics are judged by, in batches of `k` groups: the same batches for
/// every critic.
pub(super) struct Judge<'a> {
    pub part: &'a Part,
    pub k: usize,
    pub purpose: Purpose,
    /// Most batches.
    pub most: usize,
    /// The number of the fold.
    pub fold: usize,
}

impl Judge<'_> {
    /// What each group brings to the estimate, as the mean over its draws.
    pub fn judge(
        &self,
        runtime: &Runtime,
        settings: &Settings,
        critic: &Critic,
        parameters: &[f32],
        rows: &Rows,
    ) -> Result<Vec<Contribution>, MiError> {
        let mut scorer = Scorer::new(runtime, critic, parameters, self.k)?;
        let mut drawn = vec![Vec::new(); self.part.len()];
        // so many that every row is drawn a few times
        let batches = (4 * self.part.rows()).div_ceil(self.k.max(1)).clamp(32, self.most);
        for number in 0..batches {
            let place = (settings.seed, self.fold);
            let batch = self.part.judging_batch(self.k, self.purpose, place, number);
            let (scores, log_baseline) = scorer.scores(&rows.beside(&batch))?;
            let contributions = settings.bound.contributions(&scores, &log_baseline);
            for ((group, _), contribution) in batch.iter().zip(contributions) {
                drawn[*group].push(contribution);
            }
        }
        let drawn = drawn.iter().filter(|of_group| !of_group.is_empty());
        Ok(drawn.map(|of_group| Contribution::mean(of_group)).collect())
    }
}
