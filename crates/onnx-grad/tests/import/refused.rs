//! What is wrong with a file, by the names of its nodes.

use crate::file::{Is, info, int, integers, ints, node, weight};
use crate::{names, product, read, refusal, stored};
use onnx_grad::model::{SparseTensorProto, StringStringEntryProto, TensorProto, ValueInfoProto};
use onnx_grad::{Binding, ElementType, Error, Forward, Graph, ImportOptions, Mode};

#[test]
fn what_is_wrong_is_named_by_node_and_operator() {
    let (node_name, operator, error) = refusal(&product(|g| g.node[1].input[1] = "c".to_owned()));
    assert_eq!((&node_name[..], &operator[..]), ("Add of y", "Add"));
    assert!(matches!(error, Error::Undefined { value } if value == "c"));

    let (node_name, .., error) = refusal(&product(|g| g.node[0].input[0] = "y".to_owned()));
    assert_eq!(node_name, "MatMul of p");
    assert!(matches!(error, Error::Order { value } if value == "y"), "a cycle");

    let (.., error) = refusal(&product(|g| g.node[1].output[0] = "p".to_owned()));
    assert!(matches!(error, Error::DuplicateName { name } if name == "p"));

    let wide = product(|g| g.initializer[0] = weight("w", &[2, 4]));
    let (node_name, _, error) = refusal(&wide);
    assert_eq!(node_name, "MatMul of p");
    assert!(matches!(error, Error::Shape { operator: "MatMul", .. }));

    let whole = product(|g| g.initializer[1] = integers("b", &[1, 2, 3, 4]));
    let (node_name, _, error) = refusal(&whole);
    assert_eq!(node_name, "Add of y");
    assert!(matches!(error, Error::ElementType { operator: "Add", .. }));

    // a node without a name is numbered
    let (node_name, operator, error) = refusal(&product(|g| {
        g.node[1].name.clear();
        g.node[1].op_type = "Fft".to_owned();
    }));
    assert_eq!((&node_name[..], &operator[..]), ("#1", "Fft"));
    assert!(matches!(error, Error::Unsupported { what } if what.is_empty()));
    // before anything else about the nodes
    let (_, operator, _) = refusal(&product(|g| {
        g.initializer[0] = weight("w", &[2, 4]);
        g.node[1].op_type = "Fft".to_owned();
    }));
    assert_eq!(operator, "Fft");

    let (.., error) = refusal(&product(|g| {
        g.node[1] = node("Reshape", &["p", "shape"], &["y"], &[]);
        g.input.push(info("shape", 7, &[Is(2)]));
    }));
    assert!(matches!(error, Error::NotConstant { operand: 1 }));

    let (.., error) = refusal(&product(|g| {
        g.node[1] = node("Softmax", &["p"], &["y"], &[ints("axis", &[1])]);
    }));
    assert!(matches!(error, Error::Malformed { .. }), "an attribute of another type: {error}");
}

#[test]
fn what_is_wrong_with_the_whole() {
    let frozen = ImportOptions { constants: vec!["*".to_owned()], ..ImportOptions::default() };
    let bytes = product(|_| {}).to_bytes();
    assert!(matches!(Forward::read(&bytes, &frozen), Err(Error::NoParameters)));
    let options = ImportOptions { untrained: true, ..frozen };
    assert!(Forward::read(&bytes, &options).unwrap().layout().is_empty());

    let fixed = product(|g| {
        g.node.push(node("Neg", &["b"], &["z"], &[]));
        g.output.push(ValueInfoProto { name: "z".to_owned(), ..ValueInfoProto::default() });
    });
    let forward = read(&fixed).unwrap();
    assert!(forward.output("y").is_ok());
    assert!(matches!(forward.output("z"), Err(Error::Independent { output }) if output == "z"));

    let mut old = product(|_| {});
    old.opset_import[0].version = 12;
    assert!(matches!(read(&old), Err(Error::Opset { received: 12, least: 13, .. })));
    old.opset_import[0].version = 99;
    assert!(matches!(read(&old), Err(Error::Opset { received: 99, .. })));

    let sparse = product(|g| g.sparse_initializer.push(SparseTensorProto::default()));
    assert!(matches!(read(&sparse), Err(Error::Unsupported { .. })));
    let twice = product(|g| g.initializer.push(weight("w", &[1])));
    assert!(matches!(read(&twice), Err(Error::DuplicateName { name }) if name == "w"));
    let short = product(|g| g.initializer[0].float_data.truncate(5));
    assert!(matches!(read(&short), Err(Error::Malformed { .. })));
    let no_output = product(|g| g.output[0].name = "q".to_owned());
    assert!(matches!(read(&no_output), Err(Error::UnknownName { kind: "output", .. })));
}

#[test]
fn any_value_may_be_the_output() {
    let options = ImportOptions { outputs: vec!["p".to_owned()], ..ImportOptions::default() };
    let forward = Forward::read(&product(|_| {}).to_bytes(), &options).unwrap();
    assert_eq!(names(&forward), [("w", true)]);
    assert_eq!(forward.outputs()[0].name, "p");
}

#[test]
fn a_binding_must_fit() {
    let forward = read(&product(|_| {})).unwrap();
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 5]);
    let (parameters, _) = stored(&forward, &mut g);
    let (parameters, buffers, mode) = (&parameters[..], &[][..], Mode::Infer);
    let error = forward.apply(&mut g, Binding { inputs: &[x], parameters, buffers, mode });
    assert!(matches!(error, Err(Error::Shape { operator: "Forward", .. })));
    let x = g.input("z", ElementType::F32, &[2, 3]);
    let parameters = &parameters[..1];
    let error = forward.apply(&mut g, Binding { inputs: &[x], parameters, buffers, mode });
    assert!(matches!(error, Err(Error::Shape { operator: "Forward", .. })));
    let x = g.input("i", ElementType::I64, &[2, 3]);
    let error = forward.apply(&mut g, Binding { inputs: &[x], parameters, buffers, mode });
    assert!(matches!(error, Err(Error::ElementType { operator: "Forward", .. })));
}

#[test]
fn folding_is_bounded() {
    let message = product(|g| {
        g.node.push(node("Range", &["a", "z", "d"], &["r"], &[]));
        g.node.push(node("Size", &["r"], &["n"], &[]));
        g.node.push(node("Cast", &["n"], &["f"], &[int("to", 1)]));
        g.node[1].output[0] = "q".to_owned();
        g.node.push(node("Mul", &["q", "f"], &["y"], &[]));
        for (name, n) in [("a", 0), ("z", i64::MAX), ("d", 1)] {
            let mut number = integers(name, &[n]);
            number.dims.clear();
            g.initializer.push(number);
        }
    });
    let (node_name, _, error) = refusal(&message);
    assert_eq!(node_name, "Range of r");
    assert!(matches!(error, Error::Limit { .. }), "{error}");
}

#[test]
fn empty_constants_do_not_take_what_their_shapes_name() {
    let empty = |dims: &[i64]| TensorProto { dims: dims.to_vec(), ..integers("e", &[]) };
    let long = i64::from(i32::MAX);
    for (dims, op, inputs, attribute) in [
        ([long, 0], "Concat", &["e", "e"][..], int("axis", 1)),
        ([long, 0], "Gather", &["e", "i"][..], int("axis", 1)),
        ([long, 0], "ReduceMax", &["e"][..], ints("axes", &[1])),
        ([0, long], "Transpose", &["e"][..], ints("perm", &[1, 0])),
    ] {
        let message = product(|g| {
            g.node[1].output[0] = "q".to_owned();
            g.node.push(node(op, inputs, &["f"], &[attribute]));
            g.node.push(node("Size", &["f"], &["n"], &[]));
            g.node.push(node("Cast", &["n"], &["c"], &[int("to", 1)]));
            g.node.push(node("Mul", &["q", "c"], &["y"], &[]));
            g.initializer.push(empty(&dims));
            g.initializer.push(integers("i", &[]));
        });
        // an answer or a refusal, and no allocation
        let _ = read(&message);
    }
}

#[test]
fn data_stand_in_files_beside_the_model() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("external");
    let _ = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    let data: Vec<u8> = (0..6).flat_map(|i| (i as f32).to_le_bytes()).collect();
    std::fs::write(folder.join("sub/w.bin"), &data).unwrap();
    std::fs::write(folder.parent().unwrap().join("out.bin"), &data).unwrap();
    std::os::unix::fs::symlink("../../out.bin", folder.join("sub/link.bin")).unwrap();
    let open = |location: &str, offset: &str, length: &str| {
        let entry = |key: &str, value: &str| StringStringEntryProto {
            key: key.to_owned(),
            value: value.to_owned(),
        };
        let message = product(|g| {
            g.initializer[1] = TensorProto {
                name: "b".to_owned(),
                dims: vec![4],
                data_type: 1,
                data_location: 1,
                external_data: vec![
                    entry("location", location),
                    entry("offset", offset),
                    entry("length", length),
                ],
                ..TensorProto::default()
            };
        });
        let path = folder.join("model.onnx");
        std::fs::write(&path, message.to_bytes()).unwrap();
        Forward::open(&path, &ImportOptions::default())
    };
    let forward = open("sub/w.bin", "8", "16").unwrap();
    assert_eq!(forward.parameters()[12..], [2.0, 3.0, 4.0, 5.0]);
    for (location, offset, length) in [
        ("sub/w.bin", "12", "16"),
        ("sub/w.bin", "18446744073709551600", "16"),
        ("sub/w.bin", "8", "12"),
        ("sub/w.bin", "x", "16"),
        ("sub/../../out.bin", "0", "16"),
        ("../out.bin", "0", "16"),
        ("/etc/passwd", "0", "16"),
        ("sub/link.bin", "0", "16"),
        ("sub", "0", "16"),
        ("absent.bin", "0", "16"),
        ("", "0", "16"),
    ] {
        let result = open(location, offset, length);
        assert!(
            matches!(result, Err(Error::ExternalData { .. })),
            "{location} {offset} {result:?}"
        );
    }
    // bytes alone have no folder
    let bytes = std::fs::read(folder.join("model.onnx")).unwrap();
    let result = Forward::read(&bytes, &ImportOptions::default());
    assert!(matches!(result, Err(Error::ExternalData { .. })));
}
