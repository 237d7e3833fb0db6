//! A fixed set of pairs, embedded again and again while the encoder changes.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::MonitorError;
use crate::{
    embed::Embedder,
    evaluate::{self, alignment, embed_pairs, rank_me_of_sides, uniformity_of_sides},
    objective::info_nce_bound_of_places,
    pairing::PairRow,
    train::{self, BatchError, Sampler},
    view::{self, Volumes},
};

/// Parts the probe's draws from those of training.
const SEED: u64 = 0x70_726f_6265;
/// The control is the mean of so many ways to shuffle.
const SHUFFLES: u64 = 2;
/// By what the control's scores may be weakened; 0 makes them all alike, which
/// is a bound of exactly 0.
const WEAKER: [f32; 4] = [1.0, 0.25, 0.0625, 0.0];

/// Pairs of one side of the split, drawn as training draws its batches.
pub(super) struct Probe {
    /// Batches of K pairs, one after another.
    pairs: Vec<PairRow>,
    batch: usize,
    /// Of each batch `[K, K]`: 1 where positive j may stand against anchor i.
    allowed: Vec<Vec<f32>>,
}

/// What a look at a probe gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Meters {
    pub bound_nats: f32,
    pub alignment: f32,
    pub uniformity: f32,
    pub rank_me: f32,
}

impl Probe {
    /// About `size` of the pairs given, in whole batches of `most` pairs, or of as
    /// many as there are; `None` where fewer than two are left to tell apart.
    pub fn draw(
        pairs: &[PairRow],
        size: usize,
        most: usize,
        settings: &train::Settings,
    ) -> Option<Self> {
        let seed = settings.seed ^ SEED;
        let of = |batch| train::Settings { batch, seed, ..settings.clone() };
        let mut settings = of(most);
        let sampler = match Sampler::new(pairs, &settings) {
            Err(BatchError::TooFew { pairs: fewer, .. }) if fewer >= 2 => {
                settings = of(fewer);
                Sampler::new(pairs, &settings)
            }
            other => other,
        };
        let (sampler, batch) = (sampler.ok()?, settings.batch);
        let batches = (size / batch).max(1);
        let drawn: Vec<Vec<&PairRow>> = (0..batches).map(|number| sampler.draw(number)).collect();
        let rules = &settings.draw.rules;
        let allowed = drawn.iter().map(|batch| rules.mask(batch).allowed).collect();
        let pairs = drawn.into_iter().flatten().cloned().collect();
        Some(Self { pairs, batch, allowed })
    }

    /// Mean of ln K over the anchors, nats: what the bound cannot exceed.
    pub fn ceiling_nats(&self) -> f32 {
        let count = self.batch;
        let (mut sum, mut terms) = (0.0, 0);
        for allowed in &self.allowed {
            for n in 0..count {
                let row: f32 = allowed.iter().skip(n * count).take(count).sum();
                let column: f32 = allowed.iter().skip(n).step_by(count).sum();
                sum += row.ln() + column.ln();
                terms += 2;
            }
        }
        sum / terms.max(1) as f32
    }

    /// Pairs of which one has to be told from the others, K.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Embeds the probe and measures; the control too, where it is asked for.
    ///
    /// # Errors
    /// [`MonitorError`] where a volume cannot be read or ONNX Runtime refuses.
    pub fn look(
        &self,
        embedder: &mut Embedder,
        volumes: &Volumes,
        view: &view::Settings,
        settings: &evaluate::Settings,
        control: bool,
    ) -> Result<(Meters, Option<f32>), MonitorError> {
        let pairs: Vec<&PairRow> = self.pairs.iter().collect();
        let embedded = embed_pairs(embedder, volumes, &pairs, view, settings)?;
        let width = embedder.dim();
        let bound = Bound {
            anchors: &embedded.anchor_projections,
            positives: &embedded.positive_projections,
            width: embedded.anchor_projections.len() / self.pairs.len().max(1),
            places: embedder.places(),
            batch: self.batch,
            temperature: settings.temperature,
        };
        let sides = [embedded.anchors.as_slice(), &embedded.positives];
        let meters = Meters {
            bound_nats: bound.nats(1.0, Some(&self.allowed)) as f32,
            alignment: alignment(&embedded.anchors, &embedded.positives, width) as f32,
            uniformity: uniformity_of_sides(sides, width) as f32,
            rank_me: rank_me_of_sides(sides, width) as f32,
        };
        let subjects: Vec<&str> = self.pairs.iter().map(|pair| pair.subject.as_str()).collect();
        let control = control.then(|| control_nats(&bound, &subjects, settings.seed) as f32);
        Ok((meters, control))
    }
}

/// Projections `[N, width]` of pairs in batches of K.
#[derive(Clone, Copy)]
struct Bound<'a> {
    anchors: &'a [f32],
    positives: &'a [f32],
    width: usize,
    places: usize,
    batch: usize,
    temperature: f32,
}

impl Bound<'_> {
    /// The mean InfoNCE bound of the batches with all scores times `share`, nats.
    fn nats(&self, share: f32, allowed: Option<&[Vec<f32>]>) -> f64 {
        if share == 0.0 {
            return 0.0;
        }
        let rows = self.batch * self.width;
        let bounds: Vec<f64> = self
            .anchors
            .par_chunks_exact(rows)
            .zip(self.positives.par_chunks_exact(rows))
            .enumerate()
            .map(|(n, (a, b))| {
                let allowed = allowed.and_then(|all| all.get(n)).map(Vec::as_slice);
                let shape = (self.width, self.places);
                info_nce_bound_of_places(a, b, shape, self.temperature / share, allowed)
            })
            .collect();
        bounds.iter().sum::<f64>() / bounds.len().max(1) as f64
    }
}

/// The bound where every anchor is given the positive of another subject, nats.
///
/// Anchors and positives are then independent, so ln K − E\[loss\] ≤ 0 for any
/// encoder: the more sure it is of itself, the farther below. So that a healthy
/// run shows 0 and not how sure it is, the scores may be weakened as far as is
/// best for the bound, down to all alike, where it is 0. What is above 0 is
/// either chance, in the order of 1/(2 N) for one number fitted to N pairs, or
/// something other than anatomy that gives a positive away.
fn control_nats(bound: &Bound, subjects: &[&str], seed: u64) -> f64 {
    let shuffled: Vec<Vec<f32>> = (0..SHUFFLES)
        .map(|number| {
            let order = strangers(subjects, seed.wrapping_add(number));
            let row = |n: usize| &bound.positives[n * bound.width..(n + 1) * bound.width];
            order.into_iter().flat_map(row).copied().collect()
        })
        .collect();
    let mean = |share: f32| {
        let nats = shuffled.iter().map(|positives| Bound { positives, ..*bound }.nats(share, None));
        nats.sum::<f64>() / SHUFFLES as f64
    };
    WEAKER.into_iter().map(mean).fold(f64::NEG_INFINITY, f64::max)
}

/// For every row one of another subject, each taken once, at random; where one
/// subject has more than half of the rows, those left over get another row of
/// their own subject.
fn strangers(subjects: &[&str], seed: u64) -> Vec<usize> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut order: Vec<usize> = (0..subjects.len()).collect();
    order.shuffle(&mut rng);
    // Subject after subject, turned by the largest: no row then meets its own.
    order.sort_by_key(|&n| subjects[n]);
    let largest = order.chunk_by(|&a, &b| subjects[a] == subjects[b]).map(<[_]>::len).max();
    let turn = largest.unwrap_or(0).min(subjects.len() / 2);
    let mut partner = vec![0; subjects.len()];
    for (at, &row) in order.iter().enumerate() {
        partner[row] = order[(at + turn) % order.len()];
    }
    partner
}

#[cfg(test)]
mod tests {
    use rand_distr::{Distribution, StandardNormal};

    use super::*;
    use crate::objective::info_nce_bound;

    fn gaussian(count: usize, seed: u64) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..count).map(|_| StandardNormal.sample(&mut rng)).collect()
    }

    /// 512 pairs of 16 subjects.
    fn subjects() -> Vec<&'static str> {
        let names =
            ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p"];
        (0..512).map(|n| names[n % 16]).collect()
    }

    #[test]
    fn no_row_meets_its_own_subject_where_that_can_be() {
        let even = subjects();
        let half = ["a", "a", "a", "b", "c", "c"];
        for subjects in [even.as_slice(), half.as_slice()] {
            let partner = strangers(subjects, 3);
            let mut sorted = partner.clone();
            sorted.sort_unstable();
            assert!(sorted.into_iter().eq(0..subjects.len()), "each is taken once");
            assert!(partner.iter().enumerate().all(|(n, &m)| subjects[n] != subjects[m]));
        }
        assert!(strangers(&["a"; 9], 3).iter().enumerate().all(|(n, &m)| n != m));
        assert_ne!(strangers(&even, 3), strangers(&even, 4));
    }

    #[test]
    fn the_control_of_a_sure_encoder_is_zero_and_of_a_leak_is_not() {
        let anchors = gaussian(512 * 32, 1);
        let noise = gaussian(512 * 32, 2);
        // Positives near their anchors: much is known, and nothing of strangers.
        let near = |share: f32| -> Vec<f32> {
            anchors.iter().zip(&noise).map(|(a, n)| a + share * n).collect()
        };
        let positives = near(0.1);
        let bound = Bound {
            anchors: &anchors,
            positives: &positives,
            width: 32,
            places: 1,
            batch: 64,
            temperature: 0.05,
        };
        assert!(bound.nats(1.0, None) > 4.0, "{}", bound.nats(1.0, None));
        let control = control_nats(&bound, &subjects(), 7);
        assert!((0.0..0.01).contains(&control), "{control}");
        // Rows that tell where they stand in the batch, whoever is in them: what a
        // shuffle cannot take away.
        let place: Vec<f32> = (0..512).flat_map(|n| gaussian(32, 100 + n % 64)).collect();
        let order = strangers(&subjects(), 7);
        let mut leaking = vec![0.0; place.len()];
        for (n, &m) in order.iter().enumerate() {
            leaking[m * 32..(m + 1) * 32].copy_from_slice(&place[n * 32..(n + 1) * 32]);
        }
        let leak = Bound { anchors: &place, positives: &leaking, ..bound };
        assert!(control_nats(&leak, &subjects(), 7) > 0.5);
    }

    #[test]
    fn the_bound_is_that_of_the_loss() {
        let (anchors, positives) = (gaussian(128 * 8, 4), gaussian(128 * 8, 5));
        let bound = Bound {
            anchors: &anchors,
            positives: &positives,
            width: 8,
            places: 1,
            batch: 64,
            temperature: 0.5,
        };
        let half = |rows: &[f32], n: usize| rows[n * 512..(n + 1) * 512].to_vec();
        let of = |n| info_nce_bound(&half(&anchors, n), &half(&positives, n), 8, 0.5, None);
        let expected = (of(0) + of(1)) / 2.0;
        assert!((bound.nats(1.0, None) - expected).abs() < 1e-12);
        assert_eq!(bound.nats(0.0, None), 0.0);
    }
}
