//! The mean of a sliding window.

use super::pool::Pool;
use super::{Attribute, Operator, Pullback, Sliding};
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
        if count(&self.pool.kernel) > MOST_ELEMENTS {
            return Err(node.no_gradient(self.name(), " with so large a window"));
        }
        let dy = node.cotangent(g, 0)?;
        let (image, places) = (g.shape(node.inputs[0]).to_vec(), g.shape(dy).to_vec());
        let spread = Spread { pool: self.pool.clone(), image: image[2..].to_vec() };
        let channels = [count(&places[..2]), 1];
        let dy = g.reshape(dy, &[&channels[..], &places[2..]].concat())?;
        let dx = g.apply(spread, &[dy])?;
        Ok(vec![Some(g.reshape(dx, &image)?)])
    }
}

/// The transpose of an [`AveragePool`] as a linear map, for single channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Spread {
    pool: Pool,
    image: Vec<usize>,
}

impl Operator for Spread {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [dy] if dy.shape.get(1) == Some(&1) => {
                let shape = [&dy.shape[..2], &self.image].concat();
                Ok(vec![TensorType::new(dy.element, shape)])
            }
            _ => Err(Error::shape(self.name(), "[n, 1, ..]", inputs)),
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
        attributes.push(("output_padding", Attribute::ints(&unreached)));
        attributes
    }

    fn constants(&self) -> Vec<Tensor> {
        let kernel = &self.pool.kernel;
        let elements = count(kernel);
        let shape = [&[1, 1], &kernel[..]].concat();
        vec![Tensor::F32(shape, vec![1.0 / elements as f32; elements])]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        Ok(vec![Some(g.apply(AveragePool { pool: self.pool.clone() }, &[dy])?)])
    }
}

impl Graph {
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
        let mut y = self.apply(AveragePool { pool: pool.clone() }, &[x])?;
        let mut correction = None;
        for axis in 0..kernel.len() {
            let size = image[axis + 2];
            let (before, after) = match count_include_pad {
                true => (sliding.pads_before[axis], sliding.pads_after[axis]),
                false => (0, 0),
            };
            let wide = &pool.sliding;
            if (before, after) == (wide.pads_before[axis], wide.pads_after[axis]) {
                continue;
            }
            let windows = places[axis + 2];
            if windows > MOST_ELEMENTS {
                let required = format!("at most {MOST_ELEMENTS} windows along an axis");
                return Err(Error::shape("AveragePool", required, &[self.ty(x)]));
            }
            let (stride, step) = (wide.strides[axis], wide.dilations[axis]);
            let margin = wide.pads_before[axis];
            let factor = |place: usize| {
                // the window's elements before a place of the padded image
                let below = |end: usize| end.saturating_sub(place * stride).div_ceil(step);
                let counted =
                    below(margin + size + after).min(kernel[axis]) - below(margin - before);
                kernel[axis] as f32 / counted as f32
            };
            let factors: Vec<f32> = (0..windows).map(factor).collect();
            let mut shape = vec![1; kernel.len()];
            shape[axis] = windows;
            let factors = self.constant_f32(&shape, &factors)?;
            correction = Some(match correction {
                Some(product) => self.mul(product, factors)?,
                None => factors,
            });
        }
        if let Some(correction) = correction {
            y = self.mul(y, correction)?;
        }
        Ok(y)
    }
}
