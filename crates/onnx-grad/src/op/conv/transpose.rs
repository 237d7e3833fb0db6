//! The transpose of a convolution.

use super::kernel::Meeting;
use super::{Conv, all_f32};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::op::sliding::Sliding;
use crate::op::{Attribute, Operator, Pullback};
use crate::shape::{ElementType, TensorType};

/// The transpose of a [`Conv`] as a linear map of its image:
/// `[n, c, spatial..]` by `[c, o / groups, kernel..]`, and a bias `[o]` or none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvTranspose {
    pub conv: Conv,
    /// What the result has beyond the last place of the window, less than a stride.
    pub output_padding: Vec<usize>,
}

impl ConvTranspose {
    /// The shape of the result, where the operands' shapes fit.
    fn result(&self, x: &[usize], kernel: &[usize], bias: Option<&[usize]>) -> Option<Vec<usize>> {
        let Conv { groups, sliding } = &self.conv;
        let axes = sliding.axes().filter(|axes| (1..=3).contains(axes))?;
        let ([n, c, places @ ..], [channels, o, kernel @ ..]) = (x, kernel) else { return None };
        let o = o.checked_mul(*groups)?;
        let fits = places.len() == axes
            && kernel.len() == axes
            && self.output_padding.len() == axes
            && c == channels
            && c.checked_rem(*groups) == Some(0)
            && bias.is_none_or(|bias| bias == [o]);
        let mut shape = vec![*n, o];
        for i in 0..if fits { axes } else { return None } {
            let extra = Some(self.output_padding[i]).filter(|&extra| extra < sliding.strides[i])?;
            let steps = places[i].checked_sub(1)?.checked_mul(sliding.strides[i])?;
            let whole = steps.checked_add(sliding.reach(i, kernel[i])?)?.checked_add(extra)?;
            let cut = sliding.pads_before[i].checked_add(sliding.pads_after[i])?;
            shape.push(whole.checked_sub(cut).filter(|&size| size > 0)?);
        }
        Some(shape)
    }
}

impl Operator for ConvTranspose {
    fn name(&self) -> &'static str {
        "ConvTranspose"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        all_f32("ConvTranspose", inputs)?;
        let shape = match inputs {
            [x, kernel] => self.result(&x.shape, &kernel.shape, None),
            [x, kernel, bias] => self.result(&x.shape, &kernel.shape, Some(&bias.shape)),
            _ => None,
        };
        let shape = shape.ok_or_else(|| {
            let (Conv { groups, sliding }, extra) = (&self.conv, &self.output_padding);
            let required = format!(
                "[n, c, spatial..], [c, o / groups, kernel..] and a bias [o] or none, of one to \
                 three spatial axes, that fit {groups} groups, {sliding:?} and output padding {extra:?}"
            );
            Error::shape("ConvTranspose", required, inputs)
        })?;
        Ok(vec![TensorType::new(ElementType::F32, shape)])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.conv.attributes();
        attributes.push(("output_padding", Attribute::ints(&self.output_padding)));
        attributes
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, kernel) = (node.inputs[0], node.inputs[1]);
        let mut cotangents = vec![None; node.inputs.len()];
        if node.wanted[0] {
            cotangents[0] = Some(g.apply(self.conv.clone(), &[dy, kernel])?);
        }
        if node.wanted[1] {
            let met = Meeting { conv: &self.conv, image: dy, places: x, kernel };
            cotangents[1] = Some(met.cotangent(g)?);
        }
        if node.wanted.get(2) == Some(&true) {
            cotangents[2] = Some(g.sum_to_channels(dy)?);
        }
        Ok(cotangents)
    }
}

impl Graph {
    /// The transposed convolution of `x` `[n, c, spatial..]` with a kernel
    /// `[c, o / groups, kernel..]`, over one to three spatial axes, plus a bias
    /// `[o]`: `[n, o, spatial'..]`, with spatial' = stride · (spatial − 1) +
    /// dilation · (kernel − 1) + 1 + `output_padding` − pads. The pads are cut off.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes, the groups and the lists do not fit, or
    /// `output_padding` reaches both stride and dilation; [`Error::ElementType`]
    /// where an operand is not `f32`.
    ///
    /// # Source
    /// ONNX `ConvTranspose`; Dumoulin and Visin 2016, section 4.
    pub fn conv_transpose(
        &mut self,
        x: Value,
        kernel: Value,
        bias: Option<Value>,
        groups: usize,
        output_padding: &[usize],
        sliding: &Sliding,
    ) -> Result<Value, Error> {
        let operands: Vec<Value> = [x, kernel].into_iter().chain(bias).collect();
        let mut conv = Conv { groups, sliding: sliding.clone() };
        let mut output_padding = output_padding.to_vec();
        let mut zeros = vec![0; output_padding.len()];
        let axes = output_padding.iter_mut().zip(&mut zeros).zip(&sliding.strides);
        let pads = conv.sliding.pads_after.iter_mut().zip(&sliding.dilations);
        for (((extra, zeros), stride), (pad, dilation)) in axes.zip(pads) {
            // ONNX Runtime wants less than a stride, ONNX less than a dilation: the
            // rest is first what the pad cut off, then zeros
            if (*stride..*dilation).contains(extra) {
                let kept = (*extra).min(*pad);
                *pad -= kept;
                *zeros = *extra - kept;
                *extra = 0;
            }
        }
        if zeros.iter().all(|&n| n == 0) {
            return self.apply(ConvTranspose { conv, output_padding }, &operands);
        }
        let operation = ConvTranspose { conv, output_padding };
        let mut y = self.apply(operation, &[x, kernel])?;
        for (axis, after) in zeros.into_iter().enumerate() {
            y = self.pad_zeros(y, axis + 2, 0, after)?;
        }
        let Some(bias) = bias else { return Ok(y) };
        let mut shape = vec![1; self.shape(y).len()];
        shape[1] = self.shape(y)[1];
        let bias = self.reshape(bias, &shape)?;
        self.add(y, bias)
    }
}
