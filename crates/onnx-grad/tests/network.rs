//! The gradient of a whole network: a transformer block under symmetric
//! InfoNCE, against central differences of a naive `f64` reference.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;
#[path = "support/transformer.rs"]
mod transformer;

use onnx_grad::{ElementType, Graph, gradient, model};
use reference::{Array, assert_close, central_differences};
use runtime::Model;
use transformer::{TOKENS, WIDTH};

const BATCH: usize = 3;

#[test]
fn transformer_under_info_nce() {
    let temperature = 0.25;
    let layout = transformer::layout();
    let mut g = Graph::new();
    let flat = g.input("params", ElementType::F32, &[layout.len()]);
    let views = ["a", "b"].map(|name| g.input(name, ElementType::F32, &[BATCH, TOKENS, WIDTH]));
    let weights = layout.bind_flat(&mut g, flat).unwrap();
    let a = transformer::embed(&mut g, views[0], &weights).unwrap();
    let b = transformer::embed(&mut g, views[1], &weights).unwrap();
    let loss = transformer::info_nce(&mut g, a, b, temperature).unwrap();
    let grads = gradient(&mut g, loss, &weights).unwrap();
    let grads = layout.flatten(&mut g, &grads).unwrap();
    let through_split = gradient(&mut g, loss, &[flat, views[0]]).unwrap();
    g.output("loss", loss);
    g.output("grads", grads);
    g.output("through_split", through_split[0]);
    g.output("da", through_split[1]);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();

    let params = Array::random(&[layout.len()], 1).map(|x| 0.5 * x);
    let a = Array::random(&[BATCH, TOKENS, WIDTH], 2);
    let b = Array::random(&[BATCH, TOKENS, WIDTH], 3);
    let outputs = Model::load(&bytes).run(&[("params", &params), ("a", &a), ("b", &b)]);

    let reference = |inputs: &[Array]| {
        let parameter = |(i, p): (usize, &onnx_grad::Parameter)| {
            let (start, len) = (layout.offset(i).unwrap(), p.shape.iter().product::<usize>());
            Array::new(&p.shape, &inputs[0].data[start..start + len])
        };
        let p: Vec<Array> = layout.parameters().iter().enumerate().map(parameter).collect();
        let a = transformer::embed_reference(&inputs[1], &p);
        let b = transformer::embed_reference(&b, &p);
        transformer::info_nce_reference(&a, &b, f64::from(temperature))
    };
    let inputs = [params, a];
    let loss = Array::new(&[], &[reference(&inputs)]);
    assert_close("loss", &outputs["loss"], &loss, 2e-6);
    let expected = central_differences(&inputs, reference);
    assert_close("grads", &outputs["grads"], &expected[0], 2e-5);
    assert_close("da", &outputs["da"], &expected[1], 2e-5);
    assert_eq!(outputs["grads"], outputs["through_split"]);
}

#[test]
fn second_derivative() {
    // of the sum of y² over a part, with y = |x| tanh x: the slope is 2 y y'
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[4]);
    let tanh = g.tanh(x).unwrap();
    let abs = g.abs(x).unwrap();
    let y = g.mul(tanh, abs).unwrap();
    let y = g.slice(y, 0, 1..3).unwrap();
    let loss = g.mul(y, y).unwrap();
    let loss = g.reduce_sum(loss, &[0], false).unwrap();
    let slope = gradient(&mut g, loss, &[x]).unwrap()[0];
    let square = g.mul(slope, slope).unwrap();
    let penalty = g.reduce_sum(square, &[0], false).unwrap();
    let grads = gradient(&mut g, penalty, &[x]).unwrap();
    g.output("dx", grads[0]);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let x = Array::random(&[4], 4);
    let outputs = Model::load(&bytes).run(&[("x", &x)]);
    let expected = central_differences(&[x], |x| {
        let slope = |x: f64| {
            let (t, y) = (x.tanh(), x.tanh() * x.abs());
            2.0 * y * ((1.0 - t * t) * x.abs() + t * x.signum())
        };
        x[0].data[1..3].iter().map(|&x| slope(x).powi(2)).sum()
    });
    assert_close("dx", &outputs["dx"], &expected[0], 5e-6);
}

#[test]
fn what_the_loss_does_not_depend_on_has_a_gradient_of_zero() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let loss = g.scalar(1.0);
    let grads = gradient(&mut g, loss, &[x, loss]).unwrap();
    g.output("dx", grads[0]);
    g.output("dloss", grads[1]);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let x = Array::random(&[2, 3], 5);
    let outputs = Model::load(&bytes).run(&[("x", &x)]);
    assert_eq!(outputs["dx"], x.map(|_| 0.0));
    assert_eq!(outputs["dloss"], Array::new(&[], &[1.0]));
}
