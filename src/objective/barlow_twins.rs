//! Barlow Twins: both sides say the same, and each number something else.

use onnx_grad::{Error, Graph, Value};

use super::{EPSILON, Inputs, Loss};

/// Σ (1 − Cᵢᵢ)² + λ Σ Cᵢⱼ² over i ≠ j, with C the correlation over the batch of the
/// numbers of the anchors with those of the positives, `[K, P]`. It bounds no
/// information.
///
/// # Source
/// Zbontar et al. 2021, eq. 1–2.
pub(super) fn barlow_twins(g: &mut Graph, inputs: &Inputs, redundancy: f32) -> Result<Loss, Error> {
    let a = standardised(g, inputs.anchors)?;
    let b = standardised(g, inputs.positives)?;
    let both = g.mul(a, b)?;
    let diagonal = g.reduce_sum(both, &[0], false)?;
    let one = g.scalar(1.0);
    let lacking = g.sub(one, diagonal)?;
    let lacking = g.mul(lacking, lacking)?;
    let invariance = g.reduce_sum(lacking, &[0], false)?;

    let correlation = g.gemm(a, true, b, false)?;
    let (above, below) = (g.trilu(correlation, true, 1)?, g.trilu(correlation, false, -1)?);
    let off_diagonal = g.add(above, below)?;
    let square = g.mul(off_diagonal, off_diagonal)?;
    let sum = g.reduce_sum(square, &[0, 1], false)?;
    let weight = g.scalar(redundancy);
    let sum = g.mul(sum, weight)?;
    Ok(Loss { loss: g.add(invariance, sum)?, candidates: None })
}

/// Every number with mean 0 over the batch and a sum of squares of 1.
fn standardised(g: &mut Graph, z: Value) -> Result<Value, Error> {
    let mean = g.reduce_mean(z, &[0], true)?;
    let centred = g.sub(z, mean)?;
    let square = g.mul(centred, centred)?;
    let sum = g.reduce_sum(square, &[0], true)?;
    let epsilon = g.scalar(EPSILON);
    let sum = g.add(sum, epsilon)?;
    let norm = g.sqrt(sum)?;
    g.div(centred, norm)
}
