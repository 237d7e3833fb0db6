//! The training graph: forward, backward and optimizer, of standard operators.

use onnx_grad::{
    AdamW, ElementType, Graph, Optimizer, OptimizerState, clip_by_global_norm, gradient, model,
};

use super::{Settings, TrainError};
use crate::{encoder::Encoder, objective::info_nce};

const BETA1: f32 = 0.9;
/// Below the usual 0.999: contrastive runs are short, and a long memory of the
/// second moment keeps the warm-up's.
const BETA2: f32 = 0.98;

/// The training graph as an ONNX file.
///
/// Inputs: `params`, `m`, `v` (flat), `views` `[2 K, 1, S, S]` with the anchors
/// before the positives, and three scalars. Outputs: the state after the step,
/// `loss` and `gradient_norm`.
pub(super) fn build(
    encoder: &Encoder,
    settings: &Settings,
    size: usize,
) -> Result<Vec<u8>, TrainError> {
    let (batch, layout) = (settings.batch, encoder.layout());
    let mut g = Graph::new();
    let mut flat = |name| g.input(name, ElementType::F32, &[layout.len()]);
    let [params, m, v] = ["params", "m", "v"].map(&mut flat);
    let mut scalar = |name| g.input(name, ElementType::F32, &[]);
    let [lr, bias_correction1, bias_correction2] =
        ["learning_rate", "bias_correction1", "bias_correction2"].map(&mut scalar);
    let views = g.input("views", ElementType::F32, &[2 * batch, 1, size, size]);

    let weights = layout.bind_flat(&mut g, params)?;
    let (_, z) = encoder.forward(&mut g, &weights, views)?;
    let halves = g.split(z, 0, &[batch, batch])?;
    let loss = info_nce(&mut g, halves[0], halves[1], settings.temperature)?;

    let grads = gradient(&mut g, loss, &weights)?;
    let grads = layout.flatten(&mut g, &grads)?;
    let (grads, norm) = clip_by_global_norm(&mut g, grads, settings.clip_norm)?;
    let optimizer = AdamW {
        beta1: BETA1,
        beta2: BETA2,
        weight_decay: settings.weight_decay,
        ..AdamW::default()
    };
    let state = OptimizerState { params, moments: vec![m, v] };
    let scalars = [lr, bias_correction1, bias_correction2];
    let next = optimizer.update(&mut g, layout, &state, grads, &scalars)?;
    g.output("next_params", next.params);
    for (name, moment) in ["next_m", "next_v"].into_iter().zip(next.moments) {
        g.output(name, moment);
    }
    g.output("loss", loss);
    g.output("gradient_norm", norm);
    Ok(model::write(&g, &model::WriteOptions::default())?)
}

/// What one step feeds to the graph.
pub(super) fn step_inputs(
    step: usize,
    learning_rate: f32,
    batch: usize,
    size: usize,
    views: Vec<f32>,
) -> Vec<(&'static str, Vec<usize>, Vec<f32>)> {
    let t = (step + 1) as f64;
    let correction = |beta: f32| (1.0 - f64::from(beta).powf(t)) as f32;
    vec![
        ("views", vec![2 * batch, 1, size, size], views),
        ("learning_rate", vec![], vec![learning_rate]),
        ("bias_correction1", vec![], vec![correction(BETA1)]),
        ("bias_correction2", vec![], vec![correction(BETA2)]),
    ]
}
