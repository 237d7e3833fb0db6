//! Constants and attributes as messages.

use super::proto::{AttributeProto, TensorProto};
use crate::graph::Tensor;
use crate::op::Attribute;

/// The bytes of an element in `raw_data`, for `TensorProto.DataType`s that
/// have a fixed number.
pub(super) fn element_size(data_type: i32) -> Option<usize> {
    match data_type {
        2 | 3 | 9 => Some(1),
        4 | 5 | 10 | 16 => Some(2),
        1 | 6 | 12 => Some(4),
        7 | 11 | 13 | 14 => Some(8),
        15 => Some(16),
        _ => None,
    }
}

/// A named tensor from a constant.
pub(super) fn tensor_proto(name: String, tensor: &Tensor) -> TensorProto {
    TensorProto {
        dims: tensor.shape().iter().map(|&n| n as i64).collect(),
        data_type: tensor.element().code(),
        name,
        raw_data: tensor.bytes(),
        ..TensorProto::default()
    }
}

/// A named attribute from its value.
pub(super) fn attribute_proto(name: &str, value: Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: name.to_owned(), ..AttributeProto::default() };
    match value {
        Attribute::Float(f) => (proto.r#type, proto.f) = (1, f),
        Attribute::Int(i) => (proto.r#type, proto.i) = (2, i),
        Attribute::Text(text) => (proto.r#type, proto.s) = (3, text.into()),
        Attribute::Ints(ints) => (proto.r#type, proto.ints) = (7, ints),
    }
    proto
}
