//! Arithmetic on tensors whose elements are known.

use crate::Error;
use crate::shape::{broadcast, count};

use super::constant::{Constant, Elements};

/// An operator of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Div,
    Max,
    Min,
    Mod,
    Mul,
    Pow,
    Sub,
}

/// A comparison, or an operator of truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Relation {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    And,
    Or,
    Xor,
}

/// The places in an operand of shape `from` that broadcasting to `to` reads.
pub(super) fn broadcast_places(from: &[usize], to: &[usize]) -> Vec<usize> {
    let lacking = to.len() - from.len().min(to.len());
    let own = row_major(from);
    let strides: Vec<usize> = (0..to.len())
        .map(|axis| match axis.checked_sub(lacking) {
            Some(axis) if from[axis] != 1 => own[axis],
            _ => 0,
        })
        .collect();
    places(to, &strides, 0)
}

/// The step between neighbours along each axis.
pub(super) fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides: Vec<usize> = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        // beyond a word only where there are no elements
        strides[axis - 1] = strides[axis].wrapping_mul(shape[axis]);
    }
    strides
}

/// `start` + Σ index · stride for every index of a shape, in row-major order.
pub(super) fn places(shape: &[usize], strides: &[usize], start: usize) -> Vec<usize> {
    let mut places = vec![start];
    if count(shape) == 0 {
        return Vec::new();
    }
    for (&size, &stride) in shape.iter().zip(strides) {
        places = places
            .iter()
            .flat_map(|&base| (0..size).map(move |i| base.wrapping_add(i.wrapping_mul(stride))))
            .collect();
    }
    places
}

/// Both operands at the shape that they broadcast to.
fn pair(a: &Constant, b: &Constant) -> Result<(Constant, Constant), Error> {
    let received = || vec![a.shape.clone(), b.shape.clone()];
    let shape = broadcast(&a.shape, &b.shape).ok_or_else(|| Error::Shape {
        operator: "a constant",
        required: "shapes that broadcast".to_owned(),
        received: received(),
    })?;
    Ok((stretch(a, &shape)?, stretch(b, &shape)?))
}

/// The operand at a shape that it broadcasts to.
pub(super) fn stretch(x: &Constant, shape: &[usize]) -> Result<Constant, Error> {
    if x.shape == shape {
        return Ok(x.clone());
    }
    pick(x, shape, &broadcast_places(&x.shape, shape))
}

/// The elements at these places, under a shape.
pub(super) fn pick(x: &Constant, shape: &[usize], places: &[usize]) -> Result<Constant, Error> {
    let outside = || Error::Malformed { reason: "an index outside its operand".to_owned() };
    let elements = x.elements.pick(places).ok_or_else(outside)?;
    Ok(Constant { shape: shape.to_vec(), elements })
}

fn types(a: &Constant, b: &Constant, required: &'static str) -> Error {
    let received = vec![a.element(), b.element()];
    Error::ElementType { operator: "a constant", required, received }
}

pub(super) fn arithmetic(op: Arithmetic, a: &Constant, b: &Constant) -> Result<Constant, Error> {
    let (a, b) = pair(a, b)?;
    let elements = match (&a.elements, &b.elements) {
        (Elements::Float(x), Elements::Float(y)) => {
            Elements::Float(x.iter().zip(y).map(|(&x, &y)| float(op, x, y)).collect())
        }
        (Elements::Float(x), Elements::Int(y)) if op == Arithmetic::Pow => {
            Elements::Float(x.iter().zip(y).map(|(&x, &y)| x.powf(y as f32)).collect())
        }
        (Elements::Int(x), Elements::Int(y)) => {
            let result = x.iter().zip(y).map(|(&x, &y)| integer(op, x, y)).collect();
            let result: Option<Vec<i64>> = result;
            let reason = || format!("{op:?} of integers overflows or divides by zero");
            Elements::Int(result.ok_or_else(|| Error::Malformed { reason: reason() })?)
        }
        _ => return Err(types(&a, &b, "two numbers of one element type")),
    };
    Ok(Constant { shape: a.shape, elements })
}

fn float(op: Arithmetic, x: f32, y: f32) -> f32 {
    match op {
        Arithmetic::Add => x + y,
        Arithmetic::Div => x / y,
        Arithmetic::Max => x.max(y),
        Arithmetic::Min => x.min(y),
        Arithmetic::Mod => x % y,
        Arithmetic::Mul => x * y,
        Arithmetic::Pow => x.powf(y),
        Arithmetic::Sub => x - y,
    }
}

fn integer(op: Arithmetic, x: i64, y: i64) -> Option<i64> {
    match op {
        Arithmetic::Add => x.checked_add(y),
        Arithmetic::Div => x.checked_div(y),
        Arithmetic::Max => Some(x.max(y)),
        Arithmetic::Min => Some(x.min(y)),
        // the sign of the divisor, as in Python
        Arithmetic::Mod => {
            x.checked_rem(y).map(|r| if r != 0 && (r < 0) != (y < 0) { r + y } else { r })
        }
        Arithmetic::Mul => x.checked_mul(y),
        Arithmetic::Pow => x.checked_pow(y.try_into().ok()?),
        Arithmetic::Sub => x.checked_sub(y),
    }
}

pub(super) fn relation(op: Relation, a: &Constant, b: &Constant) -> Result<Constant, Error> {
    let (a, b) = pair(a, b)?;
    fn compare<T: PartialOrd>(op: Relation, x: &[T], y: &[T]) -> Option<Vec<bool>> {
        let test = match op {
            Relation::Equal => |x: &T, y: &T| x == y,
            Relation::Greater => |x: &T, y: &T| x > y,
            Relation::GreaterOrEqual => |x: &T, y: &T| x >= y,
            Relation::Less => |x: &T, y: &T| x < y,
            Relation::LessOrEqual => |x: &T, y: &T| x <= y,
            _ => return None,
        };
        Some(x.iter().zip(y).map(|(x, y)| test(x, y)).collect())
    }
    let result = match (&a.elements, &b.elements) {
        (Elements::Float(x), Elements::Float(y)) => compare(op, x, y),
        (Elements::Int(x), Elements::Int(y)) => compare(op, x, y),
        (Elements::Bool(x), Elements::Bool(y)) => {
            let both = x.iter().zip(y);
            Some(match op {
                Relation::And => both.map(|(&x, &y)| x && y).collect(),
                Relation::Or => both.map(|(&x, &y)| x || y).collect(),
                Relation::Xor => both.map(|(&x, &y)| x != y).collect(),
                _ => both.map(|(&x, &y)| x == y).collect(),
            })
        }
        _ => None,
    };
    let result = result.ok_or_else(|| types(&a, &b, "two operands of one element type"))?;
    Ok(Constant { shape: a.shape, elements: Elements::Bool(result) })
}

/// `a` where the condition holds, else `b`, at a shape that all broadcast to.
pub(super) fn choose(
    condition: &Constant,
    a: &Constant,
    b: &Constant,
    shape: &[usize],
) -> Result<Constant, Error> {
    let Elements::Bool(condition) = stretch(condition, shape)?.elements else {
        return Err(types(a, b, "a condition of Bool"));
    };
    let (a, b) = (stretch(a, shape)?, stretch(b, shape)?);
    fn merge<T: Copy>(condition: &[bool], a: &[T], b: &[T]) -> Vec<T> {
        condition.iter().zip(a.iter().zip(b)).map(|(&c, (&a, &b))| if c { a } else { b }).collect()
    }
    let elements = match (&a.elements, &b.elements) {
        (Elements::Float(x), Elements::Float(y)) => Elements::Float(merge(&condition, x, y)),
        (Elements::Int(x), Elements::Int(y)) => Elements::Int(merge(&condition, x, y)),
        (Elements::Bool(x), Elements::Bool(y)) => Elements::Bool(merge(&condition, x, y)),
        _ => return Err(types(&a, &b, "two operands of one element type")),
    };
    Ok(Constant { shape: shape.to_vec(), elements })
}

/// Integers folded over the axes that are ones in `kept`.
pub(super) fn reduce(
    x: &Constant,
    kept: &[usize],
    f: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Constant, Error> {
    let Elements::Int(data) = &x.elements else {
        return Err(types(x, x, "integers"));
    };
    let mut result: Vec<Option<i64>> = vec![None; count(kept)];
    for (&value, place) in data.iter().zip(broadcast_places(kept, &x.shape)) {
        let total = match result[place] {
            Some(total) => f(total, value),
            None => Some(value),
        };
        let overflow =
            || Error::Malformed { reason: "a reduction of integers overflows".to_owned() };
        result[place] = Some(total.ok_or_else(overflow)?);
    }
    let result: Option<Vec<i64>> = result.into_iter().collect();
    let empty = || Error::Malformed { reason: "a reduction over nothing".to_owned() };
    Ok(Constant { shape: kept.to_vec(), elements: Elements::Int(result.ok_or_else(empty)?) })
}
