//! Operators that work element by element, against naive references, and their
//! gradients against central differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/draw.rs"]
mod draw;
#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use draw::{cases, narrowed, pair, shape};
use onnx_grad::{ElementType, Error, Graph, Value};
use problem::check;
use proptest::prelude::*;
use reference::{Array, erf};

/// An operator of one operand and its naive reference.
type One = (fn(&mut Graph, Value) -> Result<Value, Error>, fn(f64) -> f64);
/// An operator of two operands and its naive reference.
type Two = (Build, fn(f64, f64) -> f64);
type Build = fn(&mut Graph, Value, Value) -> Result<Value, Error>;

fn positive(x: Array) -> Array {
    x.map(|x| x.abs() + 0.5)
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + erf(x / 2f64.sqrt()))
}

fn gelu_tanh(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
}

fn hard_sigmoid(x: f64) -> f64 {
    (0.4 * x + 0.3).clamp(0.0, 1.0)
}

#[test]
fn unary() {
    let any: [One; 22] = [
        (|g, x| g.neg(x), |x| -x),
        (|g, x| g.abs(x), f64::abs),
        (|g, x| g.exp(x), f64::exp),
        (|g, x| g.erf(x), erf),
        (|g, x| g.tanh(x), f64::tanh),
        (|g, x| g.relu(x), |x| x.max(0.0)),
        (|g, x| g.sigmoid(x), sigmoid),
        (|g, x| g.gelu(x), gelu),
        (|g, x| g.gelu_tanh(x), gelu_tanh),
        (|g, x| g.identity(x), |x| x),
        (|g, x| g.clip(x, -0.7, 0.9), |x| x.clamp(-0.7, 0.9)),
        (|g, x| g.sin(x), f64::sin),
        (|g, x| g.cos(x), f64::cos),
        (|g, x| g.ceil(x), f64::ceil),
        (|g, x| g.floor(x), f64::floor),
        (|g, x| g.round(x), f64::round_ties_even),
        (|g, x| g.softplus(x), |x| x.exp().ln_1p()),
        (|g, x| g.leaky_relu(x, 0.25), |x| if x > 0.0 { x } else { 0.25 * x }),
        (|g, x| g.elu(x, 1.5), |x| if x > 0.0 { x } else { 1.5 * x.exp_m1() }),
        (|g, x| g.elu(x, 1.0), |x| if x > 0.0 { x } else { x.exp_m1() }),
        (|g, x| g.hard_sigmoid(x, 0.4, 0.3), hard_sigmoid),
        // through both of its corners
        (
            |g, x| {
                let three = g.scalar(3.0);
                let wide = g.mul(x, three)?;
                g.hard_swish(wide)
            },
            |x| 3.0 * x * (0.5 * x + 0.5).clamp(0.0, 1.0),
        ),
    ];
    let positive_only: [One; 3] = [
        (|g, x| g.log(x), f64::ln),
        (|g, x| g.sqrt(x), f64::sqrt),
        (|g, x| g.reciprocal(x), f64::recip),
    ];
    proptest!(cases(6), |(shape in shape(0..=3), seed: u64)| {
        let x = Array::random(&shape, seed);
        for (build, reference) in any {
            check(std::slice::from_ref(&x), |g, x| build(g, x[0]), |x| x[0].map(reference));
        }
        let p = positive(x);
        for (build, reference) in positive_only {
            check(std::slice::from_ref(&p), |g, x| build(g, x[0]), |x| x[0].map(reference));
        }
    });
}

#[test]
fn prelu() {
    let with_slope = shape(0..=3).prop_flat_map(|x| (Just(x.clone()), narrowed(x)));
    proptest!(cases(12), |((x, slope) in with_slope, seed: u64)| {
        let x = [Array::random(&x, seed), Array::random(&slope, seed ^ 1)];
        check(
            &x,
            |g, x| g.prelu(x[0], x[1]),
            |x| x[0].zip(&x[1], |x, slope| if x > 0.0 { x } else { slope * x }),
        );
    });
}

#[test]
fn activations_far_from_the_origin() {
    let x = [Array::new(&[8], &[-80.0, -20.0, -9.0, -5.5, 5.5, 9.0, 20.0, 80.0])];
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    check(&x, |g, x| g.softplus(x[0]), |x| x[0].map(softplus));
    check(&x, |g, x| g.gelu_tanh(x[0]), |x| x[0].map(gelu_tanh));
    check(
        &x,
        |g, x| g.elu(x[0], 2.0),
        |x| x[0].map(|x| if x > 0.0 { x } else { 2.0 * x.exp_m1() }),
    );
}

#[test]
fn gelu_far_from_the_origin() {
    let x = [Array::new(&[8], &[-30.0, -9.0, -5.5, -3.0, 3.0, 5.5, 9.0, 30.0])];
    check(&x, |g, x| g.gelu(x[0]), |x| x[0].gelu());
}

/// The gradient of a scalar in a vector, where central differences have none.
fn gradient_at(
    x: &Array,
    build: impl Fn(&mut Graph, Value) -> Result<Value, onnx_grad::Error>,
) -> Array {
    let mut g = Graph::new();
    let input = g.input("x", ElementType::F32, &x.shape);
    let loss = build(&mut g, input).unwrap();
    let grads = onnx_grad::gradient(&mut g, loss, &[input]).unwrap();
    g.output("dx", grads[0]);
    let bytes = onnx_grad::model::write(&g, &Default::default()).unwrap();
    runtime::Model::load(&bytes).run(&[("x", x)])["dx"].clone()
}

#[test]
fn slopes_where_there_is_no_derivative() {
    let zeros = Array::new(&[2], &[0.0, 0.0]);
    let relu = gradient_at(&zeros, |g, x| {
        let y = g.relu(x)?;
        g.reduce_sum(y, &[0], false)
    });
    assert_eq!(relu, zeros);
    let abs = gradient_at(&zeros, |g, x| {
        let y = g.abs(x)?;
        g.reduce_sum(y, &[0], false)
    });
    assert_eq!(abs, zeros);
    let norm = gradient_at(&zeros, |g, x| g.reduce_l2(x, &[0], false));
    assert_eq!(norm, zeros);
    let tie = Array::new(&[4], &[3.0, 1.0, 3.0, 2.0]);
    let max = gradient_at(&tie, |g, x| g.reduce_max(x, &[0], false));
    assert_eq!(max, Array::new(&[4], &[0.5, 0.0, 0.5, 0.0]));
    let first = gradient_at(&zeros, |g, x| {
        let zero = g.scalar(0.0);
        let y = g.maximum(x, zero)?;
        let z = g.minimum(x, zero)?;
        let y = g.add(y, z)?;
        g.reduce_sum(y, &[0], false)
    });
    assert_eq!(first, Array::new(&[2], &[2.0, 2.0]));
}

#[test]
fn binary() {
    let any: [Two; 5] = [
        (|g, a, b| g.add(a, b), |a, b| a + b),
        (|g, a, b| g.sub(a, b), |a, b| a - b),
        (|g, a, b| g.mul(a, b), |a, b| a * b),
        (|g, a, b| g.maximum(a, b), f64::max),
        (|g, a, b| g.minimum(a, b), f64::min),
    ];
    let positive_only: [Two; 2] =
        [(|g, a, b| g.div(a, b), |a, b| a / b), (|g, a, b| g.pow(a, b), f64::powf)];
    proptest!(cases(12), |((a, b) in pair(), seed: u64)| {
        let x = [Array::random(&a, seed), Array::random(&b, seed ^ 1)];
        for (build, reference) in any {
            check(&x, |g, x| build(g, x[0], x[1]), |x| x[0].zip(&x[1], reference));
        }
        let p = x.map(positive);
        for (build, reference) in positive_only {
            check(&p, |g, x| build(g, x[0], x[1]), |x| x[0].zip(&x[1], reference));
        }
    });
}

#[test]
fn any_number_of_operands() {
    let shapes = shape(0..=2).prop_flat_map(|full| prop::collection::vec(narrowed(full), 1..=4));
    proptest!(cases(12), |(shapes in shapes, seed: u64)| {
        let x: Vec<Array> =
            shapes.iter().zip(0..).map(|(shape, i)| Array::random(shape, seed ^ i)).collect();
        let fold = |x: &[Array], f: fn(f64, f64) -> f64| {
            x[1..].iter().fold(x[0].clone(), |result, x| result.zip(x, f))
        };
        let count = x.len() as f64;
        check(&x, |g, x| g.sum(x), |x| fold(x, |a, b| a + b));
        check(&x, |g, x| g.mean(x), |x| fold(x, |a, b| a + b).map(|sum| sum / count));
        check(&x, |g, x| g.max(x), |x| fold(x, f64::max));
        check(&x, |g, x| g.min(x), |x| fold(x, f64::min));
    });
    let mut g = Graph::new();
    for (operator, result) in [("Sum", g.sum(&[])), ("Mean", g.mean(&[])), ("Max", g.max(&[]))] {
        assert!(matches!(result, Err(Error::Shape { operator: name, .. }) if name == operator));
    }
}

#[test]
fn one_value_in_both_operands() {
    let x = [Array::random(&[2, 3], 5)];
    check(&x, |g, x| g.mul(x[0], x[0]), |x| x[0].map(|x| x * x));
    check(&x, |g, x| g.sub(x[0], x[0]), |x| x[0].map(|_| 0.0));
}

#[test]
fn selection() {
    proptest!(cases(12), |((a, b) in pair(), seed: u64)| {
        let x = [Array::random(&a, seed), Array::random(&b, seed ^ 1)];
        let pick = |a: f64, b: f64| if a < b { a } else { 3.0 * b };
        check(
            &x,
            |g, x| {
                let less = g.less(x[0], x[1])?;
                let three = g.scalar(3.0);
                let b = g.mul(x[1], three)?;
                g.where_(less, x[0], b)
            },
            |x| x[0].zip(&x[1], pick),
        );
    });
    let x = [Array::new(&[4], &[1.0, 2.0, 1.0, -1.0])];
    check(
        &x,
        |g, x| {
            let one = g.scalar(1.0);
            let equal = g.equal(x[0], one)?;
            g.cast(equal, ElementType::F32)
        },
        // far from a step of the central differences it is flat
        |x| x[0].map(|x| f64::from((x - 1.0).abs() < 0.5)),
    );
}

#[test]
fn stopped_gradient() {
    let three = Array::new(&[], &[3.0]);
    let dx = gradient_at(&three, |g, x| {
        let held = g.stop_gradient(x)?;
        g.mul(x, held)
    });
    assert_eq!(dx, three);
}

/// What a graph of whole numbers and truth values gives, as `f32`.
fn value_of(build: impl Fn(&mut Graph) -> Result<Value, Error>) -> Array {
    let mut g = Graph::new();
    let y = build(&mut g).unwrap();
    let y = g.cast(y, ElementType::F32).unwrap();
    g.output("y", y);
    let bytes = onnx_grad::model::write(&g, &Default::default()).unwrap();
    runtime::Model::load(&bytes).run(&[])["y"].clone()
}

#[test]
fn comparison_and_logic() {
    type Comparison = (Build, fn(i64, i64) -> bool);
    type Logic = (Build, fn(bool, bool) -> bool);
    let compared: [Comparison; 5] = [
        (|g, a, b| g.equal(a, b), |a, b| a == b),
        (|g, a, b| g.less(a, b), |a, b| a < b),
        (|g, a, b| g.less_or_equal(a, b), |a, b| a <= b),
        (|g, a, b| g.greater(a, b), |a, b| a > b),
        (|g, a, b| g.greater_or_equal(a, b), |a, b| a >= b),
    ];
    let logic: [Logic; 4] = [
        (|g, a, b| g.and(a, b), |a, b| a && b),
        (|g, a, b| g.or(a, b), |a, b| a || b),
        (|g, a, b| g.xor(a, b), |a, b| a != b),
        (|g, a, b| g.equal(a, b), |a, b| a == b),
    ];
    let (rows, columns) = ([-1i64, 0, 1], [0i64, 1]);
    let table = |f: &dyn Fn(i64, i64) -> bool| {
        Array::from_fn(&[3, 2], |i| f64::from(f(rows[i[0]], columns[i[1]])))
    };
    for (build, reference) in compared {
        for element in [ElementType::I64, ElementType::F32] {
            let received = value_of(|g| {
                let (a, b) = (g.constant_i64(&[3, 1], &rows)?, g.constant_i64(&[2], &columns)?);
                let (a, b) = (g.cast(a, element)?, g.cast(b, element)?);
                build(g, a, b)
            });
            assert_eq!(received, table(&reference));
        }
    }
    for (build, reference) in logic {
        let received = value_of(|g| {
            let (a, b) = (g.constant_i64(&[3, 1], &rows)?, g.constant_i64(&[2], &columns)?);
            let (a, b) = (g.cast(a, ElementType::Bool)?, g.cast(b, ElementType::Bool)?);
            build(g, a, b)
        });
        assert_eq!(received, table(&|a, b| reference(a != 0, b != 0)));
    }
    let not = value_of(|g| {
        let a = g.constant_i64(&[3], &rows)?;
        let a = g.cast(a, ElementType::Bool)?;
        g.not(a)
    });
    assert_eq!(not, Array::new(&[3], &[0.0, 1.0, 0.0]));
}

#[test]
fn whole_numbers() {
    type Arithmetic = (Build, fn(i64, i64) -> i64);
    let operators: [Arithmetic; 8] = [
        (|g, a, b| g.add(a, b), |a, b| a + b),
        (|g, a, b| g.sub(a, b), |a, b| a - b),
        (|g, a, b| g.mul(a, b), |a, b| a * b),
        (|g, a, b| g.div(a, b), |a, b| a / b),
        (|g, a, b| g.maximum(a, b), i64::max),
        (|g, a, b| g.minimum(a, b), i64::min),
        // the remainder has the sign of the divisor
        (|g, a, b| g.mod_(a, b), |a, b| ((a % b) + b) % b),
        (
            |g, a, b| {
                let less = g.less(a, b)?;
                g.where_(less, a, b)
            },
            i64::min,
        ),
    ];
    let (rows, columns) = ([-7i64, -3, 0, 5], [3i64, -2]);
    for (build, reference) in operators {
        let received = value_of(|g| {
            let (a, b) = (g.constant_i64(&[4, 1], &rows)?, g.constant_i64(&[2], &columns)?);
            build(g, a, b)
        });
        let expected = Array::from_fn(&[4, 2], |i| reference(rows[i[0]], columns[i[1]]) as f64);
        assert_eq!(received, expected);
    }
}

#[test]
fn operands_of_another_type_are_refused() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2]);
    let i = g.input("i", ElementType::I64, &[2]);
    let b = g.input("b", ElementType::Bool, &[2]);
    let wide = g.input("wide", ElementType::F32, &[3, 2]);
    for result in [
        g.mod_(x, x),
        g.and(i, i),
        g.not(x),
        g.less(b, b),
        g.add(b, b),
        g.equal(x, i),
        g.elu(i, 1.0),
        g.sin(i),
        g.prelu(x, i),
    ] {
        assert!(matches!(result, Err(Error::ElementType { .. })), "{result:?}");
    }
    let result = g.prelu(x, wide);
    assert!(matches!(result, Err(Error::Shape { operator: "PRelu", .. })), "{result:?}");
}
