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
    "And", [Fixed], |c| relation(c, Relation::And, Graph::and);
    "Ceil", [Data], |c| unary(c, f64::ceil, Graph::ceil);
    "Clip", [Data, Fixed], clip;
    "Cos", [Data], |c| unary(c, f64::cos, Graph::cos);
    "Div", [Data], |c| binary(c, Arithmetic::Div, Graph::div);
    "Elu", [Data], |c| scaled(c, 1.0, Graph::elu);
    "Equal", [Fixed], |c| relation(c, Relation::Equal, Graph::equal);
    "Erf", [Data], |c| differentiable(c, Graph::erf);
    "Exp", [Data], |c| unary(c, f64::exp, Graph::exp);
    "Floor", [Data], |c| unary(c, f64::floor, Graph::floor);
    "Gelu", [Data], gelu;
    "Greater", [Fixed], |c| relation(c, Relation::Greater, Graph::greater);
    "GreaterOrEqual", [Fixed], |c| relation(c, Relation::GreaterOrEqual, Graph::greater_or_equal);
    "HardSigmoid", [Data], hard_sigmoid;
    "HardSwish", [Data], |c| differentiable(c, Graph::hard_swish);
    "LeakyRelu", [Data], |c| scaled(c, 0.01, Graph::leaky_relu);
    "Less", [Fixed], |c| relation(c, Relation::Less, Graph::less);
    "LessOrEqual", [Fixed], |c| relation(c, Relation::LessOrEqual, Graph::less_or_equal);
    "Log", [Data], |c| unary(c, f64::ln, Graph::log);
    "Max", [Data], |c| variadic(c, Arithmetic::Max, Graph::maximum);
    "Mean", [Data], mean;
    "Min", [Data], |c| variadic(c, Arithmetic::Min, Graph::minimum);
    "Mish", [Data], mish;
    "Mod", [Fixed], modulo;
    "Mul", [Data], |c| binary(c, Arithmetic::Mul, Graph::mul);
    "Neg", [Data], |c| unary(c, |x| -x, Graph::neg);
    "Not", [Fixed], not;
    "Or", [Fixed], |c| relation(c, Relation::Or, Graph::or);
    "Pow", [Data, Fixed], pow;
    "PRelu", [Data, Own], prelu;
    "Reciprocal", [Data], |c| unary(c, f64::recip, Graph::reciprocal);
    "Relu", [Data], |c| differentiable(c, Graph::relu);
    "Round", [Data], |c| unary(c, f64::round_ties_even, Graph::round);
    "Sigmoid", [Data], |c| differentiable(c, Graph::sigmoid);
    "Sin", [Data], |c| unary(c, f64::sin, Graph::sin);
    "Softplus", [Data], |c| differentiable(c, Graph::softplus);
    "Sqrt", [Data], |c| unary(c, f64::sqrt, Graph::sqrt);
    "Sub", [Data], |c| binary(c, Arithmetic::Sub, Graph::sub);
    "Sum", [Data], |c| variadic(c, Arithmetic::Add, Graph::add);
    "Swish", [Data], swish;
    "Tanh", [Data], |c| differentiable(c, Graph::tanh);
    "Xor", [Fixed], |c| relation(c, Relation::Xor, Graph::xor);
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
    one(c.g.mean(&values)?)
}

fn relation(c: &mut Call, op: Relation, method: Method2) -> Results {
    let shape = broadcast(&c.shape(0)?, &c.shape(1)?);
    if let Some(shape) = shape.filter(|_| c.known()) {
        c.fold(&shape)?;
        return one(fold::relation(op, &*c.required(0)?, &*c.required(1)?)?);
    }
    let (a, b) = (c.value(0)?, c.value(1)?);
    one(method(c.g, a, b)?)
}

fn modulo(c: &mut Call) -> Results {
    if c.flag("fmod", false)? && c.known() {
        // a − b · trunc(a / b)
        let (a, b) = (c.required(0)?, c.required(1)?);
        c.fold(&broadcast(&a.shape, &b.shape).unwrap_or_default())?;
        let quotient = fold::arithmetic(Arithmetic::Div, &a, &b)?;
        if matches!(quotient.elements, Elements::Int(_)) {
            let product = fold::arithmetic(Arithmetic::Mul, &quotient, &b)?;
            return one(fold::arithmetic(Arithmetic::Sub, &a, &product)?);
        }
        return one(fold::arithmetic(Arithmetic::Mod, &a, &b)?);
    }
    if c.flag("fmod", false)? || c.operand(0)?.element(c.g) == ElementType::F32 {
        return Err(unsupported("Mod of floats, or with the sign of the dividend,"));
    }
    binary(c, Arithmetic::Mod, Graph::mod_)
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
    if let Operand::Constant(x) = c.operand(0)?.clone()
        && let Elements::Bool(data) = &x.elements
    {
        c.fold(&x.shape)?;
        let elements = Elements::Bool(data.iter().map(|&b| !b).collect());
        return one(Constant { shape: x.shape.clone(), elements });
    }
    differentiable(c, Graph::not)
}

/// A function with one parameter, alpha.
fn scaled(
    c: &mut Call,
    alpha: f32,
    method: fn(&mut Graph, Value, f32) -> Result<Value, Error>,
) -> Results {
    let (x, alpha) = (c.value(0)?, c.float("alpha", alpha)?);
    one(method(c.g, x, alpha)?)
}

fn hard_sigmoid(c: &mut Call) -> Results {
    let (alpha, beta) = (c.float("alpha", 0.2)?, c.float("beta", 0.5)?);
    let x = c.value(0)?;
    one(c.g.hard_sigmoid(x, alpha, beta)?)
}

fn prelu(c: &mut Call) -> Results {
    let (x, slope) = (c.value(0)?, c.value(1)?);
    one(c.g.prelu(x, slope)?)
}

/// x · tanh(softplus x).
fn mish(c: &mut Call) -> Results {
    let x = c.value(0)?;
    let soft = c.g.softplus(x)?;
    let gate = c.g.tanh(soft)?;
    one(c.g.mul(x, gate)?)
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
        "tanh" => differentiable(c, Graph::gelu_tanh),
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
