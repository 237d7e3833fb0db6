//! Times a training step of a vision transformer, two views of a batch, symmetric
//! InfoNCE, clipping and AdamW: of standard operators, and with the kernels, in
//! turns, in CPU time of all threads.
//!
//!     cargo bench -p onnx-grad-kernels --bench vit_step -- [batch] [width] [blocks] [threads] [rounds]
//!
//! With `STEP_ONNX` set to a path, the standard training graph is written there;
//! with `STEP_PROFILE`, ONNX Runtime's profiles to names that begin with it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;
#[path = "support/training.rs"]
mod training;

use onnx_grad::{Error, Graph, Layout, Parameter, Value};

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

fn embed(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let width = g.shape(p[0])[1];
    let x = g.matmul(x, p[0])?;
    let mut x = g.add(x, p[1])?;
    for p in p[2..].chunks(16) {
        let y = g.layer_norm(x, p[0], p[1], -1, 1e-6)?;
        let q = g.linear(y, p[2], p[3])?;
        let k = g.linear(y, p[4], p[5])?;
        let v = g.linear(y, p[6], p[7])?;
        let y = g.attention(q, k, v, width / DEPTH)?;
        let y = g.linear(y, p[8], p[9])?;
        x = g.add(x, y)?;
        let y = g.layer_norm(x, p[10], p[11], -1, 1e-6)?;
        let y = g.linear(y, p[12], p[13])?;
        let y = g.gelu(y)?;
        let y = g.linear(y, p[14], p[15])?;
        x = g.add(x, y)?;
    }
    g.reduce_mean(x, &[1], false)
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let argument = |i: usize, default| given.get(i).copied().unwrap_or(default);
    let (batch, width, blocks) = (argument(0, 128), argument(1, 192), argument(2, 4));
    let (threads, rounds) = (argument(3, 2), argument(4, 11));
    let layout = layout(width, blocks).unwrap();
    let params = reference::Array::random(&[layout.len()], 1);
    let params: Vec<f32> = params.data.iter().map(|&x| 0.05 * x as f32).collect();
    training::compare(&[batch, TOKENS, PATCH], &layout, &params, threads, rounds, embed);
}
