//! Reads forward graphs that other programs exported.
//!
//! A [`Forward`] holds the nodes of an ONNX file and its weights. Applied to a
//! graph whose inputs have static shapes, it computes what depends on shapes
//! and constants alone, and adds the rest to the graph, ready for
//! [`gradient`](crate::gradient).

use std::path::Path;
use std::sync::Arc;

use crate::graph::{Graph, Value};
use crate::model::{self, GraphProto, ModelProto, TensorProto};
use crate::shape::{ElementType, TensorType};
use crate::{Error, Layout, Parameter};

mod apply;
mod call;
mod constant;
mod expand;
mod external;
mod fold;
mod half;
mod program;
mod remark;
mod rule;
mod signature;
mod trainable;

use constant::{Constant, Elements, Kind};
use external::Folder;
use program::{Program, Slot, Step};
pub use remark::Remark;
pub use signature::Signature;
use trainable::{Fate, Initializer};

/// The newest version of the file format that is read.
const MOST_IR: i64 = 14;

/// How a model is read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// The outputs to compute, or any values between: all outputs where none
    /// is named.
    pub outputs: Vec<String>,
    /// Names of initializers that are not trained; `*` stands for anything. The
    /// file does not tell what PyTorch holds as a buffer, fixed positions or the
    /// colours' means, from a parameter.
    pub constants: Vec<String>,
    /// Names of initializers that several nodes train as one although all
    /// their elements are equal; `*` stands for anything. Exporters merge what
    /// merely has equal elements, biases of zero and scales of one, so without
    /// this such an initializer is a parameter for each of its users.
    pub tied: Vec<String>,
    /// Inputs with their whole shapes, in place of what the file says.
    pub shapes: Vec<(String, Vec<usize>)>,
    /// Symbols of sizes with their numbers.
    pub symbols: Vec<(String, usize)>,
    /// The size of first axes that are still open. Without it they stay open,
    /// and are settled by what [`Forward::apply`] is given.
    pub batch: Option<usize>,
    /// Whether a model without trainable parameters is read.
    pub untrained: bool,
}

/// How a model is applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Batch statistics, and dropout where there is a seed: an `i64` of shape
    /// `[]`.
    Train {
        /// What random draws follow from.
        seed: Option<Value>,
    },
    /// Running averages, and no dropout.
    Infer,
}

/// What a model is applied to, each list in the order of the model's.
#[derive(Clone, Copy, Debug)]
pub struct Binding<'a> {
    /// One value an input.
    pub inputs: &'a [Value],
    /// One value a trainable parameter, as [`Layout::bind_flat`] gives them.
    pub parameters: &'a [Value],
    /// One value a running average.
    pub buffers: &'a [Value],
    /// How it is applied.
    pub mode: Mode,
}

/// What a model computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// One value an output.
    pub outputs: Vec<Value>,
    /// The next running averages, in the order of the buffers.
    pub buffers: Vec<Value>,
}

/// A forward graph read from an ONNX file, with its weights.
#[derive(Debug)]
pub struct Forward {
    steps: Vec<Step>,
    /// For each slot the one that it is a view of.
    origins: Vec<Slot>,
    inputs: Vec<Signature>,
    input_slots: Vec<Slot>,
    outputs: Vec<Signature>,
    output_slots: Vec<Slot>,
    /// For each output, whether it depends on an input.
    fed: Vec<bool>,
    constants: Vec<(Slot, Arc<Constant>)>,
    parameters: Stored,
    buffers: Stored,
    remarks: Vec<Remark>,
}

/// Tensors in one flat buffer, and the slots that they stand in.
#[derive(Debug, Default)]
struct Stored {
    layout: Layout,
    slots: Vec<Slot>,
    tensors: Vec<Arc<Constant>>,
}

impl Stored {
    fn push(
        &mut self,
        parameter: Parameter,
        slot: Slot,
        tensor: Arc<Constant>,
    ) -> Result<(), Error> {
        self.layout.push(parameter)?;
        self.slots.push(slot);
        self.tensors.push(tensor);
        Ok(())
    }

    fn flat(&self) -> Vec<f32> {
        let mut flat = vec![0.0; self.layout.len()];
        for (i, tensor) in self.tensors.iter().enumerate() {
            let place = self.layout.offset(i).and_then(|start| flat.get_mut(start..));
            if let (Some(place), Elements::Float(data)) = (place, &tensor.elements) {
                for (to, from) in place.iter_mut().zip(data) {
                    *to = *from;
                }
            }
        }
        flat
    }
}

impl Forward {
    /// The model in a file, with data in files beside it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::ExternalData`], and those of [`Forward::read`].
    pub fn open(path: impl AsRef<Path>, options: &ImportOptions) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes =
            std::fs::read(path).map_err(|source| Error::Io { path: path.to_owned(), source })?;
        Self::from_message(&model::read(&bytes)?, &Folder::of(path)?, options)
    }

    /// The model in bytes, which must hold all its data.
    ///
    /// It is applied to a graph once, so what does not fit is found here.
    ///
    /// # Errors
    /// [`Error::Decode`], [`Error::Malformed`], [`Error::Opset`] where the file
    /// is not one that can be read; [`Error::UnknownOperator`] before anything
    /// else about its nodes; [`Error::Node`] for a node that is refused;
    /// [`Error::OpenSize`] for a size that nothing settles;
    /// [`Error::NoParameters`] where there is nothing to train.
    ///
    /// # Source
    /// ONNX, `IR.md`, operator sets 13 to 28.
    pub fn read(bytes: &[u8], options: &ImportOptions) -> Result<Self, Error> {
        Self::from_message(&model::read(bytes)?, &Folder::none(), options)
    }

    fn from_message(
        model: &ModelProto,
        folder: &Folder,
        options: &ImportOptions,
    ) -> Result<Self, Error> {
        versions(model)?;
        let Some(graph) = &model.graph else {
            return Err(Error::Malformed { reason: "there is no graph".to_owned() });
        };
        let mut program = Program::of(model, graph, &options.outputs)?;
        let inputs = inputs(&program, graph, options)?;
        let mut forward = Self {
            origins: Vec::new(),
            input_slots: program.inputs.iter().map(|&(_, slot)| slot).collect(),
            inputs,
            outputs: Vec::new(),
            output_slots: program.outputs.iter().map(|&(_, slot)| slot).collect(),
            fed: trainable::depends(&program)?,
            constants: Vec::new(),
            parameters: Stored::default(),
            buffers: Stored::default(),
            remarks: Vec::new(),
            steps: Vec::new(),
        };
        forward.store(&mut program, folder, options)?;
        let names: Vec<String> = program.outputs.iter().map(|(name, _)| name.clone()).collect();
        forward.steps = program.steps;
        forward.remarks.extend(remark::folded_norms(&graph.node, &forward.steps));
        if forward.parameters.layout.is_empty() && !options.untrained {
            return Err(Error::NoParameters);
        }
        forward.probe(names)?;
        Ok(forward)
    }

    /// Reads the initializers and decides what becomes of each.
    fn store(
        &mut self,
        program: &mut Program,
        folder: &Folder,
        options: &ImportOptions,
    ) -> Result<(), Error> {
        let read = |&(tensor, slot): &(&TensorProto, Slot)| {
            let constant = Arc::new(read_tensor(tensor, folder)?);
            let converted = Kind::of(tensor.data_type) != Some(Kind::F32);
            Ok(Initializer { name: tensor.name.clone(), slot, constant, converted })
        };
        let initializers =
            program.initializers.iter().map(read).collect::<Result<Vec<_>, Error>>()?;
        let initializers = trainable::part(program, initializers, options, &mut self.remarks)?;
        self.origins = trainable::origins(program);
        let uses = trainable::uses(program, &self.origins)?;
        for Initializer { name, slot, constant, converted } in initializers {
            let kept = options.constants.iter().any(|pattern| trainable::fits(pattern, &name));
            let fate = uses.get(&slot).copied().unwrap_or_default().fate(&constant, kept);
            let parameter = |decay| Parameter::new(&name, &constant.shape, decay);
            match fate {
                Fate::Trained { decay } => {
                    self.parameters.push(parameter(decay), slot, constant.clone())?;
                }
                Fate::Average => self.buffers.push(parameter(false), slot, constant.clone())?,
                Fate::Constant => self.constants.push((slot, constant)),
            }
            if fate != Fate::Constant && converted {
                self.remarks.push(Remark::Converted { tensor: name });
            }
        }
        Ok(())
    }

    /// Applies the model to a graph of its own, at two batches where it is
    /// open, which shows what the outputs are.
    fn probe(&mut self, names: Vec<String>) -> Result<(), Error> {
        let open = self.inputs.iter().any(|input| input.shape.contains(&None));
        let first = self.trial(2)?;
        let second = if open { self.trial(3)? } else { first.clone() };
        for ((name, a), b) in names.into_iter().zip(first).zip(second) {
            let same = |(&a, &b): (&usize, &usize)| Some(a).filter(|_| a == b);
            let shape = match a.shape.len() == b.shape.len() {
                true => a.shape.iter().zip(&b.shape).map(same).collect(),
                false => Vec::new(),
            };
            self.outputs.push(Signature { name, element: a.element, shape });
        }
        Ok(())
    }

    fn trial(&self, batch: usize) -> Result<Vec<TensorType>, Error> {
        let mut g = Graph::new();
        let input = |signature: &Signature| {
            g.input(&signature.name, signature.element, &signature.at(batch))
        };
        let inputs: Vec<Value> = self.inputs.iter().map(input).collect();
        let mut stored = |layout: &Layout| -> Vec<Value> {
            let input = |p: &Parameter| g.input(&p.name, ElementType::F32, &p.shape);
            layout.parameters().iter().map(input).collect()
        };
        let (parameters, buffers) = (stored(self.layout()), stored(self.buffers()));
        let binding = Binding {
            inputs: &inputs,
            parameters: &parameters,
            buffers: &buffers,
            mode: Mode::Infer,
        };
        let applied = self.apply(&mut g, binding)?;
        Ok(applied.outputs.iter().map(|&v| g.ty(v).clone()).collect())
    }

    /// The inputs that are fed, in the file's order.
    pub fn inputs(&self) -> &[Signature] {
        &self.inputs
    }

    /// The outputs, in the order of [`ImportOptions::outputs`] or the file's.
    pub fn outputs(&self) -> &[Signature] {
        &self.outputs
    }

    /// The place of an output among [`Forward::outputs`].
    ///
    /// # Errors
    /// [`Error::UnknownName`]; [`Error::Independent`] where it is the same
    /// whatever is fed.
    pub fn output(&self, name: &str) -> Result<usize, Error> {
        let unknown = || Error::UnknownName { kind: "output", name: name.to_owned() };
        let place = self.outputs.iter().position(|o| o.name == name).ok_or_else(unknown)?;
        match self.fed.get(place) {
            Some(true) => Ok(place),
            _ => Err(Error::Independent { output: name.to_owned() }),
        }
    }

    /// The trainable parameters.
    ///
    /// Initializers that a cotangent reaches, of more than one element or an
    /// operator's own, are trained. Weights of rank 2 and more of products and
    /// convolutions decay. Masks, single numbers, shapes and indices are not
    /// trained, nor what stands in [`ImportOptions::constants`].
    pub fn layout(&self) -> &Layout {
        &self.parameters.layout
    }

    /// The file's values of the parameters, in one flat buffer.
    pub fn parameters(&self) -> Vec<f32> {
        self.parameters.flat()
    }

    /// The running averages of BatchNormalization.
    pub fn buffers(&self) -> &Layout {
        &self.buffers.layout
    }

    /// The file's values of the running averages, in one flat buffer.
    pub fn buffer_values(&self) -> Vec<f32> {
        self.buffers.flat()
    }

    /// What is worth knowing before this model is trained.
    pub fn remarks(&self) -> &[Remark] {
        &self.remarks
    }
}

fn versions(model: &ModelProto) -> Result<(), Error> {
    if model.ir_version > MOST_IR {
        let what = format!("IR version {}, newer than {MOST_IR},", model.ir_version);
        return Err(Error::Unsupported { what });
    }
    let standard = model.opset_import.iter().filter(|set| matches!(&*set.domain, "" | "ai.onnx"));
    let received = standard.map(|set| set.version).max().unwrap_or(0);
    let (least, most) = (rule::LEAST_OPSET, rule::MOST_OPSET);
    match (least..=most).contains(&received) {
        true => Ok(()),
        false => Err(Error::Opset { received, least, most }),
    }
}

fn inputs(
    program: &Program,
    graph: &GraphProto,
    options: &ImportOptions,
) -> Result<Vec<Signature>, Error> {
    let infos: Vec<_> =
        program.inputs.iter().filter_map(|&(place, _)| graph.input.get(place)).collect();
    if let Some((name, _)) =
        options.shapes.iter().find(|(name, _)| !infos.iter().any(|info| info.name == *name))
    {
        return Err(Error::UnknownName { kind: "input", name: name.clone() });
    }
    infos.into_iter().map(|info| Signature::of(info, options)).collect()
}

fn read_tensor(tensor: &TensorProto, folder: &Folder) -> Result<Constant, Error> {
    let size = Kind::of(tensor.data_type).map_or(0, Kind::bytes);
    let dims = tensor.dims.iter().map(|&d| usize::try_from(d).unwrap_or(0));
    let size = dims.fold(size, usize::saturating_mul);
    let external = folder.read(tensor, size)?;
    let constant = Constant::read(tensor, external.as_deref())?;
    signature::limits(&constant.shape)?;
    Ok(constant)
}
