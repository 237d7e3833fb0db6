//! Which pairs a batch is made of.

mod part;
mod remark;

use std::collections::{BTreeMap, BTreeSet};

use super::step_rng;
use crate::{
    pairing::{Draw, Kind, PairRow},
    train::Settings,
};

use part::{Chosen, OfKind, Pairs, Part};
pub use remark::{BatchError, BatchRemark};

/// Batches that are drawn before training to see how many negatives there are.
const TRIAL: usize = 8;

/// Largest batch of which more than one is drawn for that.
const TRIAL_BATCH: usize = 1024;

/// The modalities of the two sides of a pair.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    /// Modality of the anchor.
    pub anchor_modality: String,
    /// Modality of the positive.
    pub positive_modality: String,
}

/// Draws batches: a kind by its weight, a subject evenly, one of its pairs
/// evenly (of neighbouring slices by the law of their distance). A pair enters a
/// batch once: twice, it would be its own negative. A subject has at most its
/// share of a batch.
#[derive(Debug)]
pub struct Sampler<'a> {
    parts: Vec<Part<'a>>,
    /// The modalities of each pair of a batch; empty where they may change.
    slots: Vec<Slot>,
    /// Pairs of a batch that one subject may have.
    most: usize,
    batch: usize,
    /// Positives in the queue.
    queue: usize,
    draw: Draw,
    seed: u64,
    remarks: Vec<BatchRemark>,
}

impl<'a> Sampler<'a> {
    /// A sampler of training pairs.
    ///
    /// # Errors
    /// [`BatchError`] where there are too few, or no negatives among them.
    pub fn new(pairs: &'a [PairRow], settings: &Settings) -> Result<Self, BatchError> {
        Self::of(pairs, settings, false)
    }

    /// A sampler whose batches have the same modalities in the same places, each
    /// time: as many of each pair of modalities as the weights give, by largest
    /// remainder.
    ///
    /// # Errors
    /// As [`Sampler::new`].
    pub fn with_slots(pairs: &'a [PairRow], settings: &Settings) -> Result<Self, BatchError> {
        Self::of(pairs, settings, true)
    }

    fn of(pairs: &'a [PairRow], settings: &Settings, fixed: bool) -> Result<Self, BatchError> {
        let batch = settings.batch;
        let usable: Vec<&PairRow> = pairs
            .iter()
            .filter(|pair| Kind::ALL.iter().any(|&k| pair.is(k) && settings.weights.of(k) > 0.0))
            .collect();
        if usable.is_empty() && !pairs.is_empty() {
            return Err(BatchError::NoKind);
        }
        let subjects = usable.iter().map(|pair| &pair.subject).collect::<BTreeSet<_>>().len();
        if usable.len() < batch {
            return Err(BatchError::TooFew { batch, pairs: usable.len(), subjects });
        }
        let mut sampler = Self {
            parts: Vec::new(),
            slots: Vec::new(),
            most: (settings.draw.max_subject_share * batch as f64).floor().max(1.0) as usize,
            batch,
            queue: 0,
            draw: settings.draw,
            seed: settings.seed,
            remarks: Vec::new(),
        };
        if fixed {
            sampler.fix_slots(&usable, settings);
        } else {
            sampler.parts.push(Part::new(
                batch,
                &usable,
                |kind| settings.weights.of(kind),
                settings.draw.distance_law,
            ));
        }
        let least = sampler.parts.iter().map(Part::least_of_a_subject).max().unwrap_or(1);
        if sampler.most < least {
            let (asked, most) = (settings.draw.max_subject_share, least);
            sampler.remarks.push(BatchRemark::Share { asked, batch, subjects, most });
            sampler.most = least;
        }
        if settings.objective.kind.contrasts() {
            sampler.try_negatives(subjects)?;
        }
        Ok(sampler)
    }

    /// The same sampler for a queue of so many positives of the batches before.
    #[must_use]
    pub fn with_queue(mut self, len: usize) -> Self {
        self.queue = len;
        self
    }

    /// What the batches lack, to be said before training.
    pub fn remarks(&self) -> &[BatchRemark] {
        &self.remarks
    }

    /// The modalities of each pair of every batch, in order; empty where the
    /// sampler was not made with slots.
    pub fn slots(&self) -> &[Slot] {
        &self.slots
    }

    /// Parts the batch by modalities. The share of a slot is what drawing without
    /// slots would give it on average: of each kind, by its weight, the mean over
    /// the subjects of the share that the slot has in their pairs.
    fn fix_slots(&mut self, usable: &[&'a PairRow], settings: &Settings) {
        let mut slots: BTreeMap<Slot, Vec<&PairRow>> = BTreeMap::new();
        for &pair in usable {
            slots.entry(slot_of(pair)).or_default().push(pair);
        }
        let whole = Part::new(
            self.batch,
            usable,
            |kind| settings.weights.of(kind),
            settings.draw.distance_law,
        );
        let total: f64 = whole.kinds.iter().map(|kind| kind.weight).sum();
        let share = |slot: &Slot, OfKind { weight, subjects, .. }: &OfKind| -> f64 {
            let of = |pairs: &Pairs| {
                let hits = pairs.all.iter().filter(|pair| slot_of(pair) == *slot).count();
                hits as f64 / pairs.all.len() as f64
            };
            weight / total * subjects.iter().map(of).sum::<f64>() / subjects.len() as f64
        };
        let shares: Vec<f64> = slots
            .keys()
            .map(|slot| whole.kinds.iter().map(|kind| share(slot, kind)).sum())
            .collect();
        let room: Vec<usize> = slots.values().map(Vec::len).collect();
        for ((slot, pairs), count) in slots.into_iter().zip(quotas(&shares, &room, self.batch)) {
            if count == 0 {
                self.remarks.push(BatchRemark::NoSlot { slot });
                continue;
            }
            let weight = |kind: Kind| {
                let of_kind = whole.kinds.iter().filter(|entry| entry.kind == kind);
                of_kind.map(|entry| share(&slot, entry)).sum()
            };
            self.parts.push(Part::new(count, &pairs, weight, settings.draw.distance_law));
            self.slots.extend(std::iter::repeat_n(slot, count));
        }
    }

    /// Draws some batches to see whether anyone has a negative.
    fn try_negatives(&mut self, subjects: usize) -> Result<(), BatchError> {
        let batches = if self.batch > TRIAL_BATCH { 1 } else { TRIAL };
        let (mut rows, mut of) = (0, 0);
        for number in 0..batches {
            let negatives = self.draw.rules.mask(&self.draw(number)).negatives();
            rows += negatives.iter().filter(|&&count| count == 0).count();
            of += negatives.len();
        }
        if rows == of {
            return Err(BatchError::NoNegatives { batches, batch: self.batch, subjects });
        }
        if rows > 0 {
            self.remarks.push(BatchRemark::WithoutNegatives { rows, of });
        }
        Ok(())
    }

    /// The pairs of batch `number`, the same each time it is asked for.
    pub fn draw(&self, number: usize) -> Vec<&'a PairRow> {
        let mut rng = step_rng(self.seed, number, 0);
        let mut chosen = Chosen::default();
        let mut until = 0;
        for part in &self.parts {
            until += part.count;
            part.draw(&mut chosen, until, self.most, &mut rng);
        }
        chosen.pairs
    }

    /// `[K, Q]` of a batch: which positives of the batches before it, the newest
    /// first, may stand in the denominators of its anchors.
    pub(super) fn allowed_queue(&self, pairs: &[&PairRow], number: usize) -> Vec<f32> {
        if self.queue == 0 {
            return Vec::new();
        }
        let batches = self.queue.div_ceil(self.batch).min(number);
        let mut queue: Vec<&PairRow> =
            (1..=batches).flat_map(|ago| self.draw(number - ago)).collect();
        queue.truncate(self.queue);
        let known = self.draw.rules.mask_of_queue(pairs, &queue);
        let mut allowed = vec![0.0; pairs.len() * self.queue];
        if !queue.is_empty() {
            let rows = allowed.chunks_exact_mut(self.queue).zip(known.chunks_exact(queue.len()));
            rows.for_each(|(row, known)| row[..known.len()].copy_from_slice(known));
        }
        allowed
    }
}

fn slot_of(pair: &PairRow) -> Slot {
    Slot {
        anchor_modality: pair.anchor_modality.clone(),
        positive_modality: pair.positive_modality.clone(),
    }
}

/// Whole numbers that sum to `total` in the proportion of the shares, by largest
/// remainder, none above its room.
fn quotas(shares: &[f64], room: &[usize], total: usize) -> Vec<usize> {
    let sum: f64 = shares.iter().sum();
    let exact: Vec<f64> = shares.iter().map(|share| share / sum * total as f64).collect();
    let mut counts: Vec<usize> =
        exact.iter().zip(room).map(|(exact, &room)| (exact.floor() as usize).min(room)).collect();
    let rest = |counts: &[usize], n: usize| exact[n] - counts[n] as f64;
    while counts.iter().sum::<usize>() < total {
        let open = (0..counts.len()).filter(|&n| counts[n] < room[n]);
        // The first of equals, whatever the platform.
        let most =
            open.max_by(|&a, &b| rest(&counts, a).total_cmp(&rest(&counts, b)).then(b.cmp(&a)));
        match most {
            Some(n) => counts[n] += 1,
            None => break,
        }
    }
    counts
}

#[cfg(test)]
mod tests;
