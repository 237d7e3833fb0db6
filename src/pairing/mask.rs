//! Who is no negative of whom: false negatives are named, not hoped away.
//!
//! # Source
//! What false negatives cost and that naming them helps: Huynh et al. 2022,
//! *Boosting contrastive self-supervised learning with false negative
//! cancellation*, § 3.2; the rules here use what the manifest knows, not
//! similarity. Soft positives by distance: Dufumier et al. 2021, *Contrastive
//! learning with continuous proxy meta-data* (y-aware InfoNCE), eq. 3.

use std::collections::BTreeMap;

use serde::Serialize;

use super::PairRow;
use crate::view::{Plane, TEMPLATE};

/// Whose views are no negatives of whom, as a pipeline sets it.
///
/// Views are centred on the body, so what tells the places of two views apart is
/// their distance along the normal of the plane; that is what all mm here mean.
/// Two pairs that share a view are never negatives of each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Rules {
    /// Views of one subject in one world that lie this near or nearer; 0 is off.
    pub within_mm: f64,
    /// Views of one subject in different worlds, whose distance nobody knows.
    pub unplaced: bool,
    /// All views of one subject.
    pub subject: bool,
    /// Views of different subjects in one template that lie this near or nearer;
    /// 0 is off.
    pub template_mm: f64,
    /// Standard deviation of the weight by which near views of one subject in one
    /// world count as positives too; 0 is off.
    pub soft_positives_mm: f64,
    /// Gives the normal.
    pub plane: Plane,
}

/// Farthest that a soft positive may lie, in standard deviations: beyond, its
/// weight is below 1 %.
const SOFT_REACH: f64 = 3.0;

/// Rounding of mm must not decide.
const HAIR_MM: f64 = 1e-6;

/// What the rules make of a batch; both `[K, K]`, row by row: rows are anchors,
/// columns positives.
#[derive(Debug, Clone, PartialEq)]
pub struct Mask {
    /// What share of the row's positive mass the column has; rows sum to 1.
    pub targets: Vec<f32>,
    /// 1 where the column may stand in the row's denominator, 0 where it may not.
    pub allowed: Vec<f32>,
}

impl Rules {
    /// The mask of a batch.
    ///
    /// Only rows of one subject, or in one template, are compared, so that this
    /// costs little also where the batch is large.
    pub fn mask(&self, batch: &[&PairRow]) -> Mask {
        let count = batch.len();
        let mut allowed = vec![1.0; count * count];
        let mut targets = vec![0.0; count * count];
        (0..count).for_each(|n| targets[n * count + n] = 1.0);
        self.related(batch, batch, |row, column| {
            let at = row * count + column;
            if row == column {
                return;
            }
            let soft = self.soft_weight(batch[row], batch[column]);
            if soft > 0.0 {
                targets[at] = soft;
            } else if self.excludes(batch[row], batch[column]) {
                allowed[at] = 0.0;
            }
        });
        for row in targets.chunks_exact_mut(count.max(1)) {
            let sum: f32 = row.iter().sum();
            row.iter_mut().for_each(|target| *target /= sum);
        }
        Mask { targets, allowed }
    }

    /// `[K, Q]`: 1 where positive j of a queue may stand in the denominator of an
    /// anchor of the batch, 0 where it may not.
    pub fn mask_of_queue(&self, batch: &[&PairRow], queue: &[&PairRow]) -> Vec<f32> {
        let mut allowed = vec![1.0; batch.len() * queue.len()];
        self.related(batch, queue, |row, column| {
            let positive = self.soft_weight(batch[row], queue[column]) > 0.0;
            // A queue holds no positives: what would be a soft one is left out.
            if positive || self.excludes(batch[row], queue[column]) {
                allowed[row * queue.len() + column] = 0.0;
            }
        });
        allowed
    }

    /// Calls `each` with every (row, column) that a rule could say something of.
    fn related(&self, rows: &[&PairRow], columns: &[&PairRow], mut each: impl FnMut(usize, usize)) {
        let mut subjects: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut templates: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (n, pair) in columns.iter().enumerate() {
            subjects.entry(&pair.subject).or_default().push(n);
            if self.template_mm > 0.0 && pair.positive_world.starts_with(TEMPLATE) {
                templates.entry(&pair.positive_world).or_default().push(n);
            }
        }
        for (row, pair) in rows.iter().enumerate() {
            for &column in subjects.get(pair.subject.as_str()).into_iter().flatten() {
                each(row, column);
            }
            for &column in templates.get(pair.world.as_str()).into_iter().flatten() {
                if columns[column].subject != pair.subject {
                    each(row, column);
                }
            }
        }
    }

    /// Whether another pair may not be held against an anchor. The two sides of a pair
    /// are told to be the same, so the other pair is near where any of its sides is near
    /// to any of this one's; so both directions of an objective, and those that hold
    /// anchors against anchors, may use the one mask.
    fn excludes(&self, pair: &PairRow, other: &PairRow) -> bool {
        let (axis, _) = self.plane.normal();
        let [pair_sides, other_sides] = [pair, other].map(|pair| {
            [
                (pair.world.as_str(), pair.anchor_mm[axis]),
                (pair.positive_world.as_str(), pair.positive_mm[axis]),
            ]
        });
        let same_subject = pair.subject == other.subject;
        if same_subject && (self.subject || shares_view(pair, other)) {
            return true;
        }
        let mm = if same_subject { self.within_mm } else { self.template_mm };
        pair_sides.into_iter().any(|(world, level)| {
            other_sides.into_iter().any(|(other_world, other_level)| {
                if world != other_world {
                    return same_subject && self.unplaced;
                }
                let comparable = same_subject || world.starts_with(TEMPLATE);
                comparable && mm > 0.0 && (level - other_level).abs() <= mm + HAIR_MM
            })
        })
    }

    /// How much the positive of another pair counts as one of an anchor's.
    fn soft_weight(&self, anchor: &PairRow, other: &PairRow) -> f32 {
        let sigma = self.soft_positives_mm;
        let one_place = anchor.subject == other.subject && anchor.world == other.positive_world;
        if sigma <= 0.0 || !one_place {
            return 0.0;
        }
        let deviations = self.apart_mm(anchor, other) / sigma;
        if deviations > SOFT_REACH { 0.0 } else { (-0.5 * deviations * deviations).exp() as f32 }
    }

    fn apart_mm(&self, anchor: &PairRow, other: &PairRow) -> f64 {
        let (axis, _) = self.plane.normal();
        (anchor.anchor_mm[axis] - other.positive_mm[axis]).abs()
    }
}

/// Whether two pairs have an anchor or a positive in common. Then the manifest
/// itself calls the anchor of one and the positive of the other a pair, or nearly
/// so, and no rule need say it.
fn shares_view(a: &PairRow, b: &PairRow) -> bool {
    let same = |one: &[f64; 3], other: &[f64; 3]| {
        one.iter().zip(other).all(|(one, other)| (one - other).abs() <= HAIR_MM)
    };
    let (of_a, of_b) = (views(a), views(b));
    of_a.iter().any(|(series, world, mm)| {
        of_b.iter().any(|(other, there, at)| series == other && world == there && same(mm, at))
    })
}

/// Series, world and place of both sides.
fn views(pair: &PairRow) -> [(&str, &str, &[f64; 3]); 2] {
    [
        (&pair.anchor_series, &pair.world, &pair.anchor_mm),
        (&pair.positive_series, &pair.positive_world, &pair.positive_mm),
    ]
}

impl Mask {
    /// How many negatives each anchor has: columns that stand in its denominator
    /// and are no positive of it.
    pub fn negatives(&self) -> Vec<usize> {
        let count = (self.allowed.len() as f64).sqrt().round().max(1.0) as usize;
        let rows = self.allowed.chunks_exact(count).zip(self.targets.chunks_exact(count));
        rows.map(|(allowed, targets)| {
            let negative = |(&allowed, &target): (&f32, &f32)| allowed > 0.0 && target == 0.0;
            allowed.iter().zip(targets).filter(|&pair| negative(pair)).count()
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
