//! Operands that do not fit are refused where they are given, by name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use onnx_grad::{ElementType, Error, Graph, Value, gradient};

/// The operator that refuses operands of these shapes, and its message.
fn refusal(
    shapes: &[&[usize]],
    build: impl Fn(&mut Graph, &[Value]) -> Result<Value, Error>,
) -> (&'static str, String) {
    let mut g = Graph::new();
    let values: Vec<Value> = (shapes.iter().enumerate())
        .map(|(i, shape)| g.input(&format!("x{i}"), ElementType::F32, shape))
        .collect();
    let error = build(&mut g, &values).unwrap_err();
    let message = error.to_string();
    match error {
        Error::Shape { operator, .. } | Error::ElementType { operator, .. } => (operator, message),
        other => panic!("{other:?}"),
    }
}

#[test]
fn shapes_that_do_not_fit() {
    let (operator, message) = refusal(&[&[2, 3], &[4]], |g, x| g.add(x[0], x[1]));
    assert_eq!(operator, "Add");
    assert!(message.contains("[2, 3]") && message.contains("[4]"), "{message}");
    let cases: [(&str, (&str, String)); 17] = [
        ("MatMul", refusal(&[&[2, 3], &[4, 2]], |g, x| g.matmul(x[0], x[1]))),
        ("MatMul", refusal(&[&[3], &[3, 2]], |g, x| g.matmul(x[0], x[1]))),
        ("MatMul", refusal(&[&[2, 1, 3], &[3, 3, 2]], |g, x| g.matmul(x[0], x[1]))),
        ("Gemm", refusal(&[&[2, 3], &[3, 2]], |g, x| g.gemm(x[0], true, x[1], false))),
        ("Reshape", refusal(&[&[2, 3]], |g, x| g.reshape(x[0], &[5]))),
        ("Transpose", refusal(&[&[2, 3]], |g, x| g.transpose(x[0], &[0, 0]))),
        ("Transpose", refusal(&[&[2, 3]], |g, x| g.transpose(x[0], &[0]))),
        ("Expand", refusal(&[&[2, 3]], |g, x| g.expand(x[0], &[4, 3]))),
        ("Squeeze", refusal(&[&[2, 3]], |g, x| g.squeeze(x[0], &[0]))),
        ("Unsqueeze", refusal(&[&[2, 3]], |g, x| g.unsqueeze(x[0], &[0, -4]))),
        ("ReduceSum", refusal(&[&[2, 3]], |g, x| g.reduce_sum(x[0], &[2], true))),
        ("ReduceSum", refusal(&[&[2, 3]], |g, x| g.reduce_sum(x[0], &[1, -1], true))),
        ("Concat", refusal(&[&[2, 3], &[3, 2]], |g, x| g.concat(x, 0))),
        ("Concat", refusal(&[], |g, x| g.concat(x, 0))),
        ("Split", refusal(&[&[2, 3]], |g, x| Ok(g.split(x[0], 1, &[1, 1])?[0]))),
        ("Slice", refusal(&[&[2, 3]], |g, x| g.slice(x[0], 1, 2..4))),
        (
            "LayerNormalization",
            refusal(&[&[2, 3], &[2], &[3]], |g, x| g.layer_norm(x[0], x[1], x[2], -1, 1e-5)),
        ),
    ];
    for (expected, (operator, message)) in cases {
        assert_eq!(operator, expected, "{message}");
        assert!(message.starts_with(expected), "{message}");
    }
}

#[test]
fn element_types_that_do_not_fit() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2]);
    let i = g.input("i", ElementType::I64, &[2]);
    for result in [g.add(x, i), g.exp(i), g.gather(x, x, 0), g.where_(x, x, x)] {
        assert!(matches!(result, Err(Error::ElementType { .. })), "{result:?}");
    }
    let result = g.initializer_f32("w", &[2, 2], vec![0.0; 3]);
    assert!(matches!(result, Err(Error::Length { required: 4, received: 3, .. })));
}

#[test]
fn a_gradient_starts_from_a_scalar() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[1]);
    let error = gradient(&mut g, x, &[x]).unwrap_err();
    assert!(matches!(error, Error::NotScalar { shape, .. } if shape == [1]));
}

#[test]
fn a_missing_rule_names_the_node() {
    // the rule of the layer norm uses its own statistics, which have none
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let scale = g.input("scale", ElementType::F32, &[3]);
    let y = g.layer_norm(x, scale, scale, -1, 1e-5).unwrap();
    let y = g.tanh(y).unwrap();
    let loss = g.reduce_sum(y, &[0, 1], false).unwrap();
    let first = gradient(&mut g, loss, &[x]).unwrap()[0];
    let square = g.mul(first, first).unwrap();
    let loss = g.reduce_sum(square, &[0, 1], false).unwrap();
    let error = gradient(&mut g, loss, &[x]).unwrap_err();
    let message = error.to_string();
    match error {
        Error::NoGradient { node, operator, .. } => {
            assert_eq!(operator, "LayerNormalization");
            assert_eq!(node, "LayerNormalization_0");
            assert!(message.contains(&node));
        }
        other => panic!("{other:?}"),
    }
}
