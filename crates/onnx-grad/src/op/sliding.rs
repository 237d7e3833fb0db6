//! Windows that slide over the spatial axes, as convolutions and pools have them.

/// How a window slides over the spatial axes, one number an axis in every list.
///
/// # Source
/// ONNX `Conv`: `strides`, `dilations`, `pads`; Dumoulin and Visin 2016, section 2.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sliding {
    /// The step between places of the window.
    pub strides: Vec<usize>,
    /// The step between elements of the window.
    pub dilations: Vec<usize>,
    /// What is put before the first element.
    pub pads_before: Vec<usize>,
    /// What is put after the last element.
    pub pads_after: Vec<usize>,
}

impl Sliding {
    /// Steps of one and no padding, over so many spatial axes.
    pub fn unit(axes: usize) -> Self {
        Self {
            strides: vec![1; axes],
            dilations: vec![1; axes],
            pads_before: vec![0; axes],
            pads_after: vec![0; axes],
        }
    }

    /// The number of spatial axes, where all lists agree on it and every number
    /// is one that ONNX can hold, and every step is one forward.
    pub(super) fn axes(&self) -> Option<usize> {
        let axes = self.strides.len();
        let lists = [&self.dilations, &self.pads_before, &self.pads_after];
        let held = |&n: &usize| i64::try_from(n).is_ok();
        let fits = lists.iter().all(|list| list.len() == axes && list.iter().all(held))
            && self.strides.iter().all(held)
            && self.strides.iter().chain(&self.dilations).all(|&step| step > 0);
        fits.then_some(axes)
    }

    /// The size along an axis of a window of `kernel` elements.
    pub(super) fn reach(&self, axis: usize, kernel: usize) -> Option<usize> {
        kernel.checked_sub(1)?.checked_mul(self.dilations[axis])?.checked_add(1)
    }

    /// The number of places along an axis for a window of `kernel` elements,
    /// rounded down; `None` where not even one fits.
    pub(super) fn places(&self, axis: usize, image: usize, kernel: usize) -> Option<usize> {
        let reach = self.reach(axis, kernel)?;
        let padded = image.checked_add(self.pads_before[axis])?;
        let room = padded.checked_add(self.pads_after[axis])?.checked_sub(reach)?;
        Some(room.checked_div(self.strides[axis])? + 1)
    }
}
