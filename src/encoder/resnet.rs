//! Residual networks over slices and over boxes.
//!
//! # Source
//! He et al. 2016, *Deep residual learning for image recognition*, table 1, with
//! the stride of a bottleneck on its 3×3 convolution; over boxes as in Hara,
//! Kataoka and Satoh 2018, *Can spatiotemporal 3D CNNs retrace the history of 2D
//! CNNs and ImageNet?*, table 1.

use onnx_grad::{Sliding, Value};

use super::{EncoderError, builder::Builder};

/// Channels of the first stage; every stage doubles them.
const WIDTH: usize = 64;
/// Channels out of a bottleneck, in channels inside it.
const EXPANSION: usize = 4;

/// Which residual network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ResNet {
    /// Blocks of each stage.
    pub blocks: [usize; 4],
    /// Whether blocks are bottlenecks of three convolutions, or have two.
    pub bottleneck: bool,
    /// Spatial axes: 2 for slices, 3 for boxes.
    pub axes: usize,
}

impl ResNet {
    /// ResNet-18 over slices (`axes` 2) or boxes (3).
    pub fn resnet18(axes: usize) -> Self {
        Self { blocks: [2; 4], bottleneck: false, axes }
    }

    /// ResNet-50 over slices.
    pub fn resnet50() -> Self {
        Self { blocks: [3, 4, 6, 3], bottleneck: true, axes: 2 }
    }

    /// From views `[N, C, (D,) H, W]` to embeddings `[N, dim]`.
    pub(super) fn forward(&self, b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
        let mut stem = self.sliding(7, 2);
        if let [slices, _, _] = &mut stem.strides[..] {
            // a box has fewer slices than rows
            *slices = 1;
        }
        let mut x = b.conv(views, "conv1", WIDTH, &vec![7; self.axes], &stem)?;
        x = b.batch_norm(x, "bn1")?;
        x = b.g.relu(x)?;
        x = b.g.max_pool(x, &vec![3; self.axes], &self.sliding(3, 2), false)?;
        for (stage, &count) in self.blocks.iter().enumerate() {
            for n in 0..count {
                let stride = if stage > 0 && n == 0 { 2 } else { 1 };
                let name = format!("layer{}.{n}", stage + 1);
                x = self.block(b, &name, x, WIDTH << stage, stride)?;
            }
        }
        let pooled = b.g.global_average_pool(x)?;
        let shape = b.g.shape(pooled)[..2].to_vec();
        Ok(b.g.reshape(pooled, &shape)?)
    }

    fn block(
        &self,
        b: &mut Builder,
        name: &str,
        x: Value,
        width: usize,
        stride: usize,
    ) -> Result<Value, EncoderError> {
        let out = if self.bottleneck { EXPANSION * width } else { width };
        // kernel, channels and stride of each convolution
        let convolutions = match self.bottleneck {
            true => vec![(1, width, 1), (3, width, stride), (1, out, 1)],
            false => vec![(3, width, stride), (3, width, 1)],
        };
        let mut y = x;
        for (n, &(kernel, channels, stride)) in convolutions.iter().enumerate() {
            y = self.conv(b, y, &format!("{name}.conv{}", n + 1), channels, kernel, stride)?;
            y = b.batch_norm(y, &format!("{name}.bn{}", n + 1))?;
            if n + 1 < convolutions.len() {
                y = b.g.relu(y)?;
            }
        }
        let mut shortcut = x;
        if stride != 1 || b.g.shape(x)[1] != out {
            shortcut = self.conv(b, x, &format!("{name}.downsample.0"), out, 1, stride)?;
            shortcut = b.batch_norm(shortcut, &format!("{name}.downsample.1"))?;
        }
        let sum = b.g.add(y, shortcut)?;
        Ok(b.g.relu(sum)?)
    }

    fn conv(
        &self,
        b: &mut Builder,
        x: Value,
        name: &str,
        outputs: usize,
        kernel: usize,
        stride: usize,
    ) -> Result<Value, EncoderError> {
        b.conv(x, name, outputs, &vec![kernel; self.axes], &self.sliding(kernel, stride))
    }

    /// Windows of an odd size around every `stride`-th place.
    fn sliding(&self, kernel: usize, stride: usize) -> Sliding {
        Sliding {
            strides: vec![stride; self.axes],
            pads_before: vec![kernel / 2; self.axes],
            pads_after: vec![kernel / 2; self.axes],
            ..Sliding::unit(self.axes)
        }
    }
}
