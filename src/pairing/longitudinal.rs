//! The same place of a subject in another session.

use super::{
    Eligible,
    candidate::{Candidates, Reason},
};
use crate::view::TEMPLATE;

/// Every slice of one volume that shows enough of the body in a volume of the same
/// modality from another session too, where the two share their world: after
/// alignment, in one frame of reference, or in one template.
pub(super) fn candidates<'a>(volumes: &[&Eligible<'a>], all: &mut Candidates<'a>) {
    for (n, &first) in volumes.iter().enumerate() {
        for &second in &volumes[n + 1..] {
            let (a, b) = (&first.volume.row, &second.volume.row);
            let world = &first.volume.world;
            if a.session == b.session || a.modality != b.modality || *world != second.volume.world {
                continue;
            }
            let reason = if world.starts_with(TEMPLATE) {
                "same place of two sessions in one template"
            } else {
                "same place of two sessions in one world"
            };
            let in_order = (&a.session, &a.series) <= (&b.session, &b.series);
            let (anchor, positive) = if in_order { (first, second) } else { (second, first) };
            all.begin();
            for &slice in &anchor.slices {
                let place = anchor.stack.centre_mm(slice);
                if positive.shows(place) {
                    let reason = Reason::Words(reason);
                    all.push((anchor.volume, place), (positive.volume, place), reason);
                }
            }
        }
    }
}
