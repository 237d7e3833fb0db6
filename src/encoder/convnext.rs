//! ConvNeXt-T: a convolutional network built like a transformer.
//!
//! # Source
//! Liu et al. 2022, *A ConvNet for the 2020s*, table 9 and figure 4, without
//! stochastic depth.

use onnx_grad::{Parameter, Sliding, Value};

use super::{
    EncoderError,
    builder::{Builder, Init},
};

/// Blocks and channels of each stage.
const STAGES: [(usize, usize); 4] = [(3, 96), (3, 192), (9, 384), (3, 768)];
/// Side of the depthwise kernel.
const KERNEL: usize = 7;
/// Standard deviation of the weights (section A.1).
const DEVIATION: f32 = 0.02;
/// First value of the layer scale.
const LAYER_SCALE: f32 = 1e-6;

/// From views `[N, C, H, W]` to embeddings `[N, 768]`.
pub(super) fn forward(b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
    let mut x = views;
    for (stage, (blocks, channels)) in STAGES.into_iter().enumerate() {
        let name = format!("downsample{stage}");
        if stage == 0 {
            x = conv(b, x, &name, channels, 4)?;
            x = channel_norm(b, x, &format!("{name}.norm"))?;
        } else {
            x = channel_norm(b, x, &format!("{name}.norm"))?;
            x = conv(b, x, &name, channels, 2)?;
        }
        for n in 0..blocks {
            x = block(b, &format!("stage{stage}.{n}"), x)?;
        }
    }
    let pooled = b.g.global_average_pool(x)?;
    let shape = b.g.shape(pooled)[..2].to_vec();
    let pooled = b.g.reshape(pooled, &shape)?;
    b.layer_norm(pooled, "norm")
}

/// Depthwise convolution, normalisation, a perceptron at every place, and the
/// sum with what came in.
fn block(b: &mut Builder, name: &str, x: Value) -> Result<Value, EncoderError> {
    let channels = b.g.shape(x)[1];
    let sliding = Sliding {
        pads_before: vec![KERNEL / 2; 2],
        pads_after: vec![KERNEL / 2; 2],
        ..Sliding::unit(2)
    };
    let weight =
        Parameter::new(format!("{name}.dwconv.weight"), &[channels, 1, KERNEL, KERNEL], true);
    let weight = b.parameter(weight, Init::Normal(DEVIATION))?;
    let bias = Parameter::new(format!("{name}.dwconv.bias"), &[channels], false);
    let bias = b.parameter(bias, Init::Constant(0.0))?;
    let y = b.g.conv(x, weight, Some(bias), channels, &sliding)?;
    let y = b.g.transpose(y, &[0, 2, 3, 1])?;
    let y = b.layer_norm(y, &format!("{name}.norm"))?;
    let y = b.linear(y, &format!("{name}.mlp1"), 4 * channels)?;
    let y = b.g.gelu(y)?;
    let y = b.linear(y, &format!("{name}.mlp2"), channels)?;
    let scale = Parameter::new(format!("{name}.layer_scale"), &[channels], false);
    let scale = b.parameter(scale, Init::Constant(LAYER_SCALE))?;
    let y = b.g.mul(y, scale)?;
    let y = b.g.transpose(y, &[0, 3, 1, 2])?;
    Ok(b.g.add(x, y)?)
}

/// A convolution whose step is its kernel.
fn conv(
    b: &mut Builder,
    x: Value,
    name: &str,
    channels: usize,
    side: usize,
) -> Result<Value, EncoderError> {
    let inputs = b.g.shape(x)[1];
    let weight =
        Parameter::new(format!("{name}.conv.weight"), &[channels, inputs, side, side], true);
    let weight = b.parameter(weight, Init::Normal(DEVIATION))?;
    let bias = Parameter::new(format!("{name}.conv.bias"), &[channels], false);
    let bias = b.parameter(bias, Init::Constant(0.0))?;
    let sliding = Sliding { strides: vec![side; 2], ..Sliding::unit(2) };
    Ok(b.g.conv(x, weight, Some(bias), 1, &sliding)?)
}

/// Layer normalisation over the channels of `[N, C, H, W]`.
fn channel_norm(b: &mut Builder, x: Value, name: &str) -> Result<Value, EncoderError> {
    let last = b.g.transpose(x, &[0, 2, 3, 1])?;
    let normed = b.layer_norm(last, name)?;
    Ok(b.g.transpose(normed, &[0, 3, 1, 2])?)
}
