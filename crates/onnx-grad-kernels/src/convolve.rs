//! Convolutions of 3 × 3 kernels, in place of ONNX Runtime's.

use ort::operator::KernelContext;

use crate::conv;
use crate::kernel::{Kernel, Tensor, refuse};
use crate::pool::Pool;
use crate::winograd::{Kernels, Winograd};

/// A convolution of an image `[n, c, h, w]` with a kernel `[o, c, 3, 3]` at steps of
/// one, and, where given, a bias `[o]`.
pub struct Conv(conv::Conv);

impl Conv {
    fn fitting(&self, inputs: &[Tensor]) -> Option<(Vec<usize>, Winograd)> {
        let [x, kernel, bias @ ..] = inputs else { return None };
        let (&[n, c, ..], &[o, depth, ..]) = (&x.shape[..], &kernel.shape[..]) else { return None };
        let window = &self.0.window;
        let places = window.places(window.spatial(&x.shape[2..])?)?;
        let shape = [&[n, o], window.axes(&places)].concat();
        let sizes = self.0.sizes(&x.shape, &shape)?;
        let fits = depth == c
            && kernel.shape[2..] == *window.kernel()
            && bias.iter().all(|bias| bias.shape == [o]);
        fits.then_some(())?;
        Some((shape, Winograd::new(window, &sizes, false)?))
    }
}

const REQUIRED: &str =
    "[n, c, h, w], [o, c, 3, 3] and [o], of sixteen channels and three places a side at least";

impl Kernel for Conv {
    const NAME: &'static str = "Conv";
    const INPUTS: usize = 2;
    const OPTIONAL: usize = 1;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        conv::Conv::new::<Self>(node).map(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match self.fitting(inputs) {
            Some((shape, _)) => Ok(vec![shape]),
            None => refuse::<Self, _>(REQUIRED, inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let Some((_, winograd)) = self.fitting(inputs) else {
            return refuse::<Self, _>(REQUIRED, inputs);
        };
        let [x, kernel, bias @ ..] = inputs else { return Ok(()) };
        let strides = [kernel.shape[1] * 9, 9];
        let kernels = Kernels { data: kernel.data, strides, turned: false };
        let bias = bias.first().map(|bias| bias.data);
        winograd.convolve(pool, x.data, kernels, bias, outputs[0])
    }
}
