//! Operators that arrange, cut and join.

use super::Role::{Data, Fixed};
use super::{Rule, size};
use crate::Error;
use crate::shape::{self, count};

use super::super::call::{Call, Operand, Results, one, unsupported};
use super::super::constant::Constant;
use super::super::fold;
use super::super::signature::limits;

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "Concat", roles: &[Data], apply: concat },
    Rule { operator: "Expand", roles: &[Data, Fixed], apply: expand },
    Rule { operator: "Flatten", roles: &[Data], apply: flatten },
    Rule { operator: "Identity", roles: &[Data], apply: identity },
    Rule { operator: "Reshape", roles: &[Data, Fixed], apply: reshape },
    Rule { operator: "Slice", roles: &[Data, Fixed], apply: slice },
    Rule { operator: "Split", roles: &[Data, Fixed], apply: split },
    Rule { operator: "Squeeze", roles: &[Data, Fixed], apply: squeeze },
    Rule { operator: "Tile", roles: &[Data, Fixed], apply: tile },
    Rule { operator: "Transpose", roles: &[Data], apply: transpose },
    Rule { operator: "Unsqueeze", roles: &[Data, Fixed], apply: unsqueeze },
];

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { reason: reason.into() }
}

/// A size from a model, which must not be negative.
fn natural(n: i64) -> Result<usize, Error> {
    n.try_into().map_err(|_| malformed(format!("a size of {n}")))
}

fn identity(c: &mut Call) -> Results {
    one(c.operand(0)?.clone())
}

/// The first operand under another shape.
pub(super) fn reshaped(c: &mut Call, shape: &[usize]) -> Results {
    if let Operand::Constant(x) = c.operand(0)?.clone()
        && count(&x.shape) == count(shape)
    {
        c.fold(shape)?;
        return one(Constant { shape: shape.to_vec(), elements: x.elements.clone() });
    }
    let x = c.value(0)?;
    one(c.g.reshape(x, shape)?)
}

fn reshape(c: &mut Call) -> Results {
    let from = c.shape(0)?;
    let target = c.integers(1)?.ok_or_else(|| malformed("no shape is given"))?;
    let zero_is_size = c.flag("allowzero", false)?;
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (axis, &n) in target.iter().enumerate() {
        shape.push(match n {
            0 if !zero_is_size => *from
                .get(axis)
                .ok_or_else(|| malformed("a size of 0 keeps an axis that is not there"))?,
            -1 if open.is_none() => {
                open = Some(axis);
                1
            }
            n => natural(n)?,
        });
    }
    if let Some(axis) = open {
        let (all, rest) = (count(&from), count(&shape));
        shape[axis] = all
            .checked_div(rest)
            .filter(|n| n * rest == all)
            .ok_or_else(|| malformed(format!("{from:?} does not fill {target:?}")))?;
    }
    reshaped(c, &shape)
}

fn flatten(c: &mut Call) -> Results {
    let shape = c.shape(0)?;
    let axis = c.int("axis", 1)?;
    let rank = shape.len() as i64;
    // the axis may stand after the last
    let axis = if axis == rank { shape.len() } else { c.axis(0, axis)? };
    let (rows, columns) = shape.split_at(axis);
    reshaped(c, &[count(rows), count(columns)])
}

fn squeeze(c: &mut Call) -> Results {
    let ty = c.ty(0)?;
    let axes = match c.ints_or_operand("axes", 1)? {
        Some(axes) => shape::axes("Squeeze", &axes, &ty)?,
        None => (0..ty.shape.len()).filter(|&a| size(&ty, a) == 1).collect(),
    };
    if axes.iter().any(|&a| size(&ty, a) != 1) {
        return Err(Error::shape("Squeeze", format!("size 1 along the axes {axes:?}"), &[&ty]));
    }
    let kept = (0..ty.shape.len()).filter(|a| !axes.contains(a));
    let shape: Vec<usize> = kept.map(|a| size(&ty, a)).collect();
    reshaped(c, &shape)
}

fn unsqueeze(c: &mut Call) -> Results {
    let mut ty = c.ty(0)?;
    let axes = c.ints_or_operand("axes", 1)?.ok_or_else(|| malformed("no axes are given"))?;
    limits(&vec![1; axes.len()])?;
    let mut shape = ty.shape.clone();
    ty.shape.resize(shape.len() + axes.len(), 1);
    for axis in shape::axes("Unsqueeze", &axes, &ty)? {
        shape.insert(axis, 1);
    }
    reshaped(c, &shape)
}

fn transpose(c: &mut Call) -> Results {
    let shape = c.shape(0)?;
    let perm: Vec<usize> = match c.ints("perm")? {
        Some(perm) => perm.into_iter().map(natural).collect::<Result<_, _>>()?,
        None => (0..shape.len()).rev().collect(),
    };
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if let Operand::Constant(x) = c.operand(0)?.clone()
        && sorted.into_iter().eq(0..shape.len())
    {
        c.fold(&shape)?;
        let own = fold::row_major(&shape);
        let strides: Vec<usize> = perm.iter().map(|&p| own[p]).collect();
        let shape: Vec<usize> = perm.iter().map(|&p| shape[p]).collect();
        return one(fold::pick(&x, &shape, &fold::places(&shape, &strides, 0))?);
    }
    let x = c.value(0)?;
    one(c.g.transpose(x, &perm)?)
}

fn expand(c: &mut Call) -> Results {
    let target = c.integers(1)?.ok_or_else(|| malformed("no shape is given"))?;
    let target: Vec<usize> = target.into_iter().map(natural).collect::<Result<_, _>>()?;
    let shape = shape::broadcast(&c.shape(0)?, &target)
        .ok_or_else(|| malformed(format!("{:?} does not broadcast to {target:?}", c.shape(0))))?;
    expanded(c, &shape)
}

/// The first operand repeated to a shape.
///
/// What is repeated along the first of several axes may be so in the graph,
/// where it follows the batch.
fn expanded(c: &mut Call, shape: &[usize]) -> Results {
    if let Operand::Constant(x) | Operand::Repeated(x, _) = c.operand(0)?.clone() {
        let repeats = x.shape.len() < shape.len() || x.shape.first() != shape.first();
        if shape.len() >= 2 && repeats {
            return one(Operand::Repeated(x, shape.to_vec()));
        }
        c.fold(shape)?;
        return one(fold::stretch(&x, shape)?);
    }
    let x = c.value(0)?;
    one(c.g.expand(x, shape)?)
}

/// Repetitions as an axis of their own before each axis.
fn tile(c: &mut Call) -> Results {
    let shape = c.shape(0)?;
    let repeats = c.integers(1)?.ok_or_else(|| malformed("no repetitions are given"))?;
    let repeats: Vec<usize> = repeats.into_iter().map(natural).collect::<Result<_, _>>()?;
    if repeats.len() != shape.len() {
        return Err(malformed(format!("{} repetitions of {} axes", repeats.len(), shape.len())));
    }
    let pairs = |first: &[usize]| -> Vec<usize> {
        first.iter().zip(&shape).flat_map(|(&r, &n)| [r, n]).collect()
    };
    let whole: Vec<usize> = repeats.iter().zip(&shape).map(|(r, n)| r.saturating_mul(*n)).collect();
    for target in [pairs(&vec![1; shape.len()]), pairs(&repeats), whole] {
        let step = match count(&target) == count(&c.shape(0)?) {
            true => reshaped(c, &target)?,
            false => expanded(c, &target)?,
        };
        c.operands = step.into_iter().map(Some).collect();
    }
    identity(c)
}

fn concat(c: &mut Call) -> Results {
    let axis = c.axis(0, c.int("axis", 0)?)?;
    if !c.known() {
        // what is empty adds nothing
        let full: Vec<Operand> = c.operands.iter().flatten().cloned().collect();
        let full: Vec<Operand> = full.into_iter().filter(|o| count(o.shape(c.g)) > 0).collect();
        let values = full.iter().map(|o| c.bind(o)).collect::<Result<Vec<_>, _>>()?;
        return one(c.g.concat(&values, axis as i64)?);
    }
    let mut shape = c.shape(0)?;
    let first = shape.clone();
    let (before, after) = (count(&first[..axis]), &first[axis + 1..]);
    let parts = (0..c.operands.len()).map(|i| c.required(i)).collect::<Result<Vec<_>, _>>()?;
    shape[axis] = 0;
    for part in &parts {
        let fits = part.shape.len() == first.len()
            && part.shape[..axis] == first[..axis]
            && part.shape[axis + 1..] == *after;
        if !fits {
            return Err(malformed(format!("{:?} does not continue {first:?}", part.shape)));
        }
        shape[axis] += part.shape[axis];
    }
    if c.fold(&shape)? == 0 {
        return one(fold::pick(&parts[0], &shape, &[])?);
    }
    let mut result = fold::pick(&parts[0], &[0], &[])?;
    for row in 0..before {
        for part in &parts {
            let width = part.shape[axis] * count(after);
            let places: Vec<usize> = (row * width..(row + 1) * width).collect();
            let cut = fold::pick(part, &[width], &places)?;
            let mixed = || malformed("operands of several element types");
            result.elements.extend(&cut.elements).ok_or_else(mixed)?;
        }
    }
    result.shape = shape;
    one(result)
}

fn split(c: &mut Call) -> Results {
    let ty = c.ty(0)?;
    let axis = c.axis(0, c.int("axis", 0)?)?;
    let whole = size(&ty, axis);
    let parts = c.step.outputs.len();
    let sizes: Vec<usize> = match c.ints_or_operand("split", 1)? {
        Some(sizes) => sizes.into_iter().map(natural).collect::<Result<_, _>>()?,
        None => {
            let asked = natural(c.int("num_outputs", parts as i64)?)?;
            if asked != parts || parts == 0 {
                return Err(malformed(format!("num_outputs {asked} and {parts} outputs")));
            }
            // the last part may be smaller
            let size = whole.div_ceil(parts);
            (0..parts).map(|i| size.min(whole.saturating_sub(i * size))).collect()
        }
    };
    let total = sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n));
    if total != Some(whole) || sizes.len() != parts {
        return Err(malformed(format!("{sizes:?} do not cut {whole} into {parts} outputs")));
    }
    if c.known() {
        let mut results = Vec::new();
        let mut start = 0;
        for size in sizes {
            results.extend(cut(c, axis, start as i64, size, 1)?);
            start += size;
        }
        return Ok(results);
    }
    if sizes.contains(&0) {
        return Err(unsupported("a part without elements"));
    }
    let x = c.value(0)?;
    Ok(c.g.split(x, axis as i64, &sizes)?.into_iter().map(Operand::Value).collect())
}

/// The part of the first operand, a constant, with `size` places of an axis.
fn cut(c: &mut Call, axis: usize, start: i64, size: usize, step: i64) -> Results {
    let x = c.required(0)?;
    let mut shape = x.shape.clone();
    let mut strides = fold::row_major(&shape);
    let first = (start as usize).wrapping_mul(strides[axis]);
    shape[axis] = size;
    // a negative step wraps around, and the sum wraps back
    strides[axis] = strides[axis].wrapping_mul(step as usize);
    c.fold(&shape)?;
    one(fold::pick(&x, &shape, &fold::places(&shape, &strides, first))?)
}

fn slice(c: &mut Call) -> Results {
    let ty = c.ty(0)?;
    let absent = || malformed("starts and ends are required");
    let starts = c.integers(1)?.ok_or_else(absent)?;
    let ends = c.integers(2)?.ok_or_else(absent)?;
    let axes = c.integers(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = c.integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(malformed("starts, ends, axes and steps differ in length"));
    }
    let axes =
        axes.into_iter().map(|a| shape::axis("Slice", a, &ty)).collect::<Result<Vec<_>, _>>()?;
    let mut x = c.operand(0)?.clone();
    for (i, &axis) in axes.iter().enumerate() {
        let (start, places, step) = bounds(size(&ty, axis), starts[i], ends[i], steps[i])?;
        c.operands[0] = Some(x);
        let result = match c.operand(0)? {
            Operand::Constant(_) => cut(c, axis, start, places, step)?,
            _ if places == 0 => return Err(unsupported("a slice without elements")),
            _ if step == 1 => {
                let (value, start) = (c.value(0)?, start as usize);
                one(c.g.slice(value, axis as i64, start..start + places)?)?
            }
            _ => {
                let value = c.value(0)?;
                let mut sizes = c.g.shape(value).to_vec();
                let (mut from, mut by) = (vec![0; sizes.len()], vec![1; sizes.len()]);
                (from[axis], sizes[axis], by[axis]) = (start as usize, places, step);
                one(c.g.strided_slice(value, &from, &sizes, &by)?)?
            }
        };
        x = result.into_iter().next().ok_or_else(absent)?;
    }
    one(x)
}

/// The first place, the number of places and the step of a slice of an axis.
///
/// # Source
/// ONNX `Slice`: negative numbers count from the end, and what lies outside is
/// cut off.
fn bounds(size: usize, start: i64, end: i64, step: i64) -> Result<(i64, usize, i64), Error> {
    let n = i64::try_from(size).map_err(|_| malformed("an axis beyond 2⁶³"))?;
    if step == 0 || step == i64::MIN {
        return Err(malformed(format!("a step of {step}")));
    }
    let from_end = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
    let start = from_end(start).clamp(low.max(0), high.max(0));
    let end = from_end(end).clamp(low, high);
    let distance = if step > 0 { end - start } else { start - end };
    let places = if distance > 0 && n > 0 { (distance - 1) / step.abs() + 1 } else { 0 };
    Ok((start, places as usize, step))
}
