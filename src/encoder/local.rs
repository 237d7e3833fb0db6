//! Convolutions whose last map is not averaged: a vector for each place of the view.
//!
//! What tells one slice from the next is often a small thing in one place, which an
//! average over the view hides, and what a place looks like is learned from few patients.
//!
//! # Source
//! Vectors of places, learned by contrast: Pielawski et al. 2020, *CoMIR: Contrastive
//! multimodal image representation for registration*, § 2; Wang et al. 2021, *Dense
//! contrastive learning for self-supervised visual pre-training*, § 3.2. The network is
//! plain: 3 × 3 convolutions, group normalisation (Wu and He 2018) in the last of them. Before
//! it would make what a pixel looks like depend on how much of the view is air.

use onnx_grad::{Sliding, Value};

use super::{EncoderError, builder::Builder};

/// Channels before the first halving; every halving doubles them.
const WIDTH: usize = 16;
/// Groups of channels that are normalised together.
const GROUPS: usize = 8;
/// Keeps the length of a place's vector away from zero.
const EPSILON: f32 = 1e-12;

/// A convolutional network that keeps places apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Local {
    /// Side of a place in pixels, a power of two.
    pub patch: usize,
    /// Numbers for each place.
    pub dim: usize,
}

impl Local {
    /// Places in a view of so many pixels a side.
    pub fn places(&self, side: usize) -> usize {
        (side / self.patch.max(1)).pow(2)
    }

    /// From views `[N, C, H, W]` to embeddings `[N, L · dim]`: place after place, row by
    /// row, each of length one, so that the cosine of two embeddings is the mean of those
    /// of their places.
    pub(super) fn forward(&self, b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
        // What a window cuts off at its lower end, air, is −1: it becomes what convolutions
        // take to lie around the view.
        let one = b.g.scalar(1.0);
        let mut x = b.g.add(views, one)?;
        let halvings = self.patch.trailing_zeros() as usize;
        for n in 0..halvings {
            for (m, stride) in [1, 1, 2].into_iter().enumerate() {
                x = conv(b, x, &format!("layer{n}.{m}"), WIDTH << n, stride)?;
                x = b.g.relu(x)?;
            }
        }
        x = conv(b, x, "last", WIDTH << halvings, 1)?;
        x = b.group_norm(x, "norm", GROUPS)?;
        x = b.g.relu(x)?;
        let x = b.conv_with_bias(x, "place", self.dim, &[1, 1], &Sliding::unit(2))?;
        let [views, places] = [b.g.shape(x)[0], b.g.shape(x)[2] * b.g.shape(x)[3]];
        let x = b.g.transpose(x, &[0, 2, 3, 1])?;
        let x = b.g.reshape(x, &[views * places, self.dim])?;
        let square = b.g.reduce_sum_square(x, &[1], true)?;
        let epsilon = b.g.scalar(EPSILON);
        let square = b.g.add(square, epsilon)?;
        let norm = b.g.sqrt(square)?;
        let x = b.g.div(x, norm)?;
        Ok(b.g.reshape(x, &[views, places * self.dim])?)
    }
}

fn conv(
    b: &mut Builder,
    x: Value,
    name: &str,
    channels: usize,
    stride: usize,
) -> Result<Value, EncoderError> {
    let sliding = Sliding {
        strides: vec![stride; 2],
        pads_before: vec![1; 2],
        pads_after: vec![1; 2],
        ..Sliding::unit(2)
    };
    b.conv_with_bias(x, name, channels, &[3, 3], &sliding)
}
