//! The convolution that a kernel computes by tiles.

use super::Conv;
use crate::Error;
use crate::graph::{Graph, Value};
use crate::op::{Attribute, KERNELS, Operator, Pullback};
use crate::shape::TensorType;

/// The channels, before and after, from which on the kernel is the faster way.
const LEAST_CHANNELS: usize = 16;

/// A convolution of 3 × 3 kernels at steps of one, in one group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Winograd(Conv);

impl Winograd {
    /// The convolution, where the kernel takes one of such shapes.
    pub fn new(conv: &Conv, x: &[usize], kernel: &[usize]) -> Option<Self> {
        let Conv { groups, sliding } = conv;
        let (&[_, _, rows, columns], &[o, c, 3, 3]) = (x, kernel) else { return None };
        // what does not fit at all is the convolution's to refuse
        sliding.axes().filter(|&axes| axes == 2)?;
        let places = [sliding.places(0, rows, 3)?, sliding.places(1, columns, 3)?];
        let fits = *groups == 1
            && sliding.strides == [1, 1]
            && sliding.dilations == [1, 1]
            && o.min(c) >= LEAST_CHANNELS
            && places.iter().all(|&n| n >= 3);
        fits.then(|| Self(conv.clone()))
    }
}

impl Operator for Winograd {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        self.0.infer(inputs)
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.0.attributes();
        attributes.push(("kernel_shape", Attribute::ints(&[3, 3])));
        attributes
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        self.0.vjp(g, node)
    }
}
