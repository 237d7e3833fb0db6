//! Neighbouring slices of one series.

use super::{
    Eligible,
    candidate::{Candidates, Reason},
};

/// Slices of one series that lie at most `max_distance_mm` apart. How often one
/// of which distance is drawn is [`super::DistanceLaw`]'s.
pub(super) fn candidates<'a>(
    volumes: &[&Eligible<'a>],
    max_distance_mm: f64,
    all: &mut Candidates<'a>,
) {
    for eligible in volumes {
        all.begin();
        let volume = eligible.volume;
        for (n, &slice) in eligible.slices.iter().enumerate() {
            let anchor = eligible.stack.centre_mm(slice);
            for &other in &eligible.slices[n + 1..] {
                let positive = eligible.stack.centre_mm(other);
                // A hair of rounding must not decide.
                if anchor.distance(positive) > max_distance_mm + 1e-6 {
                    break;
                }
                all.push((volume, anchor), (volume, positive), Reason::Near);
            }
        }
    }
}
