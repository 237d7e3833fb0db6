//! Arithmetic, comparisons and functions, element by element.

use super::Role::{Data, Fixed, Own};
use super::Rule;
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, broadcast};

use super::super::call::{Call, Operand, Results, one, unsupported};
use super::super::constant::{Constant, Elements};
use super::super::fold::{self, Arithmetic, Relation};

/// The greatest float constant that is folded here and not in the graph.
const FLOATS: usize = 1 << 14;

type Method2 = fn(&mut Graph, Value, Value) -> Result<Value, Error>;
type Method1 = fn(&mut Graph, Value) -> Result<Value, Error>;

/// Rules for operators that take one call of a method of the graph.
macro_rules! rules {
    ($($operator:literal, $roles:expr, $apply:expr;)+) => {
        pub(super) const RULES: &[Rule] =
            &[$(Rule { operator: $operator, roles: &$roles, apply: $apply }),+];
    };
}

rules! {
    "Abs", [Data], |c| unary(c, f64::abs, Graph::abs);
    "Add", [Data], |c| binary(c, Arithmetic::Add, Graph::add);
    "And", [Fixed], |c| relation(c, Relation::And, None);
    "Clip", [Data, Fixed], clip;
    "Div", [Data], |c| binary(c, Arithmetic::Div, Graph::div);
    "Equal", [Fixed], |c| relation(c, Relation::Equal, Some(Graph::equal));
    "Erf", [Data], |c| differentiable(c, Graph::erf);
    "Exp", [Data], |c| unary(c, f64::exp, Graph::exp);
    "Gelu", [Data], gelu;
    "Greater", [Fixed], |c| swapped(c, Relation::Less, Some(Graph::less));
    "Less", [Fixed], |c| relation(c, Relation::Less, Some(Graph::less));
    "Log", [Data], |c| unary(c, f64::ln, Graph::log);
    "Max", [Data], |c| variadic(c, Arithmetic::Max, Graph::maximum);
    "Mean", [Data], mean;
    "Min", [Data], |c| variadic(c, Arithmetic::Min, Graph::minimum);
    "Mod", [Fixed], modulo;
    "Mul", [Data], |c| binary(c, Arithmetic::Mul, Graph::mul);
    "Neg", [Data], |c| unary(c, |x| -x, Graph::neg);
    "Not", [Fixed], not;
    "Or", [Fixed], |c| relation(c, Relation::Or, None);
    "Pow", [Data, Fixed], pow;
    "PRelu", [Data, Own], unready;
    "Relu", [Data], |c| differentiable(c, Graph::relu);
    "Sigmoid", [Data], |c| differentiable(c, Graph::sigmoid);
    "Sqrt", [Data], |c| unary(c, f64::sqrt, Graph::sqrt);
    "Sub", [Data], |c| binary(c, Arithmetic::Sub, Graph::sub);
    "Sum", [Data], |c| variadic(c, Arithmetic::Add, Graph::add);
    "Swish", [Data], swish;
    "Tanh", [Data], |c| differentiable(c, Graph::tanh);
    "Xor", [Fixed], |c| relation(c, Relation::Xor, None);
}

fn unready(_: &mut Call) -> Results {
    Err(unsupported("PRelu"))
}

/// Whether the operands are folded: integers always, floats where few.
fn folds(c: &Call, shape: &[usize]) -> bool {
    let floats = c.operands.iter().flatten().any(|o| o.element(c.g) == ElementType::F32);
    c.known() && (!floats || crate::shape::count(shape) <= FLOATS)
}

fn binary(c: &mut Call, op: Arithmetic, method: Method2) -> Results {
    let (a, b) = (c.shape(0)?, c.shape(1)?);
    if let Some(shape) = broadcast(&a, &b).filter(|shape| folds(c, shape)) {
        c.fold(&shape)?;
        return one(fold::arithmetic(op, &*c.required(0)?, &*c.required(1)?)?);
    }
    let (a, b) = (c.value(0)?, c.value(1)?);
    one(method(c.g, a, b)?)
}

fn variadic(c: &mut Call, op: Arithmetic, method: Method2) -> Results {
    let mut total = c.operand(0)?.clone();
    for i in 1..c.operands.len() {
        let next = c.operand(i)?.clone();
        total = match (&total, &next) {
            (Operand::Constant(a), Operand::Constant(b)) => {
                let shape = broadcast(&a.shape, &b.shape).unwrap_or_default();
                c.fold(&shape)?;
                fold::arithmetic(op, a, b)?.into()
            }
            _ => {
                let (a, b) = (c.bind(&total)?, c.bind(&next)?);
                method(c.g, a, b)?.into()
            }
        };
    }
    one(total)
}

fn mean(c: &mut Call) -> Results {
    let values = c.values()?;
    let (&first, rest) =
        values.split_first().ok_or_else(|| Error::shape("Mean", "an operand", &[]))?;
    let sum = rest.iter().try_fold(first, |sum, &x| c.g.add(sum, x))?;
    let share = c.g.scalar(1.0 / values.len() as f32);
    one(c.g.mul(sum, share)?)
}

/// A comparison; without a method only where the operands are known.
fn relation(c: &mut Call, op: Relation, method: Option<Method2>) -> Results {
    let shape = broadcast(&c.shape(0)?, &c.shape(1)?);
    match (method, shape) {
        (_, Some(shape)) if c.known() => {
            c.fold(&shape)?;
            one(fold::relation(op, &*c.required(0)?, &*c.required(1)?)?)
        }
        (Some(method), _) => {
            let (a, b) = (c.value(0)?, c.value(1)?);
            one(method(c.g, a, b)?)
        }
        (None, _) => Err(unsupported("this operator on what is fed")),
    }
}

fn swapped(c: &mut Call, op: Relation, method: Option<Method2>) -> Results {
    if c.operands.len() == 2 {
        c.operands.swap(0, 1);
    }
    relation(c, op, method)
}

fn modulo(c: &mut Call) -> Results {
    if !c.known() {
        return Err(unsupported("Mod of what is fed"));
    }
    let shape = broadcast(&c.shape(0)?, &c.shape(1)?).unwrap_or_default();
    c.fold(&shape)?;
    let (a, b) = (c.required(0)?, c.required(1)?);
    if !c.flag("fmod", false)? {
        return one(fold::arithmetic(Arithmetic::Mod, &a, &b)?);
    }
    // fmod takes the sign of the dividend: a − b · trunc(a / b)
    match (&a.elements, &b.elements) {
        (Elements::Int(_), Elements::Int(_)) => {
            let quotient = fold::arithmetic(Arithmetic::Div, &a, &b)?;
            let product = fold::arithmetic(Arithmetic::Mul, &quotient, &b)?;
            one(fold::arithmetic(Arithmetic::Sub, &a, &product)?)
        }
        _ => one(fold::arithmetic(Arithmetic::Mod, &a, &b)?),
    }
}

fn unary(c: &mut Call, f: fn(f64) -> f64, method: Method1) -> Results {
    let shape = c.shape(0)?;
    match c.given(0) {
        Some(Operand::Constant(x)) if folds(c, &shape) => {
            let x = x.clone();
            c.fold(&shape)?;
            let elements = match &x.elements {
                Elements::Float(data) => {
                    Elements::Float(data.iter().map(|&x| f(x.into()) as f32).collect())
                }
                // exact for what stands for sizes
                Elements::Int(data) => {
                    Elements::Int(data.iter().map(|&x| f(x as f64) as i64).collect())
                }
                Elements::Bool(_) => return Err(unsupported("arithmetic of truth values")),
            };
            one(Constant { shape, elements })
        }
        _ => differentiable(c, method),
    }
}

fn differentiable(c: &mut Call, method: Method1) -> Results {
    let x = c.value(0)?;
    one(method(c.g, x)?)
}

fn not(c: &mut Call) -> Results {
    let x = c.required(0)?;
    c.fold(&x.shape)?;
    match &x.elements {
        Elements::Bool(data) => {
            let elements = Elements::Bool(data.iter().map(|&b| !b).collect());
            one(Constant { shape: x.shape.clone(), elements })
        }
        _ => Err(unsupported("Not of numbers")),
    }
}

fn clip(c: &mut Call) -> Results {
    if let Some(Operand::Constant(x)) = c.given(0)
        && matches!(x.elements, Elements::Int(_))
    {
        let mut x = (**x).clone();
        for (i, op) in [(1, Arithmetic::Max), (2, Arithmetic::Min)] {
            if let Some(limit) = c.constant(i)? {
                c.fold(&x.shape)?;
                x = fold::arithmetic(op, &x, &limit)?;
            }
        }
        return one(x);
    }
    let least = c.number(1)?.unwrap_or(f32::MIN);
    let most = c.number(2)?.unwrap_or(f32::MAX);
    let x = c.value(0)?;
    // of limits the wrong way round ONNX lets the upper one win
    one(c.g.clip(x, least.min(most), most)?)
}

fn gelu(c: &mut Call) -> Results {
    match c.text("approximate", "none")?.as_str() {
        "none" => differentiable(c, Graph::gelu),
        other => Err(unsupported(format!("the approximation {other:?} of Gelu"))),
    }
}

fn swish(c: &mut Call) -> Results {
    let x = c.value(0)?;
    let alpha = c.float("alpha", 1.0)?;
    let alpha = c.g.scalar(alpha);
    let scaled = c.g.mul(x, alpha)?;
    let gate = c.g.sigmoid(scaled)?;
    one(c.g.mul(x, gate)?)
}

fn pow(c: &mut Call) -> Results {
    let shape = broadcast(&c.shape(0)?, &c.shape(1)?).unwrap_or_default();
    if folds(c, &shape) {
        return binary(c, Arithmetic::Pow, Graph::pow);
    }
    let x = c.value(0)?;
    let exponent = match c.given(1) {
        Some(Operand::Constant(exponent)) => match &exponent.elements {
            Elements::Float(data) if data.len() == 1 && exponent.shape.is_empty() => {
                data.first().copied()
            }
            Elements::Int(data) if data.len() == 1 && exponent.shape.is_empty() => {
                data.first().map(|&n| n as f32)
            }
            _ => None,
        },
        _ => None,
    };
    match exponent {
        // one product, and a slope without a power
        Some(2.0) => one(c.g.mul(x, x)?),
        Some(exponent) => {
            let exponent = c.g.scalar(exponent);
            one(c.g.pow(x, exponent)?)
        }
        None => {
            let exponent = c.value(1)?;
            let exponent = c.g.cast(exponent, ElementType::F32)?;
            one(c.g.pow(x, exponent)?)
        }
    }
}
