//! The temperature: fixed, learned, or on a schedule.

use std::{f64::consts::PI, str::FromStr};

use onnx_grad::{Error, Graph, Value};
use serde::Serialize;

/// What scores are divided by.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub enum Temperature {
    /// Always this number.
    Fixed(f32),
    /// A parameter that begins with this number.
    Learned(f32),
    /// From one number to another over the run.
    Scheduled {
        /// At the first step.
        from: f32,
        /// After the last step.
        to: f32,
        /// How it gets there.
        shape: Shape,
    },
}

/// The largest logarithm of a learned temperature's inverse: a temperature of 0.01.
///
/// # Source
/// Radford et al. 2021 (CLIP), § 2.5.
pub const LARGEST_LOG_SCALE: f32 = 4.605_170_2;

/// The temperature e^−s, a scalar, of a learned s `[1]`.
///
/// # Errors
/// [`Error`] where s has another shape.
pub fn of_log_scale(g: &mut Graph, log_scale: Value) -> Result<Value, Error> {
    let log_scale = g.reshape(log_scale, &[])?;
    let negative = g.neg(log_scale)?;
    g.exp(negative)
}

/// How a schedule goes from one number to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Shape {
    /// By half a cosine.
    Cosine,
    /// On a line.
    Linear,
}

impl Temperature {
    /// The temperature of a step, of a learned one the first.
    pub fn at(&self, step: usize, steps: usize) -> f32 {
        match *self {
            Self::Fixed(temperature) | Self::Learned(temperature) => temperature,
            Self::Scheduled { from, to, shape } => {
                let done = step as f64 / steps.max(1) as f64;
                let share = match shape {
                    Shape::Linear => done,
                    Shape::Cosine => 0.5 * (1.0 - (PI * done).cos()),
                };
                (f64::from(from) + (f64::from(to) - f64::from(from)) * share) as f32
            }
        }
    }
}

impl FromStr for Shape {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "cosine" => Ok(Self::Cosine),
            "linear" => Ok(Self::Linear),
            _ => Err("\"fixed\", \"learned\", \"cosine\" or \"linear\""),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_go_from_one_end_to_the_other() {
        for (shape, quarter) in [(Shape::Linear, 0.425), (Shape::Cosine, 0.456_066)] {
            let temperature = Temperature::Scheduled { from: 0.5, to: 0.2, shape };
            assert_eq!(temperature.at(0, 100), 0.5);
            assert!((temperature.at(25, 100) - quarter).abs() < 1e-5, "{shape:?}");
            assert!((temperature.at(50, 100) - 0.35).abs() < 1e-6);
            assert!((temperature.at(100, 100) - 0.2).abs() < 1e-6);
        }
        assert_eq!(Temperature::Fixed(0.1).at(7, 10), 0.1);
    }
}
