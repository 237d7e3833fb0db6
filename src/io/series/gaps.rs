//! Where the slices of a stack lie on a regular grid.

use std::str::FromStr;

use glam::DVec3;

use super::SeriesError;

/// What becomes of a stack that lacks slices, or whose gaps differ.
///
/// Filled is what lies between two slices, linearly: where every gap is a multiple
/// of the median one, slices stay as they are and the missing ones between them
/// are interpolated; where gaps differ otherwise, all that lie off the regular
/// grid are. What is filled is no measurement: its share is limited, and it is
/// told ([`Series::missing_slices`](super::Series::missing_slices), remarks).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Missing {
    /// It makes no volume, and the reason says where.
    #[default]
    Refuse,
    /// It is filled, where not too much is missing.
    Fill,
}

impl FromStr for Missing {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "refuse" => Ok(Self::Refuse),
            "fill" => Ok(Self::Fill),
            _ => Err("\"refuse\" or \"fill\""),
        }
    }
}

/// Most missing slices one behind the other. A line across more says nothing of
/// what lies there: lungs of 5 mm slices would have 20 mm made up.
pub(super) const MAX_IN_A_ROW: usize = 3;

/// Of so many slices one may be missing.
const MAX_SHARE: usize = 4;

/// How far from a slice of the grid, as a part of the gap, a slice counts as lying
/// on it: as far as files round positions of slices 10 mm apart.
const ON_GRID: f64 = 1e-3;

/// How far a gap may be from the median. Files round positions to 0.01 mm, and
/// a whole-body PET in six bed positions (public sarcoma data, STS_001) has
/// gaps of 3.19 to 3.29 mm where two beds meet, all others being 3.27 mm: no
/// slice of it is more than 0.04 mm from a regular place.
fn gap_tolerance_mm(gap_mm: f64) -> f64 {
    (0.03 * gap_mm).max(0.01)
}

/// Difference between gaps, as a part of the median, above which it is told.
const UNEVEN: f64 = 0.01;

/// How far a slice may lie from its place on the line: roundings add up.
pub(super) fn place_tolerance_mm(gap_mm: f64) -> f64 {
    (0.05 * gap_mm).max(0.02)
}

/// Slices on a regular grid.
pub(super) struct Regular {
    /// The vector from one slice of the grid to the next.
    pub(super) step: DVec3,
    /// Where each slice of the stack lies, in slices of the grid.
    pub(super) k: Vec<f64>,
    /// Slices of the grid.
    pub(super) slices: usize,
    /// Those with no slice of the stack within half a gap.
    pub(super) missing: usize,
    pub(super) remark: Option<String>,
}

impl Regular {
    /// The grid of a stack whose slices lie at these positions, in order along
    /// their normal.
    ///
    /// # Errors
    /// [`SeriesError`] where they make none.
    pub(super) fn of(
        positions: &[DVec3],
        normal: DVec3,
        missing: Missing,
    ) -> Result<Self, SeriesError> {
        let (Some(&first), Some(&last)) = (positions.first(), positions.last()) else {
            return Err(SeriesError::OneSlice);
        };
        if positions.len() < 2 {
            return Err(SeriesError::OneSlice);
        }
        let along = positions.iter().map(|at| (*at - first).dot(normal)).collect::<Vec<_>>();
        let gaps = gaps(&along);
        let median_mm = median(&gaps);
        let k: Vec<f64> = match fault(&gaps, median_mm) {
            None => (0..positions.len()).map(|k| k as f64).collect(),
            Some(fault) if missing == Missing::Refuse => return Err(fault),
            Some(_) => multiples(&gaps, median_mm).unwrap_or_else(|| fractions(&along, median_mm)),
        };
        let steps = k.last().copied().unwrap_or(1.0);
        let step = (last - first) / steps;
        for (slice, (k, at)) in k.iter().zip(positions).enumerate() {
            let off_mm = (first + step * *k).distance(*at);
            if off_mm.is_nan() || off_mm > place_tolerance_mm(median_mm) {
                return Err(SeriesError::Crooked { slice, off_mm });
            }
        }
        // A step along the plane spans no volume; rounding cannot bring it there.
        if step.dot(normal) < 1e-3 * step.length() {
            let (slice, off_mm) = (positions.len() - 1, step.length());
            return Err(SeriesError::Crooked { slice, off_mm });
        }
        let slices = steps.min(f64::from(u32::MAX)) as usize + 1;
        let (missing, in_a_row) = empty(&k, slices);
        if missing * MAX_SHARE > slices || in_a_row > MAX_IN_A_ROW {
            return Err(SeriesError::TooManyMissing { missing, in_a_row, slices });
        }
        let remark = remark(&k, missing, &gaps, step.dot(normal));
        Ok(Self { step, k, slices, missing, remark })
    }
}

fn remark(k: &[f64], missing: usize, gaps: &[f64], gap_mm: f64) -> Option<String> {
    let least = gaps.iter().copied().fold(f64::INFINITY, f64::min);
    let most = gaps.iter().copied().fold(0.0, f64::max);
    let slices = k.last().copied().unwrap_or(0.0) as usize + 1;
    if k.iter().any(|k| k.fract() != 0.0) {
        let far = match missing {
            0 => String::new(),
            n => format!(", {n} of {slices} slices far from any that was measured"),
        };
        Some(format!(
            "gaps of {least:.3} to {most:.3} mm were resampled to {gap_mm:.3} mm along the slices{far}"
        ))
    } else if missing > 0 {
        Some(format!("{missing} of {slices} slices are missing and were interpolated"))
    } else if most - least > UNEVEN * gap_mm {
        Some(format!("gaps of {least:.3} to {most:.3} mm are taken as equal"))
    } else {
        None
    }
}

/// The first gap that is not the median one.
fn fault(gaps: &[f64], median_mm: f64) -> Option<SeriesError> {
    let tolerance = gap_tolerance_mm(median_mm);
    let differs = |gap_mm: &f64| !gap_mm.is_finite() || (gap_mm - median_mm).abs() > tolerance;
    let (after, gap_mm) = (gaps.iter().position(differs)?, *gaps.iter().find(|g| differs(g))?);
    let (times, slices) = (gap_mm / median_mm, gaps.len() + 1);
    Some(if times > 1.5 && (times - times.round()).abs() < 0.1 {
        SeriesError::Missing { gap_mm, median_mm, after, slices }
    } else {
        SeriesError::Irregular { gap_mm, median_mm, after, slices }
    })
}

/// Places of slices whose gaps are multiples of the median, in whole slices.
fn multiples(gaps: &[f64], median_mm: f64) -> Option<Vec<f64>> {
    let mut k = vec![0.0];
    for gap_mm in gaps {
        let times = (gap_mm / median_mm).round();
        if times < 1.0 || (gap_mm - times * median_mm).abs() > times * gap_tolerance_mm(median_mm) {
            return None;
        }
        k.push(k.last()? + times);
    }
    Some(k)
}

/// Places of slices at any gaps, on a grid from the first to the last with about
/// the median gap.
fn fractions(along: &[f64], median_mm: f64) -> Vec<f64> {
    let extent_mm = along.last().copied().unwrap_or(0.0);
    let steps = (extent_mm / median_mm).round().clamp(1.0, f64::from(u32::MAX));
    let on_grid = |k: f64| if (k - k.round()).abs() < ON_GRID { k.round() } else { k };
    along.iter().map(|at_mm| on_grid(at_mm / extent_mm * steps)).collect()
}

/// Slices of the grid further than half a gap from any of the stack, and how many
/// of them lie one behind the other.
pub(super) fn empty(k: &[f64], slices: usize) -> (usize, usize) {
    let (mut missing, mut in_a_row) = (0, 0);
    for pair in k.windows(2) {
        // Half a gap behind the one to half a gap before the other.
        let first = (pair[0] + 0.5).floor() + 1.0;
        let last = (pair[1] - 0.5).ceil() - 1.0;
        let here = (last - first + 1.0).max(0.0) as usize;
        missing += here.min(slices);
        in_a_row = in_a_row.max(here);
    }
    (missing, in_a_row)
}

pub(super) fn gaps(along: &[f64]) -> Vec<f64> {
    along.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// The middle value; of an even number the lower one of the two.
pub(super) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((sorted.len().max(1) - 1) / 2).copied().unwrap_or(0.0)
}
