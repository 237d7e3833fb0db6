//! The gradients of a convolution, a kernel each.

use super::Conv;
use crate::Error;
use crate::op::{Attribute, KERNELS, Operator};
use crate::shape::{ElementType, TensorType};

/// The cotangent of the kernel, from the image and the cotangent of the result.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvKernelGrad {
    pub conv: Conv,
    /// `[o, c / groups, kernel..]`
    pub kernel: Vec<usize>,
}

impl Operator for ConvKernelGrad {
    fn name(&self) -> &'static str {
        "ConvKernelGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, _: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(vec![TensorType::new(ElementType::F32, &self.kernel[..])])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.conv.attributes();
        attributes.push(("kernel_shape", Attribute::ints(&self.kernel[2..])));
        attributes
    }
}

/// The cotangent of the image, from the cotangent of the result and the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ConvImageGrad {
    pub conv: Conv,
    /// `[n, c, spatial..]`
    pub image: Vec<usize>,
    /// `[o, c / groups, kernel..]`
    pub kernel: Vec<usize>,
}

impl Operator for ConvImageGrad {
    fn name(&self) -> &'static str {
        "ConvImageGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, _: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(vec![TensorType::new(ElementType::F32, &self.image[..])])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.conv.attributes();
        attributes.push(("kernel_shape", Attribute::ints(&self.kernel[2..])));
        attributes.push(("image", Attribute::ints(&self.image[2..])));
        attributes
    }
}
