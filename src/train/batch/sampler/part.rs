//! A part of a batch and how it is filled.

use std::collections::BTreeMap;

use rand::{RngExt, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use crate::pairing::{DistanceLaw, Kind, PairRow};

/// A part of the batch: all of it, or the pairs of one slot.
#[derive(Debug)]
pub(super) struct Part<'a> {
    /// Pairs of a batch.
    pub count: usize,
    pub kinds: Vec<OfKind<'a>>,
}

/// The pairs of one kind.
#[derive(Debug)]
pub(super) struct OfKind<'a> {
    pub kind: Kind,
    pub weight: f64,
    pub subjects: Vec<Pairs<'a>>,
}

/// The pairs of a kind that a subject has.
#[derive(Debug)]
pub(super) struct Pairs<'a> {
    pub all: Vec<&'a PairRow>,
    /// Sums of the chances up to each; empty where all are alike.
    sums: Vec<f64>,
}

impl<'a> Pairs<'a> {
    fn new(all: Vec<&'a PairRow>, kind: Kind, law: DistanceLaw) -> Self {
        let mut sums = Vec::new();
        if kind == Kind::CrossSlice && law != DistanceLaw::Uniform {
            // Relative to the nearest, so that no chance is too small for a number.
            let distance = |pair: &PairRow| pair.distance_mm.unwrap_or(0.0);
            let nearest = all.iter().map(|pair| distance(pair)).fold(f64::INFINITY, f64::min);
            let mut sum = 0.0;
            for pair in &all {
                sum += law.weight(distance(pair) - nearest);
                sums.push(sum);
            }
        }
        Self { all, sums }
    }

    fn draw(&self, rng: &mut ChaCha8Rng) -> &'a PairRow {
        let n = match self.sums.last() {
            None => rng.random_range(0..self.all.len()),
            Some(&total) => {
                let at = rng.random_range(0.0..total);
                self.sums.partition_point(|&sum| sum <= at).min(self.all.len() - 1)
            }
        };
        self.all[n]
    }
}

/// The pairs of a batch so far, and how many each subject has.
#[derive(Default)]
pub(super) struct Chosen<'a> {
    pub pairs: Vec<&'a PairRow>,
    of: BTreeMap<&'a str, usize>,
}

impl<'a> Chosen<'a> {
    /// Adds a pair that is not in the batch yet and of a subject that has room.
    fn add(&mut self, pair: &'a PairRow, most: usize) -> bool {
        let of_subject = self.of.get(pair.subject.as_str()).copied().unwrap_or(0);
        if of_subject >= most || self.pairs.iter().any(|&other| std::ptr::eq(other, pair)) {
            return false;
        }
        self.of.insert(&pair.subject, of_subject + 1);
        self.pairs.push(pair);
        true
    }
}

impl<'a> Part<'a> {
    pub fn new(
        count: usize,
        pairs: &[&'a PairRow],
        weight: impl Fn(Kind) -> f64,
        law: DistanceLaw,
    ) -> Self {
        let mut kinds = Vec::new();
        for kind in Kind::ALL {
            let weight = weight(kind);
            let mut subjects: BTreeMap<&str, Vec<&PairRow>> = BTreeMap::new();
            for &pair in pairs.iter().filter(|pair| pair.is(kind)) {
                subjects.entry(&pair.subject).or_default().push(pair);
            }
            if weight > 0.0 && !subjects.is_empty() {
                let pairs = subjects.into_values().map(|all| Pairs::new(all, kind, law));
                kinds.push(OfKind { kind, weight, subjects: pairs.collect() });
            }
        }
        Self { count, kinds }
    }

    /// Adds pairs until there are so many.
    pub fn draw(&self, chosen: &mut Chosen<'a>, until: usize, most: usize, rng: &mut ChaCha8Rng) {
        let total: f64 = self.kinds.iter().map(|kind| kind.weight).sum();
        let mut refused = 0;
        while chosen.pairs.len() < until {
            let mut at = rng.random_range(0.0..total);
            let kind = self.kinds.iter().find(|kind| {
                at -= kind.weight;
                at < 0.0
            });
            let Some(OfKind { subjects, .. }) = kind.or(self.kinds.last()) else { break };
            let pairs = &subjects[rng.random_range(0..subjects.len())];
            if !chosen.add(pairs.draw(rng), most) {
                refused += 1;
                // A kind or subject with few pairs runs dry: take what is left.
                if refused > 50 * self.count {
                    let mut left: Vec<&PairRow> = self.all().collect();
                    left.shuffle(rng);
                    for most in [most, usize::MAX] {
                        for &pair in &left {
                            if chosen.pairs.len() < until {
                                chosen.add(pair, most);
                            }
                        }
                    }
                    break;
                }
            }
        }
    }

    fn all(&self) -> impl Iterator<Item = &'a PairRow> {
        self.kinds.iter().flat_map(|kind| &kind.subjects).flat_map(|pairs| &pairs.all).copied()
    }

    /// Fewest pairs of one subject that the part must take to be filled.
    pub fn least_of_a_subject(&self) -> usize {
        let mut of: BTreeMap<&str, usize> = BTreeMap::new();
        self.all().for_each(|pair| *of.entry(&pair.subject).or_default() += 1);
        let enough = |most: usize| of.values().map(|&n| n.min(most)).sum::<usize>() >= self.count;
        let (mut low, mut high) = (1, self.count.max(1));
        while low < high {
            let middle = (low + high) / 2;
            if enough(middle) { high = middle } else { low = middle + 1 }
        }
        low
    }
}
