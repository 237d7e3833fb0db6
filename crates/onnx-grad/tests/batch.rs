//! Forward graphs written with a symbolic batch.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;
#[path = "support/transformer.rs"]
mod transformer;

use onnx_grad::{ElementType, Error, Graph, Value, model};
use reference::{Array, assert_close};
use runtime::Model;
use transformer::{TOKENS, WIDTH};

fn options() -> model::WriteOptions {
    model::WriteOptions {
        dynamic_batch: Some("batch".to_owned()),
        ..model::WriteOptions::default()
    }
}

/// The transformer with weights stored, for a batch.
fn encoder(batch: usize, weights: &[f32]) -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[batch, TOKENS, WIDTH]);
    let p = transformer::layout().bind_initializers(&mut g, weights).unwrap();
    let y = transformer::embed(&mut g, x, &p).unwrap();
    g.output("y", y);
    g
}

#[test]
fn any_batch_agrees_with_the_static_graph() {
    let weights = Array::random(&[transformer::layout().len()], 1);
    let weights: Vec<f32> = weights.data.iter().map(|&x| 0.5 * x as f32).collect();
    // as built with a batch of one, and with sizes that other axes have too
    for built in [1, 2, TOKENS, WIDTH, 5] {
        let bytes = model::write(&encoder(built, &weights), &options()).unwrap();
        let read = model::read(&bytes).unwrap();
        assert_eq!(read.input_shape("x"), Some(vec![None, Some(TOKENS), Some(WIDTH)]));
        assert_eq!(read.output_shape("y"), Some(vec![None, Some(WIDTH)]));
        let mut dynamic = Model::load(&bytes);
        for batch in [1, 3, 7] {
            let x = Array::random(&[batch, TOKENS, WIDTH], 2);
            let bytes = model::write(&encoder(batch, &weights), &Default::default()).unwrap();
            let expected = Model::load(&bytes).run(&[("x", &x)]);
            let received = dynamic.run(&[("x", &x)]);
            assert_close("y", &received["y"], &expected["y"], 1e-6);
        }
    }
}

/// The error of writing what `build` makes of a `[4, 6]` input.
fn refused(build: impl Fn(&mut Graph, Value) -> Result<Value, Error>) -> (String, String) {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[4, 6]);
    let y = build(&mut g, x).unwrap();
    g.output("y", y);
    assert!(model::write(&g, &model::WriteOptions::default()).is_ok());
    match model::write(&g, &options()) {
        Err(Error::Batch { node, operator, batch: 4, reason }) => {
            assert!(!reason.is_empty());
            (node, operator.to_owned())
        }
        other => panic!("{other:?}"),
    }
}

fn named(node: &str, operator: &str) -> (String, String) {
    (node.to_owned(), operator.to_owned())
}

#[test]
fn what_ties_the_batch_is_named() {
    let folded = refused(|g, x| g.reshape(x, &[24]));
    assert_eq!(folded, named("y", "output"));
    let folded = refused(|g, x| {
        let y = g.neg(x)?;
        g.reshape(y, &[2, 12])
    });
    assert_eq!(folded, named("Reshape_1", "Reshape"));
    let constant = refused(|g, x| {
        let c = g.constant_f32(&[4, 1], &[1.0, 2.0, 3.0, 4.0])?;
        g.add(x, c)
    });
    assert_eq!(constant, named("Add_0", "Add"));
    let cut = refused(|g, x| g.slice(x, 0, 0..2));
    assert_eq!(cut, named("Slice_0", "Slice"));
    let parts = refused(|g, x| Ok(g.split(x, 0, &[1, 3])?[0]));
    assert_eq!(parts, named("Split_0", "Split"));
    let product = refused(|g, x| g.gemm(x, false, x, true));
    assert_eq!(product, named("y", "output"));
    let moved = refused(|g, x| g.transpose(x, &[1, 0]));
    assert_eq!(moved, named("y", "output"));
}

#[test]
fn inputs_must_share_the_batch() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[4, 6]);
    let scale = g.input("scale", ElementType::F32, &[]);
    let y = g.mul(x, scale).unwrap();
    g.output("y", y);
    let error = model::write(&g, &options()).unwrap_err();
    assert!(matches!(error, Error::Batch { node, operator: "input", .. } if node == "scale"));
}

#[test]
fn the_batch_may_move_and_come_back() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[3, 3, 4]);
    let y = g.transpose(x, &[1, 0, 2]).unwrap();
    let y = g.reshape(y, &[3, 3, 2, 2]).unwrap();
    let y = g.transpose(y, &[1, 0, 2, 3]).unwrap();
    let y = g.unsqueeze(y, &[0]).unwrap();
    let y = g.squeeze(y, &[0]).unwrap();
    g.output("y", y);
    let mut model = Model::load(&model::write(&g, &options()).unwrap());
    for batch in [1, 3, 7] {
        let x = Array::random(&[batch, 3, 4], 3);
        let y = &model.run(&[("x", &x)])["y"];
        assert_eq!(*y, x.reshape(&[batch, 3, 2, 2]));
    }
}

/// A token that every image gets, as a vision transformer has it.
fn tokens(batch: usize) -> Graph {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[batch, 2, 3]);
    let token = g.initializer_f32("token", &[1, 1, 3], vec![1.0, 2.0, 3.0]).unwrap();
    let repeated = g.expand(token, &[batch, 1, 3]).unwrap();
    let y = g.concat(&[repeated, x], 1).unwrap();
    // brought from a scalar, and along axes that the operand lacks
    let half = g.scalar(0.5);
    let halves = g.expand(half, &[batch, 3, 3]).unwrap();
    let y = g.mul(y, halves).unwrap();
    g.output("y", y);
    g
}

#[test]
fn the_batch_may_be_joined_with_what_follows_it() {
    for built in [2, 3, 5] {
        let mut g = Graph::new();
        let x = g.input("x", ElementType::F32, &[built, 3, 2, 5]);
        // as attention does, to multiply matrices head by head
        let heads = g.reshape(x, &[built * 3, 2, 5]).unwrap();
        let turned = g.transpose(heads, &[0, 2, 1]).unwrap();
        let product = g.matmul(heads, turned).unwrap();
        let y = g.reshape(product, &[1, built, 3, 2, 2]).unwrap();
        let y = g.squeeze(y, &[0]).unwrap();
        g.output("y", y);
        let mut model = Model::load(&model::write(&g, &options()).unwrap());
        for batch in [1, 3, 4] {
            let x = Array::random(&[batch, 3, 2, 5], 6);
            let expected = x.matmul(&x.transpose(&[0, 1, 3, 2]));
            assert_close("y", &model.run(&[("x", &x)])["y"], &expected, 1e-6);
        }
    }
}

#[test]
fn what_is_repeated_along_the_batch_follows_it() {
    for built in [2, 3, 5] {
        let mut dynamic = Model::load(&model::write(&tokens(built), &options()).unwrap());
        for batch in [1, 3, 4] {
            let x = Array::random(&[batch, 2, 3], 4);
            let bytes = model::write(&tokens(batch), &Default::default()).unwrap();
            let expected = Model::load(&bytes).run(&[("x", &x)]);
            assert_eq!(dynamic.run(&[("x", &x)])["y"], expected["y"]);
        }
    }
}

#[test]
fn what_merely_has_the_size_of_the_batch_does_not() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let token = g.initializer_f32("token", &[3], vec![1.0, 2.0, 3.0]).unwrap();
    // two rows whatever the batch, which their sum shows
    let rows = g.expand(token, &[2, 3]).unwrap();
    let rows = g.concat(&[rows, rows], 0).unwrap();
    let part = g.slice(rows, 0, 0..4).unwrap();
    let part = g.reshape(part, &[12]).unwrap();
    let part = g.slice(part, 0, 2..5).unwrap();
    let y = g.add(x, part).unwrap();
    g.output("y", y);
    let mut model = Model::load(&model::write(&g, &options()).unwrap());
    for batch in [1, 3, 4] {
        let x = Array::random(&[batch, 3], 5);
        let added = Array::new(&[3], &[3.0, 1.0, 2.0]);
        assert_close("y", &model.run(&[("x", &x)])["y"], &x.zip(&added, |a, b| a + b), 1e-6);
    }
}
