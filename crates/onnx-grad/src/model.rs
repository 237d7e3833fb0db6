//! ONNX files: bytes from a graph, and messages from bytes.

mod batch;
mod encode;
mod live;
mod precision;
mod proto;
mod write;

pub use precision::Precision;
pub use proto::{
    AttributeProto, DimensionProto, FunctionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, SparseTensorProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, dimension_proto,
};
pub use write::{WriteOptions, write};

use prost::Message;

use crate::Error;
use crate::shape::count;

/// The message that the bytes of an ONNX file hold.
///
/// Fields that this module does not declare are passed over, so a model that
/// another program wrote is not to be written back from here; to add metadata
/// to one, see [`with_metadata`].
///
/// # Errors
/// [`Error::Decode`] where the bytes are not protobuf, [`Error::Malformed`]
/// where there is no graph, or an initializer's data do not fill its shape.
pub fn read(bytes: &[u8]) -> Result<ModelProto, Error> {
    let model = ModelProto::decode(bytes)?;
    let malformed = |reason: String| Err(Error::Malformed { reason });
    let Some(graph) = &model.graph else {
        return malformed("there is no graph".to_owned());
    };
    for tensor in &graph.initializer {
        let dims: Option<Vec<usize>> = tensor.dims.iter().map(|&d| d.try_into().ok()).collect();
        let name = &tensor.name;
        let Some(dims) = dims else {
            return malformed(format!("{name}: a negative size in {:?}", tensor.dims));
        };
        let (required, received) = (count(&dims), tensor.raw_data.len());
        if let Some(size) = encode::element_size(tensor.data_type)
            && received != 0
            && required.saturating_mul(size) != received
        {
            return malformed(format!(
                "{name}: shape {dims:?} requires {required} elements of {size} bytes, \
                 received {received} bytes"
            ));
        }
    }
    Ok(model)
}

/// The bytes of a model with entries added to its metadata, everything else as
/// it was.
///
/// # Errors
/// As [`read`]; [`Error::DuplicateName`] where a key is there already.
pub fn with_metadata(bytes: &[u8], entries: &[(String, String)]) -> Result<Vec<u8>, Error> {
    let model = read(bytes)?;
    let mut added = ModelProto::default();
    for (key, value) in entries {
        if model.metadata(key).is_some() || added.metadata(key).is_some() {
            return Err(Error::DuplicateName { name: key.clone() });
        }
        added.set_metadata(key, value);
    }
    // one protobuf message after another is their merger
    Ok([bytes, &added.encode_to_vec()].concat())
}

impl ModelProto {
    /// The bytes of the ONNX file.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }

    /// The value of a key of the metadata.
    pub fn metadata(&self, key: &str) -> Option<&str> {
        let entry = self.metadata_props.iter().find(|entry| entry.key == key)?;
        Some(&entry.value)
    }

    /// Sets a key of the metadata, in place of the value that it had.
    pub fn set_metadata(&mut self, key: &str, value: &str) {
        self.metadata_props.retain(|entry| entry.key != key);
        self.metadata_props
            .push(StringStringEntryProto { key: key.to_owned(), value: value.to_owned() });
    }

    /// The shape of an input, `None` for each symbolic size; `None` where there
    /// is no such input, or it has no shape.
    pub fn input_shape(&self, name: &str) -> Option<Vec<Option<usize>>> {
        shape_of(&self.graph.as_ref()?.input, name)
    }

    /// The shape of an output, as [`ModelProto::input_shape`].
    pub fn output_shape(&self, name: &str) -> Option<Vec<Option<usize>>> {
        shape_of(&self.graph.as_ref()?.output, name)
    }
}

fn shape_of(list: &[ValueInfoProto], name: &str) -> Option<Vec<Option<usize>>> {
    let info = list.iter().find(|info| info.name == name)?;
    let shape = info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
    let size = |dim: &DimensionProto| match dim.value {
        Some(dimension_proto::Value::DimValue(n)) => n.try_into().ok(),
        _ => None,
    };
    Some(shape.dim.iter().map(size).collect())
}
