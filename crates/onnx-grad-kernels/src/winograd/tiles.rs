//! Tiles of images and kernels, sixteen channels in the lanes of vectors.

use pulp::{Simd, WithSimd};

use super::transform::Transform;
use crate::matrix::{Matrix, Target};
use crate::transposition::transpose;

/// Channels that stand side by side.
pub const LANES: usize = 16;

/// Matrices, one a point of the transform: rows of channels, a whole number of
/// vectors each.
pub struct Points {
    data: Vec<f32>,
    pub row_stride: usize,
    stride: usize,
}

impl Points {
    pub fn new(points: usize, rows: usize, channels: usize) -> Self {
        let row_stride = channels.next_multiple_of(LANES);
        // not a power of two, whose multiples would share lines of the cache
        let stride = rows * row_stride + LANES;
        Self { data: vec![0.0; points * stride], row_stride, stride }
    }

    pub fn matrix(&self, point: usize, rows: usize, columns: usize) -> Option<Matrix<'_>> {
        Matrix::new(&self.data[point * self.stride..], rows, columns, self.row_stride)
    }

    pub fn target(&mut self, point: usize) -> Target<'_> {
        let data = &mut self.data[point * self.stride..(point + 1) * self.stride];
        Target { data, row_stride: self.row_stride }
    }
}

/// Pixels of sixteen channels, a pixel's side by side.
pub struct Pixels {
    data: Vec<f32>,
    width: usize,
    /// The pixels in the order of the image, without what stands around it.
    dense: Vec<f32>,
}

impl Pixels {
    pub fn new(rows: usize, width: usize) -> Self {
        let data = vec![0.0; rows * width * LANES];
        Self { dense: data.clone(), data, width }
    }

    /// Reads `rows` rows of sixteen channels, or what is left of them, from a place
    /// of the image `[channels, size..]` on; zeros outside of it.
    pub fn read(&mut self, x: &[f32], [height, width]: [usize; 2], at: [isize; 2], rows: usize) {
        let pixels = (height * width).max(1);
        let channels = (x.len() / pixels).min(LANES);
        let inside = |at: isize, len: usize, size: usize| {
            let before = at.min(0).unsigned_abs().min(len);
            let from = at.max(0).unsigned_abs().min(size);
            (before, from, (len - before).min(size - from))
        };
        let (above, top, rows) = inside(at[0], rows, height);
        let (left, from, columns) = inside(at[1], self.width, width);
        self.dense.resize(self.dense.len().max(rows * width * LANES), 0.0);
        if channels < LANES {
            self.dense.fill(0.0);
        }
        let x = &x[(top * width).min(x.len())..];
        transpose(x, [channels, rows * width], pixels, &mut self.dense, LANES);
        self.data.fill(0.0);
        for row in 0..rows {
            let to = ((above + row) * self.width + left) * LANES;
            let from = (row * width + from) * LANES;
            self.data[to..to + columns * LANES]
                .copy_from_slice(&self.dense[from..from + columns * LANES]);
        }
    }

    /// Writes sixteen channels, or what is left of them, to the image
    /// `[channels, size..]` from a row on, with a bias added.
    pub fn write(&mut self, y: &mut [f32], [height, width]: [usize; 2], top: usize, bias: &[f32]) {
        let pixels = (height * width).max(1);
        let channels = (y.len() / pixels).min(LANES);
        let mut added = [0.0; LANES];
        added.iter_mut().zip(bias).for_each(|(added, bias)| *added = *bias);
        let rows = (self.data.len() / (self.width * LANES)).min(height - top);
        let lines = self.data.chunks_exact(self.width * LANES).take(rows);
        let dense = self.dense.chunks_exact_mut(width * LANES);
        for (line, dense) in lines.zip(dense) {
            let pixels = dense.as_chunks_mut::<LANES>().0.iter_mut();
            for (dense, pixel) in pixels.zip(line.as_chunks::<LANES>().0) {
                for lane in 0..LANES {
                    dense[lane] = pixel[lane] + added[lane];
                }
            }
        }
        let y = &mut y[top * width..];
        transpose(&self.dense, [rows * width, channels], LANES, y, pixels);
    }

    /// Kernels of 3 × 3 elements, one after another.
    pub fn of_kernels(kernels: usize) -> Self {
        Self { data: vec![0.0; kernels * 9 * LANES], width: 3, dense: Vec::new() }
    }

    /// Reads `kernels` kernels, `lanes` side by side.
    pub fn read_kernels(&mut self, from: Kernels, lanes: usize, kernels: usize) {
        let [side, after] = from.strides;
        if after == 9 {
            return transpose(from.data, [lanes, kernels * 9], side, &mut self.data, LANES);
        }
        for (kernel, pixels) in self.data.chunks_exact_mut(9 * LANES).take(kernels).enumerate() {
            transpose(&from.data[kernel * after..], [lanes, 9], side, pixels, LANES);
        }
    }

    /// Writes `kernels` kernels of `lanes` rows, `stride` elements apart.
    pub fn write_kernels(&self, y: &mut [f32], lanes: usize, stride: usize, kernels: usize) {
        transpose(&self.data, [kernels * 9, lanes], LANES, y, stride);
    }
}

/// Kernels of 3 × 3 elements.
#[derive(Clone, Copy)]
pub struct Kernels<'a> {
    pub data: &'a [f32],
    /// Between kernels that stand side by side, and those that follow another.
    pub strides: [usize; 2],
    /// Whether they are turned around.
    pub turned: bool,
}

impl Kernels<'_> {
    /// Those from one on.
    pub fn at(self, side: usize, after: usize) -> Self {
        let from = side * self.strides[0] + after * self.strides[1];
        Self { data: &self.data[from..], ..self }
    }
}

/// Where tiles stand: lines of tiles, `step` pixels apart, the first at the first
/// pixel and in a row of the matrices.
#[derive(Clone, Copy)]
pub struct Grid {
    pub lines: usize,
    pub tiles: usize,
    pub step: usize,
    /// The place of the first tile's channels in the first matrix.
    pub at: usize,
}

impl Grid {
    /// The tiles' first pixels, and their places in the first matrix.
    #[inline(always)]
    fn each(self, width: usize, row_stride: usize) -> impl Iterator<Item = (usize, usize)> {
        (0..self.lines * self.tiles).map(move |i| {
            let (line, tile) = (i / self.tiles, i % self.tiles);
            ((line * width + tile) * self.step, self.at + i * row_stride)
        })
    }
}

/// Transforms tiles of FROM × FROM pixels into a row of the matrices each.
pub struct Spread<'a, T, const FROM: usize, const TO: usize> {
    pub transform: T,
    pub pixels: &'a Pixels,
    pub grid: Grid,
    pub points: &'a mut Points,
}

impl<T: Transform<FROM, TO>, const FROM: usize, const TO: usize> WithSimd
    for Spread<'_, T, FROM, TO>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels: Pixels { data, width, .. }, grid, points, .. } = self;
        let (vectors, stride) = (LANES / S::F32_LANES, points.stride / S::F32_LANES);
        let (pixels, _) = S::as_simd_f32s(data);
        let (matrices, _) = S::as_mut_simd_f32s(&mut points.data);
        for (pixel, at) in grid.each(*width, points.row_stride) {
            for vector in 0..vectors {
                let mut x = [[simd.splat_f32s(0.0); FROM]; FROM];
                for (i, row) in x.iter_mut().enumerate() {
                    let from = (pixel + i * width) * vectors + vector;
                    let pixels = &pixels[from..=from + (FROM - 1) * vectors];
                    for (j, x) in row.iter_mut().enumerate() {
                        *x = pixels[j * vectors];
                    }
                }
                let y = self.transform.on_square(simd, x);
                let at = at / S::F32_LANES + vector;
                for (i, row) in y.iter().enumerate() {
                    for (j, y) in row.iter().enumerate() {
                        matrices[at + (i * TO + j) * stride] = *y;
                    }
                }
            }
        }
    }
}

/// Transforms rows of the matrices back into tiles of TO × TO pixels.
pub struct Gather<'a, T, const FROM: usize, const TO: usize> {
    pub transform: T,
    pub pixels: &'a mut Pixels,
    pub grid: Grid,
    pub points: &'a Points,
}

impl<T: Transform<FROM, TO>, const FROM: usize, const TO: usize> WithSimd
    for Gather<'_, T, FROM, TO>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { pixels: Pixels { data, width, .. }, grid, points, .. } = self;
        let (vectors, stride) = (LANES / S::F32_LANES, points.stride / S::F32_LANES);
        let (pixels, _) = S::as_mut_simd_f32s(data);
        let (matrices, _) = S::as_simd_f32s(&points.data);
        for (pixel, at) in grid.each(*width, points.row_stride) {
            for vector in 0..vectors {
                let at = at / S::F32_LANES + vector;
                let mut x = [[simd.splat_f32s(0.0); FROM]; FROM];
                for (i, row) in x.iter_mut().enumerate() {
                    for (j, x) in row.iter_mut().enumerate() {
                        *x = matrices[at + (i * FROM + j) * stride];
                    }
                }
                let y = self.transform.on_square(simd, x);
                for (i, row) in y.iter().enumerate() {
                    let to = (pixel + i * *width) * vectors + vector;
                    let pixels = &mut pixels[to..=to + (TO - 1) * vectors];
                    for (j, y) in row.iter().enumerate() {
                        pixels[j * vectors] = *y;
                    }
                }
            }
        }
    }
}
