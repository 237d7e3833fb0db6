//! Convolution over one, two or three spatial axes.

use super::sliding::Sliding;
use super::{Attribute, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, count};

mod gradient;
mod kernel;
mod transpose;
mod winograd;

pub(crate) use gradient::{ConvImageGrad, ConvKernelGrad};
use kernel::Meeting;
pub(crate) use transpose::ConvTranspose;
pub(crate) use winograd::Winograd;

/// The product of a group's channels, before and after, from which on the kernels
/// are the faster way.
const LEAST_CHANNELS: usize = 16;

/// `[n, c, spatial..]` by `[o, c / groups, kernel..]`, and a bias `[o]` or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Conv {
    groups: usize,
    sliding: Sliding,
}

impl Conv {
    /// The shape of the result, where the operands' shapes fit.
    fn result(&self, x: &[usize], kernel: &[usize], bias: Option<&[usize]>) -> Option<Vec<usize>> {
        let axes = self.sliding.axes().filter(|axes| (1..=3).contains(axes))?;
        let ([n, c, image @ ..], [o, depth, kernel @ ..]) = (x, kernel) else { return None };
        let fits = image.len() == axes
            && kernel.len() == axes
            && depth.checked_mul(self.groups) == Some(*c)
            && o.checked_rem(self.groups) == Some(0)
            && bias.is_none_or(|bias| bias == [*o]);
        let places = |axis: usize| self.sliding.places(axis, image[axis], kernel[axis]);
        let shape = [Some(*n), Some(*o)].into_iter().chain((0..axes).map(places));
        if fits { shape.collect() } else { None }
    }

    /// The cotangent of `x`: the transpose of the convolution as a linear map.
    ///
    /// At steps of one that is a convolution again, with the kernel turned
    /// around, which ONNX Runtime computes a tenth faster than ConvTranspose
    /// where channels are not grouped and the kernel is more than a point.
    fn image_cotangent(
        &self,
        g: &mut Graph,
        x: Value,
        kernel: Value,
        dy: Value,
    ) -> Result<Value, Error> {
        let image = g.shape(x).get(2..).unwrap_or_default().to_vec();
        let window = g.shape(kernel).get(2..).unwrap_or_default().to_vec();
        if self.groups == 1 && self.sliding.strides.iter().all(|&s| s == 1) && count(&window) > 1 {
            return self.turned_around(g, &window, kernel, dy);
        }
        let Sliding { strides, dilations, pads_before, pads_after } = &self.sliding;
        // the last elements of the image that no place of the window reached
        let unreached = (0..image.len())
            .map(|i| {
                let padded = image[i] + pads_before[i] + pads_after[i];
                (padded - 1 - (window[i] - 1) * dilations[i]) % strides[i]
            })
            .collect();
        let transpose = ConvTranspose { conv: self.clone(), output_padding: unreached };
        g.apply(transpose, &[dy, kernel])
    }

    fn turned_around(
        &self,
        g: &mut Graph,
        window: &[usize],
        kernel: Value,
        dy: Value,
    ) -> Result<Value, Error> {
        let axes = window.len();
        let mut sliding =
            Sliding { dilations: self.sliding.dilations.clone(), ..Sliding::unit(axes) };
        let mut shape = g.shape(dy).to_vec();
        let mut starts = vec![0; 2 + axes];
        for i in 0..axes {
            let reach = (window[i] - 1) * sliding.dilations[i];
            let (before, after) = (self.sliding.pads_before[i], self.sliding.pads_after[i]);
            sliding.pads_before[i] = reach.saturating_sub(before);
            sliding.pads_after[i] = reach.saturating_sub(after);
            // places of the window that lie wholly in the padding met nothing
            starts[2 + i] = before.saturating_sub(reach);
            shape[2 + i] -= starts[2 + i] + after.saturating_sub(reach);
        }
        let dy = g.strided_slice(dy, &starts, &shape, &vec![1; 2 + axes])?;
        let mut swap: Vec<usize> = (0..2 + axes).collect();
        swap.swap(0, 1);
        let kernel = g.transpose(kernel, &swap)?;
        let shape = g.shape(kernel).to_vec();
        let (mut last, mut steps) = (vec![0; 2], vec![1; 2]);
        last.extend(window.iter().map(|k| k - 1));
        steps.extend(window.iter().map(|_| -1));
        let kernel = g.strided_slice(kernel, &last, &shape, &steps)?;
        g.conv(dy, kernel, None, 1, &sliding)
    }
}

impl Operator for Conv {
    fn name(&self) -> &'static str {
        "Conv"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        all_f32("Conv", inputs)?;
        let shape = match inputs {
            [x, kernel] => self.result(&x.shape, &kernel.shape, None),
            [x, kernel, bias] => self.result(&x.shape, &kernel.shape, Some(&bias.shape)),
            _ => None,
        };
        let shape = shape.ok_or_else(|| {
            let Self { groups, sliding } = self;
            let required = format!(
                "[n, c, spatial..], [o, c / groups, kernel..] and a bias [o] or none, of one to \
                 three spatial axes, that fit {groups} groups and {sliding:?}"
            );
            Error::shape("Conv", required, inputs)
        })?;
        Ok(vec![TensorType::new(ElementType::F32, shape)])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let Sliding { strides, dilations, pads_before, pads_after } = &self.sliding;
        vec![
            ("strides", Attribute::ints(strides)),
            ("dilations", Attribute::ints(dilations)),
            ("pads", Attribute::ints(&[&pads_before[..], pads_after].concat())),
            ("group", Attribute::Int(self.groups as i64)),
        ]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, kernel) = (node.inputs[0], node.inputs[1]);
        let mut cotangents = vec![None; node.inputs.len()];
        let (image, window) = (g.shape(x).to_vec(), g.shape(kernel).to_vec());
        // with fewer channels a group its matrices are too narrow for the kernels
        let wide = window[1] * (window[0] / self.groups) >= LEAST_CHANNELS;
        let alike = self.sliding.pads_before == self.sliding.pads_after;
        let fused = (g.kernels() && wide) || (g.cudnn() && alike);
        if node.wanted[0] {
            cotangents[0] = Some(if fused {
                let op = ConvImageGrad { conv: self.clone(), image, kernel: window.clone() };
                g.apply(op, &[dy, kernel])?
            } else {
                self.image_cotangent(g, x, kernel, dy)?
            });
        }
        if node.wanted[1] {
            cotangents[1] = Some(if fused {
                g.apply(ConvKernelGrad { conv: self.clone(), kernel: window }, &[x, dy])?
            } else {
                Meeting { conv: self, image: x, places: dy, kernel }.cotangent(g)?
            });
        }
        if node.wanted.get(2) == Some(&true) {
            cotangents[2] = Some(g.sum_to_channels(dy)?);
        }
        Ok(cotangents)
    }
}

fn all_f32(operator: &'static str, inputs: &[&TensorType]) -> Result<(), Error> {
    if inputs.iter().all(|x| x.element == ElementType::F32) {
        return Ok(());
    }
    Err(Error::element_type(operator, "F32", inputs))
}

impl Graph {
    /// The cotangent of a bias: a sum over all axes but the channels'.
    fn sum_to_channels(&mut self, dy: Value) -> Result<Value, Error> {
        let axes: Vec<i64> = (0..self.shape(dy).len() as i64).filter(|&axis| axis != 1).collect();
        self.reduce_sum(dy, &axes, false)
    }

    /// The correlation of `x` `[n, c, spatial..]` with a kernel
    /// `[o, c / groups, kernel..]`, over one to three spatial axes and with zeros
    /// around `x`, plus a bias `[o]`: `[n, o, spatial'..]`, with
    /// spatial' = (spatial + pads − dilation · (kernel − 1) − 1) / stride + 1,
    /// rounded down.
    ///
    /// The channels fall into `groups` of equal size, each with `o / groups`
    /// results: `groups` = c is a depthwise convolution.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes, the groups and the lists of `sliding` do
    /// not fit, [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// ONNX `Conv`; Dumoulin and Visin 2016, sections 2.4, 4 and 5.1.
    pub fn conv(
        &mut self,
        x: Value,
        kernel: Value,
        bias: Option<Value>,
        groups: usize,
        sliding: &Sliding,
    ) -> Result<Value, Error> {
        let operands: Vec<Value> = [x, kernel].into_iter().chain(bias).collect();
        let conv = Conv { groups, sliding: sliding.clone() };
        let by_tiles = Winograd::new(&conv, self.shape(x), self.shape(kernel));
        match by_tiles.filter(|_| self.kernels()) {
            Some(op) => self.apply(op, &operands),
            None => self.apply(conv, &operands),
        }
    }
}
