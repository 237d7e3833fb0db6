//! The pairs that a subject could have of one kind, before a limit is set.

use glam::DVec3;
use rand::{RngExt, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{Direction, Kind, PairRow, Split};
use crate::{durable::sha256_hex, view::Prepared};

/// A pair that could be.
struct Candidate<'a> {
    anchor: (&'a Prepared, DVec3),
    positive: (&'a Prepared, DVec3),
    reason: Reason,
}

/// Why; a text only once it is needed.
#[derive(Clone, Copy)]
pub(super) enum Reason {
    /// In these words.
    Words(&'static str),
    /// As near slices of a series.
    Near,
    /// As a slice and what is around it.
    Context(Direction),
}

/// What a subject could have of one kind, group by group: two series that are
/// seen at the same places are kept or left out whole, as retrieval in a gallery
/// with holes would be easier than it is.
pub(super) struct Candidates<'a> {
    kind: Kind,
    groups: Vec<Vec<Candidate<'a>>>,
    rng: ChaCha8Rng,
}

impl<'a> Candidates<'a> {
    pub fn new(kind: Kind, seed: u64, subject: &str) -> Self {
        let text = format!("{seed} {kind} {subject}");
        let digest = sha256_hex(text.as_bytes());
        let seed = u64::from_str_radix(digest.get(..16).unwrap_or_default(), 16).unwrap_or(seed);
        Self { kind, groups: Vec::new(), rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// Begins the pairs of a series, or of two.
    pub fn begin(&mut self) {
        self.groups.push(Vec::new());
    }

    pub fn push(
        &mut self,
        anchor: (&'a Prepared, DVec3),
        positive: (&'a Prepared, DVec3),
        reason: Reason,
    ) {
        if let Some(group) = self.groups.last_mut() {
            group.push(Candidate { anchor, positive, reason });
        }
    }

    /// One of so many, by the draw of this subject and kind.
    pub fn any(&mut self, count: usize) -> usize {
        if count == 0 { 0 } else { self.rng.random_range(0..count) }
    }

    pub fn len(&self) -> usize {
        self.groups.iter().map(Vec::len).sum()
    }

    /// Leaves out what is above a limit, by a seeded draw, and returns how many.
    pub fn limit(&mut self, limit: usize) -> usize {
        let before = self.len();
        if before <= limit {
            return 0;
        }
        let whole = matches!(self.kind, Kind::CrossModality | Kind::Longitudinal);
        if !whole {
            // Of every series its share.
            let mut kept = vec![false; before];
            kept[..limit].fill(true);
            kept.shuffle(&mut self.rng);
            let mut kept = kept.into_iter();
            let groups = self.groups.iter_mut();
            groups.for_each(|group| group.retain(|_| kept.next().unwrap_or(false)));
            return before - self.len();
        }
        let mut order: Vec<usize> = (0..self.groups.len()).collect();
        order.shuffle(&mut self.rng);
        let mut left = limit;
        for n in order {
            let Some(group) = self.groups.get_mut(n) else { continue };
            if group.len() > left {
                if left < limit {
                    group.clear();
                } else {
                    keep(group, left, &mut self.rng);
                }
            }
            left -= group.len().min(left);
        }
        before - self.len()
    }

    /// The rows of the manifest, in order.
    pub fn into_rows(self, split: &Split) -> impl Iterator<Item = PairRow> {
        let kind = self.kind;
        self.groups.into_iter().flatten().map(move |candidate| candidate.into_row(kind, split))
    }
}

/// Some elements of a list, evenly drawn, in their order.
fn keep<T>(all: &mut Vec<T>, count: usize, rng: &mut ChaCha8Rng) {
    let mut chosen = vec![false; all.len()];
    let mut order: Vec<usize> = (0..all.len()).collect();
    let (drawn, _) = order.partial_shuffle(rng, count);
    drawn.iter().for_each(|&n| chosen[n] = true);
    let mut chosen = chosen.into_iter();
    all.retain(|_| chosen.next().unwrap_or(false));
}

impl Candidate<'_> {
    fn into_row(self, kind: Kind, split: &Split) -> PairRow {
        let ((anchor, anchor_mm), (positive, positive_mm)) = (self.anchor, self.positive);
        let distance = anchor_mm.distance(positive_mm);
        let (a, p) = (&anchor.row, &positive.row);
        let reason = match self.reason {
            Reason::Words(words) => words.to_owned(),
            Reason::Near => format!("slices of one series, {distance:.2} mm apart"),
            Reason::Context(direction) => direction.reason().to_owned(),
        };
        let context = match self.reason {
            Reason::Context(direction) => Some(direction.as_str().to_owned()),
            _ => None,
        };
        PairRow {
            kind: kind.as_str().to_owned(),
            split: split.of(&a.subject).to_owned(),
            source: a.source.clone(),
            subject: a.subject.clone(),
            world: anchor.world.clone(),
            anchor_series: a.series.clone(),
            anchor_session: a.session.clone(),
            anchor_modality: a.modality.clone(),
            anchor_mm: anchor_mm.to_array(),
            positive_series: p.series.clone(),
            positive_session: p.session.clone(),
            positive_modality: p.modality.clone(),
            positive_world: positive.world.clone(),
            positive_mm: positive_mm.to_array(),
            distance_mm: (anchor.world == positive.world).then_some(distance),
            context,
            reason,
        }
    }
}
