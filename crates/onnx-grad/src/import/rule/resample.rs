//! Padding and resizing.

use super::Role::{Data, Fixed};
use super::Rule;
use crate::Error;
use crate::op::{Coordinates, Interpolation, InterpolationMode, PadMode, Rounding};
use crate::shape;

use super::super::call::{Call, Results, one, unsupported};
use super::super::constant::Elements;

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "Pad", roles: &[Data, Fixed], apply: pad },
    Rule { operator: "Resize", roles: &[Data, Fixed], apply: resize },
];

/// The greatest table of places that resizing or mirroring an axis takes.
const TABLE: usize = 1 << 22;

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { reason: reason.into() }
}

fn table(received: usize) -> Result<(), Error> {
    match received <= TABLE {
        true => Ok(()),
        false => {
            let what = "places along an axis".to_owned();
            Err(Error::Limit { what, received, limit: TABLE })
        }
    }
}

fn pad(c: &mut Call) -> Results {
    let ty = c.ty(0)?;
    let rank = ty.shape.len();
    let pads = c.integers(1)?.ok_or_else(|| malformed("no pads are given"))?;
    let axes = match c.integers(3)? {
        Some(axes) => {
            let place = |&a| shape::axis("Pad", a, &ty);
            axes.iter().map(place).collect::<Result<Vec<_>, _>>()?
        }
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(malformed(format!("{} pads of {} axes", pads.len(), axes.len())));
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (&axis, (&first, &last)) in axes.iter().zip(pads.iter().zip(&pads[axes.len()..])) {
        (before[axis], after[axis]) = (first, last);
    }
    // one element may be added to none or all, and no sum may overflow
    if pads.iter().any(|n| n.unsigned_abs() > super::super::signature::ELEMENTS as u64) {
        return Err(malformed(format!("pads {pads:?}")));
    }
    let mode = match c.text("mode", "constant")?.as_str() {
        "constant" => PadMode::Constant(c.number(2)?.unwrap_or(0.0)),
        "reflect" => PadMode::Reflect,
        "edge" => PadMode::Edge,
        other => return Err(unsupported(format!("padding by {other:?}"))),
    };
    if !matches!(mode, PadMode::Constant(_)) {
        let most = pads.iter().map(|n| n.unsigned_abs() as usize).max().unwrap_or(0);
        table(most.saturating_add(ty.shape.iter().copied().max().unwrap_or(0)))?;
    }
    let x = c.value(0)?;
    one(c.g.pad(x, &before, &after, mode)?)
}

fn resize(c: &mut Call) -> Results {
    let ty = c.ty(0)?;
    let rank = ty.shape.len();
    let axes = match c.ints("axes")? {
        Some(axes) => {
            let place = |&a| shape::axis("Resize", a, &ty);
            axes.iter().map(place).collect::<Result<Vec<_>, _>>()?
        }
        None => (0..rank).collect(),
    };
    if c.flag("antialias", false)? || c.flag("exclude_outside", false)? {
        return Err(unsupported("resizing with antialias or exclude_outside"));
    }
    let interpolation = interpolation(c)?;
    let mut sizes = ty.shape.clone();
    let mut scales = vec![1.0; rank];
    let mut scaled = true;
    let given = c.constant(2)?.filter(|scales| scales.elements.len() > 0);
    if let Some(given) = given {
        let Elements::Float(list) = &given.elements else {
            return Err(malformed("scales are floats"));
        };
        if list.len() != axes.len() {
            return Err(malformed(format!("{} scales of {} axes", list.len(), axes.len())));
        }
        for (&axis, &scale) in axes.iter().zip(list) {
            let size = (sizes[axis] as f64 * f64::from(scale)).floor();
            if !(1.0..=1e9).contains(&size) {
                return Err(malformed(format!("a scale of {scale}")));
            }
            (sizes[axis], scales[axis]) = (size as usize, scale);
        }
    } else {
        let list = c.integers(3)?.ok_or_else(|| malformed("neither scales nor sizes"))?;
        if list.len() != axes.len() {
            return Err(malformed(format!("{} sizes of {} axes", list.len(), axes.len())));
        }
        let ratios: Vec<f64> =
            axes.iter().zip(&list).map(|(&axis, &n)| n as f64 / sizes[axis] as f64).collect();
        // one ratio for all axes where the aspect is kept
        let ratio = match c.text("keep_aspect_ratio_policy", "stretch")?.as_str() {
            "stretch" => None,
            "not_larger" => ratios.iter().copied().reduce(f64::min),
            "not_smaller" => ratios.iter().copied().reduce(f64::max),
            other => return Err(unsupported(format!("keep_aspect_ratio_policy {other:?}"))),
        };
        scaled = ratio.is_some();
        for (&axis, &n) in axes.iter().zip(&list) {
            let size = match ratio {
                Some(ratio) => (sizes[axis] as f64 * ratio + 0.5).floor(),
                None => n as f64,
            };
            if !(1.0..=1e9).contains(&size) {
                return Err(malformed(format!("a size of {n}")));
            }
            // a ratio that rounds up is not what a scale does, which rounds down
            scaled &= ratio.is_some_and(|r| (sizes[axis] as f64 * r).floor() == size);
            sizes[axis] = size as usize;
            scales[axis] = ratio.unwrap_or(1.0) as f32;
        }
    }
    for (&from, &to) in ty.shape.iter().zip(&sizes).filter(|(from, to)| from != to) {
        table(from.saturating_mul(to))?;
    }
    let x = c.value(0)?;
    one(c.g.resize(x, &sizes, scaled.then_some(&scales[..]), interpolation)?)
}

fn interpolation(c: &Call) -> Result<Interpolation, Error> {
    let mode = match c.text("mode", "nearest")?.as_str() {
        "linear" => InterpolationMode::Linear,
        "nearest" => InterpolationMode::Nearest(
            match c.text("nearest_mode", "round_prefer_floor")?.as_str() {
                "round_prefer_floor" => Rounding::PreferFloor,
                "round_prefer_ceil" => Rounding::PreferCeil,
                "floor" => Rounding::Floor,
                "ceil" => Rounding::Ceil,
                other => return Err(unsupported(format!("nearest_mode {other:?}"))),
            },
        ),
        other => return Err(unsupported(format!("resizing by {other:?}"))),
    };
    let coordinates = match c.text("coordinate_transformation_mode", "half_pixel")?.as_str() {
        "half_pixel" => Coordinates::HalfPixel,
        "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
        "asymmetric" => Coordinates::Asymmetric,
        "align_corners" => Coordinates::AlignCorners,
        other => return Err(unsupported(format!("coordinates {other:?}"))),
    };
    Ok(Interpolation { mode, coordinates })
}
