//! Slices of a grid that no file has, from those beside them.

use super::{SeriesError, SliceSource, gaps::MAX_IN_A_ROW};

/// Where a slice of the grid comes from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Row {
    /// A slice of the series.
    Own(usize),
    /// Between two slices of the series: the second one weighs so much.
    Between(usize, usize, f32),
}

/// Where each of the `slices` of a grid comes from.
///
/// # Errors
/// [`SeriesError::FileCount`] where the series does not cover the grid.
pub(super) fn rows(sources: &[SliceSource], slices: usize) -> Result<Vec<Row>, SeriesError> {
    let wrong = || SeriesError::FileCount { files: sources.len(), slices };
    let most = (MAX_IN_A_ROW + 2) as f64;
    let ascend = sources.windows(2).all(|pair| {
        let gap = pair[1].k - pair[0].k;
        gap > 0.0 && gap <= most
    });
    let last = slices.checked_sub(1).ok_or_else(wrong)? as f64;
    let ends = sources.first().map(|first| first.k).zip(sources.last().map(|last| last.k));
    if !ascend || ends != Some((0.0, last)) {
        return Err(wrong());
    }
    let mut below = 0;
    let mut rows = Vec::new();
    for k in (0..slices).map(|k| k as f64) {
        while sources.get(below + 1).is_some_and(|next| next.k <= k) {
            below += 1;
        }
        let here = sources[below].k;
        rows.push(match sources.get(below + 1) {
            _ if here == k => Row::Own(below),
            Some(above) => Row::Between(below, below + 1, ((k - here) / (above.k - here)) as f32),
            None => return Err(wrong()),
        });
    }
    Ok(rows)
}

/// The values between two slices. What was not measured in one is not in between.
pub(super) fn between(below: &[f32], above: &[f32], weight: f32) -> Vec<f32> {
    below.iter().zip(above).map(|(below, above)| below + (above - below) * weight).collect()
}
