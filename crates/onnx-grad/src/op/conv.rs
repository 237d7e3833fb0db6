//! Convolution over images.

use super::{Attribute, Operator, Pad, Pullback};
use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{ElementType, TensorType};

/// `[n, c, h, w]` by `[o, c, kh, kw]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Conv {
    /// The step between places, down and across.
    strides: [usize; 2],
    /// The zeros put around the image: top, left, bottom, right.
    pads: [usize; 4],
}

impl Conv {
    /// The number of places along an axis, 0 down and 1 across.
    fn places(&self, axis: usize, image: usize, kernel: usize) -> Option<usize> {
        let room = (image + self.pads[axis] + self.pads[axis + 2]).checked_sub(kernel)?;
        Some(room.checked_div(self.strides[axis])? + 1)
    }

    /// dW as a product for each place of the kernel: what the kernel's element
    /// met, by the cotangent of what it gave.
    fn kernel_cotangent(
        &self,
        g: &mut Graph,
        x: Value,
        kernel: [usize; 4],
        dy: Value,
    ) -> Result<Value, Error> {
        let [o, c, kh, kw] = kernel;
        let (rows, columns) = (g.shape(dy)[2], g.shape(dy)[3]);
        let mut x = g.transpose(x, &[1, 0, 2, 3])?;
        for axis in 0..2 {
            let (before, after) = (self.pads[axis], self.pads[axis + 2]);
            if before + after > 0 {
                let axis = axis + 2;
                x = g.apply(Pad::zeros(axis, before, after), &[x])?;
            }
        }
        let dy = g.transpose(dy, &[1, 0, 2, 3])?;
        let all = g.shape(dy)[1..].iter().product();
        let dy = g.reshape(dy, &[o, all])?;
        let mut parts = Vec::new();
        for (i, j) in (0..kh).flat_map(|i| (0..kw).map(move |j| (i, j))) {
            let window = Window { start: [i, j], size: [rows, columns], strides: self.strides };
            let met = g.apply(window, &[x])?;
            let met = g.reshape(met, &[c, all])?;
            let part = g.gemm(dy, false, met, true)?;
            parts.push(g.reshape(part, &[1, o, c])?);
        }
        let stacked = g.concat(&parts, 0)?;
        let moved = g.transpose(stacked, &[1, 2, 0])?;
        g.reshape(moved, &kernel)
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let required = || {
            let (strides, pads) = (self.strides, self.pads);
            format!("[n, c, h, w] and [o, c, kh, kw] that fit strides {strides:?}, pads {pads:?}")
        };
        let wrong = || Error::shape("Conv", required(), inputs);
        if inputs.iter().any(|x| x.element != ElementType::F32) {
            return Err(Error::element_type("Conv", "F32", inputs));
        }
        let [x, kernel] = inputs else {
            return Err(wrong());
        };
        let (&[n, c, h, w], &[o, channels, kh, kw]) = (&x.shape[..], &kernel.shape[..]) else {
            return Err(wrong());
        };
        let (Some(rows), Some(columns)) = (self.places(0, h, kh), self.places(1, w, kw)) else {
            return Err(wrong());
        };
        if c != channels {
            return Err(wrong());
        }
        let shape = [n, o, rows, columns];
        Ok(vec![TensorType::new(ElementType::F32, shape)])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("strides", Attribute::ints(&self.strides)), ("pads", Attribute::ints(&self.pads))]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, kernel) = (node.inputs[0], node.inputs[1]);
        let mut cotangents = vec![None, None];
        if node.wanted[0] {
            let (image, window) = (g.shape(x), g.shape(kernel));
            let transpose = ConvTranspose {
                conv: *self,
                image: [image[2], image[3]],
                unreached: [0, 1].map(|i| {
                    let room = image[i + 2] + self.pads[i] + self.pads[i + 2] - window[i + 2];
                    room % self.strides[i]
                }),
            };
            cotangents[0] = Some(g.apply(transpose, &[dy, kernel])?);
        }
        if node.wanted[1]
            && let &[o, c, kh, kw] = g.shape(kernel)
        {
            cotangents[1] = Some(self.kernel_cotangent(g, x, [o, c, kh, kw], dy)?);
        }
        Ok(cotangents)
    }
}

/// The transpose of a [`Conv`] as a linear map of the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvTranspose {
    conv: Conv,
    image: [usize; 2],
    /// The last rows and columns that no place of the kernel reached.
    unreached: [usize; 2],
}

impl Operator for ConvTranspose {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [dy, kernel] if dy.shape.len() == 4 && kernel.shape.len() == 4 => {
                let [h, w] = self.image;
                let shape = [dy.shape[0], kernel.shape[1], h, w];
                Ok(vec![TensorType::new(ElementType::F32, shape)])
            }
            _ => Err(Error::shape(self.name(), "four axes each", inputs)),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.conv.attributes();
        attributes.push(("output_padding", Attribute::ints(&self.unreached)));
        attributes
    }
}

/// Every `strides`-th row and column of an image, `size` of them from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Window {
    start: [usize; 2],
    size: [usize; 2],
    strides: [usize; 2],
}

impl Operator for Window {
    fn name(&self) -> &'static str {
        "Slice"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.shape.len() == 4 => {
                let mut result = (*x).clone();
                result.shape[2..].copy_from_slice(&self.size);
                Ok(vec![result])
            }
            _ => Err(Error::shape(self.name(), "four axes", inputs)),
        }
    }

    fn constants(&self) -> Vec<Tensor> {
        let end = [0, 1].map(|i| self.start[i] + (self.size[i] - 1) * self.strides[i] + 1);
        [self.start, end, [2, 3], self.strides].map(|list| Tensor::integers(&list)).into()
    }
}

impl Graph {
    /// The correlation of `x` `[n, c, h, w]` with a kernel `[o, c, kh, kw]`, at
    /// steps `[down, across]` and with zeros `[top, left, bottom, right]` around
    /// `x`: `[n, o, h', w']`, with h' = (h + top + bottom − kh) / down + 1,
    /// rounded down.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not fit, [`Error::ElementType`]
    /// where an operand is not `f32`.
    ///
    /// # Source
    /// ONNX `Conv`, one group, no dilation; Dumoulin and Visin 2016, sections 2.4
    /// and 4.
    pub fn conv(
        &mut self,
        x: Value,
        kernel: Value,
        strides: [usize; 2],
        pads: [usize; 4],
    ) -> Result<Value, Error> {
        self.apply(Conv { strides, pads }, &[x, kernel])
    }
}
