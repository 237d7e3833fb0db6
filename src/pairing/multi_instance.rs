//! Other images of the same study.

use super::{
    Eligible, Level,
    candidate::{Candidates, Reason},
};

/// Every slice of one series with a slice of each other series of the study:
/// there is one positive for each anchor, so the number of pairs grows with the
/// slices and not with their square.
///
/// Nothing is said about the places: the two series need not share a world. Which
/// slice it is, [`Level`] says.
///
/// # Source
/// The idea that two images of one study are a positive pair: Azizi et al. 2021,
/// *Big self-supervised models advance medical image classification* (MICLe), § 3.2.
pub(super) fn candidates<'a>(volumes: &[&Eligible<'a>], level: Level, all: &mut Candidates<'a>) {
    for (n, anchor) in volumes.iter().enumerate() {
        for positive in &volumes[n + 1..] {
            let same = anchor.volume.row.study == positive.volume.row.study;
            if !same || positive.slices.is_empty() {
                continue;
            }
            all.begin();
            for (at, &slice) in anchor.slices.iter().enumerate() {
                let other = match level {
                    Level::Relative => relative(at, anchor.slices.len(), positive.slices.len()),
                    Level::Any => all.any(positive.slices.len()),
                };
                let Some(&other) = positive.slices.get(other) else { continue };
                let reason = match level {
                    Level::Relative => {
                        "two series of one study, at the same share of the body's slices"
                    }
                    Level::Any => "two series of one study, at any slice",
                };
                all.push(
                    (anchor.volume, anchor.stack.centre_mm(slice)),
                    (positive.volume, positive.stack.centre_mm(other)),
                    Reason::Words(reason),
                );
            }
        }
    }
}

/// The element of a list that is as far along as element `at` of another one.
fn relative(at: usize, from: usize, to: usize) -> usize {
    let share = (at as f64 + 0.5) / from.max(1) as f64;
    ((share * to as f64) as usize).min(to.saturating_sub(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_share_of_the_way() {
        let all = |from, to| (0..from).map(|at| relative(at, from, to)).collect::<Vec<_>>();
        assert_eq!(all(5, 5), [0, 1, 2, 3, 4]);
        assert_eq!(all(3, 9), [1, 4, 7]);
        assert_eq!(all(4, 2), [0, 0, 1, 1]);
        assert_eq!(all(3, 1), [0, 0, 0]);
    }
}
