//! What pools share: windows that slide over the spatial axes.

use super::{Attribute, Sliding};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

/// A window that slides over the one to three last axes of `[n, c, ..]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pool {
    pub kernel: Vec<usize>,
    pub sliding: Sliding,
    /// Whether a last window may reach beyond the padding.
    pub ceil: bool,
}

impl Pool {
    /// The elements from the first to the last of a window along an axis.
    pub fn reach(&self, axis: usize) -> usize {
        let steps = self.kernel[axis].saturating_sub(1);
        steps.saturating_mul(self.sliding.dilations[axis]).saturating_add(1)
    }

    /// The number of windows along an axis, where every window meets an element
    /// of the image, as ONNX Runtime demands.
    fn places(&self, axis: usize, image: usize) -> Option<usize> {
        let kernel = self.kernel[axis];
        let Sliding { strides, dilations, pads_before, pads_after } = &self.sliding;
        let (stride, dilation) = (strides[axis], dilations[axis]);
        let (before, after) = (pads_before[axis], pads_after[axis]);
        let steps_over = before > 0 && dilation > image;
        if before >= kernel || after >= kernel || dilation == 0 || steps_over {
            return None;
        }
        let places = self.sliding.places(axis, image, kernel)?;
        let next = places.checked_mul(stride)?;
        let room = (image + before + after).checked_sub(self.reach(axis))?;
        let left_over = room % stride != 0 && next < image + before;
        Some(if self.ceil && left_over { places.checked_add(1)? } else { places })
    }

    /// The shape of the result.
    pub fn infer(
        &self,
        operator: &'static str,
        inputs: &[&TensorType],
    ) -> Result<Vec<usize>, Error> {
        let required = || {
            let (kernel, sliding) = (&self.kernel, &self.sliding);
            format!("[n, c, ..] and one to three spatial axes that fit {kernel:?}, {sliding:?}")
        };
        let [x] = inputs else {
            return Err(Error::shape(operator, required(), inputs));
        };
        if x.element != ElementType::F32 {
            return Err(Error::element_type(operator, "F32", inputs));
        }
        let axes = self.kernel.len();
        let fits = (1..=3).contains(&axes)
            && self.sliding.axes() == Some(axes)
            && x.shape.len() == axes + 2;
        let mut shape = x.shape.clone();
        for axis in 0..axes {
            let places = if fits { self.places(axis, shape[axis + 2]) } else { None };
            shape[axis + 2] = places.ok_or_else(|| Error::shape(operator, required(), inputs))?;
        }
        Ok(shape)
    }

    pub fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let Sliding { strides, dilations, pads_before, pads_after } = &self.sliding;
        vec![
            ("kernel_shape", Attribute::ints(&self.kernel)),
            ("strides", Attribute::ints(strides)),
            ("dilations", Attribute::ints(dilations)),
            ("pads", Attribute::ints(&[&pads_before[..], &pads_after[..]].concat())),
            ("ceil_mode", Attribute::Int(self.ceil.into())),
        ]
    }
}

impl Graph {
    /// The mean of every channel of `x` `[n, c, ..]`, its spatial axes as ones.
    ///
    /// # Errors
    /// [`Error::Shape`] where `x` has no spatial axes, [`Error::ElementType`]
    /// where it is not `f32`.
    ///
    /// # Source
    /// ONNX `GlobalAveragePool`.
    pub fn global_average_pool(&mut self, x: Value) -> Result<Value, Error> {
        let rank = self.shape(x).len();
        if rank < 3 {
            return Err(Error::shape("GlobalAveragePool", "[n, c, ..]", &[self.ty(x)]));
        }
        let axes: Vec<i64> = (2..rank as i64).collect();
        self.reduce_mean(x, &axes, true)
    }

    /// The maximum of every channel of `x` `[n, c, ..]`, its one to three spatial
    /// axes as ones; ties as in [`Graph::max_pool`].
    ///
    /// # Errors
    /// [`Error::Shape`] where `x` has other axes, [`Error::ElementType`] where it
    /// is not `f32`.
    ///
    /// # Source
    /// ONNX `GlobalMaxPool`.
    pub fn global_max_pool(&mut self, x: Value) -> Result<Value, Error> {
        let kernel = self.shape(x).iter().skip(2).copied().collect::<Vec<_>>();
        let sliding = Sliding::unit(kernel.len());
        self.max_pool(x, &kernel, &sliding, false)
    }
}
