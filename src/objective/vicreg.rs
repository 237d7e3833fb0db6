//! Variance, invariance, covariance: nothing to tell apart, and no collapse.

use onnx_grad::{Error, Graph, Value};

use super::{Inputs, Loss};

/// Keeps the slope of the standard deviation finite.
const EPSILON: f32 = 1e-4;
/// The standard deviation that every number should have, γ.
const SPREAD: f32 = 1.0;

/// λ s + μ (v + v′) + ν (c + c′) of projections `[K, P]`: the mean squared
/// difference of the pairs, what the standard deviations lack of 1, and the squared
/// covariances over P. It bounds no information.
///
/// # Source
/// Bardes, Ponce and LeCun 2022, eq. 1–6, with the mean over all numbers for s, as in
/// their algorithm 1.
pub(super) fn vicreg(
    g: &mut Graph,
    inputs: &Inputs,
    [invariance, variance, covariance]: [f32; 3],
) -> Result<Loss, Error> {
    let difference = g.sub(inputs.anchors, inputs.positives)?;
    let square = g.mul(difference, difference)?;
    let distance = g.reduce_mean(square, &[0, 1], false)?;
    let mut loss = weighted(g, distance, invariance)?;
    for side in [inputs.anchors, inputs.positives] {
        let (spread, alike) = spread_and_covariance(g, side)?;
        for (term, weight) in [(spread, variance), (alike, covariance)] {
            let term = weighted(g, term, weight)?;
            loss = g.add(loss, term)?;
        }
    }
    Ok(Loss { loss, candidates: None })
}

/// v and c of one side.
fn spread_and_covariance(g: &mut Graph, z: Value) -> Result<(Value, Value), Error> {
    let [rows, width] = [0, 1].map(|axis| g.shape(z)[axis]);
    let mean = g.reduce_mean(z, &[0], true)?;
    let centred = g.sub(z, mean)?;
    let share = g.scalar((rows as f32 - 1.0).max(1.0).recip());

    let square = g.mul(centred, centred)?;
    let variance = g.reduce_sum(square, &[0], false)?;
    let variance = g.mul(variance, share)?;
    let (epsilon, full) = (g.scalar(EPSILON), g.scalar(SPREAD));
    let deviation = g.add(variance, epsilon)?;
    let deviation = g.sqrt(deviation)?;
    let lacking = g.sub(full, deviation)?;
    let lacking = g.relu(lacking)?;
    let spread = g.reduce_mean(lacking, &[0], false)?;

    let covariance = g.gemm(centred, true, centred, false)?;
    let covariance = g.mul(covariance, share)?;
    let above = g.trilu(covariance, true, 1)?;
    let square = g.mul(above, above)?;
    let half = g.reduce_sum(square, &[0, 1], false)?;
    // the half below the diagonal is the same
    let alike = weighted(g, half, 2.0 / width as f32)?;
    Ok((spread, alike))
}

fn weighted(g: &mut Graph, term: Value, weight: f32) -> Result<Value, Error> {
    let weight = g.scalar(weight);
    g.mul(term, weight)
}
