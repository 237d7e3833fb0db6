//! Symmetric InfoNCE with temperature.

use onnx_grad::{Error, Graph, Value};

/// Keeps the norm of a projection away from zero.
const EPSILON: f32 = 1e-12;

/// The symmetric InfoNCE loss in nats, a scalar, of projections `[K, P]`: row n
/// of `anchors` belongs to row n of `positives`, all other rows are its
/// negatives. The bound on the mutual information is ln K − loss, at most ln K.
///
/// # Errors
/// [`Error`] where the shapes differ.
///
/// # Source
/// van den Oord, Li and Vinyals 2018, eq. 4–5, with the cosine over the
/// temperature as score, averaged over both directions as in Radford et al.
/// 2021 (CLIP), fig. 3.
pub fn info_nce(
    g: &mut Graph,
    anchors: Value,
    positives: Value,
    temperature: f32,
) -> Result<Value, Error> {
    let count = g.shape(anchors)[0];
    let anchors = normalised(g, anchors)?;
    let positives = normalised(g, positives)?;
    let similarity = g.gemm(anchors, false, positives, true)?;
    let scale = g.scalar(temperature.recip());
    let logits = g.mul(similarity, scale)?;
    let mut identity = vec![0.0; count * count];
    identity.iter_mut().step_by(count + 1).for_each(|v| *v = 1.0);
    let identity = g.constant_f32(&[count, count], &identity)?;
    let mut total = None;
    for axis in [1, 0] {
        let log_probability = g.log_softmax(logits, axis)?;
        let of_positives = g.mul(log_probability, identity)?;
        let sum = g.reduce_sum(of_positives, &[0, 1], false)?;
        total = Some(match total {
            None => sum,
            Some(other) => g.add(other, sum)?,
        });
    }
    let share = g.scalar(-0.5 / count as f32);
    match total {
        Some(total) => g.mul(total, share),
        None => Ok(share),
    }
}

/// Rows brought to length one.
fn normalised(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let square = g.mul(x, x)?;
    let sum = g.reduce_sum(square, &[1], true)?;
    let epsilon = g.scalar(EPSILON);
    let sum = g.add(sum, epsilon)?;
    let norm = g.sqrt(sum)?;
    g.div(x, norm)
}

/// [`info_nce`] of rows in memory, `[K, P]` laid row by row, for evaluation.
pub fn info_nce_loss(anchors: &[f32], positives: &[f32], width: usize, temperature: f32) -> f64 {
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
    let score = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / f64::from(temperature)
    };
    let one_sided = |a: &[Vec<f64>], b: &[Vec<f64>]| -> f64 {
        let losses = a.iter().enumerate().map(|(n, x)| {
            let scores: Vec<f64> = b.iter().map(|y| score(x, y)).collect();
            let most = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = scores.iter().map(|s| (s - most).exp()).sum();
            most + sum.ln() - scores[n]
        });
        losses.sum::<f64>() / a.len().max(1) as f64
    };
    (one_sided(&a, &b) + one_sided(&b, &a)) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_learned_is_ln_k_and_everything_is_near_zero() {
        let same = vec![1.0; 8 * 4];
        assert!((info_nce_loss(&same, &same, 4, 0.1) - 8f64.ln()).abs() < 1e-9);
        let mut unlike = vec![0.0; 16];
        unlike.iter_mut().step_by(5).for_each(|v| *v = 1.0);
        assert!(info_nce_loss(&unlike, &unlike, 4, 0.05) < 1e-6);
    }
}
