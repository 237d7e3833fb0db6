//! Finding the same place in another image of the same subject.

use std::collections::BTreeMap;

use glam::DVec3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use super::{EvaluationRow, Group, Settings};

/// Resamples for an interval.
const RESAMPLES: usize = 1000;

/// Fewest subjects whose resampling says anything.
const LEAST_SUBJECTS: usize = 3;

/// Which queries of one subject found their place.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Retrieval {
    /// For each series that was asked, in the order of its slices, whether the nearest
    /// slice of the gallery lies within the tolerance.
    pub hits: Vec<Vec<bool>>,
    /// Queries that a random slice of the gallery would find, on average.
    pub by_chance: f64,
}

impl Retrieval {
    /// How many were asked.
    pub fn queries(&self) -> usize {
        self.hits.iter().map(Vec::len).sum()
    }

    /// How many found their place.
    pub fn found(&self) -> usize {
        self.hits.iter().flatten().filter(|&&hit| hit).count()
    }

    fn add(&mut self, other: &Self) {
        self.hits.extend(other.hits.iter().cloned());
        self.by_chance += other.by_chance;
    }
}

/// Looks for the place of each query, in RAS+ mm, in a gallery: `score(query, slice)`
/// is highest for the slice that is taken for it.
///
/// Query and gallery are of one subject, so who the subject is tells nothing:
/// only the place does.
pub fn retrieval(
    queries: &[DVec3],
    gallery: &[DVec3],
    tolerance_mm: f64,
    score: impl Fn(usize, usize) -> f64 + Sync,
) -> Retrieval {
    let near = |a: DVec3, b: DVec3| a.distance(b) <= tolerance_mm + 1e-6;
    let hits = queries
        .par_iter()
        .enumerate()
        .map(|(query, &place)| {
            let scored = (0..gallery.len()).map(|slice| (score(query, slice), slice));
            let best = scored.max_by(|a, b| a.0.total_cmp(&b.0));
            best.is_some_and(|(_, slice)| near(gallery[slice], place))
        })
        .collect();
    let share = |&place: &DVec3| {
        let hits = gallery.iter().filter(|&&slice| near(slice, place)).count();
        hits as f64 / gallery.len().max(1) as f64
    };
    Retrieval { hits: vec![hits], by_chance: queries.iter().map(share).sum() }
}

/// The cosine of the angle between two vectors.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| -> f64 {
        x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    };
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt().max(1e-12)
}

/// The share of queries whose first answer is their place, by embeddings, or by what
/// needs no encoder.
pub(super) const TOP1: &str = "retrieval_top1";
/// The same by projections, which are what was trained to find it.
pub(super) const TOP1_OF_PROJECTIONS: &str = "retrieval_top1_z";

/// As [`TOP1`], of vectors less the mean of their image's: see [`centred`].
pub(super) const TOP1_CENTRED: &str = "retrieval_top1_centred";

/// Vectors of one side of a group's pairs, each less the mean over the two series that its
/// pair is of. What all slices of an image share, its modality first of all, tells nothing
/// of the place and is most of a cosine between modalities.
///
/// # Source
/// Liang et al. 2022, *Mind the gap: understanding the modality gap in multi-modal
/// contrastive representation learning*, § 2; the gap is taken off within each image.
pub(super) fn centred(group: &Group, vectors: &[f32]) -> Vec<f32> {
    let width = vectors.len() / group.pairs.len().max(1);
    let series = |n: usize| {
        let pair = group.pairs[n];
        (pair.anchor_series.as_str(), pair.positive_series.as_str())
    };
    let mut sums: BTreeMap<(&str, &str), (Vec<f64>, f64)> = BTreeMap::new();
    for (n, vector) in vectors.chunks_exact(width.max(1)).enumerate() {
        let (sum, count) = sums.entry(series(n)).or_insert_with(|| (vec![0.0; width], 0.0));
        sum.iter_mut().zip(vector).for_each(|(sum, &v)| *sum += f64::from(v));
        *count += 1.0;
    }
    let mut left = vectors.to_vec();
    for (n, vector) in left.chunks_exact_mut(width.max(1)).enumerate() {
        if let Some((sum, count)) = sums.get(&series(n)) {
            vector.iter_mut().zip(sum).for_each(|(v, sum)| *v -= (sum / count) as f32);
        }
    }
    left
}

/// Retrieval in both directions, a row for each pair of modalities and one over
/// all. `score(a, p)` is that of the anchor of pair `a` with the positive of pair `p`.
pub(super) fn rows(
    group: &Group,
    (metric, encoder): (&str, &str),
    settings: &Settings,
    score: impl Fn(usize, usize) -> f64 + Sync,
) -> Vec<EvaluationRow> {
    let mut series: BTreeMap<(&str, &str), Vec<usize>> = BTreeMap::new();
    for (n, pair) in group.pairs.iter().enumerate() {
        series.entry((&pair.anchor_series, &pair.positive_series)).or_default().push(n);
    }
    // By modalities, then by subject.
    let mut by_pair: BTreeMap<String, BTreeMap<&str, Retrieval>> = BTreeMap::new();
    for members in series.into_values() {
        let Some(&first) = members.first() else { continue };
        let pair = group.pairs[first];
        let places: Vec<DVec3> =
            members.iter().map(|&n| DVec3::from_array(group.pairs[n].anchor_mm)).collect();
        let tolerance = settings.tolerance_mm;
        let there = retrieval(&places, &places, tolerance, |q, g| score(members[q], members[g]));
        let back = retrieval(&places, &places, tolerance, |q, g| score(members[g], members[q]));
        let (from, to) = (&pair.anchor_modality, &pair.positive_modality);
        for (name, result) in [(format!("{from}→{to}"), there), (format!("{to}→{from}"), back)]
        {
            for name in [name, group.all()] {
                by_pair.entry(name).or_default().entry(&pair.subject).or_default().add(&result);
            }
        }
    }
    let row = |(name, subjects): (String, BTreeMap<&str, Retrieval>)| {
        let results: Vec<Retrieval> = subjects.into_values().collect();
        let queries: usize = results.iter().map(Retrieval::queries).sum();
        let ((low, high), over) = interval(&results, settings.seed);
        let remark = format!(
            "within {} mm, gallery of the same subject; 95 % interval over {over}; reference is chance",
            settings.tolerance_mm
        );
        let chance = results.iter().map(|r| r.by_chance).sum::<f64>() / queries.max(1) as f64;
        EvaluationRow {
            pair: name,
            low: Some(low),
            high: Some(high),
            reference: Some(chance),
            count: queries as u32,
            subjects: results.len() as u32,
            ..group.row(metric, encoder, share(&results), &remark)
        }
    };
    by_pair.into_iter().map(row).collect()
}

fn share(results: &[Retrieval]) -> f64 {
    let queries: usize = results.iter().map(Retrieval::queries).sum();
    results.iter().map(Retrieval::found).sum::<usize>() as f64 / queries.max(1) as f64
}

/// The 95 % percentile interval, and what was resampled for it: subjects, which are
/// what was drawn independently; of fewer than three, blocks of neighbouring slices, as
/// one slice is like the next. Those say nothing of other subjects.
///
/// # Source
/// Efron 1979; Künsch 1989, with circular blocks of n^⅓ slices.
fn interval(results: &[Retrieval], seed: u64) -> ((f64, f64), &'static str) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let over_subjects = results.len() >= LEAST_SUBJECTS;
    let mut shares: Vec<f64> = (0..RESAMPLES)
        .map(|_| match over_subjects {
            true => {
                let drawn =
                    results.iter().map(|_| results[rng.random_range(0..results.len())].clone());
                share(&drawn.collect::<Vec<_>>())
            }
            false => {
                let runs = results.iter().flat_map(|result| &result.hits);
                let drawn = runs.map(|run| blocks(run, &mut rng)).collect();
                share(&[Retrieval { hits: drawn, by_chance: 0.0 }])
            }
        })
        .collect();
    shares.sort_by(f64::total_cmp);
    let ends = (shares[RESAMPLES / 40], shares[RESAMPLES - 1 - RESAMPLES / 40]);
    (ends, if over_subjects { "subjects" } else { "blocks of slices of these subjects" })
}

/// As many answers again, in blocks of neighbours.
fn blocks(run: &[bool], rng: &mut ChaCha8Rng) -> Vec<bool> {
    let length = (run.len() as f64).cbrt().ceil() as usize;
    let mut drawn = Vec::with_capacity(run.len() + length);
    while drawn.len() < run.len() {
        let start = rng.random_range(0..run.len());
        drawn.extend(run.iter().cycle().skip(start).take(length));
    }
    drawn.truncate(run.len());
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pairing::PairRow;

    #[test]
    fn what_all_slices_of_an_image_share_is_taken_off() {
        let pair = |anchor: &str, positive: &str| PairRow {
            kind: String::new(),
            split: String::new(),
            source: String::new(),
            subject: String::new(),
            world: String::new(),
            anchor_series: anchor.to_owned(),
            anchor_session: String::new(),
            anchor_modality: String::new(),
            anchor_mm: [0.0; 3],
            positive_series: positive.to_owned(),
            positive_session: String::new(),
            positive_modality: String::new(),
            positive_world: String::new(),
            positive_mm: [0.0; 3],
            distance_mm: None,
            context: None,
            reason: String::new(),
        };
        let pairs = [pair("a", "b"), pair("a", "c"), pair("a", "b")];
        let group = Group { source: "s", kind: "k", pairs: pairs.iter().collect() };
        let left = centred(&group, &[1.0, 2.0, 50.0, 60.0, 3.0, 6.0]);
        assert_eq!(left, [-1.0, -2.0, 0.0, 0.0, 1.0, 2.0]);
    }

    #[test]
    fn finds_what_is_alike_and_counts_chance() {
        let places: Vec<DVec3> = (0..3).map(|n| DVec3::new(0.0, 0.0, 4.0 * f64::from(n))).collect();
        let alike = |embeddings: [[f32; 2]; 3]| {
            let queries = [[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]];
            move |q: usize, g: usize| cosine(&queries[q], &embeddings[g])
        };
        let same = alike([[1.0, 0.0], [0.7, 0.7], [0.0, 1.0]]);
        let found = retrieval(&places, &places, 1.0, same);
        assert_eq!((found.found(), found.queries()), (3, 3));
        assert!((found.by_chance - 1.0).abs() < 1e-12);
        let reversed = alike([[0.0, 1.0], [0.7, 0.7], [1.0, 0.0]]);
        assert_eq!(retrieval(&places, &places, 1.0, reversed).hits, [[false, true, false]]);
        assert_eq!(retrieval(&places, &places, 8.0, reversed).found(), 3);
    }

    #[test]
    fn intervals_are_over_subjects_or_over_blocks_of_slices() {
        let half = |n: usize| Retrieval {
            hits: vec![(0..n).map(|slice| slice < n / 2).collect()],
            by_chance: 1.0,
        };
        assert_eq!(interval(&vec![half(10); 4], 1), ((0.5, 0.5), "subjects"));
        let ((low, high), over) = interval(&[half(64)], 1);
        assert!(over.contains("blocks"));
        // Of slices that are all different it would be 0.38 to 0.62.
        assert!((0.1..0.36).contains(&low) && (0.64..0.9).contains(&high), "{low} to {high}");
        let always = Retrieval { hits: vec![vec![true; 9]], by_chance: 1.0 };
        assert_eq!(interval(&[always], 1).0, (1.0, 1.0));
    }
}
