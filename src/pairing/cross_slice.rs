//! Neighbouring slices of one series.

use super::{Eligible, Kind, PairRow, Split, row};

/// Slices of one series that lie at most `max_distance_mm` apart.
pub(super) fn pairs(
    volumes: &[&Eligible],
    max_distance_mm: f64,
    split: &Split,
    all: &mut Vec<PairRow>,
) {
    for eligible in volumes {
        let volume = eligible.volume;
        for (n, &k) in eligible.slices.iter().enumerate() {
            let anchor = volume.slice_centre_mm(k);
            for &other in &eligible.slices[n + 1..] {
                let positive = volume.slice_centre_mm(other);
                let distance = anchor.distance(positive);
                // A hair of rounding must not decide.
                if distance > max_distance_mm + 1e-6 {
                    break;
                }
                let reason = format!("slices of one series, {distance:.2} mm apart");
                all.push(row(
                    Kind::CrossSlice,
                    split,
                    (volume, anchor),
                    (volume, positive),
                    reason,
                ));
            }
        }
    }
}
