//! Whether 16-bit integers say every intensity.

use ndarray::{ArrayView3, Axis};
use rayon::prelude::*;

/// From a stored integer to an intensity: `slope × stored + intercept`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// Intensity of one stored unit.
    pub slope: f32,
    /// Intensity of a stored zero.
    pub intercept: f32,
}

/// The scale by which int16 gives back every intensity `[k, j, i]` to the last
/// bit of float32, computed in double precision as readers of NIfTI do; none
/// where a value is not finite or no scale that was tried does.
///
/// Tried are the integers themselves; integers moved by a whole number, for
/// unsigned 16 bits; the slope and intercept of the file that the intensities
/// come from; and those moved by 32768 steps. So what was stored in 16 bits with
/// one slope stays so, where float32 holds the slope; and what had a slope for
/// each slice, as PET has, becomes float32.
pub fn exact_int16(intensities: ArrayView3<f32>, given: Option<[f64; 2]>) -> Option<Scale> {
    let first = *intensities.iter().find(|value| value.is_finite())?;
    let (low, high) = intensities
        .iter()
        .fold((first, first), |(low, high), &value| (low.min(value), high.max(value)));
    let whole = [0.0, low.ceil() + 32_768.0].map(|intercept| Scale { slope: 1.0, intercept });
    let given = given.into_iter().flat_map(|[slope, intercept]| {
        [0.0, 32_768.0].map(|steps| Scale {
            slope: slope as f32,
            intercept: (intercept + steps * slope) as f32,
        })
    });
    whole.into_iter().chain(given).find(|scale| {
        scale.slope.is_finite()
            && scale.slope != 0.0
            && scale.intercept.is_finite()
            && [low, high].iter().all(|&value| scale.is_exact(value))
            && intensities
                .axis_iter(Axis(0))
                .into_par_iter()
                .all(|slice| slice.iter().all(|&value| scale.is_exact(value)))
    })
}

impl Scale {
    /// The stored integer nearest to an intensity.
    pub fn stored(&self, intensity: f32) -> i16 {
        let steps = (f64::from(intensity) - f64::from(self.intercept)) / f64::from(self.slope);
        steps.round() as i16
    }

    fn is_exact(&self, intensity: f32) -> bool {
        let stored = f64::from(self.stored(intensity));
        (f64::from(self.slope) * stored + f64::from(self.intercept)) as f32 == intensity
    }
}
