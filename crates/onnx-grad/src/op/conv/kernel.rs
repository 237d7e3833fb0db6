//! The cotangent of a convolution's kernel: what each of its elements met, by
//! the cotangent of what that gave.
//!
//! Every form is the fastest that was measured on ONNX Runtime's CPU provider for
//! its shapes, and none holds more of the image at once than one row of the
//! kernel's elements met.

use super::Conv;
use crate::Error;
use crate::graph::{Graph, Value};
use crate::op::{PadMode, Sliding};
use crate::shape::count;

/// With fewer channels a product for one element of the kernel is too narrow, and
/// a row of elements enters each.
const FEW_CHANNELS: usize = 8;

/// With more elements a product for each of them takes longer than one product in
/// which all meet.
const MANY_ELEMENTS: usize = 25;

/// What meets in a convolution.
pub(super) struct Meeting<'a> {
    pub conv: &'a Conv,
    /// `[n, c, spatial..]`
    pub image: Value,
    /// `[n, o, spatial'..]`, a number for each place of the window.
    pub places: Value,
    /// `[o, c / groups, kernel..]`
    pub kernel: Value,
}

impl Meeting<'_> {
    /// The cotangent of the kernel, in its shape.
    pub fn cotangent(&self, g: &mut Graph) -> Result<Value, Error> {
        let shape = g.shape(self.kernel).to_vec();
        let (groups, o, depth) = (self.conv.groups, shape[0], shape[1]);
        let window = &shape[2..];
        let elements = count(window);
        let places = count(&g.shape(self.places)[2..]);
        let unit = self.conv.sliding.strides.iter().all(|&stride| stride == 1);
        let met = match *window {
            // the products of the images are smaller than what enters them
            _ if groups == 1 && elements == 1 && o * depth <= (o + depth) * places => {
                self.image_by_image(g)?
            }
            _ if groups == 1 => self.channels_last(g, window)?,
            [rows, columns] if unit && elements > MANY_ELEMENTS => {
                let met = self.rows_by_columns(g, rows, columns)?;
                let met = g.reshape(met, &[groups, rows, o / groups, columns, depth])?;
                let met = g.transpose(met, &[0, 2, 4, 1, 3])?;
                return g.reshape(met, &shape);
            }
            _ => self.group_by_group(g, window)?,
        };
        let met = g.reshape(met, &[o, elements, depth])?;
        let met = g.swap_last_two(met)?;
        g.reshape(met, &shape)
    }

    /// `[o, c]` for a kernel of one element: a product for each image.
    fn image_by_image(&self, g: &mut Graph) -> Result<Value, Error> {
        let x = self.padded(g, self.image, 2)?;
        let met = self.met_by(g, x, 2, 0, &vec![0; g.shape(x).len() - 2])?;
        let (n, c, o) = (g.shape(met)[0], g.shape(met)[1], g.shape(self.places)[1]);
        let places = count(&g.shape(met)[2..]);
        let met = g.reshape(met, &[n, c, places])?;
        let met = g.swap_last_two(met)?;
        let dy = g.reshape(self.places, &[n, o, places])?;
        let products = g.matmul(dy, met)?;
        g.reduce_sum(products, &[0], false)
    }

    /// `[o, elements · c]`: a product for each element of the kernel, or for each
    /// row of them where channels are few.
    fn channels_last(&self, g: &mut Graph, window: &[usize]) -> Result<Value, Error> {
        let channels = window.len() + 1;
        let mut order: Vec<usize> = (0..=channels).collect();
        order[1..].rotate_left(1);
        let x = g.transpose(self.image, &order)?;
        let mut x = self.padded(g, x, 1)?;
        let mut leading = window;
        if let [rest @ .., columns] = window
            && g.shape(x)[channels] < FEW_CHANNELS
        {
            let row = (0..*columns)
                .map(|column| self.met_by(g, x, 1, rest.len(), &[column]))
                .collect::<Result<Vec<_>, _>>()?;
            x = g.concat(&row, channels as i64)?;
            leading = rest;
        }
        let dy = channels_first(g, self.places)?;
        let (o, places) = (g.shape(dy)[0], count(&g.shape(dy)[1..]));
        let dy = g.reshape(dy, &[o, places])?;
        let shape = [places, g.shape(x)[channels]];
        let products = elements(leading)
            .map(|element| {
                let met = self.met_by(g, x, 1, 0, &element)?;
                let met = g.reshape(met, &shape)?;
                g.matmul(dy, met)
            })
            .collect::<Result<Vec<_>, _>>()?;
        g.concat(&products, 1)
    }

    /// `[groups, o / groups, elements · c / groups]`: a product for each element
    /// of the kernel.
    fn group_by_group(&self, g: &mut Graph, window: &[usize]) -> Result<Value, Error> {
        let groups = self.conv.groups;
        let x = channels_first(g, self.image)?;
        let x = self.padded(g, x, 2)?;
        let dy = channels_first(g, self.places)?;
        let dy = by_group(g, dy, groups)?;
        let products = elements(window)
            .map(|element| {
                let met = self.met_by(g, x, 2, 0, &element)?;
                let met = by_group(g, met, groups)?;
                let met = g.swap_last_two(met)?;
                g.matmul(dy, met)
            })
            .collect::<Result<Vec<_>, _>>()?;
        g.concat(&products, 2)
    }

    /// `[groups, rows · o / groups, columns · c / groups]`, at steps of one: a
    /// single product of the image, moved by every column of the kernel, and the
    /// places, moved by every row.
    fn rows_by_columns(&self, g: &mut Graph, rows: usize, columns: usize) -> Result<Value, Error> {
        let groups = self.conv.groups;
        let x = channels_first(g, self.image)?;
        let x = self.padded(g, x, 2)?;
        let met = (0..columns)
            .map(|column| {
                let met = self.met_by(g, x, 2, 1, &[column])?;
                by_group(g, met, groups)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let met = g.concat(&met, 1)?;
        let met = g.swap_last_two(met)?;
        // rows of zeros before each image, which also follow the image before it
        let step = self.conv.sliding.dilations[0];
        let before = (rows - 1) * step;
        let dy = channels_first(g, self.places)?;
        let dy = g.pad_zeros(dy, 2, before, 0)?;
        let line = g.shape(dy)[3] * step;
        let dy = by_group(g, dy, groups)?;
        let length = g.shape(dy)[2];
        let dy = g.pad_zeros(dy, 2, 0, (rows - 1) * line)?;
        let moved = (0..rows)
            .rev()
            .map(|lines| g.slice(dy, 2, lines * line..lines * line + length))
            .collect::<Result<Vec<_>, _>>()?;
        let dy = g.concat(&moved, 1)?;
        g.matmul(dy, met)
    }

    /// `x` with the zeros around its spatial axes, the first of which is `first`.
    fn padded(&self, g: &mut Graph, x: Value, first: usize) -> Result<Value, Error> {
        let Sliding { pads_before, pads_after, .. } = &self.conv.sliding;
        let (mut before, mut after) = (vec![0; g.shape(x).len()], vec![0; g.shape(x).len()]);
        for (i, pads) in pads_before.iter().zip(pads_after).enumerate() {
            (before[first + i], after[first + i]) = (*pads.0 as i64, *pads.1 as i64);
        }
        g.pad(x, &before, &after, PadMode::Constant(0.0))
    }

    /// What an element of the kernel met, at every place of the window: its index
    /// along the kernel's axes from `from` on, the first of which is the axis
    /// `first` of `x`.
    fn met_by(
        &self,
        g: &mut Graph,
        x: Value,
        first: usize,
        from: usize,
        element: &[usize],
    ) -> Result<Value, Error> {
        let Sliding { strides, dilations, .. } = &self.conv.sliding;
        let mut sizes = g.shape(x).to_vec();
        let (mut starts, mut steps) = (vec![0; sizes.len()], vec![1; sizes.len()]);
        for (i, index) in (from..).zip(element) {
            starts[first + i] = index * dilations[i];
            sizes[first + i] = g.shape(self.places)[2 + i];
            steps[first + i] = strides[i] as i64;
        }
        g.strided_slice(x, &starts, &sizes, &steps)
    }
}

/// `[n, c, spatial..]` as `[c, n, spatial..]`.
fn channels_first(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let mut order: Vec<usize> = (0..g.shape(x).len()).collect();
    order.swap(0, 1);
    g.transpose(x, &order)
}

/// `[c, n, spatial..]` as `[groups, c / groups, n · spatial]`.
fn by_group(g: &mut Graph, x: Value, groups: usize) -> Result<Value, Error> {
    let (c, rest) = (g.shape(x)[0], count(&g.shape(x)[1..]));
    g.reshape(x, &[groups, c / groups, rest])
}

/// The indices of a kernel's elements, in row-major order.
fn elements(window: &[usize]) -> impl Iterator<Item = Vec<usize>> {
    (0..count(window)).map(move |mut i| {
        let mut element = vec![0; window.len()];
        for (index, size) in element.iter_mut().zip(window).rev() {
            *index = i % size;
            i /= size;
        }
        element
    })
}
