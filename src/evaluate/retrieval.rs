//! Finding the same place in another modality of the same subject.

use std::collections::BTreeMap;

use glam::DVec3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Embedded, EvaluationRow, Settings};

/// Resamples of the subjects for an interval.
const RESAMPLES: usize = 1000;

/// A slice that can be asked for or found: where it lies, and its embedding.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// RAS+ mm of its centre.
    pub centre_mm: DVec3,
    /// Its embedding.
    pub embedding: &'a [f32],
}

/// How many queries found their place.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Retrieval {
    /// Queries.
    pub queries: usize,
    /// Queries whose nearest slice lies within the tolerance.
    pub found: usize,
    /// Queries that a random slice of the gallery would find, on average.
    pub by_chance: f64,
}

/// Looks for each query's place in a gallery, by the cosine of the embeddings.
///
/// Query and gallery are of one subject, so who the subject is tells nothing:
/// only the place does.
pub fn retrieval(queries: &[Place], gallery: &[Place], tolerance_mm: f64) -> Retrieval {
    let mut result = Retrieval { queries: queries.len(), ..Retrieval::default() };
    for query in queries {
        let best = gallery.iter().max_by(|a, b| {
            cosine(query.embedding, a.embedding).total_cmp(&cosine(query.embedding, b.embedding))
        });
        let near = |place: &Place| place.centre_mm.distance(query.centre_mm) <= tolerance_mm + 1e-6;
        result.found += usize::from(best.is_some_and(near));
        let hits = gallery.iter().filter(|place| near(place)).count();
        result.by_chance += hits as f64 / gallery.len().max(1) as f64;
    }
    result
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}

/// Retrieval in both directions, a row for each pair of modalities and one over
/// all.
pub(super) fn rows(
    embedded: &Embedded,
    width: usize,
    settings: &Settings,
    about: &impl Fn(&str, f64, &str) -> EvaluationRow,
) -> Vec<EvaluationRow> {
    let mut series: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (n, pair) in embedded.pairs.iter().enumerate() {
        series.entry((&pair.anchor_series, &pair.positive_series)).or_default().push(n);
    }
    // By modalities, then by subject.
    let mut by_pair: BTreeMap<String, BTreeMap<&str, Retrieval>> = BTreeMap::new();
    for members in series.into_values() {
        let Some(&first) = members.first() else { continue };
        let pair = embedded.pairs[first];
        let places = |values: &[f32]| -> Vec<(DVec3, Vec<f32>)> {
            members
                .iter()
                .map(|&n| {
                    let place = DVec3::from_array(embedded.pairs[n].anchor_mm);
                    (place, values[n * width..(n + 1) * width].to_vec())
                })
                .collect()
        };
        let (anchors, positives) = (places(&embedded.anchors), places(&embedded.positives));
        let (from, to) = (&pair.anchor_modality, &pair.positive_modality);
        for (name, queries, gallery) in [
            (format!("{from}→{to}"), &anchors, &positives),
            (format!("{to}→{from}"), &positives, &anchors),
        ] {
            let result = retrieval(&borrow(queries), &borrow(gallery), settings.tolerance_mm);
            for name in [name, "all".to_owned()] {
                let total = by_pair.entry(name).or_default().entry(&pair.subject).or_default();
                total.queries += result.queries;
                total.found += result.found;
                total.by_chance += result.by_chance;
            }
        }
    }
    by_pair
        .into_iter()
        .map(|(name, subjects)| {
            let results: Vec<Retrieval> = subjects.into_values().collect();
            let queries: usize = results.iter().map(|r| r.queries).sum();
            let interval = bootstrap(&results, settings.seed);
            let remark = format!(
                "within {} mm, gallery of the same subject; 95 % interval over subjects; \
                 reference is chance",
                settings.tolerance_mm
            );
            EvaluationRow {
                pair: name,
                low: interval.map(|(low, _)| low),
                high: interval.map(|(_, high)| high),
                reference: Some(
                    results.iter().map(|r| r.by_chance).sum::<f64>() / queries.max(1) as f64,
                ),
                count: queries as u32,
                subjects: results.len() as u32,
                ..about("retrieval_top1", share(&results), &remark)
            }
        })
        .collect()
}

fn borrow(places: &[(DVec3, Vec<f32>)]) -> Vec<Place<'_>> {
    places.iter().map(|(centre_mm, e)| Place { centre_mm: *centre_mm, embedding: e }).collect()
}

fn share(results: &[Retrieval]) -> f64 {
    let queries: usize = results.iter().map(|r| r.queries).sum();
    results.iter().map(|r| r.found).sum::<usize>() as f64 / queries.max(1) as f64
}

/// The 95 % percentile interval over subjects, or `None` with fewer than three.
///
/// # Source
/// Efron 1979; subjects, not slices, are what was drawn independently.
fn bootstrap(results: &[Retrieval], seed: u64) -> Option<(f64, f64)> {
    if results.len() < 3 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut shares: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let drawn: Vec<Retrieval> =
                results.iter().map(|_| results[rng.random_range(0..results.len())]).collect();
            share(&drawn)
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    Some((shares[RESAMPLES / 40], shares[RESAMPLES - 1 - RESAMPLES / 40]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(embeddings: &[[f32; 2]]) -> Vec<(DVec3, Vec<f32>)> {
        let centre = |n: usize| DVec3::new(0.0, 0.0, 4.0 * n as f64);
        embeddings.iter().enumerate().map(|(n, e)| (centre(n), e.to_vec())).collect()
    }

    #[test]
    fn finds_what_is_alike_and_counts_chance() {
        let queries = places(&[[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]]);
        let same = retrieval(&borrow(&queries), &borrow(&queries), 1.0);
        assert_eq!((same.found, same.queries), (3, 3));
        assert!((same.by_chance - 1.0).abs() < 1e-12);
        let reversed = places(&[[0.0, 1.0], [0.7, 0.7], [1.0, 0.0]]);
        assert_eq!(retrieval(&borrow(&queries), &borrow(&reversed), 1.0).found, 1);
        assert_eq!(retrieval(&borrow(&queries), &borrow(&reversed), 8.0).found, 3);
    }

    #[test]
    fn the_interval_needs_subjects() {
        let one = Retrieval { queries: 10, found: 5, by_chance: 1.0 };
        assert_eq!(bootstrap(&[one, one], 1), None);
        assert_eq!(bootstrap(&[one; 4], 1), Some((0.5, 0.5)));
    }
}
