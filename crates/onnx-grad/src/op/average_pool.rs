//! The mean of a sliding window.

use std::ops::Range;

use super::pool::Pool;
use super::{Attribute, Operator, PadMode, Pullback, Sliding};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{TensorType, count};

/// No constant made here has more elements.
const MOST_ELEMENTS: usize = 1 << 24;

/// The mean of a window in which zeros stand for what is outside the image.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AveragePool {
    pool: Pool,
}

impl Operator for AveragePool {
    fn name(&self) -> &'static str {
        "AveragePool"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let shape = self.pool.infer(self.name(), inputs)?;
        Ok(inputs.iter().map(|x| TensorType::new(x.element, &shape[..])).collect())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.pool.attributes();
        attributes.push(("count_include_pad", Attribute::Int(1)));
        attributes
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let [_, channels, image @ ..] = g.shape(node.inputs[0]) else {
            return Err(node.no_gradient(self.name(), ""));
        };
        if count(&self.pool.kernel).saturating_mul(*channels) > MOST_ELEMENTS {
            return Err(node.no_gradient(self.name(), " with so large a window"));
        }
        let (channels, image) = (*channels, image.to_vec());
        let spread = Spread { pool: self.pool.clone(), channels, image };
        Ok(vec![Some(g.apply(spread, &[dy])?)])
    }
}

/// The transpose of an [`AveragePool`] as a linear map.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spread {
    pool: Pool,
    channels: usize,
    image: Vec<usize>,
}

impl Operator for Spread {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [dy] if dy.shape.get(1) == Some(&self.channels) => {
                let shape = [&dy.shape[..2], &self.image].concat();
                Ok(vec![TensorType::new(dy.element, shape)])
            }
            _ => Err(Error::shape(self.name(), "[n, c, ..]", inputs)),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let Sliding { strides, pads_before, pads_after, .. } = &self.pool.sliding;
        // what is left over behind the last window
        let unreached = |axis: usize| {
            let padded = self.image[axis] + pads_before[axis] + pads_after[axis];
            padded.saturating_sub(self.pool.reach(axis)) % strides[axis]
        };
        let unreached: Vec<usize> = (0..self.image.len()).map(unreached).collect();
        let mut attributes = self.pool.attributes();
        attributes.retain(|(name, _)| *name != "ceil_mode");
        attributes.push(("group", Attribute::Int(self.channels as i64)));
        attributes.push(("output_padding", Attribute::ints(&unreached)));
        attributes
    }

    fn constants(&self) -> Vec<Tensor> {
        let shape = [&[self.channels, 1], &self.pool.kernel[..]].concat();
        let share = 1.0 / count(&self.pool.kernel) as f32;
        let elements = vec![share; count(&shape)];
        vec![Tensor::F32(shape, elements)]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        Ok(vec![Some(g.apply(AveragePool { pool: self.pool.clone() }, &[dy])?)])
    }
}

/// For every window along an axis its size by the number of its elements that
/// count: those within a range of places, from the padding before on.
fn factors(
    kernel: usize,
    sliding: &Sliding,
    axis: usize,
    windows: usize,
    counted: Range<usize>,
) -> Vec<f32> {
    let (stride, dilation) = (sliding.strides[axis], sliding.dilations[axis]);
    let factor = |window: usize| {
        let elements_before = |place: usize| {
            let room = place.saturating_sub(window * stride);
            room.div_ceil(dilation).min(kernel)
        };
        kernel as f32 / (elements_before(counted.end) - elements_before(counted.start)) as f32
    };
    (0..windows).map(factor).collect()
}

impl Graph {
    /// `x` between so many zeros along an axis, without a Pad.
    fn between_zeros(
        &mut self,
        x: Value,
        axis: usize,
        (before, after): (usize, usize),
    ) -> Result<Value, Error> {
        let mut shape = self.shape(x).to_vec();
        let mut parts = vec![x];
        for (place, size) in [(0, before), (usize::from(before > 0) + 1, after)] {
            if size > 0 {
                shape[axis] = size;
                let zeros = self.zeros(&shape)?;
                parts.insert(place, zeros);
            }
        }
        self.concat(&parts, axis as i64)
    }

    /// The mean of every window of `x` `[n, c, ..]`, `kernel` elements along each
    /// of one to three spatial axes; the zeros of the padding count as elements
    /// where `count_include_pad`.
    ///
    /// `ceil` as in [`Graph::max_pool`]; what such a last window has beyond the
    /// padding never counts.
    ///
    /// # Errors
    /// As [`Graph::max_pool`].
    ///
    /// # Source
    /// ONNX `AveragePool`. The division is by the window's size and a constant
    /// corrects it, because versions of ONNX Runtime differ in what they count
    /// under `ceil_mode`.
    pub fn average_pool(
        &mut self,
        x: Value,
        kernel: &[usize],
        sliding: &Sliding,
        ceil: bool,
        count_include_pad: bool,
    ) -> Result<Value, Error> {
        let mut pool = Pool { kernel: kernel.to_vec(), sliding: sliding.clone(), ceil };
        let places = pool.infer("AveragePool", &[self.ty(x)])?;
        let image = self.shape(x).to_vec();
        pool.ceil = false;
        for axis in 0..kernel.len() {
            // the padding that gives a window more is counted as any padding is
            let windows = (places[axis + 2] - 1).saturating_mul(sliding.strides[axis]);
            let end = windows.saturating_add(pool.reach(axis));
            let after = end.saturating_sub(image[axis + 2] + sliding.pads_before[axis]);
            let after = after.max(sliding.pads_after[axis]);
            pool.sliding.pads_after[axis] = after;
        }
        let wide = pool.sliding.clone();
        let mut framed = x;
        let outgrown = |pads: &[usize]| pads.iter().zip(kernel).any(|(pad, kernel)| pad >= kernel);
        if outgrown(&wide.pads_before) || outgrown(&wide.pads_after) {
            // ONNX Runtime would draw a Pad into the pool, which takes no padding
            // of a whole kernel
            for axis in 0..kernel.len() {
                let margins = (wide.pads_before[axis], wide.pads_after[axis]);
                framed = self.between_zeros(framed, axis + 2, margins)?;
            }
            pool.sliding.pads_before.fill(0);
            pool.sliding.pads_after.fill(0);
        } else if wide.pads_before != wide.pads_after {
            // the CUDA provider has read the padding before as that after, too
            let frame = |pads: &[usize]| -> Vec<i64> {
                let pads = pads.iter().map(|&n| i64::try_from(n).unwrap_or(i64::MAX));
                [0, 0].into_iter().chain(pads).collect()
            };
            let (before, after) = (frame(&wide.pads_before), frame(&wide.pads_after));
            framed = self.pad(x, &before, &after, PadMode::Constant(0.0))?;
            pool.sliding.pads_before.fill(0);
            pool.sliding.pads_after.fill(0);
        }
        let y = self.apply(AveragePool { pool }, &[framed])?;
        let mut correction = None;
        for axis in 0..kernel.len() {
            let size = image[axis + 2];
            let (before, after) = match count_include_pad {
                true => (sliding.pads_before[axis], sliding.pads_after[axis]),
                false => (0, 0),
            };
            if (before, after) == (wide.pads_before[axis], wide.pads_after[axis]) {
                continue;
            }
            let windows = places[axis + 2];
            if windows > MOST_ELEMENTS {
                let required = format!("at most {MOST_ELEMENTS} windows along an axis");
                return Err(Error::shape("AveragePool", required, &[self.ty(x)]));
            }
            let margin = wide.pads_before[axis];
            let counted = margin - before..margin + size + after;
            let factors = factors(kernel[axis], &wide, axis, windows, counted);
            let mut shape = vec![1; kernel.len()];
            shape[axis] = windows;
            let factors = self.constant_f32(&shape, &factors)?;
            correction = Some(match correction {
                Some(product) => self.mul(product, factors)?,
                None => factors,
            });
        }
        match correction {
            Some(correction) => self.mul(y, correction),
            None => Ok(y),
        }
    }
}
