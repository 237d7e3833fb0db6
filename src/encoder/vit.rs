//! A vision transformer with pre-norm blocks and mean pooling.
//!
//! # Source
//! Dosovitskiy et al. 2021, *An image is worth 16×16 words*, eq. 1–4; mean
//! pooling and fixed sine-cosine positions as in Chen, Xie and He 2021 (MoCo v3).

use onnx_grad::Value;

use super::{EncoderError, builder::Builder};

/// Width of the hidden layer of a block, in widths of the embedding.
const MLP_RATIO: usize = 4;

/// Sizes of a vision transformer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Vit {
    /// Pixels along each side of a patch; divides the view's size.
    pub patch: usize,
    /// Width of the embedding.
    pub dim: usize,
    /// Transformer blocks.
    pub depth: usize,
    /// Attention heads; divides `dim`.
    pub heads: usize,
}

impl Vit {
    /// Width 192, 12 blocks, 3 heads.
    ///
    /// # Source
    /// Touvron et al. 2021 (DeiT), table 1, `DeiT-Ti`.
    pub fn tiny(patch: usize) -> Self {
        Self { patch, dim: 192, depth: 12, heads: 3 }
    }

    /// Width 384, 12 blocks, 6 heads.
    ///
    /// # Source
    /// Touvron et al. 2021 (DeiT), table 1, `DeiT-S`.
    pub fn small(patch: usize) -> Self {
        Self { patch, dim: 384, depth: 12, heads: 6 }
    }

    /// From views `[N, C, H, W]` to embeddings `[N, dim]`.
    pub(super) fn forward(&self, b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
        let mut x = self.patches(b, views)?;
        let side = (b.g.shape(x)[1] as f64).sqrt().round() as usize;
        let positions = positions(side, self.dim);
        let positions = b.g.constant_f32(&[side * side, self.dim], &positions)?;
        x = b.g.add(x, positions)?;
        for n in 0..self.depth {
            x = self.block(b, &format!("block{n}"), x)?;
        }
        x = b.layer_norm(x, "norm")?;
        Ok(b.g.reduce_mean(x, &[1], false)?)
    }

    /// Patches side by side as tokens `[N, T, dim]`: equal to a convolution
    /// whose stride is its kernel, as a reshape and one matrix product.
    fn patches(&self, b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
        let [batch, channels, height, width] = b.g.shape(views)[..] else {
            let received = format!("{:?}", b.g.shape(views));
            return Err(EncoderError::Shape { requirement: "views [N, C, H, W]", received });
        };
        let patch = self.patch;
        let (rows, columns) = (height / patch, width / patch);
        let x = b.g.reshape(views, &[batch, channels, rows, patch, columns, patch])?;
        let x = b.g.transpose(x, &[0, 2, 4, 1, 3, 5])?;
        let x = b.g.reshape(x, &[batch, rows * columns, channels * patch * patch])?;
        b.linear(x, "patch", self.dim)
    }

    fn block(&self, b: &mut Builder, name: &str, x: Value) -> Result<Value, EncoderError> {
        let normed = b.layer_norm(x, &format!("{name}.norm1"))?;
        let attended = self.attention(b, name, normed)?;
        let x = b.g.add(x, attended)?;
        let normed = b.layer_norm(x, &format!("{name}.norm2"))?;
        let hidden = b.linear(normed, &format!("{name}.mlp1"), MLP_RATIO * self.dim)?;
        let hidden = b.g.gelu(hidden)?;
        let out = b.linear(hidden, &format!("{name}.mlp2"), self.dim)?;
        Ok(b.g.add(x, out)?)
    }

    /// Multi-head self-attention, softmax(q kᵀ / √d) v (Vaswani et al. 2017, eq. 1).
    fn attention(&self, b: &mut Builder, name: &str, x: Value) -> Result<Value, EncoderError> {
        let dim = self.dim;
        let qkv = b.linear(x, &format!("{name}.qkv"), 3 * dim)?;
        let parts = b.g.split(qkv, -1, &[dim, dim, dim])?;
        let mixed = b.g.attention(parts[0], parts[1], parts[2], self.heads)?;
        b.linear(mixed, &format!("{name}.attention"), dim)
    }
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
