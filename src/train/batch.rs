//! Batches of pairs, sampled while the step before them runs.

mod sampler;

use std::{
    sync::mpsc::{Receiver, sync_channel},
    thread::Scope,
};

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::Settings;
use crate::{
    pairing::{Changes, Kind, Side},
    view::{self, ViewError, Volumes},
};

pub use sampler::{BatchError, BatchRemark, Sampler, Slot};

/// Batches that may wait for the trainer.
const AHEAD: usize = 2;

/// What one part of a step is computed from; all row-major.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Batch {
    /// Voxels of 2K views, anchors before positives.
    pub views: Vec<f32>,
    /// `[K, K]`: what share of row i's positive mass column j has; rows sum to 1.
    /// The identity where a pair has one positive.
    pub targets: Vec<f32>,
    /// `[K, K]`: 1 where positive j may stand in the denominator of anchor i (its
    /// positives included), 0 where it is excluded as a false negative.
    pub allowed: Vec<f32>,
    /// `[K, Q]`: the same against the queue of MoCo, newest batch first; empty
    /// without a queue. What was never filled is not allowed.
    pub allowed_queue: Vec<f32>,
    /// `[K, 1]`: 1 where the anchor is a context of what is masked out of it.
    pub context: Vec<f32>,
}

/// The random numbers of one step, or of one view of it: independent streams of
/// one seed, so that neither threads nor a resume change them.
fn step_rng(seed: u64, step: usize, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(((step as u64) << 20) | stream);
    rng
}

/// Of the streams of a step that of all views together; below are those of each.
const SHARED: u64 = 1 << 19;

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
    // a batch that is seen in chunks is large: the one being made is ahead enough
    let ahead = if settings.gradient_cache > 0 { 0 } else { AHEAD };
    let (sender, receiver) = sync_channel(ahead);
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

/// Batch number `number`: its pairs as the encoder will see them, and who is no
/// negative of whom.
fn sample(
    sampler: &Sampler,
    volumes: &Volumes,
    view: &view::Settings,
    settings: &Settings,
    number: usize,
) -> Result<Batch, ViewError> {
    let pairs = sampler.draw(number);
    let voxels = view.voxels();
    let mut views = vec![0.0; 2 * pairs.len() * voxels];
    let (anchors, positives) = views.split_at_mut(pairs.len() * voxels);
    anchors
        .par_chunks_exact_mut(voxels)
        .zip(positives.par_chunks_exact_mut(voxels))
        .zip(&pairs)
        .enumerate()
        .try_for_each(|(row, ((anchor, positive), pair))| {
            for (n, (side, values)) in Side::BOTH.into_iter().zip([anchor, positive]).enumerate() {
                // Stream 0 drew the pairs.
                let mut rng = step_rng(settings.seed, number, 1 + 2 * row as u64 + n as u64);
                let changes = Changes {
                    augments: &settings.augment,
                    rng: &mut rng,
                    shared: step_rng(settings.seed, number, SHARED),
                };
                pair.see(side, volumes, view, Some(changes), values)?;
            }
            Ok(())
        })?;
    let mask = settings.draw.rules.mask(&pairs);
    Ok(Batch {
        views,
        allowed_queue: sampler.allowed_queue(&pairs, number),
        context: pairs.iter().map(|pair| f32::from(u8::from(pair.is(Kind::Context)))).collect(),
        targets: mask.targets,
        allowed: mask.allowed,
    })
}

#[cfg(test)]
mod tests;
