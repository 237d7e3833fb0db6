//! Parts of a layout: what is trained, and what is frozen.

use super::{Layout, Parameter};
use crate::Error;
use crate::graph::Value;
use crate::shape::count;

impl Layout {
    /// The parameters for which `trained` holds, by index and parameter, and the
    /// others: two layouts, each with a flat buffer of its own.
    ///
    /// The second one is bound with [`Layout::bind_initializers`], and
    /// [`Layout::join`] brings both lists of values in one order again.
    pub fn split(&self, mut trained: impl FnMut(usize, &Parameter) -> bool) -> (Self, Self) {
        let (mut yes, mut no) = (Self::new(), Self::new());
        for (index, parameter) in self.parameters.iter().enumerate() {
            let part = if trained(index, parameter) { &mut yes } else { &mut no };
            part.place(parameter.clone());
        }
        (yes, no)
    }

    /// The values of all parameters, in the order of this layout, from those of
    /// its parts.
    ///
    /// # Errors
    /// [`Error::MissingParameter`] where a parameter is in no part, or a part has
    /// fewer values than parameters.
    pub fn join(&self, parts: &[(&Self, &[Value])]) -> Result<Vec<Value>, Error> {
        let value = |parameter: &Parameter| {
            let name = &parameter.name;
            let found = parts.iter().find_map(|(part, values)| values.get(part.find(name)?));
            found.copied().ok_or_else(|| Error::MissingParameter { name: name.clone() })
        };
        self.parameters.iter().map(value).collect()
    }

    /// The flat buffer of a part, out of the flat buffer of this layout.
    ///
    /// # Errors
    /// [`Error::Length`] where the buffer has another length;
    /// [`Error::MissingParameter`] where this layout lacks a parameter of the
    /// part, or has it with another shape.
    pub fn take(&self, flat: &[f32], part: &Self) -> Result<Vec<f32>, Error> {
        self.check_flat(flat)?;
        let mut taken = vec![0.0; part.len()];
        self.shared(part, |own, its| copy(&mut taken, its, flat, own))?;
        Ok(taken)
    }

    /// Writes the flat buffer of a part into the flat buffer of this layout.
    ///
    /// # Errors
    /// As [`Layout::take`], for both buffers.
    pub fn put(&self, flat: &mut [f32], part: &Self, taken: &[f32]) -> Result<(), Error> {
        self.check_flat(flat)?;
        part.check_flat(taken)?;
        self.shared(part, |own, its| copy(flat, own, taken, its))
    }

    /// Hands on where each parameter of a part begins here and there, with its
    /// number of elements.
    fn shared(
        &self,
        part: &Self,
        mut each: impl FnMut((usize, usize), (usize, usize)),
    ) -> Result<(), Error> {
        for (index, parameter) in part.parameters.iter().enumerate() {
            let found = self.find(&parameter.name).filter(|&own| {
                self.parameters.get(own).is_some_and(|own| own.shape == parameter.shape)
            });
            let places = found.and_then(|own| Some((self.offset(own)?, part.offset(index)?)));
            let (own, its) =
                places.ok_or_else(|| Error::MissingParameter { name: parameter.name.clone() })?;
            let size = count(&parameter.shape);
            each((own, size), (its, size));
        }
        Ok(())
    }
}

/// Copies elements from a place, with their number, to another.
fn copy(to: &mut [f32], (start, size): (usize, usize), from: &[f32], (first, _): (usize, usize)) {
    for (to, from) in to.iter_mut().skip(start).zip(from.iter().skip(first)).take(size) {
        *to = *from;
    }
}
