//! The objective of the tests and benches on whole encoders.

use onnx_grad::{Error, Graph, Value};

/// Symmetric InfoNCE of the two halves of a batch of features `[2n, width]`:
/// row i of the first half belongs to row i of the second.
pub fn info_nce(g: &mut Graph, features: Value, temperature: f32) -> Result<Value, Error> {
    let square = g.mul(features, features)?;
    let sum = g.reduce_sum(square, &[1], true)?;
    let epsilon = g.scalar(1e-12);
    let sum = g.add(sum, epsilon)?;
    let norm = g.sqrt(sum)?;
    let unit = g.div(features, norm)?;
    let half = g.shape(features)[0] / 2;
    let views = g.split(unit, 0, &[half, half])?;
    let logits = g.gemm(views[0], false, views[1], true)?;
    let scale = g.scalar(temperature.recip());
    let logits = g.mul(logits, scale)?;
    let mut share = vec![0.0; half * half];
    share.iter_mut().step_by(half + 1).for_each(|x| *x = -0.5 / half as f32);
    let share = g.constant_f32(&[half, half], &share)?;
    let rows = g.log_softmax(logits, 1)?;
    let columns = g.log_softmax(logits, 0)?;
    let both = g.add(rows, columns)?;
    let hits = g.mul(both, share)?;
    g.reduce_sum(hits, &[0, 1], false)
}
