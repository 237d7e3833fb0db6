//! An append-only graph of ONNX operators over values of static shape.

use std::collections::HashMap;
use std::sync::Arc;

mod tensor;

pub(crate) use tensor::{Tensor, check_length};

use crate::Error;
use crate::op::Op;
use crate::shape::{ElementType, TensorType};

/// A value of a [`Graph`]: an input, a constant or the result of an operator.
///
/// It means something only to the graph that made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);

impl Value {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Input(String),
    Initializer(String, Tensor),
    Constant(Tensor),
    Node { node: usize, output: usize },
}

/// The operators of the domain `onnx_grad` that a graph may have nodes of: which
/// ones there are depends on where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernels {
    /// All of them, on the CPU: `onnx_grad_kernels::domain`.
    Cpu,
    /// The gradients of convolutions that pad alike before and after, on CUDA:
    /// `onnx_grad_kernels::cuda_domain`.
    Cudnn,
}

/// One application of an operator.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub op: Op,
    pub inputs: Vec<Value>,
    pub outputs: Vec<Value>,
    /// The name of the imported node that it is part of.
    pub source: Option<Arc<str>>,
}

/// A constant's type and bytes.
type ConstantKey = (ElementType, Vec<usize>, Vec<u8>);

/// A graph of ONNX operators, in the order in which they were added.
///
/// Every value has an element type and a static shape, so an operator whose
/// operands do not fit is refused where it is added. An operator applied twice
/// to the same operands is one node, and equal constants are one constant.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    types: Vec<TensorType>,
    origins: Vec<Origin>,
    nodes: Vec<Node>,
    inputs: Vec<Value>,
    outputs: Vec<(String, Value)>,
    known_nodes: HashMap<(Op, Vec<Value>), usize>,
    known_constants: HashMap<ConstantKey, Value>,
    kernels: Option<Kernels>,
    source: Option<Arc<str>>,
}

impl Graph {
    /// An empty graph.
    pub fn new() -> Self {
        Self::default()
    }

    /// The graph, told to use the operators of the domain `onnx_grad` where one
    /// takes the place of several standard ones, forward or backward.
    ///
    /// ONNX Runtime then needs that domain, as the crate `onnx-grad-kernels`
    /// registers it. Gradients made of its operators cannot be differentiated
    /// again.
    #[must_use]
    pub fn with_kernels(mut self, kernels: Kernels) -> Self {
        self.kernels = Some(kernels);
        self
    }

    /// Whether all operators of the domain `onnx_grad` may be used.
    pub(crate) fn kernels(&self) -> bool {
        self.kernels == Some(Kernels::Cpu)
    }

    /// Whether those of cuDNN may be used.
    pub(crate) fn cudnn(&self) -> bool {
        self.kernels == Some(Kernels::Cudnn)
    }

    /// A value that the caller feeds under this name.
    pub fn input(&mut self, name: &str, element: ElementType, shape: &[usize]) -> Value {
        let value = self.push(TensorType::new(element, shape), Origin::Input(name.to_owned()));
        self.inputs.push(value);
        value
    }

    /// A named weight, stored in the model in row-major order.
    ///
    /// # Errors
    /// [`Error::Length`] where `data` does not fill `shape`.
    pub fn initializer_f32(
        &mut self,
        name: &str,
        shape: &[usize],
        data: Vec<f32>,
    ) -> Result<Value, Error> {
        check_length(name, shape, data.len())?;
        let tensor = Tensor::F32(shape.to_vec(), data);
        Ok(self.push(
            TensorType::new(ElementType::F32, shape),
            Origin::Initializer(name.to_owned(), tensor),
        ))
    }

    /// A constant of `f32`, row-major.
    ///
    /// # Errors
    /// [`Error::Length`] where `data` does not fill `shape`.
    pub fn constant_f32(&mut self, shape: &[usize], data: &[f32]) -> Result<Value, Error> {
        check_length("constant", shape, data.len())?;
        Ok(self.constant(Tensor::F32(shape.to_vec(), data.to_vec())))
    }

    /// A constant of `i64`, row-major: indices, for example.
    ///
    /// # Errors
    /// [`Error::Length`] where `data` does not fill `shape`.
    pub fn constant_i64(&mut self, shape: &[usize], data: &[i64]) -> Result<Value, Error> {
        check_length("constant", shape, data.len())?;
        Ok(self.constant(Tensor::I64(shape.to_vec(), data.to_vec())))
    }

    /// A constant number of shape `[]`.
    pub fn scalar(&mut self, x: f32) -> Value {
        self.constant(Tensor::F32(Vec::new(), vec![x]))
    }

    /// Names a value that the model returns.
    ///
    /// A value may be returned under several names. Outputs come in the order
    /// in which they are named.
    pub fn output(&mut self, name: &str, value: Value) {
        self.outputs.push((name.to_owned(), value));
    }

    /// The shape of a value.
    ///
    /// # Panics
    /// May panic where `value` belongs to another graph.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.types[value.index()].shape
    }

    /// The element type of a value.
    ///
    /// # Panics
    /// May panic where `value` belongs to another graph.
    pub fn element_type(&self, value: Value) -> ElementType {
        self.types[value.index()].element
    }

    /// Adds an operator with one output.
    pub(crate) fn apply(&mut self, op: impl Into<Op>, inputs: &[Value]) -> Result<Value, Error> {
        let node = self.add_node(op.into(), inputs)?;
        Ok(self.nodes[node].outputs[0])
    }

    /// Adds an operator and returns all its outputs.
    pub(crate) fn apply_all(
        &mut self,
        op: impl Into<Op>,
        inputs: &[Value],
    ) -> Result<Vec<Value>, Error> {
        let node = self.add_node(op.into(), inputs)?;
        Ok(self.nodes[node].outputs.clone())
    }

    fn add_node(&mut self, op: Op, inputs: &[Value]) -> Result<usize, Error> {
        let key = (op, inputs.to_vec());
        if let Some(&node) = self.known_nodes.get(&key) {
            return Ok(node);
        }
        let types: Vec<&TensorType> = inputs.iter().map(|v| &self.types[v.index()]).collect();
        let results = key.0.rules().infer(&types)?;
        let node = self.nodes.len();
        let outputs = results
            .into_iter()
            .enumerate()
            .map(|(output, ty)| self.push(ty, Origin::Node { node, output }))
            .collect();
        let source = self.source.clone();
        self.nodes.push(Node { op: key.0.clone(), inputs: key.1.clone(), outputs, source });
        self.known_nodes.insert(key, node);
        Ok(node)
    }

    fn constant(&mut self, tensor: Tensor) -> Value {
        let key = (tensor.element(), tensor.shape().to_vec(), tensor.bytes());
        if let Some(&value) = self.known_constants.get(&key) {
            return value;
        }
        let ty = TensorType::new(tensor.element(), tensor.shape());
        let value = self.push(ty, Origin::Constant(tensor));
        self.known_constants.insert(key, value);
        value
    }

    fn push(&mut self, ty: TensorType, origin: Origin) -> Value {
        // 2³² values would need hundreds of gigabytes before this truncates
        let value = Value(self.types.len() as u32);
        self.types.push(ty);
        self.origins.push(origin);
        value
    }

    pub(crate) fn ty(&self, value: Value) -> &TensorType {
        &self.types[value.index()]
    }

    pub(crate) fn origin(&self, value: Value) -> &Origin {
        &self.origins[value.index()]
    }

    pub(crate) fn types(&self) -> &[TensorType] {
        &self.types
    }

    pub(crate) fn origins(&self) -> &[Origin] {
        &self.origins
    }

    pub(crate) fn input_name(&self, value: Value) -> &str {
        match self.origin(value) {
            Origin::Input(name) => name,
            _ => "",
        }
    }

    pub(crate) fn values(&self) -> usize {
        self.types.len()
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(crate) fn inputs(&self) -> &[Value] {
        &self.inputs
    }

    pub(crate) fn outputs(&self) -> &[(String, Value)] {
        &self.outputs
    }

    /// The operator and operands that made a value, where an operator did.
    pub(crate) fn producer(&self, value: Value) -> Option<&Node> {
        match self.origin(value) {
            Origin::Node { node, .. } => self.nodes.get(*node),
            _ => None,
        }
    }

    /// The name of a node, unique and the same in every build of the graph.
    pub(crate) fn node_name(&self, node: usize) -> String {
        format!("{}_{node}", self.nodes[node].op.rules().name())
    }

    /// What an error calls a node: as the imported file does, where it is from one.
    pub(crate) fn described(&self, node: usize) -> String {
        let source = self.nodes.get(node).and_then(|node| node.source.as_deref());
        source.map_or_else(|| self.node_name(node), str::to_owned)
    }

    /// The imported node that what is added from now on is part of.
    pub(crate) fn set_source(&mut self, name: Option<&str>) {
        self.source = name.map(Arc::from);
    }
}
