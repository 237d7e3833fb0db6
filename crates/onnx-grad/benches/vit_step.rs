//! Times a training step of a vision transformer: two views of a batch, symmetric
//! InfoNCE, clipping and AdamW, on two threads unless told otherwise.
//!
//!     cargo bench -p onnx-grad --bench vit_step -- [batch] [width] [blocks] [threads]
//!
//! With `VIT_STEP_ONNX` set to a path, the training graph is written there too.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../tests/support/reference.rs"]
mod reference;
#[path = "../tests/support/runtime.rs"]
mod runtime;

use std::time::Instant;

use onnx_grad::{
    AdamW, ElementType, Error, Graph, Layout, Optimizer, OptimizerState, Parameter, Value,
    clip_by_global_norm, gradient, model,
};
use ort::value::Tensor;

const TOKENS: usize = 64;
const PATCH: usize = 64;
const DEPTH: usize = 32;

fn layout(width: usize, blocks: usize) -> Result<Layout, Error> {
    let mut layout = Layout::new();
    layout.push(Parameter::new("embed.weight", &[PATCH, width], true))?;
    layout.push(Parameter::new("embed.position", &[TOKENS, width], false))?;
    for block in 0..blocks {
        let mut push = |name: &str, shape: &[usize], decay| {
            layout.push(Parameter::new(format!("{block}.{name}"), shape, decay))
        };
        push("norm1.scale", &[width], false)?;
        push("norm1.bias", &[width], false)?;
        for name in ["query", "key", "value", "out"] {
            push(&format!("{name}.weight"), &[width, width], true)?;
            push(&format!("{name}.bias"), &[width], false)?;
        }
        push("norm2.scale", &[width], false)?;
        push("norm2.bias", &[width], false)?;
        push("up.weight", &[width, 4 * width], true)?;
        push("up.bias", &[4 * width], false)?;
        push("down.weight", &[4 * width, width], true)?;
        push("down.bias", &[width], false)?;
    }
    Ok(layout)
}

fn linear(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let y = g.matmul(x, p[0])?;
    g.add(y, p[1])
}

/// `[n, tokens, width]` to `[n, heads, tokens, depth]`.
fn heads(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let (n, width) = (g.shape(x)[0], g.shape(x)[2]);
    let x = g.reshape(x, &[n, TOKENS, width / DEPTH, DEPTH])?;
    g.transpose(x, &[0, 2, 1, 3])
}

fn embed(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let n = g.shape(x)[0];
    let width = g.shape(p[0])[1];
    let mut x = linear(g, x, &p[..2])?;
    for p in p[2..].chunks(16) {
        let y = g.layer_norm(x, p[0], p[1], -1, 1e-6)?;
        let q = linear(g, y, &p[2..4])?;
        let k = linear(g, y, &p[4..6])?;
        let v = linear(g, y, &p[6..8])?;
        let (q, k, v) = (heads(g, q)?, heads(g, k)?, heads(g, v)?);
        let k = g.transpose(k, &[0, 1, 3, 2])?;
        let scores = g.matmul(q, k)?;
        let scale = g.scalar((DEPTH as f32).sqrt().recip());
        let scores = g.mul(scores, scale)?;
        let weights = g.softmax(scores, -1)?;
        let y = g.matmul(weights, v)?;
        let y = g.transpose(y, &[0, 2, 1, 3])?;
        let y = g.reshape(y, &[n, TOKENS, width])?;
        let y = linear(g, y, &p[8..10])?;
        x = g.add(x, y)?;
        let y = g.layer_norm(x, p[10], p[11], -1, 1e-6)?;
        let y = linear(g, y, &p[12..14])?;
        let y = g.gelu(y)?;
        let y = linear(g, y, &p[14..16])?;
        x = g.add(x, y)?;
    }
    let pooled = g.reduce_mean(x, &[1], false)?;
    let norm = g.reduce_l2(pooled, &[1], true)?;
    g.div(pooled, norm)
}

fn training_graph(batch: usize, layout: &Layout) -> Result<Vec<u8>, Error> {
    let mut g = Graph::new();
    let [params, m, v] =
        ["params", "m", "v"].map(|name| g.input(name, ElementType::F32, &[layout.len()]));
    let [lr, bias_correction1, bias_correction2] =
        ["lr", "bias_correction1", "bias_correction2"].map(|n| g.input(n, ElementType::F32, &[]));
    // both views in one batch
    let x = g.input("x", ElementType::F32, &[batch, TOKENS, PATCH]);
    let weights = layout.bind_flat(&mut g, params)?;
    let z = embed(&mut g, x, &weights)?;
    let half = batch / 2;
    let views = g.split(z, 0, &[half, half])?;
    let logits = g.gemm(views[0], false, views[1], true)?;
    let inverse = g.scalar(10.0);
    let logits = g.mul(logits, inverse)?;
    let mut eye = vec![0.0; half * half];
    for i in 0..half {
        eye[i * half + i] = -0.5 / half as f32;
    }
    let eye = g.constant_f32(&[half, half], &eye)?;
    let rows = g.log_softmax(logits, 1)?;
    let columns = g.log_softmax(logits, 0)?;
    let both = g.add(rows, columns)?;
    let hits = g.mul(both, eye)?;
    let loss = g.reduce_sum(hits, &[0, 1], false)?;

    let grads = gradient(&mut g, loss, &weights)?;
    let grads = layout.flatten(&mut g, &grads)?;
    let (grads, norm) = clip_by_global_norm(&mut g, grads, 1.0)?;
    let state = OptimizerState { params, moments: vec![m, v] };
    let scalars = [lr, bias_correction1, bias_correction2];
    let next = AdamW::default().update(&mut g, layout, &state, grads, &scalars)?;
    g.output("loss", loss);
    g.output("norm", norm);
    g.output("next_params", next.params);
    g.output("next_m", next.moments[0]);
    g.output("next_v", next.moments[1]);
    model::write(&g, &model::WriteOptions::default())
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let argument = |i: usize, default| given.get(i).copied().unwrap_or(default);
    let (batch, width, blocks) = (argument(0, 128), argument(1, 192), argument(2, 4));
    let threads = argument(3, 2);
    let layout = layout(width, blocks).unwrap();
    let bytes = training_graph(batch, &layout).unwrap();
    if let Some(path) = std::env::var_os("VIT_STEP_ONNX") {
        std::fs::write(path, &bytes).unwrap();
    }
    let mut session = runtime::session(&bytes, threads);
    let tensor = |shape: Vec<usize>, seed| {
        let x = reference::Array::random(&shape, seed);
        let data: Vec<f32> = x.data.iter().map(|&x| 0.05 * x as f32).collect();
        Tensor::from_array((shape, data)).unwrap()
    };
    let mut state = [1, 0, 0].map(|seed| tensor(vec![layout.len()], seed).into_dyn());
    for state in &mut state[1..] {
        state.try_extract_tensor_mut::<f32>().unwrap().1.fill(0.0);
    }
    let x = tensor(vec![batch, TOKENS, PATCH], 2);
    let mut times = Vec::new();
    for t in 1..=12 {
        let scalar = |x: f32| Tensor::from_array((Vec::<i64>::new(), vec![x])).unwrap();
        let start = Instant::now();
        let mut outputs = session
            .run(ort::inputs! {
                "params" => &state[0], "m" => &state[1], "v" => &state[2], "x" => &x,
                "lr" => scalar(1e-3),
                "bias_correction1" => scalar(1.0 - 0.9f32.powi(t)),
                "bias_correction2" => scalar(1.0 - 0.999f32.powi(t)),
            })
            .unwrap();
        times.push(start.elapsed());
        let loss = outputs["loss"].try_extract_scalar::<f32>().unwrap();
        let next = ["next_params", "next_m", "next_v"].map(|name| outputs.remove(name).unwrap());
        drop(outputs);
        state = next;
        println!("step {t:2}: {:?}, loss {loss:.4}", times[times.len() - 1]);
    }
    times.sort_unstable();
    println!(
        "batch {batch}, width {width}, blocks {blocks}, threads {threads}: {} parameters, \
         median step {:?}",
        layout.len(),
        times[times.len() / 2]
    );
}
