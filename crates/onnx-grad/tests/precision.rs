//! Narrow products, and the scale of the loss that f16 needs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{
    ElementType, Error, Graph, LossScale, Sliding,
    model::{self, Precision, WriteOptions},
};
use reference::Array;
use runtime::Model;

/// The gradients of a convolution, a product and a norm, forward and backward.
fn gradients(precision: Precision) -> Result<Vec<u8>, Error> {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3, 6, 6]);
    let kernel = g.input("kernel", ElementType::F32, &[4, 3, 3, 3]);
    let weight = g.input("weight", ElementType::F32, &[64, 5]);
    let sliding = Sliding {
        strides: vec![2, 2],
        pads_before: vec![1; 2],
        pads_after: vec![2; 2],
        ..Sliding::unit(2)
    };
    let y = g.conv(x, kernel, None, 1, &sliding)?;
    let y = g.tanh(y)?;
    let shape = g.shape(y).to_vec();
    let y = g.reshape(y, &[2, shape[1..].iter().product()])?;
    let y = g.matmul(y, weight)?;
    let y = g.softmax(y, 1)?;
    let square = g.mul(y, y)?;
    let loss = g.reduce_sum(square, &[0, 1], false)?;
    let grads = onnx_grad::gradient(&mut g, loss, &[x, kernel, weight])?;
    for (name, grad) in ["dx", "dkernel", "dweight"].iter().zip(grads) {
        g.output(name, grad);
    }
    model::write(&g, &WriteOptions { precision, ..WriteOptions::default() })
}

fn feeds() -> [Array; 3] {
    [
        Array::random(&[2, 3, 6, 6], 1),
        Array::random(&[4, 3, 3, 3], 2).map(|x| 0.2 * x),
        Array::random(&[64, 5], 3).map(|x| 0.2 * x),
    ]
}

#[test]
fn narrow_gradients_are_close_to_wide_ones() {
    let [x, kernel, weight] = feeds();
    let inputs = [("x", &x), ("kernel", &kernel), ("weight", &weight)];
    let wide = Model::load(&gradients(Precision::F32).unwrap()).run(&inputs);
    // the CPU has no kernels of f16: ONNX Runtime computes these products in f32
    // and may leave out casts, so this shows that the graph is one and runs
    let narrow = Model::load(&gradients(Precision::F16).unwrap()).run(&inputs);
    for name in ["dx", "dkernel", "dweight"] {
        let (wide, narrow) = (&wide[name], &narrow[name]);
        let norm = |a: &Array| a.data.iter().map(|x| x * x).sum::<f64>().sqrt();
        let error = norm(&wide.zip(narrow, |a, b| a - b)) / norm(wide);
        assert!(error < 2e-3, "{name}: {error}");
    }
}

#[test]
fn products_and_convolutions_alone_are_narrow() {
    for (precision, code, wide) in
        [(Precision::F16, 10, &[][..]), (Precision::Bf16, 16, &["ConvTranspose"])]
    {
        let graph = model::read(&gradients(precision).unwrap()).unwrap().graph.unwrap();
        let cast_to = |name: &str| {
            let node = graph.node.iter().find(|n| n.output[0] == name && n.op_type == "Cast");
            node.map(|n| n.attribute[0].i)
        };
        let mut narrow = 0;
        for node in &graph.node {
            let products = ["Conv", "ConvTranspose", "Gemm", "MatMul"];
            let is_narrow =
                products.contains(&node.op_type.as_str()) && !wide.contains(&node.op_type.as_str());
            narrow += usize::from(is_narrow);
            for input in node.input.iter().filter(|_| node.op_type != "Cast") {
                let expected = is_narrow.then_some(code);
                assert_eq!(cast_to(input).filter(|&to| to != 1), expected, "{} {input}", node.name);
            }
        }
        assert!(narrow >= 4, "{narrow}");
    }
}

#[test]
fn the_scale_halves_on_overflow_and_doubles_after_a_while() {
    let rule = LossScale { first: 1024.0, interval: 3 };
    let mut g = Graph::new();
    let state = g.input("state", ElementType::F32, &[2]);
    let (loss, grads) =
        (g.input("loss", ElementType::F32, &[]), g.input("grads", ElementType::F32, &[3]));
    let scaled = rule.scale(&mut g, state, loss).unwrap();
    let unscaled = rule.unscale(&mut g, state, grads).unwrap();
    let (zero, one) = (g.scalar(0.0), g.scalar(1.0));
    let finite = g.where_(unscaled.finite, one, zero).unwrap();
    for (name, value) in [
        ("scaled", scaled),
        ("grads_out", unscaled.grads),
        ("finite", finite),
        ("next", unscaled.state),
    ] {
        g.output(name, value);
    }
    let mut model = Model::load(&model::write(&g, &WriteOptions::default()).unwrap());
    let mut state = Array::new(&[2], &rule.initial().map(f64::from));
    let loss = Array::new(&[], &[0.5]);
    let mut scales = Vec::new();
    for step in 0..8 {
        let last = if step == 4 { f64::INFINITY } else { 3.0 };
        let grads = Array::new(&[3], &[1.0, 2.0, last]);
        let outputs = model.run(&[("state", &state), ("loss", &loss), ("grads", &grads)]);
        assert_eq!(outputs["scaled"].data[0], 0.5 * state.data[0]);
        assert_eq!(outputs["finite"].data[0], if step == 4 { 0.0 } else { 1.0 });
        assert_eq!(outputs["grads_out"].data[0], 1.0 / state.data[0]);
        state = outputs["next"].clone();
        scales.push(state.data[0]);
    }
    assert_eq!(scales, [1024.0, 1024.0, 2048.0, 2048.0, 1024.0, 1024.0, 1024.0, 2048.0]);
}
