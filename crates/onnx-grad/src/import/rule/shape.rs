//! Shapes, constants and element types.

use super::Role::{Data, Fixed};
use super::Rule;
use crate::Error;
use crate::shape::ElementType;

use super::super::call::{Call, Operand, Results, one, unsupported};
use super::super::constant::{Constant, Elements, Kind};

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "Cast", roles: &[Data], apply: cast },
    Rule { operator: "CastLike", roles: &[Data, Fixed], apply: cast_like },
    Rule { operator: "Constant", roles: &[Fixed], apply: constant },
    Rule { operator: "ConstantOfShape", roles: &[Fixed], apply: constant_of_shape },
    Rule { operator: "Range", roles: &[Fixed], apply: range },
    Rule { operator: "Shape", roles: &[Fixed], apply: shape },
    Rule { operator: "Size", roles: &[Fixed], apply: size },
];

fn malformed(reason: impl Into<String>) -> Error {
    Error::Malformed { reason: reason.into() }
}

fn shape(c: &mut Call) -> Results {
    let sizes: Vec<i64> = c.shape(0)?.into_iter().map(|n| n as i64).collect();
    let rank = sizes.len() as i64;
    let place = |i: i64| (if i < 0 { i.saturating_add(rank) } else { i }).clamp(0, rank) as usize;
    let (start, end) = (place(c.int("start", 0)?), place(c.int("end", rank)?));
    one(Constant::integers(sizes.get(start..end.max(start)).unwrap_or_default().to_vec()))
}

fn size(c: &mut Call) -> Results {
    let n = crate::shape::count(&c.shape(0)?) as i64;
    one(Constant { shape: Vec::new(), elements: Elements::Int(vec![n]) })
}

fn constant(c: &mut Call) -> Results {
    if let Some(tensor) = c.tensor("value")? {
        return one(tensor);
    }
    let given: Vec<String> = c.step.attributes.iter().map(|a| a.name.clone()).collect();
    let constant = match given.first().map(String::as_str) {
        Some("value_float") => Constant::floats(&[], vec![c.float("value_float", 0.0)?]),
        Some("value_int") => {
            let elements = Elements::Int(vec![c.int("value_int", 0)?]);
            Constant { shape: Vec::new(), elements }
        }
        Some("value_floats") => {
            let data = c.floats("value_floats")?.unwrap_or_default();
            Constant::floats(&[data.len()], data)
        }
        Some("value_ints") => Constant::integers(c.ints("value_ints")?.unwrap_or_default()),
        other => return Err(unsupported(format!("a Constant from {other:?}"))),
    };
    one(constant)
}

fn constant_of_shape(c: &mut Call) -> Results {
    let sizes = c.integers(0)?.ok_or_else(|| malformed("no shape is given"))?;
    let sizes = sizes.iter().map(|&n| n.try_into().ok()).collect::<Option<Vec<usize>>>();
    let shape = sizes.ok_or_else(|| malformed("a negative size"))?;
    let value = c.tensor("value")?.unwrap_or_else(|| Constant::floats(&[1], vec![0.0]));
    if value.elements.len() != 1 {
        return Err(malformed("the value of a ConstantOfShape is not one number"));
    }
    let value = Constant { shape: Vec::new(), elements: value.elements };
    // as in Expand: the first of several axes may follow the batch
    if shape.len() >= 2 {
        return one(Operand::Repeated(value.into(), shape));
    }
    c.fold(&shape)?;
    one(super::super::fold::stretch(&value, &shape)?)
}

fn range(c: &mut Call) -> Results {
    let (start, limit, delta) = (c.required(0)?, c.required(1)?, c.required(2)?);
    match (&start.elements, &limit.elements, &delta.elements) {
        (Elements::Int(start), Elements::Int(limit), Elements::Int(delta)) => {
            let (&[start], &[limit], &[delta]) = (&start[..], &limit[..], &delta[..]) else {
                return Err(malformed("the operands of a Range are single numbers"));
            };
            let (start, delta) = (i128::from(start), i128::from(delta));
            let distance = i128::from(limit) - start;
            if delta == 0 {
                return Err(malformed("a step of 0"));
            }
            let steps = if (distance > 0) == (delta > 0) && distance != 0 {
                (distance.abs() - 1) / delta.abs() + 1
            } else {
                0
            };
            let n = c.fold(&[usize::try_from(steps).unwrap_or(usize::MAX)])?;
            one(Constant::integers((0..n).map(|i| (start + delta * i as i128) as i64).collect()))
        }
        (Elements::Float(start), Elements::Float(limit), Elements::Float(delta)) => {
            let (&[start], &[limit], &[delta]) = (&start[..], &limit[..], &delta[..]) else {
                return Err(malformed("the operands of a Range are single numbers"));
            };
            let steps = ((limit - start) / delta).ceil().max(0.0);
            if !steps.is_finite() {
                return Err(malformed(format!("a step of {delta}")));
            }
            let n = c.fold(&[steps as usize])?;
            one(Constant::floats(&[n], (0..n).map(|i| start + i as f32 * delta).collect()))
        }
        _ => Err(malformed("the operands of a Range are numbers of one type")),
    }
}

fn cast(c: &mut Call) -> Results {
    let code = i32::try_from(c.int("to", 0)?).unwrap_or(0);
    let kind =
        Kind::of(code).ok_or_else(|| unsupported(format!("a cast to element type {code}")))?;
    to(c, kind)
}

fn cast_like(c: &mut Call) -> Results {
    let kind = match c.operand(1)?.element(c.g) {
        ElementType::F32 => Kind::F32,
        ElementType::Bool => Kind::Bool,
        _ => Kind::Integer { bytes: 8, signed: true },
    };
    to(c, kind)
}

/// The first operand in another element type; integers narrower than 64 bits
/// wrap around where they are folded.
fn to(c: &mut Call, kind: Kind) -> Results {
    let (x, repeated) = match c.operand(0)?.clone() {
        Operand::Constant(x) => (x, None),
        Operand::Repeated(x, shape) => (x, Some(shape)),
        Operand::Value(x) => return one(c.g.cast(x, kind.element())?),
    };
    c.fold(&x.shape)?;
    let narrow = |n: i64| match kind {
        Kind::Integer { bytes, signed } => {
            let shift = 64u32.saturating_sub(8 * bytes as u32);
            if signed { (n << shift) >> shift } else { (((n as u64) << shift) >> shift) as i64 }
        }
        _ => n,
    };
    let elements = match (&x.elements, kind.element()) {
        (Elements::Float(data), ElementType::F32) => Elements::Float(data.clone()),
        (Elements::Float(data), ElementType::Bool) => {
            Elements::Bool(data.iter().map(|&x| x != 0.0).collect())
        }
        (Elements::Float(data), _) => {
            Elements::Int(data.iter().map(|&x| narrow(x as i64)).collect())
        }
        (Elements::Int(data), ElementType::F32) => {
            Elements::Float(data.iter().map(|&n| n as f32).collect())
        }
        (Elements::Int(data), ElementType::Bool) => {
            Elements::Bool(data.iter().map(|&n| n != 0).collect())
        }
        (Elements::Int(data), _) => Elements::Int(data.iter().map(|&n| narrow(n)).collect()),
        (Elements::Bool(data), ElementType::F32) => {
            Elements::Float(data.iter().map(|&b| f32::from(b)).collect())
        }
        (Elements::Bool(data), ElementType::Bool) => Elements::Bool(data.clone()),
        (Elements::Bool(data), _) => Elements::Int(data.iter().map(|&b| b.into()).collect()),
    };
    let x = Constant { shape: x.shape.clone(), elements };
    match repeated {
        Some(shape) => one(Operand::Repeated(x.into(), shape)),
        None => one(x),
    }
}
