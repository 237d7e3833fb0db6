//! A small transformer encoder, as a graph and as a naive reference.

#![allow(dead_code)]

use onnx_grad::{Error, Graph, Layout, Parameter, Value};

use crate::reference::Array;

pub const TOKENS: usize = 3;
pub const WIDTH: usize = 4;
pub const HEADS: usize = 2;
pub const EPSILON: f32 = 1e-3;

/// One pre-norm block: attention, then a perceptron.
pub fn layout() -> Layout {
    let mut layout = Layout::new();
    let parameters: [(&str, &[usize], bool); 10] = [
        ("norm1.scale", &[WIDTH], false),
        ("norm1.bias", &[WIDTH], false),
        ("qkv.weight", &[WIDTH, 3 * WIDTH], true),
        ("qkv.bias", &[3 * WIDTH], false),
        ("out.weight", &[WIDTH, WIDTH], true),
        ("norm2.scale", &[WIDTH], false),
        ("norm2.bias", &[WIDTH], false),
        ("up.weight", &[WIDTH, 2 * WIDTH], true),
        ("up.bias", &[2 * WIDTH], false),
        ("down.weight", &[2 * WIDTH, WIDTH], true),
    ];
    for (name, shape, decay) in parameters {
        layout.push(Parameter::new(name, shape, decay)).unwrap();
    }
    layout
}

/// `[n, WIDTH]` embeddings from `[n, TOKENS, WIDTH]`.
pub fn embed(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let n = g.shape(x)[0];
    let depth = WIDTH / HEADS;
    let y = g.layer_norm(x, p[0], p[1], -1, EPSILON)?;
    let y = g.matmul(y, p[2])?;
    let y = g.add(y, p[3])?;
    let y = g.reshape(y, &[n, TOKENS, 3, HEADS, depth])?;
    let y = g.transpose(y, &[2, 0, 3, 1, 4])?;
    let parts = g.split(y, 0, &[1, 1, 1])?;
    let q = g.squeeze(parts[0], &[0])?;
    let k = g.squeeze(parts[1], &[0])?;
    let v = g.squeeze(parts[2], &[0])?;
    let k = g.transpose(k, &[0, 1, 3, 2])?;
    let scores = g.matmul(q, k)?;
    let scale = g.scalar((depth as f32).sqrt().recip());
    let scores = g.mul(scores, scale)?;
    let weights = g.softmax(scores, -1)?;
    let y = g.matmul(weights, v)?;
    let y = g.transpose(y, &[0, 2, 1, 3])?;
    let y = g.reshape(y, &[n, TOKENS, WIDTH])?;
    let y = g.matmul(y, p[4])?;
    let x = g.add(x, y)?;

    let y = g.layer_norm(x, p[5], p[6], -1, EPSILON)?;
    let y = g.matmul(y, p[7])?;
    let y = g.add(y, p[8])?;
    let y = g.gelu(y)?;
    let y = g.matmul(y, p[9])?;
    let x = g.add(x, y)?;
    g.reduce_mean(x, &[1], false)
}

/// The symmetric InfoNCE of n anchors and their n positives.
pub fn info_nce(g: &mut Graph, a: Value, b: Value, temperature: f32) -> Result<Value, Error> {
    let n = g.shape(a)[0];
    let a = normalised(g, a)?;
    let b = normalised(g, b)?;
    let logits = g.gemm(a, false, b, true)?;
    let inverse = g.scalar(temperature.recip());
    let logits = g.mul(logits, inverse)?;
    let mut eye = vec![0.0; n * n];
    for i in 0..n {
        eye[i * n + i] = -0.5 / n as f32;
    }
    let eye = g.constant_f32(&[n, n], &eye)?;
    let rows = g.log_softmax(logits, 1)?;
    let columns = g.log_softmax(logits, 0)?;
    let both = g.add(rows, columns)?;
    let hits = g.mul(both, eye)?;
    g.reduce_sum(hits, &[0, 1], false)
}

fn normalised(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let norm = g.reduce_l2(x, &[1], true)?;
    g.div(x, norm)
}

/// [`embed`] by naive loops.
pub fn embed_reference(x: &Array, p: &[Array]) -> Array {
    let n = x.shape[0];
    let depth = WIDTH / HEADS;
    let add = |a: f64, b: f64| a + b;
    let epsilon = f64::from(EPSILON);
    let qkv = x.layer_norm(&p[0], &p[1], 2, epsilon).matmul(&p[2]).zip(&p[3], add);
    let mut mixed = Array::from_fn(&[n, TOKENS, WIDTH], |_| 0.0);
    for i in 0..n {
        for head in 0..HEADS {
            let part = |which: usize, t: usize, d: usize| {
                qkv.at(&[i, t, which * WIDTH + head * depth + d])
            };
            for t in 0..TOKENS {
                let score = |s: usize| {
                    let dot: f64 = (0..depth).map(|d| part(0, t, d) * part(1, s, d)).sum();
                    (dot / (depth as f64).sqrt()).exp()
                };
                let total: f64 = (0..TOKENS).map(score).sum();
                for d in 0..depth {
                    let value: f64 = (0..TOKENS).map(|s| score(s) / total * part(2, s, d)).sum();
                    mixed.data[(i * TOKENS + t) * WIDTH + head * depth + d] = value;
                }
            }
        }
    }
    let x = x.zip(&mixed.matmul(&p[4]), add);
    let y = x.layer_norm(&p[5], &p[6], 2, epsilon);
    let y = y.matmul(&p[7]).zip(&p[8], add).gelu().matmul(&p[9]);
    x.zip(&y, add).mean(&[1]).reshape(&[n, WIDTH])
}

/// [`info_nce`] by naive loops.
pub fn info_nce_reference(a: &Array, b: &Array, temperature: f64) -> f64 {
    let n = a.shape[0];
    let dot = |a: &Array, i: usize, b: &Array, j: usize| {
        (0..WIDTH).map(|d| a.at(&[i, d]) * b.at(&[j, d])).sum::<f64>()
    };
    let similarity = |i: usize, j: usize| {
        dot(a, i, b, j) / (dot(a, i, a, i) * dot(b, j, b, j)).sqrt() / temperature
    };
    let mut loss = 0.0;
    for i in 0..n {
        let row: f64 = (0..n).map(|j| similarity(i, j).exp()).sum();
        let column: f64 = (0..n).map(|j| similarity(j, i).exp()).sum();
        loss += row.ln() + column.ln() - 2.0 * similarity(i, i);
    }
    loss / (2 * n) as f64
}
