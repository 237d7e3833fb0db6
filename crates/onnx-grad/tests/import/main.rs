//! Models that other programs wrote: what is trained, what is folded, what is
//! refused and by which name.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../support/file.rs"]
mod file;
#[path = "../support/reference.rs"]
mod reference;
#[path = "../support/runtime.rs"]
mod runtime;

mod refused;
mod trained;

use file::{Is, Symbol, floats, info, int, integers, model, network, node, weight};
use onnx_grad::model::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, OperatorSetIdProto, TensorProto,
    ValueInfoProto,
};
use onnx_grad::{
    Binding, ElementType, Error, Forward, Graph, ImportOptions, Mode, Remark, Value, gradient,
    model as files,
};
use reference::{Array, assert_close};
use runtime::Model;

fn read(message: &ModelProto) -> Result<Forward, Error> {
    Forward::read(&message.to_bytes(), &ImportOptions::default())
}

/// The values of a model's parameters and buffers, stored.
fn stored(forward: &Forward, g: &mut Graph) -> (Vec<Value>, Vec<Value>) {
    let parameters = forward.layout().bind_initializers(g, &forward.parameters()).unwrap();
    let buffers = forward.buffers().bind_initializers(g, &forward.buffer_values()).unwrap();
    (parameters, buffers)
}

/// The model as a file with a symbolic batch.
fn written(forward: &Forward, batch: usize, dynamic: bool) -> Vec<u8> {
    let mut g = Graph::new();
    let shape: Vec<usize> = forward.inputs()[0].shape.iter().map(|n| n.unwrap_or(batch)).collect();
    let x = g.input("x", ElementType::F32, &shape);
    let (parameters, buffers) = stored(forward, &mut g);
    let (parameters, buffers) = (&parameters[..], &buffers[..]);
    let binding = Binding { inputs: &[x], parameters, buffers, mode: Mode::Infer };
    let y = forward.apply(&mut g, binding).unwrap().outputs[0];
    g.output("y", y);
    let dynamic_batch = dynamic.then(|| "n".to_owned());
    files::write(&g, &files::WriteOptions { dynamic_batch, ..Default::default() }).unwrap()
}

/// What a model computes, beside what ONNX Runtime makes of the file itself.
fn agrees(message: &ModelProto, x: &Array) -> Forward {
    let options = ImportOptions { untrained: true, ..ImportOptions::default() };
    let forward = Forward::read(&message.to_bytes(), &options).unwrap();
    let expected = &Model::load(&message.to_bytes()).run(&[("x", x)])["y"];
    let received = &Model::load(&written(&forward, x.shape[0], false)).run(&[("x", x)])["y"];
    assert_close("y", received, expected, 1e-6);
    forward
}

fn names(forward: &Forward) -> Vec<(&str, bool)> {
    forward.layout().parameters().iter().map(|p| (p.name.as_str(), p.decay)).collect()
}

/// The node, the operator and the reason of a refusal.
fn refusal(message: &ModelProto) -> (String, String, Error) {
    match read(message).unwrap_err() {
        Error::Node { node, operator, source } => (node, operator, *source),
        Error::UnknownOperator { node, operator, domain } => {
            let what = domain;
            (node, operator, Error::Unsupported { what })
        }
        other => panic!("{other}"),
    }
}

#[test]
fn a_network_is_read_trained_and_written() {
    let message = network();
    let forward = agrees(&message, &Array::random(&[2, 2, 4, 4], 1));
    let expected = [
        ("conv.w", true),
        ("conv.b", false),
        ("bn.w", false),
        ("bn.b", false),
        ("token", false),
        ("head.w", true),
        ("head.b", false),
    ];
    assert_eq!(names(&forward), expected);
    let buffers: Vec<_> = forward.buffers().parameters().iter().map(|p| &p.name[..]).collect();
    assert_eq!(buffers, ["bn.mean", "bn.var"]);
    assert_eq!(forward.inputs()[0].shape, [None, Some(2), Some(4), Some(4)]);
    assert_eq!(forward.outputs()[0].shape, [None, Some(4)]);
    assert_eq!(forward.output("y").unwrap(), 0);
    assert!(matches!(forward.output("z"), Err(Error::UnknownName { .. })));
    assert_eq!(forward.parameters().len(), forward.layout().len());

    // with a symbolic batch it is the model that was read
    let mut own = Model::load(&written(&forward, 2, true));
    let mut original = Model::load(&message.to_bytes());
    for batch in [1, 3] {
        let x = Array::random(&[batch, 2, 4, 4], 2);
        assert_close("y", &own.run(&[("x", &x)])["y"], &original.run(&[("x", &x)])["y"], 1e-6);
    }
}

#[test]
fn training_uses_the_batch_and_moves_the_averages() {
    let forward = read(&network()).unwrap();
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[3, 2, 4, 4]);
    let (parameters, buffers) = stored(&forward, &mut g);
    let (inputs, parameters, buffers) = (&[x][..], &parameters[..], &buffers[..]);
    let mode = Mode::Train { seed: None };
    let applied = forward.apply(&mut g, Binding { inputs, parameters, buffers, mode }).unwrap();
    let loss = g.reduce_mean(applied.outputs[0], &[0, 1], false).unwrap();
    let grads = gradient(&mut g, loss, parameters).unwrap();
    // the bias before a norm of the batch has no effect
    g.output("bias", grads[1]);
    g.output("head", grads[6]);
    g.output("mean", applied.buffers[0]);
    let bytes = files::write(&g, &files::WriteOptions::default()).unwrap();
    let x = Array::random(&[3, 2, 4, 4], 1);
    let outputs = Model::load(&bytes).run(&[("x", &x)]);
    assert_close("bias", &outputs["bias"], &Array::new(&[3], &[0.0; 3]), 1e-6);
    assert_close("head", &outputs["head"], &Array::new(&[4], &[0.25; 4]), 1e-6);
    let before = forward.buffer_values();
    assert!(outputs["mean"].data.iter().zip(before).any(|(a, b)| (a - f64::from(b)).abs() > 1e-4));
}

#[test]
fn nodes_that_share_an_average_move_it_in_turn() {
    let norm = |from: &str, to: &str| {
        node("BatchNormalization", &[from, "s", "b", "mean", "var"], &[to], &[])
    };
    let message = |nodes| {
        let weights = vec![
            weight("s", &[2]),
            weight("b", &[2]),
            weight("mean", &[2]),
            floats("var", &[2], &[1.0, 2.0]),
        ];
        model(&[Symbol("n"), Is(2)], nodes, weights)
    };
    let moved = |message: &ModelProto| {
        let forward = read(message).unwrap();
        let mut g = Graph::new();
        let x = g.input("x", ElementType::F32, &[3, 2]);
        let (parameters, buffers) = stored(&forward, &mut g);
        let (inputs, parameters, buffers) = (&[x][..], &parameters[..], &buffers[..]);
        let mode = Mode::Train { seed: None };
        let applied = forward.apply(&mut g, Binding { inputs, parameters, buffers, mode }).unwrap();
        g.output("next", applied.buffers[0]);
        let bytes = files::write(&g, &files::WriteOptions::default()).unwrap();
        let x = Array::random(&[3, 2], 1);
        (Model::load(&bytes).run(&[("x", &x)])["next"].clone(), x.mean(&[0]).reshape(&[2]))
    };
    let (once, of_batch) = moved(&message(vec![norm("x", "y")]));
    let (twice, _) = moved(&message(vec![
        norm("x", "z"),
        node("Identity", &["mean"], &["mean.again"], &[]),
        node("BatchNormalization", &["x", "s", "b", "mean.again", "var"], &["q"], &[]),
        node("Add", &["z", "q"], &["y"], &[]),
    ]));
    let expected = once.zip(&of_batch, |average, mean| 0.9 * average + 0.1 * mean);
    assert_close("mean", &twice, &expected, 1e-6);
}

#[test]
fn dropout_draws_only_where_there_is_a_seed() {
    let message = product(|g| {
        g.node[1].output[0] = "s".to_owned();
        g.node.push(node("Dropout", &["s", "ratio", "training"], &["y"], &[]));
        g.initializer.push(floats("ratio", &[], &[0.5]));
        g.initializer.push(TensorProto {
            name: "training".to_owned(),
            data_type: 9,
            int32_data: vec![1],
            ..TensorProto::default()
        });
    });
    let forward = read(&message).unwrap();
    let nodes = |mode: fn(Value) -> Mode| {
        let mut g = Graph::new();
        let x = g.input("x", ElementType::F32, &[2, 3]);
        let seed = g.input("seed", ElementType::I64, &[]);
        let (parameters, buffers) = stored(&forward, &mut g);
        let (inputs, parameters, buffers) = (&[x][..], &parameters[..], &buffers[..]);
        let mode = mode(seed);
        let applied = forward.apply(&mut g, Binding { inputs, parameters, buffers, mode }).unwrap();
        g.output("y", applied.outputs[0]);
        let bytes = files::write(&g, &files::WriteOptions::default()).unwrap();
        files::read(&bytes).unwrap().graph.unwrap().node.len()
    };
    assert_eq!(nodes(|_| Mode::Infer), 2);
    assert_eq!(nodes(|_| Mode::Train { seed: None }), 2);
    assert!(nodes(|seed| Mode::Train { seed: Some(seed) }) > 10);
}

#[test]
fn the_opset_decides_what_a_group_norm_means() {
    let message = |opset, n| {
        let mut groups = node("GroupNormalization", &["x", "s", "b"], &["y"], &[]);
        groups.attribute.push(int("num_groups", 2));
        let weights = vec![weight("s", &[n]), weight("b", &[n])];
        let mut message = model(&[Symbol("n"), Is(4), Is(3)], vec![groups], weights);
        message.opset_import[0].version = opset;
        message.ir_version = 10;
        message
    };
    let x = Array::random(&[2, 4, 3], 1);
    agrees(&message(21, 4), &x);
    // ONNX Runtime has no kernel for what opset 18 meant: one number a group
    let mut own = message(18, 2);
    let forward = read(&own).unwrap();
    let received = &Model::load(&written(&forward, 2, false)).run(&[("x", &x)])["y"];
    own = message(21, 4);
    let weights = &mut own.graph.as_mut().unwrap().initializer;
    for tensor in weights {
        let pair = [tensor.float_data[0], tensor.float_data[1]];
        tensor.float_data = vec![pair[0], pair[0], pair[1], pair[1]];
    }
    let expected = &Model::load(&own.to_bytes()).run(&[("x", &x)])["y"];
    assert_close("y", received, expected, 1e-6);
}

/// x · w + …, with whatever comes in its place.
fn product(changed: impl FnOnce(&mut GraphProto)) -> ModelProto {
    let nodes =
        vec![node("MatMul", &["x", "w"], &["p"], &[]), node("Add", &["p", "b"], &["y"], &[])];
    let weights = vec![weight("w", &[3, 4]), weight("b", &[4])];
    let mut message = model(&[Symbol("n"), Is(3)], nodes, weights);
    changed(message.graph.as_mut().unwrap());
    message
}

#[test]
fn rows_of_indices_pick_blocks() {
    let message = |indices: &[i64], dims: &[i64]| {
        let mut places = integers("i", indices);
        places.dims = dims.to_vec();
        product(|g| {
            g.input[0] = info("x", 1, &[Is(2), Is(3)]);
            g.node[1] = node("GatherND", &["b", "i"], &["t"], &[]);
            g.node.push(node("Add", &["p", "t"], &["y"], &[]));
            g.initializer[1] = weight("b", &[3, 2, 4]);
            g.initializer.push(places);
        })
    };
    let x = Array::random(&[2, 3], 1);
    // rows of [3 · 2, 4], some twice and counted from the back; then [2, 4] and numbers
    for (indices, dims) in [
        (&[2, 1, -3, 0, 2, -1, 0, 1][..], &[2, 2, 2][..]),
        (&[1, -3], &[2, 1]),
        (&[2, 1, 3, 0, 0, -4], &[2, 1, 3]),
    ] {
        let forward = agrees(&message(indices, dims), &x);
        assert_eq!(names(&forward), [("w", true), ("b", false)]);
    }
    for (indices, dims) in [(&[3, 0][..], &[1, 2][..]), (&[0, -3], &[1, 2]), (&[0; 4], &[1, 4])] {
        let (.., error) = refusal(&message(indices, dims));
        assert!(matches!(error, Error::Malformed { .. }), "{error}");
    }

    // the gradient adds up where a row is picked twice
    let forward = read(&message(&[2, 1, 2, 1], &[2, 2])).unwrap();
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let (parameters, buffers) = stored(&forward, &mut g);
    let (inputs, parameters, buffers) = (&[x][..], &parameters[..], &buffers[..]);
    let binding = Binding { inputs, parameters, buffers, mode: Mode::Infer };
    let y = forward.apply(&mut g, binding).unwrap().outputs[0];
    let loss = g.reduce_sum(y, &[0, 1], false).unwrap();
    let table = gradient(&mut g, loss, parameters).unwrap()[1];
    g.output("table", table);
    let bytes = files::write(&g, &files::WriteOptions::default()).unwrap();
    let received = &Model::load(&bytes).run(&[("x", &Array::random(&[2, 3], 1))])["table"];
    let mut expected = vec![0.0; 24];
    expected[20..].fill(2.0);
    assert_close("table", received, &Array::new(&[3, 2, 4], &expected), 1e-6);
}

#[test]
fn a_missing_gradient_names_the_node_of_the_file() {
    // the rule of the layer norm uses its own statistics, which have none
    let message = product(|g| {
        g.node[1] = node("LayerNormalization", &["p", "b", "b"], &["y"], &[]);
    });
    let forward = read(&message).unwrap();
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let (parameters, buffers) = stored(&forward, &mut g);
    let (inputs, parameters, buffers) = (&[x][..], &parameters[..], &buffers[..]);
    let binding = Binding { inputs, parameters, buffers, mode: Mode::Infer };
    let y = forward.apply(&mut g, binding).unwrap().outputs[0];
    let mut of_squares = |value| {
        let square = g.mul(value, value).unwrap();
        let loss = g.reduce_sum(square, &[0, 1], false).unwrap();
        gradient(&mut g, loss, &[x])
    };
    let first = of_squares(y).unwrap()[0];
    let error = of_squares(first).unwrap_err();
    let Error::NoGradient { node, operator, .. } = error else { panic!("{error}") };
    assert_eq!((&node[..], operator), ("LayerNormalization of y", "LayerNormalization"));
}

#[test]
fn other_float_types_become_f32() {
    let halves: [u16; 4] = [0x3c00, 0xc000, 0x0001, 0x7bff];
    let expected = [1.0, -2.0, 2f32.powi(-24), 65504.0];
    for (data_type, raw_data) in [
        (10, halves.iter().flat_map(|b| b.to_le_bytes()).collect::<Vec<u8>>()),
        (11, expected.iter().flat_map(|&x| f64::from(x).to_le_bytes()).collect()),
    ] {
        let message = product(|g| {
            g.initializer[1] = TensorProto {
                name: "b".to_owned(),
                dims: vec![4],
                data_type,
                raw_data,
                ..TensorProto::default()
            };
        });
        let forward = read(&message).unwrap();
        let start = forward.layout().offset(1).unwrap();
        assert_eq!(forward.parameters()[start..], expected);
        assert_eq!(forward.remarks(), [Remark::Converted { tensor: "b".to_owned() }]);
    }
}

#[test]
fn sizes_are_settled_by_name() {
    let message = product(|g| {
        g.input[0] = info("x", 1, &[Symbol("n"), Symbol("k")]);
    });
    let error = read(&message).unwrap_err();
    assert!(
        matches!(error, Error::OpenSize { axis: 1, ref symbol, .. } if symbol == "k"),
        "{error}"
    );
    let symbols = vec![("k".to_owned(), 3)];
    let options = ImportOptions { symbols, batch: Some(5), ..ImportOptions::default() };
    let forward = Forward::read(&message.to_bytes(), &options).unwrap();
    assert_eq!(forward.inputs()[0].shape, [Some(5), Some(3)]);
    let shapes = vec![("x".to_owned(), vec![6, 3])];
    let options = ImportOptions { shapes, ..ImportOptions::default() };
    let forward = Forward::read(&message.to_bytes(), &options).unwrap();
    assert_eq!(forward.outputs()[0].shape, [Some(6), Some(4)]);
    let shapes = vec![("z".to_owned(), vec![6, 3])];
    let options = ImportOptions { shapes, ..ImportOptions::default() };
    let error = Forward::read(&message.to_bytes(), &options).unwrap_err();
    assert!(matches!(error, Error::UnknownName { kind: "input", .. }), "{error}");
}

#[test]
fn functions_are_inlined() {
    let message = || {
        let mut message = product(|g| {
            g.node[1] = node("Scaled", &["p", "b"], &["y"], &[int("axis", 1)]);
            g.node[1].domain = "own".to_owned();
        });
        message.opset_import.push(OperatorSetIdProto { domain: "own".to_owned(), version: 1 });
        let mut softmax = node("Softmax", &["a"], &["s"], &[]);
        softmax.attribute.push(AttributeProto {
            name: "axis".to_owned(),
            ref_attr_name: "axis".to_owned(),
            r#type: 2,
            ..AttributeProto::default()
        });
        message.functions.push(FunctionProto {
            name: "Scaled".to_owned(),
            domain: "own".to_owned(),
            input: vec!["a".to_owned(), "b".to_owned()],
            output: vec!["z".to_owned()],
            attribute: vec!["axis".to_owned()],
            node: vec![softmax, node("Mul", &["s", "b"], &["z"], &[])],
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
            ..FunctionProto::default()
        });
        message
    };
    let forward = agrees(&message(), &Array::random(&[2, 3], 1));
    assert_eq!(names(&forward), [("w", true), ("b", false)]);
    // one that calls itself ends
    let mut endless = message();
    endless.functions[0].node[1] = node("Scaled", &["s", "b"], &["z"], &[]);
    endless.functions[0].node[1].domain = "own".to_owned();
    endless.functions[0]
        .opset_import
        .push(OperatorSetIdProto { domain: "own".to_owned(), version: 1 });
    assert!(format!("{}", read(&endless).unwrap_err()).contains("nested functions"));
}

#[test]
fn branches_are_taken_where_shapes_decide() {
    let branch = |name: &str, op: &str| AttributeProto {
        name: name.to_owned(),
        r#type: 5,
        g: Some(Box::new(GraphProto {
            name: name.to_owned(),
            node: vec![node(op, &["p"], &[&format!("{op}.y")], &[])],
            output: vec![ValueInfoProto {
                name: format!("{op}.y"),
                r#type: info("", 1, &[Symbol("n"), Is(4)]).r#type,
                ..ValueInfoProto::default()
            }],
            ..GraphProto::default()
        })),
        ..AttributeProto::default()
    };
    for (size, op) in [(4, "Relu"), (5, "Tanh")] {
        let message = product(|g| {
            g.node[1] = node("Shape", &["p"], &["shape"], &[int("start", 1)]);
            g.node.push(node("Equal", &["shape", "size"], &["same"], &[]));
            let branches = [branch("then_branch", "Relu"), branch("else_branch", "Tanh")];
            g.node.push(node("If", &["same"], &["y"], &branches));
            g.initializer[1] = integers("size", &[size]);
        });
        let x = Array::random(&[2, 3], 1);
        let forward = agrees(&message, &x);
        let bytes = written(&forward, 2, false);
        let nodes = files::read(&bytes).unwrap().graph.unwrap().node;
        assert!(nodes.iter().any(|n| n.op_type == op) && nodes.len() == 2, "{nodes:?}");
    }
}
