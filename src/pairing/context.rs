//! A slice masked out of a slab, and the slab around it.
//!
//! The counterpart of masked language modelling (`both`) and of predicting what
//! comes next (`forward`, `backward`), along the scan.
//!
//! # Source
//! van den Oord, Li and Vinyals 2018, *Representation learning with contrastive
//! predictive coding*, § 2; the slab stands for the past patches. What is masked
//! is background, so that one encoder sees both sides.

use std::str::FromStr;

use serde::Serialize;

use super::{
    Eligible, Side,
    candidate::{Candidates, Reason},
};

/// What the anchor of a context pair sees of the slab around the slice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub enum Direction {
    /// The slices before it: it is predicted along the normal.
    Forward,
    /// The slices behind it: it is predicted against the normal.
    Backward,
    /// The slices on both sides.
    #[default]
    Both,
}

impl Direction {
    /// The word used in tables and pipelines.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Backward => "backward",
            Self::Both => "both",
        }
    }

    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::Forward => "a slice, and the slices of its slab before it",
            Self::Backward => "a slice, and the slices of its slab behind it",
            Self::Both => "a slice, and its slab without it",
        }
    }
}

impl FromStr for Direction {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::Forward, Self::Backward, Self::Both]
            .into_iter()
            .find(|direction| direction.as_str() == text)
            .ok_or("\"forward\", \"backward\" or \"both\"")
    }
}

pub(super) fn candidates<'a>(
    volumes: &[&Eligible<'a>],
    direction: Direction,
    all: &mut Candidates<'a>,
) {
    for eligible in volumes {
        all.begin();
        for &n in &eligible.slices {
            let place = (eligible.volume, eligible.stack.centre_mm(n));
            all.push(place, place, Reason::Context(direction));
        }
    }
}

/// Whether a side of a context pair sees a slice of the slab: the positive the one
/// in the middle (the later one of two), the anchor only others.
pub(super) fn sees(direction: Direction, side: Side, depth: usize, slice: usize) -> bool {
    let middle = depth / 2;
    match (side, direction) {
        (Side::Positive, _) => slice == middle,
        (Side::Anchor, Direction::Both) => slice != middle,
        (Side::Anchor, Direction::Forward) => slice < middle,
        (Side::Anchor, Direction::Backward) => slice > middle,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_slice_is_seen_by_both_sides() {
        for direction in [Direction::Forward, Direction::Backward, Direction::Both] {
            for depth in [3, 4, 5, 8] {
                let seen = |side| -> Vec<usize> {
                    (0..depth).filter(|&n| sees(direction, side, depth, n)).collect()
                };
                let (anchor, positive) = (seen(Side::Anchor), seen(Side::Positive));
                assert_eq!(positive, [depth / 2]);
                assert!(!anchor.is_empty() && !anchor.contains(&(depth / 2)));
                let expected = match direction {
                    Direction::Forward => depth / 2,
                    Direction::Backward => depth - depth / 2 - 1,
                    Direction::Both => depth - 1,
                };
                assert_eq!(anchor.len(), expected);
            }
        }
    }
}
