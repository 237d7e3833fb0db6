use crate::shape::{ElementType, TensorType};

/// What can go wrong while a graph is built, differentiated, written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operands' shapes do not fit the operator.
    #[error("{operator} requires {required}, received shapes {received:?}")]
    Shape {
        /// The ONNX operator.
        operator: &'static str,
        /// What it requires, in words and numbers.
        required: String,
        /// The operands' shapes.
        received: Vec<Vec<usize>>,
    },
    /// The operands' element types do not fit the operator.
    #[error("{operator} requires {required}, received element types {received:?}")]
    ElementType {
        /// The ONNX operator.
        operator: &'static str,
        /// What it requires.
        required: &'static str,
        /// The operands' element types.
        received: Vec<ElementType>,
    },
    /// An operator's attribute is outside what it may be.
    #[error("{operator} requires {required}, received {received}")]
    Attribute {
        /// The ONNX operator.
        operator: &'static str,
        /// What it requires, in words and numbers.
        required: String,
        /// What it received.
        received: String,
    },
    /// The data of a constant do not fill its shape.
    #[error("{name}: shape {shape:?} requires {required} elements, received {received}")]
    Length {
        /// The constant, the initializer or the buffer.
        name: String,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape's number of elements.
        required: usize,
        /// The number of elements given.
        received: usize,
    },
    /// Reverse mode starts from one number, and this value is not one.
    #[error("a gradient starts from an f32 scalar of shape [], received {element:?} {shape:?}")]
    NotScalar {
        /// The value's element type.
        element: ElementType,
        /// The value's shape.
        shape: Vec<usize>,
    },
    /// No vector-Jacobian product is known for a node on the way to the loss.
    #[error("node {node}: no vector-Jacobian product for {operator}{detail}")]
    NoGradient {
        /// The node.
        node: String,
        /// Its ONNX operator.
        operator: &'static str,
        /// Which part of the operator, where only a part is missing.
        detail: &'static str,
    },
    /// Two inputs, outputs, initializers or parameters share a name.
    #[error("the name {name:?} is used twice")]
    DuplicateName {
        /// The name.
        name: String,
    },
    /// A layout lacks a parameter, or has it with another shape.
    #[error("the parameter {name:?} is missing or has another shape")]
    MissingParameter {
        /// The parameter.
        name: String,
    },
    /// The graph has no outputs, so there is nothing to compute.
    #[error("the graph has no outputs")]
    NoOutputs,
    /// The opset is older than the operators used, or newer than those known.
    #[error("opset {received} is outside {least}..={most}")]
    Opset {
        /// The opset asked for.
        received: i64,
        /// The oldest opset that holds every operator.
        least: i64,
        /// The newest opset known to keep their meaning.
        most: i64,
    },
    /// A node ties the graph to the batch size that it was built with.
    #[error("node {node} ({operator}) cannot take another batch size than {batch}: {reason}")]
    Batch {
        /// The node, or the graph's input or output.
        node: String,
        /// Its ONNX operator.
        operator: &'static str,
        /// The batch size that the graph was built with.
        batch: usize,
        /// What ties it.
        reason: String,
    },
    /// The bytes are not a protobuf message of the ONNX format.
    #[error("not an ONNX model: {0}")]
    Decode(#[from] prost::DecodeError),
    /// The bytes decode, and what they say contradicts itself.
    #[error("malformed ONNX model: {reason}")]
    Malformed {
        /// What contradicts itself.
        reason: String,
    },
    /// A node of an imported model was refused.
    #[error("node {node} ({operator}): {source}")]
    Node {
        /// The node's name in the file, or its number where it has none.
        node: String,
        /// Its ONNX operator.
        operator: String,
        /// Why.
        source: Box<Error>,
    },
    /// An imported model uses an operator that has no rule here.
    #[error("node {node}: no rule for operator {operator} of domain {domain:?}")]
    UnknownOperator {
        /// The node's name in the file, or its number where it has none.
        node: String,
        /// The operator.
        operator: String,
        /// Its name space, empty for the standard's own.
        domain: String,
    },
    /// An imported model asks for something that is not done here.
    #[error("{what} is not supported")]
    Unsupported {
        /// What.
        what: String,
    },
    /// An operand is given by no input, initializer or node.
    #[error("operand {value:?} is given by no input, initializer or node")]
    Undefined {
        /// The operand's name.
        value: String,
    },
    /// An operand is computed by its own user or after it.
    #[error(
        "operand {value:?} is computed by this node or a later one: the nodes are out of order or \
         form a cycle"
    )]
    Order {
        /// The operand's name.
        value: String,
    },
    /// An operand stands for a shape, axes or limits, and depends on what is fed.
    #[error("operand {operand} must be known once the shapes of the inputs are, and is computed")]
    NotConstant {
        /// The operand's place among the node's inputs, from 0.
        operand: usize,
    },
    /// A size of an input is a symbol that nothing settles.
    #[error("input {input:?}: the size of axis {axis} ({symbol:?}) is open")]
    OpenSize {
        /// The input.
        input: String,
        /// The axis.
        axis: usize,
        /// The symbol, empty where it has none.
        symbol: String,
    },
    /// A name that was asked for is not in the model.
    #[error("there is no {kind} {name:?}")]
    UnknownName {
        /// What was looked for: an input, an output.
        kind: &'static str,
        /// The name.
        name: String,
    },
    /// The model has nothing to train.
    #[error("the model has no trainable parameter")]
    NoParameters,
    /// An output is the same whatever is fed.
    #[error("output {output:?} does not depend on any input")]
    Independent {
        /// The output.
        output: String,
    },
    /// A tensor of an imported model exceeds what is ever allocated for one.
    #[error("{what}: {received} exceeds {limit}")]
    Limit {
        /// What is limited.
        what: String,
        /// The number asked for.
        received: usize,
        /// The greatest number allowed.
        limit: usize,
    },
    /// The data of a tensor in another file cannot be taken from there.
    #[error("{tensor}: external data {location:?}: {reason}")]
    ExternalData {
        /// The tensor.
        tensor: String,
        /// The file named.
        location: String,
        /// Why not.
        reason: String,
    },
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: std::path::PathBuf,
        /// Why not.
        source: std::io::Error,
    },
}

impl Error {
    pub(crate) fn shape(
        operator: &'static str,
        required: impl Into<String>,
        received: &[&TensorType],
    ) -> Self {
        Self::Shape {
            operator,
            required: required.into(),
            received: received.iter().map(|t| t.shape.clone()).collect(),
        }
    }

    pub(crate) fn attribute(
        operator: &'static str,
        required: impl Into<String>,
        received: impl ToString,
    ) -> Self {
        let (required, received) = (required.into(), received.to_string());
        Self::Attribute { operator, required, received }
    }

    pub(crate) fn element_type(
        operator: &'static str,
        required: &'static str,
        received: &[&TensorType],
    ) -> Self {
        Self::ElementType {
            operator,
            required,
            received: received.iter().map(|t| t.element).collect(),
        }
    }
}
