//! The gradient of such a convolution in its kernels.

use pulp::Arch;

use super::tiles::{Gather, Grid, LANES, Pixels, Points};
use super::transform::{Image, KernelBack, PlacesBack};
use super::{KERNELS, Tiled, Winograd};
use crate::matrix::multiply;
use crate::pool::Pool;

impl Winograd {
    /// The cotangent of the kernels, `[o, c, 3, 3]`, from the source and the
    /// cotangent of the target.
    pub fn kernel_gradient(
        &self,
        pool: &Pool,
        source: &[f32],
        target: &[f32],
        kernels: &mut [f32],
    ) -> ort::Result<()> {
        match self.side {
            3 => self.kernel_gradient_by::<3, 5>(pool, source, target, kernels),
            _ => self.kernel_gradient_by::<4, 6>(pool, source, target, kernels),
        }
    }

    fn kernel_gradient_by<const M: usize, const N: usize>(
        &self,
        pool: &Pool,
        source: &[f32],
        target: &[f32],
        kernels: &mut [f32],
    ) -> ort::Result<()> {
        let (size, row) = (self.parts(), self.c * 9);
        let [rows, tiles] = self.grid();
        kernels.fill(0.0);
        let groups = self.images.div_ceil(size[1]);
        // the first group of images fills the result, the others' are added to it
        let mut others = vec![0.0; (groups.max(1) - 1) * kernels.len()];
        let sums =
            std::iter::once(&mut *kernels).chain(others.chunks_exact_mut((self.o * row).max(1)));
        let mut tasks = Vec::new();
        for (group, sums) in sums.enumerate() {
            let parts = sums.chunks_mut(size[0] * row).enumerate();
            tasks.extend(parts.map(|(part, sums)| (self.task(group, part, size), sums)));
        }
        pool.each_fitting(tasks, |(task, sums)| {
            let outputs = task.channels.len();
            let block = self.block(outputs);
            let mut images = Points::new(N * N, block * tiles, self.c);
            let mut places = Points::new(N * N, block * tiles, outputs);
            let mut products = Points::new(N * N, self.c, outputs);
            let [mut image, mut place] = [N, M].map(|reach| self.pixels(block, reach));
            let from = Tiled {
                data: source,
                depth: self.c,
                channels: 0..self.c,
                size: self.source,
                offset: self.offset,
            };
            let to = Tiled {
                data: target,
                depth: self.o,
                channels: task.channels.clone(),
                size: self.target,
                offset: [0; 2],
            };
            let all = task.images.start * rows..task.images.end * rows;
            for start in all.clone().step_by(block) {
                let lines = start..(start + block).min(all.end);
                self.spread::<_, N, N>(Image, &from, lines.clone(), &mut image, &mut images);
                self.spread::<_, M, N>(PlacesBack, &to, lines.clone(), &mut place, &mut places);
                for point in 0..N * N {
                    let x = images.matrix(point, lines.len() * tiles, self.c)?.transposed();
                    let y = places.matrix(point, lines.len() * tiles, outputs)?;
                    multiply(x, y, products.target(point), start > all.start).then_some(())?;
                }
            }
            let mut pixels = Pixels::of_kernels(KERNELS);
            for channel in (0..self.c).step_by(KERNELS) {
                for start in (0..outputs).step_by(LANES) {
                    let tiles = KERNELS.min(self.c - channel);
                    let at = channel * products.row_stride + start;
                    let grid = Grid { lines: 1, tiles, step: 9, at };
                    let (transform, pixels, points) = (KernelBack, &mut pixels, &products);
                    Arch::new().dispatch(Gather::<_, N, 3> { transform, pixels, grid, points });
                    let sums = &mut sums[start * row + channel * 9..];
                    pixels.write_kernels(sums, LANES.min(outputs - start), row, tiles);
                }
            }
            Some(())
        })?;
        for others in others.chunks_exact((self.o * row).max(1)) {
            for (sum, other) in kernels.iter_mut().zip(others) {
                *sum += other;
            }
        }
        Ok(())
    }
}
