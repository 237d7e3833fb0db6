//! Windows that slide over the spatial axes.

use std::ops::Range;

use ort::operator::KernelContext;

use crate::kernel::{Kernel, attribute};

/// A window over one to three axes, held as three: the first ones have one place.
#[derive(Clone, Debug)]
pub struct Window {
    axes: usize,
    pub kernel: [usize; 3],
    pub strides: [usize; 3],
    pub dilations: [usize; 3],
    pub before: [usize; 3],
    pub after: [usize; 3],
}

impl Window {
    /// From the attributes `kernel_shape`, `strides`, `dilations` and `pads`.
    pub fn new<K: Kernel>(node: &KernelContext) -> ort::Result<Self> {
        let list = |name| -> ort::Result<Vec<usize>> {
            let list = attribute::<K, Vec<i64>>(node, name)?;
            Ok(list.into_iter().map(|n| n.try_into().unwrap_or(0)).collect())
        };
        let (kernel, strides) = (list("kernel_shape")?, list("strides")?);
        let (dilations, pads) = (list("dilations")?, list("pads")?);
        let axes = kernel.len();
        let steps = strides.iter().chain(&dilations);
        let fits = (1..=3).contains(&axes)
            && strides.len() == axes
            && dilations.len() == axes
            && pads.len() == 2 * axes
            && steps.chain(&kernel).all(|&n| n > 0);
        if !fits {
            return Err(ort::Error::new(format!("{}: no window of one to three axes", K::NAME)));
        }
        let held = |list: &[usize], one: usize| {
            let mut held = [one; 3];
            held[3 - axes..].copy_from_slice(list);
            held
        };
        Ok(Self {
            axes,
            kernel: held(&kernel, 1),
            strides: held(&strides, 1),
            dilations: held(&dilations, 1),
            before: held(&pads[..axes], 0),
            after: held(&pads[axes..], 0),
        })
    }

    pub fn kernel(&self) -> &[usize] {
        &self.kernel[3 - self.axes..]
    }

    /// The sizes of the axes that there are, of three.
    pub fn axes<'a>(&self, sizes: &'a [usize; 3]) -> &'a [usize] {
        &sizes[3 - self.axes..]
    }

    /// Whether the window is one element that meets the whole image in order.
    pub fn is_point(&self) -> bool {
        let [zeros, ones] = [[0; 3], [1; 3]];
        self.kernel == ones && self.strides == ones && self.before == zeros && self.after == zeros
    }

    pub fn elements(&self) -> usize {
        self.kernel.iter().product()
    }

    /// The sizes of spatial axes, held as three.
    pub fn spatial(&self, sizes: &[usize]) -> Option<[usize; 3]> {
        let mut held = [1; 3];
        (sizes.len() == self.axes).then(|| held[3 - self.axes..].copy_from_slice(sizes))?;
        Some(held)
    }

    /// The number of places along each axis, rounded down.
    pub fn places(&self, image: [usize; 3]) -> Option<[usize; 3]> {
        let mut places = [0; 3];
        for (i, places) in places.iter_mut().enumerate() {
            let reach = (self.kernel[i] - 1).checked_mul(self.dilations[i])?.checked_add(1)?;
            let padded = image[i].checked_add(self.before[i])?.checked_add(self.after[i])?;
            *places = padded.checked_sub(reach)? / self.strides[i] + 1;
        }
        Some(places)
    }

    /// Where an element of the kernel meets the image along an axis, at a place.
    pub fn met(&self, axis: usize, place: usize, element: usize, size: usize) -> Option<usize> {
        let at = place * self.strides[axis] + element * self.dilations[axis];
        at.checked_sub(self.before[axis]).filter(|at| *at < size)
    }

    /// The first element of the image that a window at a place holds and that is
    /// looked for, as its index.
    pub fn first(
        &self,
        place: [usize; 3],
        image: [usize; 3],
        looked_for: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let [planes, rows, columns] = [0, 1, 2].map(|axis| {
            let (start, step) = (place[axis] * self.strides[axis], self.dilations[axis]);
            let outside = self.before[axis].saturating_sub(start).div_ceil(step);
            let from = (start + outside * step).saturating_sub(self.before[axis]);
            let end = (start + self.kernel[axis] * step).saturating_sub(self.before[axis]);
            (from..end.min(image[axis]), step)
        });
        for k in planes.0.step_by(planes.1) {
            for j in rows.0.clone().step_by(rows.1) {
                let line = (k * image[1] + j) * image[2];
                let mut places = columns.0.clone().step_by(columns.1).map(|i| line + i);
                if let Some(at) = places.find(|&at| looked_for(at)) {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The places along the last axis at which an element meets the image, and
    /// where the first of them does.
    fn meeting(&self, element: usize, places: usize, size: usize) -> (Range<usize>, usize) {
        let (stride, offset) = (self.strides[2], element * self.dilations[2]);
        let first = self.before[2].saturating_sub(offset).div_ceil(stride).min(places);
        let end = (size + self.before[2]).saturating_sub(offset).div_ceil(stride);
        let end = end.clamp(first, places);
        (first..end, (first * stride + offset).saturating_sub(self.before[2]))
    }

    /// Calls `f` for every line of a matrix of columns: one row a channel and an
    /// element of the kernel, `row_stride` apart, and one column a place of the
    /// given lines of places.
    /// `f` takes where the line stands in the matrix, and, where the image is met,
    /// which of its places do so and where the first stands in the image.
    fn each_line(
        &self,
        channels: usize,
        image: [usize; 3],
        places: [usize; 3],
        lines: Range<usize>,
        row_stride: usize,
        mut f: impl FnMut(usize, Option<(Range<usize>, usize)>),
    ) {
        for channel in 0..channels {
            for element in 0..self.elements() {
                let mut start = (channel * self.elements() + element) * row_stride;
                let columns = self.kernel[2];
                let (row, column) = (element / columns, element % columns);
                let (plane, row) = (row / self.kernel[1], row % self.kernel[1]);
                let (meeting, at) = self.meeting(column, places[2], image[2]);
                for line in lines.clone() {
                    let k = self.met(0, line / places[1], plane, image[0]);
                    let j = self.met(1, line % places[1], row, image[1]);
                    let met = k.zip(j).filter(|_| !meeting.is_empty()).map(|(k, j)| {
                        let line = (channel * image[0] + k) * image[1] + j;
                        (meeting.clone(), line * image[2] + at)
                    });
                    f(start, met);
                    start += places[2];
                }
            }
        }
    }

    /// Fills a matrix of columns from channels of an image.
    pub fn columns(
        &self,
        x: &[f32],
        image: [usize; 3],
        places: [usize; 3],
        lines: Range<usize>,
        row_stride: usize,
        columns: &mut [f32],
    ) {
        let channels = x.len() / image.iter().product::<usize>().max(1);
        let stride = self.strides[2];
        self.each_line(channels, image, places, lines, row_stride, |start, met| {
            let line = &mut columns[start..start + places[2]];
            let Some((meeting, at)) = met else { return line.fill(0.0) };
            line[..meeting.start].fill(0.0);
            line[meeting.end..].fill(0.0);
            let line = &mut line[meeting];
            if stride == 1 {
                line.copy_from_slice(&x[at..at + line.len()]);
            } else {
                for (y, x) in line.iter_mut().zip(x[at.min(x.len())..].iter().step_by(stride)) {
                    *y = *x;
                }
            }
        });
    }

    /// Adds a matrix of columns to the channels of an image that they came from.
    pub fn add_columns(
        &self,
        columns: &[f32],
        image: [usize; 3],
        places: [usize; 3],
        lines: Range<usize>,
        row_stride: usize,
        dx: &mut [f32],
    ) {
        let channels = dx.len() / image.iter().product::<usize>().max(1);
        let stride = self.strides[2];
        self.each_line(channels, image, places, lines, row_stride, |start, met| {
            let Some((meeting, at)) = met else { return };
            let line = &columns[start..start + places[2]][meeting];
            if stride == 1 {
                for (x, y) in dx[at..at + line.len()].iter_mut().zip(line) {
                    *x += y;
                }
            } else {
                let at = at.min(dx.len());
                for (x, y) in dx[at..].iter_mut().step_by(stride).zip(line) {
                    *x += y;
                }
            }
        });
    }
}
