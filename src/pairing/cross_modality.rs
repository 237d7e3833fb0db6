//! The same place in world mm, seen by another modality.

use super::{Eligible, Kind, PairRow, Split, row};
use crate::prepare::VolumeRow;

/// Every slice of one volume that has enough body in another volume of the
/// subject too, where the two share their world coordinates. Anchor and
/// positive share the sampling grid, so spacings need not agree.
pub(super) fn pairs(volumes: &[&Eligible], split: &Split, all: &mut Vec<PairRow>) {
    for (n, first) in volumes.iter().enumerate() {
        for second in &volumes[n + 1..] {
            let (anchor, positive) = in_order(first, second);
            let Some(reason) = shared_world(&anchor.volume.row, &positive.volume.row) else {
                continue;
            };
            for &k in &anchor.slices {
                let place = anchor.volume.slice_centre_mm(k);
                let seen = positive
                    .volume
                    .slice_at_mm(place.z)
                    .is_some_and(|k| positive.slices.binary_search(&k).is_ok());
                if seen {
                    all.push(row(
                        Kind::CrossModality,
                        split,
                        (anchor.volume, place),
                        (positive.volume, place),
                        reason.to_owned(),
                    ));
                }
            }
        }
    }
}

/// The two by modality, so that a pair of modalities has one direction.
fn in_order<'a, 'b>(a: &'a Eligible<'b>, b: &'a Eligible<'b>) -> (&'a Eligible<'b>, &'a Eligible<'b>) {
    let key = |e: &Eligible| (e.volume.row.modality.clone(), e.volume.row.series.clone());
    if key(a) <= key(b) { (a, b) } else { (b, a) }
}

/// Why two volumes of a subject share world coordinates, or `None` where they
/// do not, or are of one modality.
///
/// A shared *Frame of Reference UID* says so; two different ones say the
/// opposite, whatever the study. Without any, a session's images are taken to
/// be acquired in one position, as BIDS does.
///
/// # Source
/// DICOM PS3.3 C.7.4.1.1.1.
fn shared_world(a: &VolumeRow, b: &VolumeRow) -> Option<&'static str> {
    if a.modality == b.modality {
        return None;
    }
    match (&a.frame_of_reference, &b.frame_of_reference) {
        (Some(one), Some(other)) => (one == other).then_some("same frame of reference"),
        _ => (a.session == b.session).then_some("same session"),
    }
}
