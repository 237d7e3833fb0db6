//! Convolutions of 3 × 3 kernels at steps of one, and their gradients, by the
//! minimal filtering algorithms of Winograd: tiles of the image and the kernels
//! are transformed, multiplied point by point as matrices, and transformed back.
//!
//! # Source
//! Lavin and Gray 2016, "Fast Algorithms for Convolutional Neural Networks",
//! section 4.

use std::ops::Range;

use pulp::Arch;

use crate::conv::Sizes;
use crate::matrix::multiply;
use crate::pool::Pool;
use crate::window::Window;

mod gradient;
mod tiles;
mod transform;

pub use tiles::Kernels;
use tiles::{Gather, Grid, LANES, Pixels, Points, Spread};
use transform::{Image, Kernel, Places, Transform, TurnedKernel};

/// The channels from which on the products are large enough.
const LEAST_CHANNELS: usize = 16;

/// How many numbers the matrices of a block of tiles hold, about: what a core's
/// cache does.
const BLOCK: usize = 1 << 18;

/// The tiles of a block at least: with fewer, reading the kernels takes longer than
/// the products.
const LEAST_TILES: usize = 96;

/// Kernels transformed at a time.
const KERNELS: usize = 32;

/// A convolution by tiles: what is at (i, j) of the target is the sum over the
/// source's channels and kernel elements (k, l) of the source at
/// (i + k, j + l) + offset.
#[derive(Clone, Debug, PartialEq)]
pub struct Winograd {
    images: usize,
    /// Channels of the source.
    c: usize,
    /// Channels of the target.
    o: usize,
    source: [usize; 2],
    target: [usize; 2],
    offset: [isize; 2],
    /// Places along a tile's side: 3 or 4.
    side: usize,
}

/// The side of the tiles that need the fewest multiplications: less than half of
/// the direct ones from three places a side on.
fn side(target: [usize; 2]) -> Option<usize> {
    let products = |side: &usize| {
        let tiles = target.map(|size| size.div_ceil(*side));
        tiles[0].saturating_mul(tiles[1]).saturating_mul((side + 2) * (side + 2))
    };
    let side = [4, 3].into_iter().min_by_key(products)?;
    (target[0].min(target[1]) >= 3).then_some(side)
}

/// Some output channels of some images.
struct Task {
    images: Range<usize>,
    channels: Range<usize>,
}

impl Winograd {
    /// The convolution from image to places, or, `turned`, the one with the kernel turned around
    /// from places to image. `None` where it is to be done in another way.
    pub fn new(window: &Window, s: &Sizes, turned: bool) -> Option<Self> {
        let fits = window.kernel == [1, 3, 3]
            && [window.strides, window.dilations] == [[1; 3]; 2]
            && [s.image[0], s.places[0], s.groups] == [1; 3]
            && window.before[0] == 0
            && s.c.min(s.o) >= LEAST_CHANNELS;
        fits.then_some(())?;
        let before = |axis: usize| isize::try_from(window.before[axis]).ok();
        let before = [before(1)?, before(2)?];
        let [image, places] = [s.image, s.places].map(|[_, rows, columns]| [rows, columns]);
        let (c, o, source, target, offset) = match turned {
            false => (s.c, s.o, image, places, before.map(|before| -before)),
            true => (s.o, s.c, places, image, before.map(|before| before - 2)),
        };
        Some(Self { images: s.images, c, o, source, target, offset, side: side(target)? })
    }

    /// Lines of tiles of an image, and tiles of a line.
    fn grid(&self) -> [usize; 2] {
        self.target.map(|size| size.div_ceil(self.side))
    }

    /// The output channels and images that tasks take: about four tasks.
    fn parts(&self) -> [usize; 2] {
        let parts = (self.o / 64).clamp(1, 4);
        let channels = self.o.div_ceil(parts).next_multiple_of(LANES);
        [channels, self.images.div_ceil(4 / parts).max(1)]
    }

    /// The lines of tiles in a block.
    fn block(&self, outputs: usize) -> usize {
        let points = (self.side + 2) * (self.side + 2);
        let tiles = (BLOCK / (points * (self.c + outputs))).max(LEAST_TILES);
        (tiles / self.grid()[1]).max(1)
    }

    fn task(&self, images: usize, channels: usize, size: [usize; 2]) -> Task {
        let [o, n] = [channels * size[0], images * size[1]];
        Task { images: n..(n + size[1]).min(self.images), channels: o..(o + size[0]).min(self.o) }
    }

    /// Lines of tiles, counted over all images, cut at the ends of images.
    fn runs(&self, lines: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let rows = self.grid()[0];
        let images = lines.start / rows..lines.end.div_ceil(rows);
        images.map(move |i| (i * rows).max(lines.start)..((i + 1) * rows).min(lines.end))
    }

    /// A buffer for lines of tiles of `reach` pixels a side.
    fn pixels(&self, block: usize, reach: usize) -> Pixels {
        let [rows, tiles] = self.grid().map(|n| n * self.side + reach - self.side);
        Pixels::new(rows.min(block * self.side + reach - self.side), tiles)
    }

    /// Transforms channels of some lines of tiles, counted over all images.
    fn spread<T: Transform<FROM, TO>, const FROM: usize, const TO: usize>(
        &self,
        transform: T,
        from: &Tiled,
        lines: Range<usize>,
        pixels: &mut Pixels,
        points: &mut Points,
    ) {
        let ([rows, tiles], step) = (self.grid(), self.side);
        let plane = from.size[0] * from.size[1];
        for run in self.runs(lines.clone()) {
            let (image, row) = (run.start / rows, run.start % rows);
            let corner = [from.offset[0] + (row * step) as isize, from.offset[1]];
            let reach = run.len() * step + FROM - step;
            for start in from.channels.clone().step_by(LANES) {
                let end = (start + LANES).min(from.channels.end);
                let [first, end] = [start, end].map(|c| (image * from.depth + c) * plane);
                pixels.read(&from.data[first..end], from.size, corner, reach);
                let at = (run.start - lines.start) * tiles * points.row_stride;
                let at = at + start - from.channels.start;
                let grid = Grid { lines: run.len(), tiles, step, at };
                let pixels = &*pixels;
                Arch::new().dispatch(Spread { transform, pixels, grid, points });
            }
        }
    }

    /// The target, from the source and the kernels: those of an output channel stand
    /// side by side.
    pub fn convolve(
        &self,
        pool: &Pool,
        source: &[f32],
        kernels: Kernels,
        bias: Option<&[f32]>,
        target: &mut [f32],
    ) -> ort::Result<()> {
        match self.side {
            3 => self.convolve_by::<3, 5>(pool, source, kernels, bias, target),
            _ => self.convolve_by::<4, 6>(pool, source, kernels, bias, target),
        }
    }

    fn convolve_by<const M: usize, const N: usize>(
        &self,
        pool: &Pool,
        source: &[f32],
        kernels: Kernels,
        bias: Option<&[f32]>,
        target: &mut [f32],
    ) -> ort::Result<()> {
        let (size, plane) = (self.parts(), self.target[0] * self.target[1]);
        let parts = self.o.div_ceil(size[0]);
        let mut tasks: Vec<(Task, Vec<&mut [f32]>)> = (0..self.images.div_ceil(size[1]) * parts)
            .map(|i| (self.task(i / parts, i % parts, size), Vec::new()))
            .collect();
        for (image, target) in target.chunks_exact_mut(self.o * plane).enumerate() {
            for (part, target) in target.chunks_mut(size[0] * plane).enumerate() {
                tasks[image / size[1] * parts + part].1.push(target);
            }
        }
        let [rows, tiles] = self.grid();
        pool.each_fitting(tasks, |(task, mut target)| {
            let outputs = task.channels.len();
            let kernels = kernels.at(task.channels.start, 0);
            let kernels = transformed::<N>(kernels, outputs, self.c);
            let block = self.block(outputs);
            let mut images = Points::new(N * N, block * tiles, self.c);
            let mut places = Points::new(N * N, block * tiles, outputs);
            let [mut read, mut written] = [N, M].map(|reach| self.pixels(block, reach));
            let from = Tiled {
                data: source,
                depth: self.c,
                channels: 0..self.c,
                size: self.source,
                offset: self.offset,
            };
            let lines = task.images.start * rows..task.images.end * rows;
            for start in lines.clone().step_by(block) {
                let lines = start..(start + block).min(lines.end);
                self.spread::<_, N, N>(Image, &from, lines.clone(), &mut read, &mut images);
                for point in 0..N * N {
                    let x = images.matrix(point, lines.len() * tiles, self.c)?;
                    let kernel = kernels.matrix(point, self.c, outputs)?;
                    multiply(x, kernel, places.target(point), false).then_some(())?;
                }
                for run in self.runs(lines.clone()) {
                    let (image, row) = (run.start / rows - task.images.start, run.start % rows);
                    for channel in (0..outputs).step_by(LANES) {
                        let at = (run.start - lines.start) * tiles * places.row_stride + channel;
                        let grid = Grid { lines: run.len(), tiles, step: M, at };
                        let (transform, pixels, points) = (Places, &mut written, &places);
                        Arch::new().dispatch(Gather::<_, N, M> { transform, pixels, grid, points });
                        let target = &mut target[image][channel * plane..];
                        let bias = bias.map(|bias| &bias[task.channels.start + channel..]);
                        written.write(target, self.target, row * M, bias.unwrap_or_default());
                    }
                }
            }
            Some(())
        })
    }
}

/// What tiles are cut from: channels of `[n, depth, size..]`, the first tile at
/// an offset.
struct Tiled<'a> {
    data: &'a [f32],
    depth: usize,
    channels: Range<usize>,
    size: [usize; 2],
    offset: [isize; 2],
}

/// Kernels at the points: a row for each input channel, a column for each output.
fn transformed<const N: usize>(kernels: Kernels, outputs: usize, inputs: usize) -> Points {
    let mut points = Points::new(N * N, inputs, outputs);
    let mut pixels = Pixels::of_kernels(KERNELS);
    for channel in (0..inputs).step_by(KERNELS) {
        for start in (0..outputs).step_by(LANES) {
            let tiles = KERNELS.min(inputs - channel);
            pixels.read_kernels(kernels.at(start, channel), LANES.min(outputs - start), tiles);
            let at = channel * points.row_stride + start;
            let grid = Grid { lines: 1, tiles, step: 9, at };
            let (pixels, points) = (&pixels, &mut points);
            if kernels.turned {
                let transform = TurnedKernel;
                Arch::new().dispatch(Spread::<_, 3, N> { transform, pixels, grid, points });
            } else {
                let transform = Kernel;
                Arch::new().dispatch(Spread::<_, 3, N> { transform, pixels, grid, points });
            }
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::side;

    #[test]
    fn tiles_take_less_than_half_of_the_multiplications() {
        for rows in 3..40 {
            for columns in 3..40 {
                let side = side([rows, columns]).unwrap();
                let tiles = rows.div_ceil(side) * columns.div_ceil(side);
                assert!(2 * tiles * (side + 2).pow(2) < 9 * rows * columns, "{rows} × {columns}");
            }
        }
        assert_eq!([3, 6, 7, 12, 24].map(|n| side([n, n])), [3, 3, 4, 4, 4].map(Some));
        assert_eq!(side([2, 40]), None);
    }
}
