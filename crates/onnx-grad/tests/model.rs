//! What is written can be read, and what cannot be read is an error.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;
#[path = "support/transformer.rs"]
mod transformer;

use onnx_grad::{ElementType, Error, Graph, gradient, model};
use reference::Array;
use runtime::Model;
use transformer::{TOKENS, WIDTH};

/// A training graph of the transformer, and its bytes.
fn training_graph() -> Vec<u8> {
    let layout = transformer::layout();
    let mut g = Graph::new();
    let flat = g.input("params", ElementType::F32, &[layout.len()]);
    let x = g.input("x", ElementType::F32, &[2, TOKENS, WIDTH]);
    let weights = layout.bind_flat(&mut g, flat).unwrap();
    let y = transformer::embed(&mut g, x, &weights).unwrap();
    let loss = transformer::info_nce(&mut g, y, y, 0.5).unwrap();
    let grads = gradient(&mut g, loss, &weights).unwrap();
    let grads = layout.flatten(&mut g, &grads).unwrap();
    g.output("loss", loss);
    g.output("grads", grads);
    let options = model::WriteOptions {
        metadata: vec![("recipe".to_owned(), "a\u{df}\n".to_owned())],
        ..model::WriteOptions::default()
    };
    model::write(&g, &options).unwrap()
}

#[test]
fn the_same_graph_gives_the_same_bytes() {
    assert_eq!(training_graph(), training_graph());
}

#[test]
fn a_written_model_reads_back() {
    let bytes = training_graph();
    let read = model::read(&bytes).unwrap();
    assert_eq!(read.to_bytes(), bytes);
    assert_eq!(read.ir_version, 9);
    assert_eq!(read.opset_import[0].version, 20);
    assert_eq!(read.producer_name, "onnx-grad");
    assert_eq!(read.input_shape("x"), Some(vec![Some(2), Some(TOKENS), Some(WIDTH)]));
    assert_eq!(read.output_shape("loss"), Some(vec![]));
    assert_eq!(read.output_shape("x"), None);
}

#[test]
fn every_truncation_is_an_error_or_a_model() {
    let bytes = training_graph();
    let mut refused = 0;
    for end in 0..bytes.len() {
        // what is cut off may hold whole fields, and then a shorter model remains
        match model::read(&bytes[..end]) {
            Ok(read) => assert!(read.graph.is_some()),
            Err(error) => {
                assert!(matches!(error, Error::Decode(_) | Error::Malformed { .. }));
                refused += 1;
            }
        }
    }
    assert!(refused > bytes.len() * 9 / 10);
}

#[test]
fn every_flipped_byte_is_an_error_or_a_model() {
    let bytes = training_graph();
    for place in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[place] ^= 0xff;
        if let Ok(read) = model::read(&changed) {
            assert!(read.graph.is_some());
        }
    }
}

#[test]
fn an_initializer_that_contradicts_its_shape_is_refused() {
    let mut message = model::read(&training_graph()).unwrap();
    let first = message.graph.as_ref().unwrap().initializer.clone();
    let place = first.iter().position(|t| !t.dims.is_empty()).unwrap();
    for dims in [vec![-1], vec![i64::MAX, i64::MAX], vec![7, 7, 7]] {
        message.graph.as_mut().unwrap().initializer[place].dims = dims;
        let error = model::read(&message.to_bytes()).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }
}

#[test]
fn metadata_is_kept_replaced_and_added() {
    let bytes = training_graph();
    let mut read = model::read(&bytes).unwrap();
    assert_eq!(read.metadata("recipe"), Some("a\u{df}\n"));
    assert_eq!(read.metadata("digest"), None);
    read.set_metadata("recipe", "b");
    read.set_metadata("digest", "c");
    let again = model::read(&read.to_bytes()).unwrap();
    assert_eq!(again.metadata("recipe"), Some("b"));
    assert_eq!(again.metadata("digest"), Some("c"));
    assert_eq!(again.graph, model::read(&bytes).unwrap().graph);

    let entry = |key: &str| (key.to_owned(), "d".to_owned());
    let added = model::with_metadata(&bytes, &[entry("digest")]).unwrap();
    assert_eq!(added[..bytes.len()], bytes);
    assert_eq!(model::read(&added).unwrap().metadata("digest"), Some("d"));
    assert_eq!(model::read(&added).unwrap().metadata("recipe"), Some("a\u{df}\n"));
    Model::load(&added);
    let error = model::with_metadata(&bytes, &[entry("recipe")]).unwrap_err();
    assert!(matches!(error, Error::DuplicateName { .. }));
    let error = model::with_metadata(&bytes, &[entry("x"), entry("x")]).unwrap_err();
    assert!(matches!(error, Error::DuplicateName { .. }));
}

#[test]
fn only_what_an_output_needs_is_written() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2]);
    let dead = g.initializer_f32("dead", &[2], vec![1.0, 2.0]).unwrap();
    let _ = g.exp(dead).unwrap();
    let y = g.exp(x).unwrap();
    let again = g.exp(x).unwrap();
    assert_eq!(y, again);
    g.output("y", y);
    g.output("same", y);
    g.output("fed", x);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let graph = model::read(&bytes).unwrap().graph.unwrap();
    assert!(graph.initializer.is_empty());
    let operators: Vec<_> = graph.node.iter().map(|n| n.op_type.as_str()).collect();
    assert_eq!(operators, ["Exp", "Identity", "Identity"]);
    let x = Array::new(&[2], &[0.0, 1.0]);
    let outputs = Model::load(&bytes).run(&[("x", &x)]);
    assert_eq!(outputs["y"], outputs["same"]);
    assert_eq!(outputs["fed"], x);
}

#[test]
fn equal_constants_are_one() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let (a, b) = (g.scalar(0.5), g.scalar(0.5));
    assert_eq!(a, b);
    assert_ne!(g.scalar(0.0), g.scalar(-0.0));
    let y = g.mul(x, a).unwrap();
    let sum = g.reduce_sum(y, &[1], false).unwrap();
    let mean = g.reduce_mean(y, &[1], false).unwrap();
    g.output("sum", sum);
    g.output("mean", mean);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let graph = model::read(&bytes).unwrap().graph.unwrap();
    // one half, and the axes that both reductions share
    assert_eq!(graph.initializer.len(), 2);
}

#[test]
fn what_cannot_be_written_is_refused() {
    let write = |g: &Graph| model::write(g, &model::WriteOptions::default());
    assert!(matches!(write(&Graph::new()), Err(Error::NoOutputs)));

    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2]);
    g.output("y", x);
    for opset in [19, 1000] {
        let options = model::WriteOptions { opset, ..model::WriteOptions::default() };
        let error = model::write(&g, &options).unwrap_err();
        assert!(matches!(error, Error::Opset { received, .. } if received == opset));
    }
    g.output("y", x);
    assert!(matches!(write(&g), Err(Error::DuplicateName { name }) if name == "y"));

    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2]);
    let w = g.initializer_f32("x", &[2], vec![0.0; 2]).unwrap();
    let y = g.add(x, w).unwrap();
    g.output("y", y);
    assert!(matches!(write(&g), Err(Error::DuplicateName { name }) if name == "x"));
}

#[test]
fn later_opsets_run() {
    let x = Array::random(&[2, TOKENS, WIDTH], 1);
    let weights = vec![0.5; transformer::layout().len()];
    let mut results = Vec::new();
    for opset in 20..=23 {
        let mut g = Graph::new();
        let input = g.input("x", ElementType::F32, &x.shape);
        let p = transformer::layout().bind_initializers(&mut g, &weights).unwrap();
        let y = transformer::embed(&mut g, input, &p).unwrap();
        g.output("y", y);
        let options = model::WriteOptions { opset, ..model::WriteOptions::default() };
        let bytes = model::write(&g, &options).unwrap();
        results.push(Model::load(&bytes).run(&[("x", &x)])["y"].clone());
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]));
}
