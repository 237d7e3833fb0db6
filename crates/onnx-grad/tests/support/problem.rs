//! One operator's problem: forward against a reference, backward against its
//! central differences.

#![allow(dead_code)]

use onnx_grad::{ElementType, Error, Graph, Value, gradient, model};

use crate::reference::{Array, assert_close, central_differences};
use crate::runtime::Model;

/// What `f32` leaves of an operator and its gradient.
const TOLERANCE: f64 = 5e-6;

/// Checks an operator, and its gradient in every input.
pub fn check(
    inputs: &[Array],
    build: impl Fn(&mut Graph, &[Value]) -> Result<Value, Error>,
    reference: impl Fn(&[Array]) -> Array,
) {
    check_to(TOLERANCE, inputs, build, reference);
}

/// As [`check`], to another tolerance.
pub fn check_to(
    tolerance: f64,
    inputs: &[Array],
    build: impl Fn(&mut Graph, &[Value]) -> Result<Value, Error>,
    reference: impl Fn(&[Array]) -> Array,
) {
    let what: Vec<_> = inputs.iter().map(|x| &x.shape).collect();
    let what = format!("{what:?}");
    let mut g = Graph::new();
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let values: Vec<Value> = (names.iter().zip(inputs))
        .map(|(name, x)| g.input(name, ElementType::F32, &x.shape))
        .collect();
    let y = build(&mut g, &values).unwrap();
    let expected = reference(inputs);
    assert_eq!(g.shape(y), expected.shape, "{what}: inferred shape");

    // weights that differ, so that a cotangent put in the wrong place shows
    let weights = Array::random(&expected.shape, 99);
    let loss = weighted_sum(&mut g, y, &weights).unwrap();
    let grads = gradient(&mut g, loss, &values).unwrap();
    g.output("y", y);
    for (name, &grad) in names.iter().zip(&grads) {
        g.output(&format!("d{name}"), grad);
    }
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let feeds: Vec<_> = names.iter().map(String::as_str).zip(inputs).collect();
    let outputs = Model::load(&bytes).run(&feeds);

    assert_close(&format!("{what}: y"), &outputs["y"], &expected, tolerance);
    let loss = |x: &[Array]| reference(x).zip(&weights, |y, w| y * w).total();
    for (name, expected) in names.iter().zip(central_differences(inputs, loss)) {
        let what = format!("{what}: d{name}");
        assert_close(&what, &outputs[&format!("d{name}")], &expected, tolerance);
    }
}

/// Σ wᵢ·yᵢ as a scalar.
pub fn weighted_sum(g: &mut Graph, y: Value, weights: &Array) -> Result<Value, Error> {
    let data: Vec<f32> = weights.data.iter().map(|&w| w as f32).collect();
    let weights = g.constant_f32(&weights.shape, &data)?;
    let product = g.mul(y, weights)?;
    let axes: Vec<i64> = (0..g.shape(product).len() as i64).collect();
    g.reduce_sum(product, &axes, false)
}
