//! InfoNCE with temperature, symmetric or from one side.

use std::str::FromStr;

use onnx_grad::{Error, Graph, Value};
use serde::Serialize;

use super::{
    EPSILON, Inputs, Loss,
    cross_entropy::{cross_entropy, mean_of, shares},
    normalised, scores,
};

/// Most places of a batch that are compared: their scores take 16 MiB, and the loss holds
/// several such.
const MOST_ROWS: usize = 2048;

/// Who picks whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Sides {
    /// Anchors their positives, and positives their anchors.
    Both,
    /// Anchors their positives.
    Anchor,
}

impl FromStr for Sides {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "both" => Ok(Self::Both),
            "anchor" => Ok(Self::Anchor),
            _ => Err("\"both\" or \"anchor\""),
        }
    }
}

/// The InfoNCE loss in nats of projections `[K, P]`: anchor n picks the positives
/// that row n of `targets` names among those that row n of `allowed` lets stand. Of
/// projections of L places each place is a pair of its own.
///
/// # Source
/// van den Oord, Li and Vinyals 2018, eq. 4–5, with the cosine over the
/// temperature as score; both sides averaged as in Radford et al. 2021 (CLIP),
/// fig. 3.
pub(super) fn info_nce(g: &mut Graph, inputs: &Inputs, sides: Sides) -> Result<Loss, Error> {
    if inputs.places > 1 {
        let inputs = of_places(g, inputs)?;
        return info_nce(g, &inputs, sides);
    }
    let anchors = normalised(g, inputs.anchors)?;
    let positives = normalised(g, inputs.positives)?;
    let scores = scores(g, anchors, positives, inputs.temperature)?;
    let forward = cross_entropy(g, scores, inputs.targets, inputs.allowed)?;
    if sides == Sides::Anchor {
        return Ok(forward);
    }
    let turned = [scores, inputs.targets, inputs.allowed].map(|v| g.transpose(v, &[1, 0]));
    let [scores, targets, allowed] = turned;
    let targets = shares(g, targets?)?;
    let backward = cross_entropy(g, scores?, targets, allowed?)?;
    mean_of(g, [forward, backward])
}

/// The inputs with places of all pairs as pairs of their own, `[K · L, P / L]` or fewer
/// rows.
///
/// What may not stand against an anchor, and what shares its positive mass, is the same
/// place of another pair: what lies elsewhere in the view is other anatomy, also where
/// the view is the pair's own.
///
/// # Source
/// Wang et al. 2021, *Dense contrastive learning for self-supervised visual pre-training*,
/// eq. 2, with the places of one grid in mm as correspondence.
fn of_places(g: &mut Graph, inputs: &Inputs) -> Result<Inputs, Error> {
    let [pairs, width] = [g.shape(inputs.anchors)[0], g.shape(inputs.anchors)[1]];
    let compared = compared(inputs.places, pairs);
    let places = compared.len();
    let rows = pairs * places;
    let kept = g.constant_i64(&[places], &compared)?;
    let of_place = width / inputs.places;
    let [anchors, positives] = [inputs.anchors, inputs.positives].map(|all| {
        let all = g.reshape(all, &[pairs, inputs.places, of_place])?;
        let kept = g.gather(all, kept, 1)?;
        g.reshape(kept, &[rows, of_place])
    });
    let (anchors, positives) = (anchors?, positives?);
    let mut same = vec![0.0; places * places];
    same.iter_mut().step_by(places + 1).for_each(|same| *same = 1.0);
    let same = g.constant_f32(&[1, places, 1, places], &same)?;
    let one = g.scalar(1.0);
    let at_same = |g: &mut Graph, of_pairs: Value| -> Result<Value, Error> {
        let of_pairs = g.reshape(of_pairs, &[pairs, 1, pairs, 1])?;
        let of_places = g.mul(of_pairs, same)?;
        g.reshape(of_places, &[rows, rows])
    };
    let left_out = g.sub(one, inputs.allowed)?;
    let left_out = at_same(g, left_out)?;
    let targets = at_same(g, inputs.targets)?;
    let allowed = g.sub(one, left_out)?;
    Ok(Inputs { anchors, positives, targets, allowed, places: 1, ..*inputs })
}

/// Which places of a square view are compared: every nth to either side, so that a batch
/// has at most [`MOST_ROWS`] of them. Batches are moved about, so all anatomy is met.
fn compared(places: usize, pairs: usize) -> Vec<i64> {
    if pairs * places <= MOST_ROWS {
        return (0..places as i64).collect();
    }
    let side = places.isqrt();
    let step = (1..side).find(|&n| pairs * side.div_ceil(n).pow(2) <= MOST_ROWS).unwrap_or(side);
    let along = || (step / 2..side).step_by(step);
    along().flat_map(|row| along().map(move |column| (row * side + column) as i64)).collect()
}

/// The bound ln K − loss in nats of symmetric InfoNCE of rows in memory, `[K, P]`
/// laid row by row; with `allowed`, `[K, K]`, as in [`Inputs`], K is the number of
/// an anchor's candidates.
pub fn info_nce_bound(
    anchors: &[f32],
    positives: &[f32],
    width: usize,
    temperature: f32,
    allowed: Option<&[f32]>,
) -> f64 {
    let unit = |rows: &[f32]| -> Vec<Vec<f64>> {
        rows.chunks_exact(width)
            .map(|row| {
                let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>();
                let norm = (norm + f64::from(EPSILON)).sqrt();
                row.iter().map(|&v| f64::from(v) / norm).collect()
            })
            .collect()
    };
    let (a, b) = (unit(anchors), unit(positives));
    let count = a.len();
    let score = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / f64::from(temperature)
    };
    let may = |anchor: usize, positive: usize| {
        let at = anchor * count + positive;
        anchor == positive || allowed.is_none_or(|allowed| allowed.get(at).is_none_or(|&v| v > 0.0))
    };
    let one_sided = |a: &[Vec<f64>], b: &[Vec<f64>], may: &dyn Fn(usize, usize) -> bool| -> f64 {
        let bounds = a.iter().enumerate().map(|(n, x)| {
            let candidates = b.iter().enumerate().filter(|&(m, _)| may(n, m));
            let scores: Vec<f64> = candidates.map(|(_, y)| score(x, y)).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            (scores.len() as f64).ln() - (most + sum.ln() - score(x, &b[n]))
        });
        bounds.sum::<f64>() / count.max(1) as f64
    };
    (one_sided(&a, &b, &may) + one_sided(&b, &a, &|n, m| may(m, n))) / 2.0
}

/// As [`info_nce_bound`], of projections that tell of `places` places one by one: the mean
/// of the bounds at each, where a pair has to be told from what the others have at the same
/// place, so that where in the view a place is tells nothing.
pub fn info_nce_bound_of_places(
    anchors: &[f32],
    positives: &[f32],
    (width, places): (usize, usize),
    temperature: f32,
    allowed: Option<&[f32]>,
) -> f64 {
    let places = places.max(1);
    let of_place = width / places;
    let at = |rows: &[f32], place: usize| -> Vec<f32> {
        let rows = rows.chunks_exact(width.max(1));
        rows.flat_map(|row| &row[place * of_place..(place + 1) * of_place]).copied().collect()
    };
    let bounds = (0..places).map(|place| {
        let (anchors, positives) = (at(anchors, place), at(positives, place));
        info_nce_bound(&anchors, &positives, of_place, temperature, allowed)
    });
    bounds.sum::<f64>() / places as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_learned_is_zero_and_everything_is_near_ln_k() {
        let same = vec![1.0; 8 * 4];
        assert!(info_nce_bound(&same, &same, 4, 0.1, None).abs() < 1e-9);
        let mut unlike = vec![0.0; 16];
        unlike.iter_mut().step_by(5).for_each(|v| *v = 1.0);
        assert!((info_nce_bound(&unlike, &unlike, 4, 0.05, None) - 4f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn of_many_places_every_nth_is_compared() {
        assert_eq!(compared(3, 4), [0, 1, 2]);
        assert_eq!(compared(64, 32).len(), 64);
        assert_eq!(compared(16, 500), [5, 7, 13, 15]);
        assert_eq!(compared(25, MOST_ROWS), [12]);
        assert_eq!(compared(256, 32).len(), 64);
    }

    #[test]
    fn what_is_not_allowed_is_no_candidate() {
        // rows 0 and 1 alike, so that each is the other's false negative
        let rows = [1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
        let plain = info_nce_bound(&rows, &rows, 2, 0.01, None);
        let expected = 3f64.ln() - 2.0 / 3.0 * 2f64.ln();
        assert!((plain - expected).abs() < 1e-9, "{plain}");
        let allowed = [1.0, 0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0];
        let masked = info_nce_bound(&rows, &rows, 2, 0.01, Some(&allowed));
        let expected = (2.0 * 2f64.ln() + 3f64.ln()) / 3.0;
        assert!((masked - expected).abs() < 1e-9, "{masked}");
    }
}
