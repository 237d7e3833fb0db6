//! Two augmentations of one slice.
//!
//! # Source
//! Chen et al. 2020, *A simple framework for contrastive learning* (SimCLR), § 2.1.

use super::{
    Eligible,
    candidate::{Candidates, Reason},
};

pub(super) fn candidates<'a>(volumes: &[&Eligible<'a>], all: &mut Candidates<'a>) {
    for eligible in volumes {
        all.begin();
        for &n in &eligible.slices {
            let place = (eligible.volume, eligible.stack.centre_mm(n));
            all.push(place, place, Reason::Words("one slice seen twice"));
        }
    }
}
