//! Two augmentations of one slice.
//!
//! # Source
//! Chen et al. 2020, *A simple framework for contrastive learning* (SimCLR), § 2.1.

use super::{Eligible, Kind, PairRow, Split, row};

pub(super) fn pairs(volumes: &[&Eligible], split: &Split, all: &mut Vec<PairRow>) {
    for eligible in volumes {
        for &k in &eligible.slices {
            let place = (eligible.volume, eligible.volume.slice_centre_mm(k));
            all.push(row(Kind::Augmented, split, place, place, "one slice seen twice".to_owned()));
        }
    }
}
