//! Batches of pairs, drawn and sampled while the step before them runs.

use std::{
    collections::BTreeMap,
    sync::mpsc::{Receiver, sync_channel},
    thread::Scope,
};

use glam::DVec3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Settings;
use crate::{
    pairing::{Kind, PairRow},
    view::{self, ViewError, Volumes},
};

/// What one part of a step is computed from; all row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// Voxels of 2 K views, anchors before positives.
    pub views: Vec<f32>,
    /// `[K, K]`: what share of row i's positive mass positive j has; rows sum to 1. The
    /// identity where a pair has one positive.
    pub targets: Vec<f32>,
    /// `[K, K]`: 1 where positive j may stand in the denominator of anchor i (its
    /// positives included), 0 where it is excluded as a false negative.
    pub allowed: Vec<f32>,
    /// `[K, Q]`: the same against the queue of MoCo, newest batch first; empty without
    /// a queue.
    pub allowed_queue: Vec<f32>,
    /// `[K, 1]`: 1 where the pair is a context and what it leaves out.
    pub context: Vec<f32>,
    /// Mean number of negatives that an anchor has in this batch.
    pub negatives: f32,
}

/// The word of pairs of a context and what it leaves out.
const CONTEXT: &str = "context";

/// Batches that may wait for the trainer.
const AHEAD: usize = 2;

/// Why no batch can be drawn.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BatchError {
    /// Fewer pairs than a batch needs.
    #[error(
        "a batch of {batch} pairs needs at least as many training pairs; there are {pairs}. Lower batch, or add scans"
    )]
    TooFew {
        /// Pairs in a batch.
        batch: usize,
        /// Training pairs.
        pairs: usize,
    },
    /// All weights are zero for the kinds there are.
    #[error("no kind of training pair has a weight above 0")]
    NoKind,
}

/// Draws batches: a kind by its weight, a subject evenly, one of its pairs
/// evenly. A pair enters a batch once: twice, it would be its own negative.
#[derive(Debug)]
pub struct Sampler<'a> {
    /// For each kind its weight and, subject by subject, its pairs.
    kinds: Vec<(f64, Vec<Vec<&'a PairRow>>)>,
    batch: usize,
    seed: u64,
}

impl<'a> Sampler<'a> {
    /// A sampler of training pairs.
    ///
    /// # Errors
    /// [`BatchError`] where there are too few.
    pub fn new(pairs: &'a [PairRow], settings: &Settings) -> Result<Self, BatchError> {
        let batch = settings.batch;
        let mut kinds = Vec::new();
        for kind in Kind::ALL {
            let weight = settings.weights.of(kind);
            let mut subjects: BTreeMap<&str, Vec<&PairRow>> = BTreeMap::new();
            for pair in pairs.iter().filter(|pair| pair.kind == kind.as_str()) {
                subjects.entry(&pair.subject).or_default().push(pair);
            }
            if weight > 0.0 && !subjects.is_empty() {
                kinds.push((weight, subjects.into_values().collect::<Vec<_>>()));
            }
        }
        if kinds.is_empty() {
            return Err(BatchError::NoKind);
        }
        let usable: usize = kinds.iter().flat_map(|(_, subjects)| subjects).map(Vec::len).sum();
        if usable < batch {
            return Err(BatchError::TooFew { batch, pairs: usable });
        }
        Ok(Self { kinds, batch, seed: settings.seed })
    }

    /// The pairs of a step's batch.
    pub fn draw(&self, step: usize) -> Vec<&'a PairRow> {
        let mut rng = step_rng(self.seed, step, 0);
        let total: f64 = self.kinds.iter().map(|(weight, _)| weight).sum();
        let mut chosen: Vec<&PairRow> = Vec::with_capacity(self.batch);
        let mut refused = 0;
        while chosen.len() < self.batch {
            let mut at = rng.random_range(0.0..total);
            let kind = self.kinds.iter().find(|(weight, _)| {
                at -= weight;
                at < 0.0
            });
            let Some((_, subjects)) = kind.or(self.kinds.last()) else { break };
            let pairs = &subjects[rng.random_range(0..subjects.len())];
            let pair = pairs[rng.random_range(0..pairs.len())];
            if chosen.iter().any(|&other| std::ptr::eq(other, pair)) {
                refused += 1;
                // A kind or subject with few pairs runs dry: take what is left, in order.
                if refused > 50 * self.batch {
                    self.fill(&mut chosen);
                }
                continue;
            }
            chosen.push(pair);
        }
        chosen
    }

    fn fill(&self, chosen: &mut Vec<&'a PairRow>) {
        for pair in self.kinds.iter().flat_map(|(_, subjects)| subjects).flatten() {
            if chosen.len() < self.batch && !chosen.iter().any(|&c| std::ptr::eq(c, *pair)) {
                chosen.push(pair);
            }
        }
    }
}

/// The random numbers of one step, or of one view of it: independent streams of
/// one seed, so that neither threads nor a resume change them.
fn step_rng(seed: u64, step: usize, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((step as u64) << 20) | stream);
    rng
}

/// Starts the thread that makes the batches from step `first` on, as many for a
/// step as it accumulates.
pub(super) fn produce<'scope, 'env>(
    scope: &'scope Scope<'scope, 'env>,
    sampler: &'env Sampler,
    volumes: &'env Volumes,
    view: &'env view::Settings,
    settings: &'env Settings,
    first: usize,
) -> Receiver<Result<Batch, ViewError>> {
    let (sender, receiver) = sync_channel(AHEAD);
    scope.spawn(move || {
        let count = settings.accumulate;
        for number in first * count..settings.steps * count {
            let batch = sample(sampler, volumes, view, settings, number);
            let failed = batch.is_err();
            // The trainer hangs up when it stops.
            if sender.send(batch).is_err() || failed {
                break;
            }
        }
    });
    receiver
}

fn sample(
    sampler: &Sampler,
    volumes: &Volumes,
    view: &view::Settings,
    settings: &Settings,
    step: usize,
) -> Result<Batch, ViewError> {
    let pairs = sampler.draw(step);
    let count = pairs.len();
    let context = pairs.iter().map(|pair| f32::from(u8::from(pair.kind == CONTEXT))).collect();
    let voxels = view.voxels();
    let mut views = vec![0.0; 2 * pairs.len() * voxels];
    let (anchors, positives) = views.split_at_mut(pairs.len() * voxels);
    anchors
        .par_chunks_exact_mut(voxels)
        .zip(positives.par_chunks_exact_mut(voxels))
        .zip(pairs)
        .enumerate()
        .try_for_each(|(row, ((anchor, positive), pair))| {
            let sides = [
                (&pair.anchor_series, pair.anchor_mm, anchor),
                (&pair.positive_series, pair.positive_mm, positive),
            ];
            for (side, (series, place, values)) in sides.into_iter().enumerate() {
                // Stream 0 drew the pairs.
                let mut rng = step_rng(settings.seed, step, 1 + 2 * row as u64 + side as u64);
                let change = settings.augment.draw(view, &mut rng);
                let grid = view.grid(DVec3::from_array(place));
                volumes.get(series)?.sample(&change.apply_to_grid(&grid), values);
                change.apply_to_values(values, &mut rng);
            }
            Ok(())
        })?;
    let mut targets = vec![0.0; count * count];
    targets.iter_mut().step_by(count + 1).for_each(|share| *share = 1.0);
    Ok(Batch {
        views,
        targets,
        allowed: vec![1.0; count * count],
        allowed_queue: filled(count, settings.objective.kind.queue_len(), step),
        context,
        negatives: count.saturating_sub(1) as f32,
    })
}

/// `[K, Q]`: 1 for the keys of batches that were, 0 for the places of the queue that
/// nothing has been put into before this batch.
fn filled(count: usize, queue_len: usize, batches_before: usize) -> Vec<f32> {
    let keys = batches_before.saturating_mul(count);
    let row = (0..queue_len).map(|place| f32::from(u8::from(place < keys)));
    (0..count).flat_map(|_| row.clone()).collect()
}
