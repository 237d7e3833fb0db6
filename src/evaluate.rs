//! What the encoder knows of subjects it has never seen, beside an untrained
//! encoder of the same shape.

mod floor;
mod geometry;
mod retrieval;

use std::collections::BTreeMap;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;

use crate::{
    embed::{EmbedError, Embedder},
    objective::info_nce_bound_of_places,
    pairing::{Changes, HELD_OUT, Kind, PairRow, Side},
    table::record,
    view::{self, Augments, ViewError, Volumes},
};

pub use geometry::{alignment, rank_me, rank_me_of_sides, uniformity, uniformity_of_sides};
pub use retrieval::{Retrieval, retrieval};
use retrieval::{TOP1, TOP1_CENTRED, TOP1_OF_PROJECTIONS, centred};

/// How an encoder is evaluated, as a pipeline sets it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// A retrieved slice counts as found within this many mm.
    pub tolerance_mm: f64,
    /// Pairs in a batch of the held-out bound, K.
    pub batch: usize,
    /// Temperature of the bound.
    pub temperature: f32,
    /// How the two views of an augmented pair are changed.
    pub augment: Augments,
    /// Seed of the draws.
    pub seed: u64,
}

record! {
    /// A row of `evaluation.parquet`.
    pub struct EvaluationRow {
        /// `bound_nats`, `retrieval_top1` (by embeddings), `retrieval_top1_centred` (by
        /// embeddings less the mean of their image), `retrieval_top1_z` (by projections),
        /// `rank_me`, `alignment` or `uniformity`.
        pub metric: String,
        /// The pipeline's name of the source, or `all`.
        pub source: String,
        /// The kind of pair, or the two modalities `anchor→positive`.
        pub pair: String,
        /// `trained` or `untrained`; of retrieval also `correlation` and `histogram MI`,
        /// which need no learning.
        pub encoder: String,
        /// The value.
        pub value: f64,
        /// Lower end of the interval that `remark` explains.
        pub low: Option<f64>,
        /// Upper end.
        pub high: Option<f64>,
        /// What chance alone gives, or the ceiling of a bound.
        pub reference: Option<f64>,
        /// Pairs, queries or slices that the value rests on.
        pub count: u32,
        /// Held-out subjects among them.
        pub subjects: u32,
        /// How to read the row.
        pub remark: String,
    }
}

/// Why nothing can be evaluated.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EvaluateError {
    /// No subject was held out.
    #[error(
        "no pair of a held-out subject: a source needs two subjects or more, and held_out above 0"
    )]
    NothingHeldOut,
    /// The encoder cannot be used.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// A prepared volume cannot be read.
    #[error(transparent)]
    View(#[from] ViewError),
}

/// Most pairs of one kind and source that are looked at.
const MOST_PAIRS: usize = 2048;
/// Batches that the held-out bound is averaged over.
const BATCHES: usize = 50;

/// The held-out pairs of one source and kind.
struct Group<'a> {
    source: &'a str,
    kind: &'a str,
    pairs: Vec<&'a PairRow>,
}

impl<'a> Group<'a> {
    /// All groups of the held-out pairs, each with as many pairs as are looked at.
    fn all_of(pairs: &'a [PairRow]) -> Result<Vec<Self>, EvaluateError> {
        let mut groups: BTreeMap<(&str, &str), Vec<&PairRow>> = BTreeMap::new();
        for pair in pairs.iter().filter(|pair| pair.split == HELD_OUT) {
            groups.entry((&pair.source, &pair.kind)).or_default().push(pair);
        }
        if groups.is_empty() {
            return Err(EvaluateError::NothingHeldOut);
        }
        let group = |((source, kind), pairs)| Group { source, kind, pairs };
        let mut groups: Vec<Self> = groups.into_iter().map(group).collect();
        for group in &mut groups {
            if group.is_of_places() {
                keep_whole_series(&mut group.pairs);
            } else {
                thin(&mut group.pairs);
            }
        }
        Ok(groups)
    }

    /// Whether a pair is one place seen in two images, which can be looked for.
    fn is_of_places(&self) -> bool {
        [Kind::CrossModality, Kind::Longitudinal].iter().any(|kind| kind.as_str() == self.kind)
    }

    /// What stands for all its pairs of modalities.
    fn all(&self) -> String {
        if self.kind == Kind::CrossModality.as_str() { "all" } else { self.kind }.to_owned()
    }

    fn row(&self, metric: &str, encoder: &str, value: f64, remark: &str) -> EvaluationRow {
        EvaluationRow {
            metric: metric.to_owned(),
            source: self.source.to_owned(),
            pair: self.kind.to_owned(),
            encoder: encoder.to_owned(),
            value,
            low: None,
            high: None,
            reference: None,
            count: self.pairs.len() as u32,
            subjects: subjects(&self.pairs),
            remark: remark.to_owned(),
        }
    }
}

/// Anchors and positives of some pairs, embedded.
pub(crate) struct Embedded {
    /// Embeddings h, row by row.
    pub anchors: Vec<f32>,
    /// See `anchors`.
    pub positives: Vec<f32>,
    /// Projections z, row by row.
    pub anchor_projections: Vec<f32>,
    /// See `anchor_projections`.
    pub positive_projections: Vec<f32>,
}

/// Evaluates one encoder, called `name` in the rows, on the held-out pairs.
///
/// # Errors
/// [`EvaluateError`].
pub fn evaluate(
    embedder: &mut Embedder,
    name: &str,
    volumes: &Volumes,
    pairs: &[PairRow],
    view: &view::Settings,
    settings: &Settings,
) -> Result<Vec<EvaluationRow>, EvaluateError> {
    let mut rows = Vec::new();
    for group in Group::all_of(pairs)? {
        let embedded = embed_pairs(embedder, volumes, &group.pairs, view, settings)?;
        let width = embedder.dim();
        rows.extend(bound(&embedded, embedder.places(), &group, name, settings));
        if group.is_of_places() {
            let Embedded { anchors, positives, anchor_projections, positive_projections } =
                &embedded;
            let [a, p] = [anchors, positives].map(|rows| centred(&group, rows));
            for (metric, anchors, positives) in [
                (TOP1, anchors, positives),
                (TOP1_CENTRED, &a, &p),
                (TOP1_OF_PROJECTIONS, anchor_projections, positive_projections),
            ] {
                let width = anchors.len() / group.pairs.len();
                let place = |n: usize| n * width..(n + 1) * width;
                rows.extend(retrieval::rows(&group, (metric, name), settings, |a, p| {
                    retrieval::cosine(&anchors[place(a)], &positives[place(p)])
                }));
            }
        }
        if group.pairs.len() < 2 {
            continue;
        }
        let sides = [embedded.anchors.as_slice(), &embedded.positives];
        for (metric, value, remark) in [
            (
                "alignment",
                alignment(&embedded.anchors, &embedded.positives, width),
                "mean squared distance of positives; lower is closer",
            ),
            (
                "uniformity",
                uniformity_of_sides(sides, width),
                "lower is spread more evenly over the sphere",
            ),
            (
                "rank_me",
                rank_me_of_sides(sides, width),
                "effective rank of the embeddings; higher uses more of them",
            ),
        ] {
            rows.push(group.row(metric, name, value, remark));
        }
    }
    Ok(rows)
}

/// Retrieval on the held-out pairs by what needs no encoder.
///
/// # Errors
/// [`EvaluateError`].
pub fn floors(
    volumes: &Volumes,
    pairs: &[PairRow],
    view: &view::Settings,
    settings: &Settings,
) -> Result<Vec<EvaluationRow>, EvaluateError> {
    let mut rows = Vec::new();
    for group in Group::all_of(pairs)?.iter().filter(|group| group.is_of_places()) {
        rows.extend(floor::rows(group, volumes, view, settings)?);
    }
    Ok(rows)
}

fn subjects(pairs: &[&PairRow]) -> u32 {
    pairs.iter().map(|pair| &pair.subject).collect::<std::collections::BTreeSet<_>>().len() as u32
}

/// Evenly spaced pairs, at most [`MOST_PAIRS`].
fn thin(pairs: &mut Vec<&PairRow>) {
    let step = pairs.len().div_ceil(MOST_PAIRS).max(1);
    let mut n = 0;
    pairs.retain(|_| {
        n += 1;
        (n - 1) % step == 0
    });
}

/// All pairs of the first series until there are [`MOST_PAIRS`]: a gallery with holes would
/// make retrieval easier.
fn keep_whole_series(pairs: &mut Vec<&PairRow>) {
    let mut kept = 0;
    let mut last = (String::new(), String::new());
    let mut full = false;
    pairs.retain(|pair| {
        let series = (pair.anchor_series.clone(), pair.positive_series.clone());
        if series != last {
            full = kept >= MOST_PAIRS;
            last = series;
        }
        kept += usize::from(!full);
        !full
    });
}

/// Embeds both sides of some pairs; of augmented ones two views of their place.
pub(crate) fn embed_pairs(
    embedder: &mut Embedder,
    volumes: &Volumes,
    pairs: &[&PairRow],
    view: &view::Settings,
    settings: &Settings,
) -> Result<Embedded, EvaluateError> {
    // A pair of a series that is not there is told before any is embedded.
    for pair in pairs {
        for side in Side::BOTH {
            volumes.get(pair.side(side).0)?;
        }
    }
    let mut embed = |side: Side, which: u64| {
        let modalities: Vec<&str> = pairs
            .iter()
            .map(|pair| match side {
                Side::Anchor => pair.anchor_modality.as_str(),
                Side::Positive => pair.positive_modality.as_str(),
            })
            .collect();
        embedder.embed_each(view, &modalities, |n, values| {
            let pair = pairs[n];
            // Only an augmented pair needs augmentation: its two places are one.
            let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
            rng.set_stream(2 * n as u64 + which);
            let mut shared = ChaCha8Rng::seed_from_u64(settings.seed);
            shared.set_stream(1 << 32);
            let changes = pair.is(Kind::Augmented).then(|| Changes {
                augments: &settings.augment,
                rng: &mut rng,
                shared,
            });
            // The series are there, as was seen above.
            let _ = pair.see(side, volumes, view, changes, values);
        })
    };
    let (anchors, anchor_projections) = embed(Side::Anchor, 0)?;
    let (positives, positive_projections) = embed(Side::Positive, 1)?;
    Ok(Embedded { anchors, positives, anchor_projections, positive_projections })
}

/// The InfoNCE bound of batches of unseen pairs, drawn without replacement.
fn bound(
    embedded: &Embedded,
    places: usize,
    group: &Group,
    name: &str,
    settings: &Settings,
) -> Option<EvaluationRow> {
    let count = group.pairs.len();
    let batch = settings.batch.min(count);
    if batch < 2 {
        return None;
    }
    let width = embedded.anchor_projections.len() / count;
    let mut rng = ChaCha8Rng::seed_from_u64(settings.seed);
    let mut order: Vec<usize> = (0..count).collect();
    let mut bounds: Vec<f64> = (0..BATCHES)
        .map(|_| {
            let (drawn, _) = order.partial_shuffle(&mut rng, batch);
            let pick = |all: &[f32]| -> Vec<f32> {
                drawn.iter().flat_map(|&n| &all[n * width..(n + 1) * width]).copied().collect()
            };
            let anchors = pick(&embedded.anchor_projections);
            let positives = pick(&embedded.positive_projections);
            let shape = (width, places);
            info_nce_bound_of_places(&anchors, &positives, shape, settings.temperature, None)
        })
        .collect();
    bounds.sort_by(f64::total_cmp);
    let mean = bounds.iter().sum::<f64>() / BATCHES as f64;
    let remark = format!("K = {batch}; 5 to 95 % of {BATCHES} batches; reference is ln K");
    Some(EvaluationRow {
        low: bounds.get(BATCHES / 20).copied(),
        high: bounds.get(BATCHES - 1 - BATCHES / 20).copied(),
        reference: Some((batch as f64).ln()),
        ..group.row("bound_nats", name, mean, &remark)
    })
}
