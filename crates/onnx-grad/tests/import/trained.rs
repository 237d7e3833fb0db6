//! What of a file is trained, averaged or left alone, and what is remarked.

use crate::file::{Is, Symbol, floats, info, integers, model, network, node, weight};
use crate::reference::{Array, assert_close};
use crate::runtime::Model;
use crate::{agrees, names, product, read, refusal, written};
use onnx_grad::model::{AttributeProto, StringStringEntryProto};
use onnx_grad::{Error, Forward, ImportOptions, Remark};

#[test]
fn inputs_may_repeat_initializers() {
    let message = product(|g| g.input.push(info("w", 1, &[Is(3), Is(4)])));
    let forward = agrees(&message, &Array::random(&[2, 3], 1));
    assert_eq!(forward.inputs().len(), 1);
    assert_eq!(names(&forward), [("w", true), ("b", false)]);
}

#[test]
fn masks_numbers_and_patterns_are_not_trained() {
    let message = product(|g| {
        g.node[1].output[0] = "s".to_owned();
        g.node.push(node("Add", &["s", "mask"], &["t"], &[]));
        g.node.push(node("Mul", &["t", "scale"], &["u"], &[]));
        g.node.push(node("Clip", &["u", "low"], &["y"], &[]));
        g.initializer.push(floats("mask", &[4], &[0.0, -100.0, 0.0, f32::NEG_INFINITY]));
        g.initializer.push(floats("scale", &[], &[0.5]));
        g.initializer.push(floats("low", &[], &[-3.0]));
    });
    assert_eq!(names(&read(&message).unwrap()), [("w", true), ("b", false)]);
    // nor a number that several nodes share
    let message = product(|g| {
        g.node[1].output[0] = "s".to_owned();
        g.node.push(node("Mul", &["s", "scale"], &["t"], &[]));
        g.node.push(node("Mul", &["t", "scale"], &["y"], &[]));
        g.initializer.push(floats("scale", &[1], &[0.5]));
    });
    let forward = read(&message).unwrap();
    assert_eq!(names(&forward), [("w", true), ("b", false)]);
    assert!(forward.remarks().is_empty());
    // zeros alone are a bias, not a mask
    let message = product(|g| g.initializer[1].float_data = vec![0.0; 4]);
    assert_eq!(names(&read(&message).unwrap()), [("w", true), ("b", false)]);
    let constants = vec!["b*".to_owned()];
    let options = ImportOptions { constants, ..ImportOptions::default() };
    let forward = Forward::read(&message.to_bytes(), &options).unwrap();
    assert_eq!(names(&forward), [("w", true)]);
}

#[test]
fn weights_that_several_nodes_share_are_one() {
    let tied = |data: Vec<f32>| {
        product(|g| {
            g.initializer[1].float_data = data;
            g.node[1] = node("Add", &["p", "b"], &["s"], &[]);
            g.node.push(node("Identity", &["b"], &["b.other"], &[]));
            g.node.push(node("Add", &["s", "b.other"], &["y"], &[]));
        })
    };
    let forward = agrees(&tied(vec![0.1, 0.2, 0.3, 0.4]), &Array::random(&[2, 3], 1));
    assert_eq!(names(&forward), [("w", true), ("b", false)]);
    // biases of zero are equal, and were two
    let message = tied(vec![0.0; 4]);
    let forward = agrees(&message, &Array::random(&[2, 3], 1));
    assert_eq!(names(&forward), [("w", true), ("b.other", false), ("b", false)]);
    assert_eq!(forward.remarks(), [Remark::Parted { tensor: "b".to_owned(), users: 2 }]);
    let options = ImportOptions { constants: vec!["b".to_owned()], ..ImportOptions::default() };
    let forward = Forward::read(&message.to_bytes(), &options).unwrap();
    assert_eq!(names(&forward), [("w", true)]);
    assert!(forward.remarks().is_empty());
    let options = ImportOptions { tied: vec!["b".to_owned()], ..ImportOptions::default() };
    let forward = Forward::read(&message.to_bytes(), &options).unwrap();
    assert_eq!(names(&forward), [("w", true), ("b", false)]);
}

#[test]
fn folded_norms_are_remarked() {
    let conv = |from: &str, w: &str, to: &str| node("Conv", &[from, w, "b"], &[to], &[]);
    let nodes = vec![conv("x", "v", "c"), conv("c", "w", "y")];
    let weights = vec![weight("v", &[2, 2, 1, 1]), weight("w", &[2, 2, 1, 1]), weight("b", &[2])];
    let message = model(&[Symbol("n"), Is(2), Is(3), Is(3)], nodes, weights);
    let forward = read(&message).unwrap();
    assert_eq!(forward.remarks(), [Remark::FoldedNorms { layers: 2, certain: false }]);
    assert!(forward.remarks()[0].to_string().contains("BatchNormalization"));
    assert!(read(&network()).unwrap().remarks().is_empty());

    // the newer exporter leaves word, and norms that follow no convolution
    let mut message = network();
    let note = |value: &str| StringStringEntryProto {
        key: "pkg.onnxscript.rewriter.rule_name".to_owned(),
        value: value.to_owned(),
    };
    let nodes = &mut message.graph.as_mut().unwrap().node;
    nodes[0].metadata_props = vec![note("FuseBatchNormIntoConv, RemoveOptionalBiasFromConv")];
    nodes[6].metadata_props = vec![note("MaterializeReshapeShape")];
    let forward = read(&message).unwrap();
    assert_eq!(forward.remarks(), [Remark::FoldedNorms { layers: 1, certain: true }]);
    assert!(forward.remarks()[0].to_string().contains("optimize=False"));
}

#[test]
fn biases_of_zero_that_are_no_parameter_are_left_out() {
    let message = |shape: &[i64], zero: f32| {
        let mut target = node("ConstantOfShape", &["shape"], &["zeros"], &[]);
        let value = Some(floats("", &[1], &[zero]));
        let name = "value".to_owned();
        target.attribute = vec![AttributeProto { name, r#type: 4, t: value, ..Default::default() }];
        let cast = node("CastLike", &["zeros", "x"], &["b"], &[]);
        let conv = node("Conv", &["x", "w", "b"], &["y"], &[]);
        let weights = vec![integers("shape", shape), weight("w", &[3, 2, 1, 1])];
        model(&[Symbol("n"), Is(2), Is(3), Is(3)], vec![target, cast, conv], weights)
    };
    let x = Array::random(&[2, 2, 3, 3], 1);
    let expected = &Model::load(&message(&[3], 0.0).to_bytes()).run(&[("x", &x)])["y"];
    for shape in [&[3][..], &[3, 2]] {
        let forward = read(&message(shape, 0.0)).unwrap();
        assert_eq!(names(&forward), [("w", true)]);
        let received = &Model::load(&written(&forward, 2, false)).run(&[("x", &x)])["y"];
        assert_close("y", received, expected, 1e-6);
    }
    agrees(&message(&[3], 0.5), &x);
    let (.., error) = refusal(&message(&[3, 2], 0.5));
    assert!(matches!(error, Error::Shape { operator: "Conv", .. }));
    // an initializer is a parameter, zero only before training
    let message = product(|g| {
        g.input[0] = info("x", 1, &[Symbol("n"), Is(2), Is(3), Is(3)]);
        g.node = vec![node("Conv", &["x", "w", "b"], &["y"], &[])];
        g.initializer = vec![weight("w", &[3, 2, 1, 1]), floats("b", &[3], &[0.0; 3])];
    });
    assert_eq!(names(&agrees(&message, &x)), [("w", true), ("b", false)]);
}
