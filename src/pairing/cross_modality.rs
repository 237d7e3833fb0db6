//! The same place in world mm, seen by another modality.

use super::{
    Eligible,
    candidate::{Candidates, Reason},
};
use crate::view::{Prepared, TEMPLATE};

/// Every slice of one volume that has enough body in another volume of the
/// subject too, where the two share their world coordinates. Anchor and
/// positive share the sampling grid, so spacings need not agree.
pub(super) fn candidates<'a>(volumes: &[&Eligible<'a>], all: &mut Candidates<'a>) {
    for (n, first) in volumes.iter().enumerate() {
        for second in &volumes[n + 1..] {
            let (anchor, positive) = in_order(first, second);
            let Some(reason) = shared_world(anchor.volume, positive.volume) else {
                continue;
            };
            all.begin();
            for &n in &anchor.slices {
                let place = anchor.stack.centre_mm(n);
                if positive.shows(place) {
                    let reason = Reason::Words(reason);
                    all.push((anchor.volume, place), (positive.volume, place), reason);
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
/// do not, or are of one modality, or of two sessions that only alignment or a
/// template has brought together: those are longitudinal.
///
/// A shared *Frame of Reference UID* says so; two different ones say the
/// opposite, whatever the study. Without any, a session's images are taken to
/// be acquired in one position, as BIDS does.
///
/// # Source
/// DICOM PS3.3 C.7.4.1.1.1.
fn shared_world(a: &Prepared, b: &Prepared) -> Option<&'static str> {
    why(
        [&a.world, &b.world],
        [&a.row.modality, &b.row.modality],
        [&a.row.session, &b.row.session],
        [&a.row.frame_of_reference, &b.row.frame_of_reference],
    )
}

fn why(
    worlds: [&String; 2],
    modalities: [&String; 2],
    sessions: [&String; 2],
    frames: [&Option<String>; 2],
) -> Option<&'static str> {
    let same_frame = frames[0].is_some() && frames[0] == frames[1];
    let same_session = sessions[0] == sessions[1];
    if modalities[0] == modalities[1] || worlds[0] != worlds[1] || !(same_frame || same_session) {
        return None;
    }
    Some(match (same_frame, frames) {
        _ if worlds[0].starts_with(TEMPLATE) => "same template, same session",
        (true, _) => "same frame of reference",
        (false, [Some(_), Some(_)]) => "aligned, same session",
        _ => "same session",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    type Volume<'a> = (&'a str, &'a str, Option<&'a str>, &'a str);

    #[test]
    fn the_world_decides_and_then_the_session() {
        let shared = |a: Volume, b: Volume| {
            let word = |text: &str| text.to_owned();
            let frame = |frame: Option<&str>| frame.map(word);
            why(
                [&word(a.3), &word(b.3)],
                [&word(a.0), &word(b.0)],
                [&word(a.1), &word(b.1)],
                [&frame(a.2), &frame(b.2)],
            )
        };
        let (f, g, none) = (Some("f"), Some("g"), None);
        let frame = Some("same frame of reference");
        assert_eq!(shared(("CT", "1", f, "f"), ("PET", "2", f, "f")), frame);
        assert_eq!(shared(("CT", "1", f, "f"), ("T1", "1", g, "g")), None);
        let session = Some("same session");
        assert_eq!(shared(("T1", "1", none, "1"), ("T2", "1", none, "1")), session);
        assert_eq!(shared(("T1", "1", none, "1"), ("T2", "2", none, "2")), None);
        assert_eq!(shared(("T1", "1", none, "1"), ("T1", "1", none, "1")), None);
        // Aligned: one world of two frames; of two sessions it is longitudinal.
        let aligned = Some("aligned, same session");
        assert_eq!(shared(("CT", "1", f, "f"), ("T1", "1", g, "f")), aligned);
        assert_eq!(shared(("CT", "1", f, "f"), ("T1", "2", g, "f")), None);
        let template = Some("same template, same session");
        let mni = "template-mni";
        assert_eq!(shared(("T1", "1", none, mni), ("T2", "1", none, mni)), template);
    }
}
