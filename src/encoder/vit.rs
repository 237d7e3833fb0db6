//! A vision transformer with pre-norm blocks and mean pooling.
//!
//! # Source
//! Dosovitskiy et al. 2021, *An image is worth 16×16 words*, eq. 1–4; mean
//! pooling and fixed sine-cosine positions as in Chen, Xie and He 2021 (MoCo v3).

use onnx_grad::{Graph, Layout, Value};

use super::{EncoderError, Settings, Weights, push_layer_norm, push_linear};

/// Width of the hidden layer of a block, in widths of the embedding.
const MLP_RATIO: usize = 4;

pub(super) fn push_parameters(
    layout: &mut Layout,
    settings: &Settings,
) -> Result<(), onnx_grad::Error> {
    let dim = settings.dim;
    push_linear(layout, "patch", settings.patch * settings.patch, dim)?;
    for n in 0..settings.depth {
        push_layer_norm(layout, &format!("block{n}.norm1"), dim)?;
        push_linear(layout, &format!("block{n}.qkv"), dim, 3 * dim)?;
        push_linear(layout, &format!("block{n}.attention"), dim, dim)?;
        push_layer_norm(layout, &format!("block{n}.norm2"), dim)?;
        push_linear(layout, &format!("block{n}.mlp1"), dim, MLP_RATIO * dim)?;
        push_linear(layout, &format!("block{n}.mlp2"), MLP_RATIO * dim, dim)?;
    }
    push_layer_norm(layout, "norm", dim)
}

/// From views `[N, 1, H, W]` to embeddings `[N, dim]`.
pub(super) fn forward(
    g: &mut Graph,
    weights: &Weights,
    settings: &Settings,
    views: Value,
) -> Result<Value, EncoderError> {
    let mut x = patches(g, weights, settings.patch, views)?;
    let side = (g.shape(x)[1] as f64).sqrt().round() as usize;
    let positions = g.constant_f32(&[side * side, settings.dim], &positions(side, settings.dim))?;
    x = g.add(x, positions)?;
    for n in 0..settings.depth {
        x = block(g, weights, settings.heads, &format!("block{n}"), x)?;
    }
    x = weights.layer_norm(g, x, "norm")?;
    Ok(g.reduce_mean(x, &[1], false)?)
}

/// Patches side by side as tokens `[N, T, dim]`: equal to a convolution whose
/// stride is its kernel, as a reshape and one matrix product.
fn patches(
    g: &mut Graph,
    weights: &Weights,
    patch: usize,
    views: Value,
) -> Result<Value, EncoderError> {
    let [batch, _, height, width] = g.shape(views)[..] else {
        let received = format!("{:?}", g.shape(views));
        return Err(EncoderError::Shape { requirement: "views [N, 1, H, W]", received });
    };
    let (rows, columns) = (height / patch, width / patch);
    let x = g.reshape(views, &[batch, rows, patch, columns, patch])?;
    let x = g.transpose(x, &[0, 1, 3, 2, 4])?;
    let x = g.reshape(x, &[batch, rows * columns, patch * patch])?;
    weights.linear(g, x, "patch")
}

fn block(
    g: &mut Graph,
    weights: &Weights,
    heads: usize,
    name: &str,
    x: Value,
) -> Result<Value, EncoderError> {
    let normed = weights.layer_norm(g, x, &format!("{name}.norm1"))?;
    let attended = attention(g, weights, heads, name, normed)?;
    let x = g.add(x, attended)?;
    let normed = weights.layer_norm(g, x, &format!("{name}.norm2"))?;
    let hidden = weights.linear(g, normed, &format!("{name}.mlp1"))?;
    let hidden = g.gelu(hidden)?;
    let out = weights.linear(g, hidden, &format!("{name}.mlp2"))?;
    Ok(g.add(x, out)?)
}

/// Multi-head self-attention, softmax(q kᵀ / √d) v (Vaswani et al. 2017, eq. 1).
fn attention(
    g: &mut Graph,
    weights: &Weights,
    heads: usize,
    name: &str,
    x: Value,
) -> Result<Value, EncoderError> {
    let [batch, tokens, dim] = g.shape(x)[..] else {
        let received = format!("{:?}", g.shape(x));
        return Err(EncoderError::Shape { requirement: "tokens [N, T, dim]", received });
    };
    let width = dim / heads;
    let qkv = weights.linear(g, x, &format!("{name}.qkv"))?;
    let parts = g.split(qkv, -1, &[dim, dim, dim])?;
    let mut by_head = |part: Value, order: [usize; 4]| {
        let split = g.reshape(part, &[batch, tokens, heads, width])?;
        g.transpose(split, &order)
    };
    let q = by_head(parts[0], [0, 2, 1, 3])?;
    let k_transposed = by_head(parts[1], [0, 2, 3, 1])?;
    let v = by_head(parts[2], [0, 2, 1, 3])?;
    let scale = g.scalar((width as f32).sqrt().recip());
    let q = g.mul(q, scale)?;
    let scores = g.matmul(q, k_transposed)?;
    let shares = g.softmax(scores, -1)?;
    let mixed = g.matmul(shares, v)?;
    let mixed = g.transpose(mixed, &[0, 2, 1, 3])?;
    let mixed = g.reshape(mixed, &[batch, tokens, dim])?;
    weights.linear(g, mixed, &format!("{name}.attention"))
}

/// Fixed positions `[T, dim]`, a quarter of the width each for the sine and
/// cosine of the row and of the column, at wavelengths 2π to 2π · 10⁴.
fn positions(side: usize, dim: usize) -> Vec<f32> {
    let quarter = dim / 4;
    let mut all = Vec::with_capacity(side * side * dim);
    for row in 0..side {
        for column in 0..side {
            for at in [row, column] {
                let angle = |n: usize| at as f64 / 10_000f64.powf(n as f64 / quarter as f64);
                all.extend((0..quarter).map(|n| angle(n).sin() as f32));
                all.extend((0..quarter).map(|n| angle(n).cos() as f32));
            }
        }
    }
    all
}
