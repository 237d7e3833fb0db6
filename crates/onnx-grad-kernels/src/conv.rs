//! The gradients of convolutions over one to three spatial axes: patches of the
//! image as columns of a matrix, a tile at a time, and matrix products.

use std::ops::Range;

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::matrix::{Matrix, Target, multiply};
use crate::pool::Pool;
use crate::window::Window;
use crate::winograd::{Kernels, Winograd};

/// How many numbers a tile of columns holds, about: what a core's cache does.
const TILE: usize = 1 << 19;

/// A convolution, with the sizes of what it works on.
#[derive(Clone)]
pub struct Conv {
    pub groups: usize,
    pub window: Window,
}

/// The sizes of a convolution's operands, channels counted in one group.
#[derive(Clone, Copy, PartialEq)]
pub struct Sizes {
    pub images: usize,
    pub groups: usize,
    /// Channels of the image.
    pub c: usize,
    /// Channels of the result.
    pub o: usize,
    pub image: [usize; 3],
    pub places: [usize; 3],
    /// Elements of the kernel.
    elements: usize,
    /// Whether the window is one element that meets the whole image in order.
    point: bool,
}

impl Sizes {
    fn pixels(&self) -> usize {
        self.image.iter().product()
    }

    /// The tasks: all groups, about four parts of the channels, of the images or of
    /// both. Each part of the channels packs the places' cotangents once more, so
    /// it is to be worth it.
    fn tasks(&self) -> Vec<Task> {
        let parts = (self.c * self.elements / 256).clamp(1, 4);
        let channels = self.c.div_ceil(parts);
        let images = self.images.div_ceil(4 / parts);
        let mut tasks = Vec::new();
        for group in 0..self.groups {
            for from in (0..self.images).step_by(images) {
                let images = from..(from + images).min(self.images);
                for from in (0..self.c).step_by(channels) {
                    let channels = from..(from + channels).min(self.c);
                    tasks.push(Task { group, images: images.clone(), channels });
                }
            }
        }
        tasks
    }

    fn all_places(&self) -> usize {
        self.places.iter().product()
    }

    /// The tiles that columns of `rows` rows come in: several small images at
    /// once, so that products are large enough, or lines of places of one that is
    /// larger. Where the image is its own columns, one image a tile.
    fn tiles(&self, rows: usize, images: &Range<usize>) -> Vec<Tile> {
        let lines = self.places[0] * self.places[1];
        let held = TILE / (rows * self.places[2]).max(1);
        let (batch, step) = match held / lines.max(1) {
            _ if self.point => (1, lines.max(1)),
            0 => (1, held.max(1)),
            batch => (batch, lines.max(1)),
        };
        let batches = images.clone().step_by(batch);
        let cut = |from: usize| {
            let images = from..(from + batch).min(images.end);
            let lines = (0..lines).step_by(step).map(move |line| line..(line + step).min(lines));
            lines.map(move |lines| Tile { images: images.clone(), lines })
        };
        batches.flat_map(cut).collect()
    }
}

/// What one thread does at a time: channels of a group, counted in the group.
#[derive(Clone)]
struct Task {
    group: usize,
    images: Range<usize>,
    channels: Range<usize>,
}

/// Some lines of places of some images.
struct Tile {
    images: Range<usize>,
    lines: Range<usize>,
}

impl Tile {
    /// The places of one image.
    fn places(&self, s: &Sizes) -> usize {
        self.lines.len() * s.places[2]
    }

    fn columns(&self, s: &Sizes) -> usize {
        self.images.len() * self.places(s)
    }

    /// The cotangents of a group's places, `[o, columns]`, put into a buffer
    /// where they do not lie so already.
    fn gather<'a>(
        &self,
        s: &Sizes,
        dy: &'a [f32],
        group: usize,
        buffer: &'a mut Vec<f32>,
    ) -> Option<Matrix<'a>> {
        let start = |image: usize| (image * s.groups + group) * s.o * s.all_places();
        let line = self.lines.start * s.places[2];
        if self.images.len() == 1 {
            let dy = dy.get(start(self.images.start) + line..)?;
            return Matrix::new(dy, s.o, self.places(s), s.all_places());
        }
        buffer.clear();
        for channel in 0..s.o {
            for image in self.images.clone() {
                let from = start(image) + channel * s.all_places() + line;
                buffer.extend_from_slice(&dy[from..from + self.places(s)]);
            }
        }
        Matrix::new(buffer, s.o, self.columns(s), self.columns(s))
    }
}

impl Conv {
    pub fn new<K: Kernel>(node: &KernelContext) -> ort::Result<Self> {
        let groups = attribute::<K, i64>(node, "group")?;
        Ok(Self { groups: groups.try_into().unwrap_or(0), window: Window::new::<K>(node)? })
    }

    /// The sizes, where image `[n, c, ..]` and places `[n, o, ..]` fit.
    pub fn sizes(&self, image: &[usize], places: &[usize]) -> Option<Sizes> {
        let ([n, c, image @ ..], [images, o, places @ ..]) = (image, places) else { return None };
        let image = self.window.spatial(image)?;
        let places = self.window.spatial(places)?;
        let fits = n == images
            && c.checked_rem(self.groups) == Some(0)
            && o.checked_rem(self.groups) == Some(0)
            && self.window.places(image)? == places;
        fits.then_some(Sizes {
            images: *n,
            groups: self.groups,
            c: c / self.groups,
            o: o / self.groups,
            image,
            places,
            elements: self.window.elements(),
            point: self.window.is_point(),
        })
    }
}

/// The cotangent of a convolution's kernel, from the image and the cotangent of
/// the result.
pub struct ConvKernelGrad(pub Conv);

impl Kernel for ConvKernelGrad {
    const NAME: &'static str = "ConvKernelGrad";
    const INPUTS: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Conv::new::<Self>(node).map(Self)
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match self.0.sizes(&inputs[0].shape, &inputs[1].shape) {
            Some(sizes) => {
                let shape = [sizes.o * sizes.groups, sizes.c];
                Ok(vec![[&shape[..], self.0.window.kernel()].concat()])
            }
            None => refuse::<Self, _>("an image and the places of its windows", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let fits = self.0.sizes(&inputs[0].shape, &inputs[1].shape);
        let Some(s) = fits else { return refuse::<Self, _>("shapes that fit", inputs) };
        let dk = &mut *outputs[0];
        dk.fill(0.0);
        if dk.is_empty() || s.all_places() * s.pixels() == 0 {
            return Ok(());
        }
        if let Some(winograd) = Winograd::new(&self.0.window, &s, false) {
            return winograd.kernel_gradient(pool, inputs[0].data, inputs[1].data, dk);
        }
        let mut sums: Vec<(Task, Vec<f32>)> = (s.tasks().into_iter())
            .map(|task| {
                let len = s.o * task.channels.len() * s.elements;
                (task, vec![0.0; len])
            })
            .collect();
        pool.each_fitting(sums.iter_mut().collect(), |(task, sum)| {
            let (group, channels) = (task.group, task.channels.len());
            let rows = channels * s.elements;
            let (mut columns, mut buffer) = (Vec::new(), Vec::new());
            for tile in s.tiles(rows, &task.images) {
                let (places, width) = (tile.places(&s), tile.columns(&s));
                let channels_of = |image: usize| {
                    let x = (image * s.groups + group) * s.c + task.channels.start;
                    &inputs[0].data[x * s.pixels()..(x + channels) * s.pixels()]
                };
                if !s.point {
                    columns.resize(rows * width, 0.0);
                }
                for (i, image) in tile.images.clone().enumerate().filter(|_| !s.point) {
                    let x = channels_of(image);
                    let columns = &mut columns[i * places..];
                    self.0.window.columns(x, s.image, s.places, tile.lines.clone(), width, columns);
                }
                let dy = tile.gather(&s, inputs[1].data, group, &mut buffer);
                let met = if s.point { channels_of(tile.images.start) } else { &columns };
                let met = Matrix::new(met, rows, width, width)?;
                let target = Target { data: &mut *sum, row_stride: rows };
                multiply(dy?, met.transposed(), target, true).then_some(())?;
            }
            Some(())
        })?;
        let row = s.c * s.elements;
        for (task, sum) in sums {
            let columns = task.channels.start * s.elements..task.channels.end * s.elements;
            let rows = dk[task.group * s.o * row..].chunks_exact_mut(row);
            for (row, sum) in rows.zip(sum.chunks_exact(columns.len())) {
                for (dk, sum) in row[columns.clone()].iter_mut().zip(sum) {
                    *dk += sum;
                }
            }
        }
        Ok(())
    }
}

/// The cotangent of a convolution's image, from the cotangent of the result and
/// the kernel.
pub struct ConvImageGrad {
    pub conv: Conv,
    image: Vec<usize>,
}

impl ConvImageGrad {
    pub fn sizes(&self, inputs: &[Tensor]) -> Option<(Vec<usize>, Sizes)> {
        let (&n, &[o, c, ..]) = (inputs[0].shape.first()?, &inputs[1].shape[..]) else {
            return None;
        };
        let shape = [&[n, c.checked_mul(self.conv.groups)?][..], &self.image].concat();
        let sizes = self.conv.sizes(&shape, &inputs[0].shape)?;
        let fits = inputs[1].shape[2..] == *self.conv.window.kernel() && inputs[0].shape[1] == o;
        fits.then_some((shape, sizes))
    }
}

impl Kernel for ConvImageGrad {
    const NAME: &'static str = "ConvImageGrad";
    const INPUTS: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        let image = attribute::<Self, Vec<i64>>(node, "image")?;
        let image = image.into_iter().map(|n| n.try_into().unwrap_or(0)).collect();
        Ok(Self { conv: Conv::new::<Self>(node)?, image })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match self.sizes(inputs) {
            Some((shape, _)) => Ok(vec![shape]),
            None => refuse::<Self, _>("the places of windows and a kernel", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let Some((_, s)) = self.sizes(inputs) else {
            return refuse::<Self, _>("shapes that fit", inputs);
        };
        let dx = &mut *outputs[0];
        dx.fill(0.0);
        if dx.is_empty() || s.all_places() * s.elements * s.o == 0 {
            return Ok(());
        }
        if let Some(winograd) = Winograd::new(&self.conv.window, &s, true) {
            let strides = [s.elements, s.c * s.elements];
            let kernels = Kernels { data: inputs[1].data, strides, turned: true };
            return winograd.convolve(pool, inputs[0].data, kernels, None, dx);
        }
        // every task gets its channels of each of its images
        let mut tasks: Vec<(Task, Vec<&mut [f32]>)> =
            s.tasks().into_iter().map(|task| (task, Vec::new())).collect();
        for (i, mut rest) in dx.chunks_exact_mut(s.c * s.pixels()).enumerate() {
            let (image, group) = (i / s.groups, i % s.groups);
            let own = |task: &Task| task.group == group && task.images.contains(&image);
            for (task, dx) in tasks.iter_mut().filter(|(task, _)| own(task)) {
                let (first, others) = rest.split_at_mut(task.channels.len() * s.pixels());
                dx.push(first);
                rest = others;
            }
        }
        pool.each_fitting(tasks, |(task, mut dx)| {
            let (group, start) = (task.group, task.images.start);
            let rows = task.channels.len() * s.elements;
            let kernel = (group * s.o * s.c + task.channels.start) * s.elements;
            let kernel = Matrix::new(&inputs[1].data[kernel..], s.o, rows, s.c * s.elements)?;
            let (mut columns, mut buffer) = (Vec::new(), Vec::new());
            for tile in s.tiles(rows, &task.images) {
                let (places, width) = (tile.places(&s), tile.columns(&s));
                let dy = tile.gather(&s, inputs[0].data, group, &mut buffer)?;
                let data = if s.point {
                    &mut *dx[tile.images.start - start]
                } else {
                    columns.resize(rows * width, 0.0);
                    &mut columns
                };
                let target = Target { data, row_stride: width };
                multiply(kernel.transposed(), dy, target, false).then_some(())?;
                for (i, image) in tile.images.clone().enumerate().filter(|_| !s.point) {
                    let (columns, lines) = (&columns[i * places..], tile.lines.clone());
                    let window = &self.conv.window;
                    window.add_columns(columns, s.image, s.places, lines, width, dx[image - start]);
                }
            }
            Some(())
        })
    }
}
