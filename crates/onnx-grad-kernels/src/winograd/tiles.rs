//! Lines of tiles, sixteen channels in the lanes of vectors.

use pulp::{Simd, WithSimd};

use super::transform::Transform;
use crate::matrix::{Matrix, Target};

/// Channels that stand side by side.
pub const LANES: usize = 16;

/// Some channels of an image: planes one after another.
#[derive(Clone, Copy)]
pub struct Planes<'a> {
    pub data: &'a [f32],
    /// Rows and columns.
    pub size: [usize; 2],
}

/// Matrices, one a point of the transform: rows of channels, a whole number of
/// vectors each.
pub struct Points {
    pub data: Vec<f32>,
    pub row_stride: usize,
    pub stride: usize,
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

/// The rows that a line of tiles reaches, a pixel's channels side by side.
pub struct Line {
    data: Vec<f32>,
    width: usize,
}

impl Line {
    pub fn new(rows: usize, width: usize) -> Self {
        Self { data: vec![0.0; rows * width * LANES], width }
    }

    /// Reads sixteen channels, or what is left of them, from a place of the image
    /// on; zeros outside of it.
    pub fn read(&mut self, planes: Planes, at: [isize; 2]) {
        let [height, width] = planes.size;
        self.data.fill(0.0);
        let rows = self.data.chunks_exact_mut(self.width * LANES);
        let start = at[1].min(0).unsigned_abs().min(self.width);
        let from = at[1].max(0).unsigned_abs().min(width);
        let len = (self.width - start).min(width - from);
        for (y, row) in (at[0]..).zip(rows) {
            let Some(y) = usize::try_from(y).ok().filter(|y| *y < height) else { continue };
            let row = &mut row[start * LANES..(start + len) * LANES];
            let planes = planes.data.chunks_exact(height * width).take(LANES);
            for (lane, plane) in planes.enumerate() {
                let line = &plane[y * width + from..][..len];
                for (to, x) in row.chunks_exact_mut(LANES).zip(line) {
                    to[lane] = *x;
                }
            }
        }
    }

    /// Writes sixteen channels, or what is left of them, from a row of the image
    /// on, with a bias added.
    pub fn write(&self, data: &mut [f32], size: [usize; 2], from: usize, bias: &[f32]) {
        let [height, width] = size;
        for (lane, plane) in data.chunks_exact_mut(height * width).take(LANES).enumerate() {
            let bias = bias.get(lane).copied().unwrap_or(0.0);
            let rows = plane[from * width..].chunks_exact_mut(width);
            for (line, row) in rows.zip(self.data.chunks_exact(self.width * LANES)) {
                for (x, pixel) in line.iter_mut().zip(row.chunks_exact(LANES)) {
                    *x = pixel[lane] + bias;
                }
            }
        }
    }
}

/// Kernels of 3 × 3 elements.
#[derive(Clone, Copy)]
pub struct Kernels<'a> {
    pub data: &'a [f32],
    /// Between kernels that stand side by side, and between those of a line.
    pub strides: [usize; 2],
    /// Whether their elements are read last to first.
    pub turned: bool,
}

impl Kernels<'_> {
    /// Those from one on.
    pub fn at(self, side: usize, line: usize) -> Self {
        let from = side * self.strides[0] + line * self.strides[1];
        Self { data: &self.data[from..], ..self }
    }
}

impl Line {
    /// A line of 3 × 3 tiles.
    pub fn of_kernels(tiles: usize) -> Self {
        Self::new(3, 3 * tiles)
    }

    /// Reads a line of kernels, `lanes` side by side.
    pub fn read_kernels(&mut self, kernels: Kernels, lanes: usize, tiles: usize) {
        for lane in 0..lanes {
            for tile in 0..tiles {
                let at = lane * kernels.strides[0] + tile * kernels.strides[1];
                for (element, x) in kernels.data[at..at + 9].iter().enumerate() {
                    let element = if kernels.turned { 8 - element } else { element };
                    let pixel = element / 3 * self.width + tile * 3 + element % 3;
                    self.data[pixel * LANES + lane] = *x;
                }
            }
        }
    }

    /// Writes a line of kernels, side by side, to as many rows, `stride` elements
    /// apart.
    pub fn write_kernels(&self, data: &mut [f32], stride: usize, tiles: usize) {
        for (lane, row) in data.chunks_mut(stride).take(LANES).enumerate() {
            for (tile, kernel) in row.chunks_exact_mut(9).take(tiles).enumerate() {
                for (element, x) in kernel.iter_mut().enumerate() {
                    let pixel = element / 3 * self.width + tile * 3 + element % 3;
                    *x = self.data[pixel * LANES + lane];
                }
            }
        }
    }
}

/// Transforms a line's tiles of FROM × FROM pixels, `step` apart, into a row of
/// the points each.
pub struct Spread<'a, T, const FROM: usize, const TO: usize> {
    pub transform: T,
    pub line: &'a Line,
    pub step: usize,
    pub tiles: usize,
    pub points: &'a mut Points,
    /// Where the first tile's channels stand in the first matrix.
    pub at: usize,
}

impl<T: Transform<FROM, TO>, const FROM: usize, const TO: usize> WithSimd
    for Spread<'_, T, FROM, TO>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let part = S::F32_LANES;
        let (vectors, stride) = (LANES / part, self.points.stride / part);
        let (pixels, _) = S::as_simd_f32s(&self.line.data);
        let (points, _) = S::as_mut_simd_f32s(&mut self.points.data);
        let zero = simd.splat_f32s(0.0);
        for tile in 0..self.tiles {
            for vector in 0..vectors {
                let mut x = [[zero; FROM]; FROM];
                for (i, row) in x.iter_mut().enumerate() {
                    let from = (i * self.line.width + tile * self.step) * vectors + vector;
                    let pixels = &pixels[from..=from + (FROM - 1) * vectors];
                    for (j, x) in row.iter_mut().enumerate() {
                        *x = pixels[j * vectors];
                    }
                }
                let y = T::on_square(simd, x);
                let at = (self.at + tile * self.points.row_stride) / part + vector;
                for (i, row) in y.iter().enumerate() {
                    for (j, y) in row.iter().enumerate() {
                        points[at + (i * TO + j) * stride] = *y;
                    }
                }
            }
        }
    }
}

/// Transforms rows of the points back into a line's tiles of TO × TO pixels, `step`
/// apart.
pub struct Gather<'a, T, const FROM: usize, const TO: usize> {
    pub transform: T,
    pub line: &'a mut Line,
    pub step: usize,
    pub tiles: usize,
    pub points: &'a Points,
    /// Where the first tile's channels stand in the first matrix.
    pub at: usize,
}

impl<T: Transform<FROM, TO>, const FROM: usize, const TO: usize> WithSimd
    for Gather<'_, T, FROM, TO>
{
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let part = S::F32_LANES;
        let (vectors, stride) = (LANES / part, self.points.stride / part);
        let (pixels, _) = S::as_mut_simd_f32s(&mut self.line.data);
        let (points, _) = S::as_simd_f32s(&self.points.data);
        let zero = simd.splat_f32s(0.0);
        for tile in 0..self.tiles {
            for vector in 0..vectors {
                let at = (self.at + tile * self.points.row_stride) / part + vector;
                let mut x = [[zero; FROM]; FROM];
                for (i, row) in x.iter_mut().enumerate() {
                    for (j, x) in row.iter_mut().enumerate() {
                        *x = points[at + (i * FROM + j) * stride];
                    }
                }
                let y = T::on_square(simd, x);
                for (i, row) in y.iter().enumerate() {
                    let to = (i * self.line.width + tile * self.step) * vectors + vector;
                    for (j, y) in row.iter().enumerate() {
                        pixels[to + j * vectors] = *y;
                    }
                }
            }
        }
    }
}
