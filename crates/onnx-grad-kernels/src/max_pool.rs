//! The gradient of MaxPool.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, refuse};
use crate::pool::{Pool, part};
use crate::window::Window;

/// The cotangent of x, from that of y, x and y: what came to a window goes to the
/// first of its elements that is its maximum.
pub struct MaxPoolGrad(Window);

impl Kernel for MaxPoolGrad {
    const NAME: &'static str = "MaxPoolGrad";
    const INPUTS: usize = 3;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Window::new::<Self>(node).map(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match inputs {
            [dy, x, y]
                if dy.shape == y.shape
                    && x.shape.len() > 2
                    && x.shape.len() == y.shape.len()
                    && x.shape[..2] == y.shape[..2]
                    && self.0.spatial(&x.shape[2..]).is_some() =>
            {
                Ok(vec![x.shape.clone()])
            }
            _ => refuse::<Self, _>("dy and y of one shape, and x [n, c, ..]", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let [dy, x, y] = inputs else { return Ok(()) };
        let spatial = |x: &Tensor| self.0.spatial(x.shape.get(2..).unwrap_or_default());
        let (Some(image), Some(places)) = (spatial(x), spatial(y)) else { return Ok(()) };
        let [pixels, windows] = [image, places].map(|sizes| sizes.iter().product::<usize>());
        outputs[0].fill(0.0);
        if pixels * windows == 0 {
            return Ok(());
        }
        let size = part(x.data.len() / pixels, 1);
        let tasks = outputs[0].chunks_mut(size * pixels).enumerate().collect();
        pool.each(tasks, |(task, dx): (usize, &mut [f32])| {
            for (channel, dx) in (task * size..).zip(dx.chunks_exact_mut(pixels)) {
                let x = &x.data[channel * pixels..(channel + 1) * pixels];
                let windows = channel * windows..(channel + 1) * windows;
                let (dy, y) = (&dy.data[windows.clone()], &y.data[windows]);
                for (place, (dy, y)) in dy.iter().zip(y).enumerate() {
                    let line = place / places[2];
                    let place = [line / places[1], line % places[1], place % places[2]];
                    if let Some(at) = self.0.first(place, image, |at| x[at] == *y) {
                        dx[at] += dy;
                    }
                }
            }
        })
    }
}
