//! Encoders that another program exported to ONNX.

use std::{collections::HashMap, path::Path, path::PathBuf};

use onnx_grad::{self as grad, Binding, Forward, ImportOptions, Value};

use super::{
    EncoderError,
    builder::{Builder, Init, Mode},
};
use crate::view;

/// The network of an ONNX file.
#[derive(Debug)]
pub(super) struct Imported {
    path: PathBuf,
    forward: Forward,
    /// Channels of its input.
    channels: usize,
    /// The batch that it was exported for, where it takes no other.
    pub batch: Option<usize>,
}

impl Imported {
    /// The network of a file, from its one input to one of its outputs.
    ///
    /// # Errors
    /// [`EncoderError::File`]; [`EncoderError::Shape`] where it does not take
    /// views of these sizes.
    pub fn open(
        path: &Path,
        output: Option<&str>,
        view: &view::Settings,
    ) -> Result<Self, EncoderError> {
        let mut options = ImportOptions::default();
        let describe = read(path, &options)?;
        let refuse = |requirement, received: String| {
            Err(EncoderError::Shape {
                requirement,
                received: format!("{received} in the ONNX file"),
            })
        };
        let [input] = describe.inputs() else {
            let received = format!("{} inputs", describe.inputs().len());
            return refuse("a network of one input", received);
        };
        let mut wanted = view.shape(1);
        let of_view = wanted[1];
        let Some(channels) = input.shape.get(1).copied().flatten() else {
            let received = format!("an input of shape {:?}", input.shape);
            return refuse("an input [N, C, H, W] or [N, C, D, H, W] whose C is known", received);
        };
        if of_view != 1 && of_view != channels {
            return Err(EncoderError::Shape {
                requirement: "view.depth slices as channels, or view.depth = 1 for the view in \
                              each channel",
                received: format!(
                    "view.depth = {of_view} and {channels} channels in the ONNX file"
                ),
            });
        }
        wanted[1] = channels;
        let fits = |(own, wanted): (&Option<usize>, &usize)| own.is_none_or(|own| own == *wanted);
        let sizes = || input.shape.iter().zip(&wanted).skip(1);
        if input.shape.len() != wanted.len() || !sizes().all(fits) {
            let received = format!("an input of shape {:?}", input.shape);
            return Err(EncoderError::Shape {
                requirement: "view.size and view.depth to be those of the network",
                received: format!("{received} for views of {:?}", &wanted[1..]),
            });
        }
        let batch = input.shape[0];
        let output = match output {
            Some(name) => name.to_owned(),
            None => describe.outputs().first().map(|o| o.name.clone()).unwrap_or_default(),
        };
        describe.output(&output).map_err(|source| file(path, source))?;
        options.outputs = vec![output];
        Ok(Self { path: path.to_owned(), forward: read(path, &options)?, channels, batch })
    }

    /// What whoever trains it should know.
    pub fn remarks(&self) -> impl Iterator<Item = String> {
        self.forward.remarks().iter().map(|remark| format!("the ONNX encoder: {remark}"))
    }

    /// From views `[N, C, (D,) H, W]` with as many channels as the file has, or one that
    /// it sees in each of them, to embeddings `[N, dim]`. What the file
    /// gives at many places, `[N, C, …]` or as tokens `[N, T, C]`, is averaged.
    pub fn forward(&self, b: &mut Builder, views: Value) -> Result<Value, EncoderError> {
        let parameters = declare(b, self.forward.layout(), self.forward.parameters(), false)?;
        let buffers = declare(b, self.forward.buffers(), self.forward.buffer_values(), true)?;
        let mut shape = b.g.shape(views).to_vec();
        if let Some(batch) = self.batch.filter(|&batch| batch != shape[0]) {
            return Err(EncoderError::Shape {
                requirement: "the views of a pass (twice train.batch; twice gradient_cache where \
                              there is one; with \"moco\" train.batch) to be the batch that the \
                              ONNX file was exported for, or a file with a dynamic first axis",
                received: format!("{} views and a batch of {batch}", shape[0]),
            });
        }
        shape[1] = self.channels;
        let views = b.g.expand(views, &shape)?;
        let mode = match b.mode() {
            Mode::Train { step } => {
                let seed = b.g.cast(step, grad::ElementType::I64)?;
                grad::Mode::Train { seed: Some(seed) }
            }
            Mode::Infer => grad::Mode::Infer,
        };
        let binding =
            Binding { inputs: &[views], parameters: &parameters, buffers: &buffers, mode };
        let applied = self.forward.apply(b.g, binding).map_err(|e| file(&self.path, e))?;
        if let Mode::Train { .. } = b.mode() {
            b.next_buffers.extend(applied.buffers);
        }
        let y = applied.outputs.first().copied().unwrap_or(views);
        let shape = b.g.shape(y).to_vec();
        match shape[..] {
            [_, _] => Ok(y),
            [_, _, _] => Ok(b.g.reduce_mean(y, &[1], false)?),
            [_, _, _, _] | [_, _, _, _, _] => {
                let axes: Vec<i64> = (2..shape.len() as i64).collect();
                Ok(b.g.reduce_mean(y, &axes, false)?)
            }
            _ => Err(EncoderError::Shape {
                requirement: "an output [N, C], [N, T, C] or [N, C, …]",
                received: format!("{shape:?}"),
            }),
        }
    }
}

/// Declares the tensors of a layout with the file's values.
fn declare(
    b: &mut Builder,
    layout: &grad::Layout,
    flat: Vec<f32>,
    buffers: bool,
) -> Result<Vec<Value>, EncoderError> {
    let tensors = layout.parameters().iter().enumerate();
    tensors
        .map(|(index, parameter)| {
            let start = layout.offset(index).unwrap_or_default();
            let count: usize = parameter.shape.iter().product();
            let init = Init::Given(flat[start..start + count].to_vec());
            let name = name_in_encoder(&parameter.name);
            match buffers {
                true => b.buffer(name, &parameter.shape, init),
                false => b.parameter(grad::Parameter { name, ..parameter.clone() }, init),
            }
        })
        .collect()
}

/// A file's name for a tensor, but for those that the written encoder gives to
/// its input and its outputs: PyTorch calls folded reshapes `view`.
fn name_in_encoder(name: &str) -> String {
    let taken = [super::INPUT, super::EMBEDDING, super::PROJECTION].contains(&name);
    if taken { format!("{name}.tensor") } else { name.to_owned() }
}

/// Shapes and values by name.
pub(super) type Tensors = HashMap<String, (Vec<usize>, Vec<f32>)>;

/// The parameters and running averages of a file.
pub(super) fn numbers(path: &Path) -> Result<Tensors, EncoderError> {
    let forward = read(path, &ImportOptions::default())?;
    let mut numbers = HashMap::new();
    for (layout, flat) in
        [(forward.layout(), forward.parameters()), (forward.buffers(), forward.buffer_values())]
    {
        for (index, parameter) in layout.parameters().iter().enumerate() {
            let start = layout.offset(index).unwrap_or_default();
            let count: usize = parameter.shape.iter().product();
            let values = flat[start..start + count].to_vec();
            let name = name_in_encoder(&parameter.name);
            numbers.insert(name, (parameter.shape.clone(), values));
        }
    }
    Ok(numbers)
}

fn read(path: &Path, options: &ImportOptions) -> Result<Forward, EncoderError> {
    Forward::open(path, options).map_err(|source| file(path, source))
}

fn file(path: &Path, source: grad::Error) -> EncoderError {
    EncoderError::File { path: path.to_owned(), source }
}
