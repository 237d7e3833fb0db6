//! What finds the same place without any learning: the floors under retrieval.

use rayon::prelude::*;

use super::{
    EvaluationRow, Group, Settings,
    retrieval::{self, TOP1, TOP1_CENTRED, centred, cosine},
};
use crate::{
    pairing::Side,
    view::{self, ViewError, Volumes},
};

/// Bins of a histogram along each axis.
const BINS: usize = 32;

/// Retrieval by the correlation of the two views' values, and by the mutual information
/// of their joint histogram: what a person would try before training anything.
///
/// # Source
/// Viola and Wells 1997 for mutual information as likeness of images; here of 32 × 32
/// bins between the least and the greatest value of each view.
pub(super) fn rows(
    group: &Group,
    volumes: &Volumes,
    view: &view::Settings,
    settings: &Settings,
) -> Result<Vec<EvaluationRow>, ViewError> {
    let seen = |side: Side| -> Result<Vec<Vec<f32>>, ViewError> {
        let see = |pair: &&crate::pairing::PairRow| {
            let mut values = vec![0.0; view.voxels()];
            pair.see(side, volumes, view, None, &mut values)?;
            Ok(values)
        };
        group.pairs.par_iter().map(see).collect()
    };
    let (anchors, positives) = (seen(Side::Anchor)?, seen(Side::Positive)?);
    let standard = |views: &[Vec<f32>]| -> Vec<f32> {
        views.iter().flat_map(|view| standardised(view)).collect()
    };
    let (a, p) = (standard(&anchors), standard(&positives));
    let mut rows = Vec::new();
    for (metric, a, p) in [(TOP1, &a, &p), (TOP1_CENTRED, &centred(group, &a), &centred(group, &p))]
    {
        let at = |n: usize| n * view.voxels()..(n + 1) * view.voxels();
        rows.extend(retrieval::rows(group, (metric, "correlation"), settings, |n, m| {
            cosine(&a[at(n)], &p[at(m)])
        }));
    }
    let binned =
        |views: &[Vec<f32>]| -> Vec<Vec<u8>> { views.iter().map(|view| bins(view)).collect() };
    let (a, p) = (binned(&anchors), binned(&positives));
    rows.extend(retrieval::rows(group, (TOP1, "histogram MI"), settings, |n, m| {
        mutual_information(&a[n], &p[m])
    }));
    Ok(rows)
}

/// Mean 0 and length 1; zeros where all values are the same.
fn standardised(values: &[f32]) -> Vec<f32> {
    let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len().max(1) as f64;
    let norm = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { norm.recip() } else { 0.0 };
    values.iter().map(|&v| ((f64::from(v) - mean) * scale) as f32).collect()
}

/// The bin of each value.
fn bins(values: &[f32]) -> Vec<u8> {
    let least = values.iter().copied().fold(f32::INFINITY, f32::min);
    let most = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let scale = if most > least { BINS as f32 / (most - least) } else { 0.0 };
    values.iter().map(|&v| ((v - least) * scale).min(BINS as f32 - 1.0) as u8).collect()
}

/// The mutual information of a joint histogram, nats.
fn mutual_information(a: &[u8], b: &[u8]) -> f64 {
    let mut joint = vec![0u32; BINS * BINS];
    for (&x, &y) in a.iter().zip(b) {
        joint[usize::from(x) * BINS + usize::from(y)] += 1;
    }
    let total = f64::from(joint.iter().sum::<u32>()).max(1.0);
    let entropy = |counts: &mut dyn Iterator<Item = u32>| -> f64 {
        counts
            .filter(|&count| count > 0)
            .map(|count| f64::from(count) / total)
            .map(|share| -share * share.ln())
            .sum()
    };
    let rows = joint.chunks_exact(BINS).map(|row| row.iter().sum::<u32>());
    let columns = (0..BINS).map(|y| joint.iter().skip(y).step_by(BINS).sum::<u32>());
    entropy(&mut rows.into_iter()) + entropy(&mut columns.into_iter())
        - entropy(&mut joint.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mutual_information_is_that_of_the_values_whatever_they_are_called() {
        let values: Vec<f32> = (0..4096).map(|n| (n % 4) as f32).collect();
        let renamed: Vec<f32> =
            values.iter().map(|&v| [7.0, -3.0, 100.0, 2.5][v as usize]).collect();
        let unrelated: Vec<f32> = (0..4096).map(|n| (n / 4 % 4) as f32).collect();
        let mi = |a: &[f32], b: &[f32]| mutual_information(&bins(a), &bins(b));
        // 2.5 and 7 share a bin of 3.2: they are one value to it.
        assert!((mi(&values, &values) - 4f64.ln()).abs() < 1e-12);
        assert!(mi(&values, &unrelated).abs() < 1e-12);
        assert!(mi(&values, &renamed) > 1.0);
        let flat = vec![3.0; 4096];
        assert_eq!(mi(&flat, &values), 0.0);
    }

    #[test]
    fn correlation_is_pearson_and_none_for_what_is_flat() {
        let a = vec![1.0, 2.0, 3.0, 4.0];
        let b = vec![10.0, 30.0, 20.0, 40.0];
        let dot = |a: &[f32], b: &[f32]| -> f32 {
            standardised(a).iter().zip(standardised(b)).map(|(x, y)| x * y).sum()
        };
        assert!((dot(&a, &b) - 0.8).abs() < 1e-6);
        assert_eq!(dot(&a, &[5.0; 4]), 0.0);
    }
}
