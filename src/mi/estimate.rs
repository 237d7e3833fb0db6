//! Cross-fitting: every group is judged by a critic that has not seen it.

use super::{
    Estimate, Interval, MiError, Pairs, Report, Settings, Trainer,
    folds::{self, Fold, Purpose},
    judge::{Judge, Rows},
};
use crate::{objective::bound::Critic, progress::Progress, runtime::Runtime, stop};

/// Looks at the validation part, of 40, without a better one before training ends.
const PATIENCE: usize = 10;

/// Checks that the pairs suffice for the folds and batches, and gives the pairs K of
/// a batch that the estimate will be from.
///
/// # Errors
/// [`MiError::Groups`], [`MiError::Batch`].
pub fn check(pairs: &Pairs, settings: &Settings) -> Result<usize, MiError> {
    let [_, k] = folds::judged_k(&folds::cut(pairs, settings)?, settings.batch);
    Ok(k)
}

/// Estimates the mutual information of pairs of rows; none after a stop on request.
///
/// The groups are cut into folds. Each fold is held out once, while a critic is
/// trained on the others; a fifth of these choose the step whose critic is taken, and
/// end the training where a quarter of the steps bring nothing better.
/// The held-out fold is then drawn in batches with no group twice, as two rows of
/// one group are no independent draws. Groups weigh the same, however many rows
/// they have. The interval is Student's over the groups, of what each brings to the
/// estimate, as a pair and as a negative; it holds for the critics as trained.
///
/// # Errors
/// [`MiError`].
pub fn estimate(
    runtime: &Runtime,
    pairs: &Pairs,
    settings: &Settings,
    progress: &Progress,
) -> Result<Option<Report>, MiError> {
    let folds = folds::cut(pairs, settings)?;
    let k = folds::judged_k(&folds, settings.batch);
    let work = Work { runtime, pairs, settings, k, progress };
    let Some(of_pairs) = work.all(&folds)? else { return Ok(None) };
    let shuffled: Vec<Fold> =
        folds.iter().enumerate().map(|(n, fold)| fold.shuffled(settings.seed, n)).collect();
    let Some(control) = work.all(&shuffled)? else { return Ok(None) };
    Ok(Some(Report { pairs: of_pairs, shuffled: control, k: k[1] }))
}

struct Work<'a> {
    runtime: &'a Runtime,
    pairs: &'a Pairs,
    settings: &'a Settings,
    /// Pairs of a batch of the validation part and of the held-out one.
    k: [usize; 2],
    progress: &'a Progress,
}

impl Work<'_> {
    fn all(&self, folds: &[Fold]) -> Result<Option<Estimate>, MiError> {
        let (mut all, mut each) = (Vec::new(), Vec::new());
        for (number, fold) in folds.iter().enumerate() {
            let Some((influences, step)) = self.one(fold, number)? else { return Ok(None) };
            each.push((mean(&influences), step));
            all.extend(influences);
        }
        Ok(Some(Estimate { interval: Interval::of(&all), folds: each }))
    }

    /// Trains on a fold, and gives the influence of each held-out group on the
    /// estimate and the step whose critic did best on the validation part.
    fn one(&self, fold: &Fold, number: usize) -> Result<Option<(Vec<f64>, usize)>, MiError> {
        let Self { runtime, pairs, settings, .. } = *self;
        let Settings { bound, batch, learning_rate, steps, seed, .. } = *settings;
        let rows = Rows::standard_by(pairs, &fold.train);
        let widths = [pairs.x.width(), pairs.y.width()];
        let critic = Critic::new(settings.critic, widths, bound.learns_baseline())?;
        let initial = critic.initial(seed.wrapping_add(number as u64));
        let mut trainer = Trainer::new(runtime, &critic, &initial, bound, batch, learning_rate)?;
        let [k, held_out_k] = self.k;
        let purpose = Purpose::Choose;
        let choose = Judge { part: &fold.validation, k, purpose, most: 64, fold: number };
        let every = (steps / 40).max(25);
        let mut best = (f64::NEG_INFINITY, 0, initial);
        for step in 0..=steps {
            if stop::requested() {
                return Ok(None);
            }
            if step % every == 0 || step == steps {
                let parameters = trainer.parameters()?;
                let judged = choose.judge(runtime, settings, &critic, &parameters, &rows)?;
                let value = mean(&bound.influences(&judged));
                self.progress.message(format!("fold {number}: {value:.3} nats"));
                if value > best.0 {
                    best = (value, step, parameters);
                } else if step >= best.1 + PATIENCE * every {
                    self.progress.advance(steps - step);
                    break;
                }
            }
            if step < steps {
                let drawn = fold.train.training_batch(batch, (seed, number), step);
                let [x, y] = rows.batch(&drawn);
                trainer.step(x, y)?;
                self.progress.advance(1);
            }
        }
        let (_, step, parameters) = best;
        let (k, purpose) = (held_out_k, Purpose::Judge);
        let judge = Judge { part: &fold.held_out, k, purpose, most: 1024, fold: number };
        let judged = judge.judge(runtime, settings, &critic, &parameters, &rows)?;
        let influences = bound.influences(&judged);
        if influences.iter().any(|influence| !influence.is_finite()) {
            let estimate = mean(&influences) as f32;
            return Err(MiError::Diverged { estimate, step, learning_rate });
        }
        Ok(Some((influences, step)))
    }
}

fn mean(numbers: &[f64]) -> f64 {
    numbers.iter().sum::<f64>() / numbers.len().max(1) as f64
}
