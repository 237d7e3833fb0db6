//! A graph as the bytes of an ONNX file.

use std::collections::{HashMap, HashSet};

use super::batch::{Batch, Size};
use super::encode::{attribute_proto, tensor_proto};
use super::live::Live;
use super::precision::Precision;
use super::proto::{
    DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
    TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, dimension_proto,
};
use crate::Error;
use crate::graph::{Graph, Node, Origin, Tensor, Value};
use crate::op::{Attribute, KERNELS};

/// The opset that brought `Gelu`.
const LEAST_OPSET: i64 = 20;
/// The last opset for which the operators used here have been compared.
const MOST_OPSET: i64 = 23;

/// How [`write()`] writes a graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriteOptions {
    /// The operator set, 20 or later.
    pub opset: i64,
    /// The program that writes, by name.
    pub producer: String,
    /// Keys and values for `metadata_props`.
    pub metadata: Vec<(String, String)>,
    /// The symbol for the first size of inputs and outputs, where the model is
    /// to run with any batch; all inputs must then have the same first size.
    pub dynamic_batch: Option<String>,
    /// What products and convolutions compute in.
    pub precision: Precision,
}

impl Default for WriteOptions {
    /// Opset 20, this crate as producer, no metadata, the static batch, `f32`.
    fn default() -> Self {
        Self {
            opset: LEAST_OPSET,
            producer: env!("CARGO_PKG_NAME").to_owned(),
            metadata: Vec::new(),
            dynamic_batch: None,
            precision: Precision::F32,
        }
    }
}

/// The bytes of an ONNX file that computes the outputs of a graph.
///
/// Nodes and weights that no output needs are left out; inputs all stay.
///
/// # Errors
/// [`Error::NoOutputs`]; [`Error::Opset`]; [`Error::DuplicateName`] where two
/// inputs, weights, outputs or metadata keys share a name; [`Error::Batch`]
/// where a node ties the graph to its batch, and a dynamic one was asked for.
pub fn write(g: &Graph, options: &WriteOptions) -> Result<Vec<u8>, Error> {
    if !(LEAST_OPSET..=MOST_OPSET).contains(&options.opset) {
        return Err(Error::Opset { received: options.opset, least: LEAST_OPSET, most: MOST_OPSET });
    }
    if g.outputs().is_empty() {
        return Err(Error::NoOutputs);
    }
    unique(options.metadata.iter().map(|(key, _)| key.as_str()))?;
    let live = Live::of(g);
    let batch = match &options.dynamic_batch {
        Some(symbol) => Batch::dynamic(g, &live.nodes, symbol)?,
        None => Batch::fixed(),
    };
    let entry = |(key, value): &(String, String)| StringStringEntryProto {
        key: key.clone(),
        value: value.clone(),
    };
    let mut graph = Writer::new(g, &live, &batch)?.graph();
    graph.node = options.precision.lower(graph.node);
    let mut opset_import =
        vec![OperatorSetIdProto { domain: String::new(), version: options.opset }];
    if live.nodes.iter().any(|&node| g.nodes()[node].op.rules().domain() == KERNELS) {
        opset_import.push(OperatorSetIdProto { domain: KERNELS.to_owned(), version: 1 });
    }
    let model = ModelProto {
        // IR versions 9, 10 and 11 came with opsets 20, 21 and 23
        ir_version: match options.opset {
            ..=20 => 9,
            21..=22 => 10,
            _ => 11,
        },
        producer_name: options.producer.clone(),
        graph: Some(graph),
        opset_import,
        metadata_props: options.metadata.iter().map(entry).collect(),
        ..ModelProto::default()
    };
    Ok(model.to_bytes())
}

struct Writer<'a> {
    g: &'a Graph,
    live: &'a Live,
    batch: &'a Batch,
    names: Vec<String>,
    initializers: Vec<TensorProto>,
    shared: HashMap<(i32, Vec<i64>, Vec<u8>), String>,
}

impl<'a> Writer<'a> {
    fn new(g: &'a Graph, live: &'a Live, batch: &'a Batch) -> Result<Self, Error> {
        let mut writer = Self {
            g,
            live,
            batch,
            names: vec![String::new(); g.values()],
            initializers: Vec::new(),
            shared: HashMap::new(),
        };
        writer.name_values()?;
        Ok(writer)
    }

    /// Gives every live value a name, and every live constant a place.
    fn name_values(&mut self) -> Result<(), Error> {
        let g = self.g;
        for &value in g.inputs() {
            if let Origin::Input(name) = g.origin(value) {
                self.names[value.index()] = name.clone();
            }
        }
        for (index, origin) in g.origins().iter().enumerate() {
            if !self.live.values[index] {
                continue;
            }
            match origin {
                Origin::Input(_) => {}
                Origin::Initializer(name, tensor) => {
                    self.names[index] = name.clone();
                    self.initializers.push(tensor_proto(name.clone(), tensor));
                }
                Origin::Constant(tensor) => self.names[index] = self.constant(tensor),
                Origin::Node { node, output: 0 } => self.names[index] = g.node_name(*node),
                Origin::Node { node, output } => {
                    self.names[index] = format!("{}.{output}", g.node_name(*node));
                }
            }
        }
        // a result takes the first name under which it is returned
        let mut renamed = HashSet::new();
        for (name, value) in g.outputs() {
            if g.producer(*value).is_some() && renamed.insert(*value) {
                self.names[value.index()] = name.clone();
            }
        }
        let inputs = g.inputs().iter().map(|v| v.index());
        let others = (0..g.values())
            .filter(|&i| self.live.values[i] && !matches!(g.origins()[i], Origin::Constant(_)))
            .filter(|&i| !matches!(g.origins()[i], Origin::Input(_)));
        unique(inputs.chain(others).map(|i| self.names[i].as_str()))?;
        unique(g.outputs().iter().map(|(name, _)| name.as_str()))
    }

    /// The name of an initializer that equal constants share.
    fn constant(&mut self, tensor: &Tensor) -> String {
        let next = format!("constant_{}", self.shared.len());
        let proto = tensor_proto(next.clone(), tensor);
        let key = (proto.data_type, proto.dims.clone(), proto.raw_data.clone());
        if let Some(name) = self.shared.get(&key) {
            return name.clone();
        }
        self.shared.insert(key, next.clone());
        self.initializers.push(proto);
        next
    }

    fn graph(mut self) -> GraphProto {
        let g = self.g;
        let mut node = Vec::new();
        for &index in &self.live.nodes {
            let mut written = self.node(index, &g.nodes()[index]);
            if self.batch.expands(index) {
                node.extend(self.with_batch(&mut written, &g.nodes()[index]).into_iter().flatten());
            }
            node.push(written);
        }
        for (name, value) in g.outputs() {
            let source = &self.names[value.index()];
            if source != name {
                node.push(NodeProto {
                    input: vec![source.clone()],
                    output: vec![name.clone()],
                    name: format!("output_{name}"),
                    op_type: "Identity".to_owned(),
                    ..NodeProto::default()
                });
            }
        }
        let input = |&v: &Value| self.value_info(self.names[v.index()].clone(), v);
        let output = |(name, v): &(String, Value)| self.value_info(name.clone(), *v);
        // ONNX Runtime infers no shapes for nodes of other domains than its own
        let value_info = (self.live.nodes.iter().map(|&index| &g.nodes()[index]))
            .filter(|node| !node.op.rules().domain().is_empty())
            .flat_map(|node| &node.outputs)
            .map(|&v| self.value_info(self.names[v.index()].clone(), v))
            .filter(|info| g.outputs().iter().all(|(name, _)| *name != info.name))
            .collect();
        GraphProto {
            value_info,
            input: g.inputs().iter().map(input).collect(),
            output: g.outputs().iter().map(output).collect(),
            node,
            name: "graph".to_owned(),
            initializer: self.initializers,
            ..GraphProto::default()
        }
    }

    fn node(&mut self, index: usize, node: &Node) -> NodeProto {
        let rules = node.op.rules();
        let name_of = |v: &Value| self.names[v.index()].clone();
        let mut input: Vec<String> = node.inputs.iter().map(name_of).collect();
        // a result that nobody reads has no name, which leaves it out
        let mut output: Vec<String> = node.outputs.iter().map(name_of).collect();
        if rules.optional_outputs() {
            let used = output.iter().rposition(|name| !name.is_empty());
            output.truncate(used.map_or(0, |last| last + 1));
        }
        let constants = match self.batch.reshape(index) {
            Some(shape) => vec![Tensor::I64(vec![shape.len()], shape.to_vec())],
            None => rules.constants(),
        };
        for tensor in &constants {
            input.push(self.constant(tensor));
        }
        let attribute = |(name, value)| attribute_proto(name, value);
        NodeProto {
            input,
            output,
            name: self.g.node_name(index),
            op_type: rules.name().to_owned(),
            domain: rules.domain().to_owned(),
            attribute: rules.attributes().into_iter().map(attribute).collect(),
            ..NodeProto::default()
        }
    }

    /// Nodes that join the batch of the first input and the other sizes of an
    /// Expand node, which then takes its shape from them.
    fn with_batch(&mut self, expand: &mut NodeProto, node: &Node) -> Option<[NodeProto; 2]> {
        let input = self.g.inputs().first()?;
        let sizes = self.g.shape(*node.outputs.first()?).get(1..)?;
        let rest = self.constant(&Tensor::integers(sizes));
        let [batch, shape] = [".batch", ".shape"].map(|end| format!("{}{end}", expand.name));
        *expand.input.last_mut()? = shape.clone();
        let of = |op_type: &str, input, output: String, attribute: Vec<_>| NodeProto {
            input,
            name: output.clone(),
            output: vec![output],
            op_type: op_type.to_owned(),
            attribute: attribute.into_iter().map(|(n, v)| attribute_proto(n, v)).collect(),
            ..NodeProto::default()
        };
        let ends = vec![("start", Attribute::Int(0)), ("end", Attribute::Int(1))];
        Some([
            of("Shape", vec![self.names[input.index()].clone()], batch.clone(), ends),
            of("Concat", vec![batch, rest], shape, vec![("axis", Attribute::Int(0))]),
        ])
    }

    fn value_info(&self, name: String, value: Value) -> ValueInfoProto {
        let ty = self.g.ty(value);
        let dim = (0..ty.shape.len()).map(|axis| DimensionProto {
            value: Some(match self.batch.size(self.g, value, axis) {
                Size::Fixed(n) => dimension_proto::Value::DimValue(n as i64),
                Size::Symbol(symbol) => dimension_proto::Value::DimParam(symbol.to_owned()),
            }),
        });
        let shape = TensorShapeProto { dim: dim.collect() };
        ValueInfoProto {
            name,
            r#type: Some(TypeProto {
                tensor_type: Some(TensorTypeProto {
                    elem_type: ty.element.code(),
                    shape: Some(shape),
                }),
            }),
            ..ValueInfoProto::default()
        }
    }
}

fn unique<'n>(names: impl Iterator<Item = &'n str>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    for name in names {
        if !seen.insert(name) {
            let name = name.to_owned();
            return Err(Error::DuplicateName { name });
        }
    }
    Ok(())
}
