//! Operators that work element by element, against naive references, and their
//! gradients against central differences.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/problem.rs"]
mod problem;
#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{ElementType, Graph, Value};
use problem::check;
use reference::{Array, erf};

/// Shapes that broadcast in every way, with sizes of one and without axes.
const PAIRS: [(&[usize], &[usize]); 8] = [
    (&[2, 3], &[2, 3]),
    (&[1, 3], &[1, 3]),
    (&[2, 3], &[3]),
    (&[2, 3], &[]),
    (&[2, 1, 3], &[4, 1]),
    (&[1], &[2, 2]),
    (&[1, 1], &[3]),
    (&[], &[]),
];

fn positive(x: Array) -> Array {
    x.map(|x| x.abs() + 0.5)
}

#[test]
fn unary() {
    for shape in [&[2, 3][..], &[1, 1, 4], &[]] {
        let x = [Array::random(shape, 1)];
        let p = [positive(Array::random(shape, 2))];
        check(&x, |g, x| g.neg(x[0]), |x| x[0].map(|x| -x));
        check(&x, |g, x| g.abs(x[0]), |x| x[0].map(f64::abs));
        check(&x, |g, x| g.exp(x[0]), |x| x[0].map(f64::exp));
        check(&p, |g, x| g.log(x[0]), |x| x[0].map(f64::ln));
        check(&p, |g, x| g.sqrt(x[0]), |x| x[0].map(f64::sqrt));
        check(&x, |g, x| g.erf(x[0]), |x| x[0].map(erf));
        check(&x, |g, x| g.tanh(x[0]), |x| x[0].map(f64::tanh));
        check(&x, |g, x| g.relu(x[0]), |x| x[0].map(|x| x.max(0.0)));
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        check(&x, |g, x| g.sigmoid(x[0]), |x| x[0].map(sigmoid));
        check(&x, |g, x| g.gelu(x[0]), |x| x[0].gelu());
        check(&x, |g, x| g.identity(x[0]), |x| x[0].clone());
        let clip = |x: f64| x.clamp(-0.7, 0.9);
        check(&x, |g, x| g.clip(x[0], -0.7, 0.9), |x| x[0].map(clip));
    }
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
    for (a, b) in PAIRS {
        let x = [Array::random(a, 3), Array::random(b, 4)];
        let p = [positive(x[0].clone()), positive(x[1].clone())];
        let zip = |f: fn(f64, f64) -> f64| move |x: &[Array]| x[0].zip(&x[1], f);
        check(&x, |g, x| g.add(x[0], x[1]), zip(|a, b| a + b));
        check(&x, |g, x| g.sub(x[0], x[1]), zip(|a, b| a - b));
        check(&x, |g, x| g.mul(x[0], x[1]), zip(|a, b| a * b));
        check(&p, |g, x| g.div(x[0], x[1]), zip(|a, b| a / b));
        check(&p, |g, x| g.pow(x[0], x[1]), zip(f64::powf));
        check(&x, |g, x| g.maximum(x[0], x[1]), zip(f64::max));
        check(&x, |g, x| g.minimum(x[0], x[1]), zip(f64::min));
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
    for (a, b) in PAIRS {
        let x = [Array::random(a, 6), Array::random(b, 7)];
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
    }
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
