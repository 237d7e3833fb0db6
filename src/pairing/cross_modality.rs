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
fn in_order<'a, 'b>(
    a: &'a Eligible<'b>,
    b: &'a Eligible<'b>,
) -> (&'a Eligible<'b>, &'a Eligible<'b>) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(modality: &str, session: &str, frame: Option<&str>) -> VolumeRow {
        let word = |text: &str| text.to_owned();
        VolumeRow {
            source: word("test"),
            subject: word("sub"),
            session: word(session),
            study: word(session),
            series: word("ser"),
            modality: word(modality),
            frame_of_reference: frame.map(word),
            file: word("ser.nii"),
            shape: [1; 3],
            spacing_mm: [1.0; 3],
            affine: [0.0; 16],
            centre_mm: [0.0; 3],
            foreground_above: 0.0,
            background: 0.0,
            intensity_centre: 0.0,
            intensity_scale: 1.0,
        }
    }

    #[test]
    fn the_frame_of_reference_decides_and_then_the_session() {
        let shared = |a: (&str, &str, Option<&str>), b: (&str, &str, Option<&str>)| {
            shared_world(&volume(a.0, a.1, a.2), &volume(b.0, b.1, b.2))
        };
        let frame = Some("same frame of reference");
        assert_eq!(shared(("CT", "1", Some("f")), ("PET", "2", Some("f"))), frame);
        assert_eq!(shared(("CT", "1", Some("f")), ("T1", "1", Some("g"))), None);
        assert_eq!(shared(("T1", "1", None), ("T2", "1", None)), Some("same session"));
        assert_eq!(shared(("T1", "1", None), ("T2", "2", None)), None);
        assert_eq!(shared(("T1", "1", None), ("T1", "1", None)), None);
    }
}
