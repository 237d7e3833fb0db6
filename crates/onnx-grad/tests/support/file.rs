//! Small models as other programs write them.

#![allow(dead_code)]

use onnx_grad::model::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, dimension_proto,
};

/// A size that is a number or a symbol.
#[derive(Clone, Copy)]
pub enum Dim {
    Is(i64),
    Symbol(&'static str),
}
pub use Dim::{Is, Symbol};

pub fn info(name: &str, elem_type: i32, dims: &[Dim]) -> ValueInfoProto {
    let value = |dim: &Dim| match dim {
        Is(n) => dimension_proto::Value::DimValue(*n),
        Symbol(s) => dimension_proto::Value::DimParam((*s).to_owned()),
    };
    let dim = dims.iter().map(|d| DimensionProto { value: Some(value(d)) }).collect();
    let shape = Some(TensorShapeProto { dim });
    let tensor_type = Some(TensorTypeProto { elem_type, shape });
    let r#type = Some(TypeProto { tensor_type });
    ValueInfoProto { name: name.to_owned(), r#type, ..ValueInfoProto::default() }
}

pub fn floats(name: &str, dims: &[i64], data: &[f32]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: data.to_vec(),
        ..TensorProto::default()
    }
}

/// Distinct numbers.
pub fn weight(name: &str, dims: &[i64]) -> TensorProto {
    let n = dims.iter().product::<i64>();
    let data: Vec<f32> = (0..n).map(|i| 0.3 - 0.17 * i as f32 % 1.3).collect();
    floats(name, dims, &data)
}

pub fn integers(name: &str, data: &[i64]) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        dims: vec![data.len() as i64],
        data_type: 7,
        int64_data: data.to_vec(),
        ..TensorProto::default()
    }
}

pub fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { name: name.to_owned(), r#type: 2, i, ..AttributeProto::default() }
}

pub fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    let ints = ints.to_vec();
    AttributeProto { name: name.to_owned(), r#type: 7, ints, ..AttributeProto::default() }
}

pub fn node(op: &str, input: &[&str], output: &[&str], attribute: &[AttributeProto]) -> NodeProto {
    let names = |list: &[&str]| list.iter().map(|&s| s.to_owned()).collect();
    NodeProto {
        op_type: op.to_owned(),
        name: format!("{op} of {}", output[0]),
        input: names(input),
        output: names(output),
        attribute: attribute.to_vec(),
        ..NodeProto::default()
    }
}

/// A model of one input x and one output y.
pub fn model(x: &[Dim], node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: 17 }],
        graph: Some(GraphProto {
            node,
            initializer,
            input: vec![info("x", 1, x)],
            output: vec![ValueInfoProto { name: "y".to_owned(), ..ValueInfoProto::default() }],
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

/// A network with a convolution, a norm, a token repeated along the batch, and
/// shape arithmetic: what exports hold.
pub fn network() -> ModelProto {
    let nodes = vec![
        node("Conv", &["x", "conv.w", "conv.b"], &["c"], &[ints("pads", &[1, 1, 1, 1])]),
        node("BatchNormalization", &["c", "bn.w", "bn.b", "bn.mean", "bn.var"], &["n"], &[]),
        node("Relu", &["n"], &["r"], &[]),
        node("Shape", &["r"], &["shape"], &[]),
        node("Gather", &["shape", "first"], &["batch"], &[]),
        node("Concat", &["batch", "rest"], &["flat"], &[int("axis", 0)]),
        node("Reshape", &["r", "flat"], &["patches"], &[]),
        node("Transpose", &["patches"], &["tokens"], &[ints("perm", &[0, 2, 1])]),
        node("Concat", &["batch", "ones"], &["many"], &[int("axis", 0)]),
        node("Expand", &["token", "many"], &["token.n"], &[]),
        node("Concat", &["token.n", "tokens"], &["all"], &[int("axis", 1)]),
        node("Gather", &["all", "zero"], &["cls"], &[int("axis", 1)]),
        node("Transpose", &["head.w"], &["head.t"], &[]),
        node("MatMul", &["cls", "head.t"], &["h"], &[]),
        node("Add", &["h", "head.b"], &["y"], &[]),
    ];
    let mut zero = integers("zero", &[0]);
    zero.dims.clear();
    let weights = vec![
        weight("conv.w", &[3, 2, 3, 3]),
        weight("conv.b", &[3]),
        weight("bn.w", &[3]),
        weight("bn.b", &[3]),
        weight("bn.mean", &[3]),
        floats("bn.var", &[3], &[1.0, 2.0, 0.5]),
        weight("token", &[1, 1, 3]),
        weight("head.w", &[4, 3]),
        weight("head.b", &[4]),
        integers("first", &[0]),
        integers("rest", &[3, -1]),
        integers("ones", &[1, 1]),
        zero,
    ];
    model(&[Symbol("n"), Is(2), Is(4), Is(4)], nodes, weights)
}
