//! onnx-grad turns a forward graph into a training graph (forward, backward,
//! optimizer) of standard ONNX operators, which stock ONNX Runtime runs.
//!
//! A [`Graph`] is built operator by operator; [`gradient`] adds the backward
//! pass to it, an [`Optimizer`] the update; [`model::write`] gives the bytes of the
//! ONNX file. Nothing here runs the graph.
//!
//! ```
//! use onnx_grad::{ElementType, Graph, Layout, Parameter, gradient, model};
//!
//! # fn main() -> Result<(), onnx_grad::Error> {
//! let mut layout = Layout::new();
//! layout.push(Parameter::new("weight", &[3, 2], true))?;
//! layout.push(Parameter::new("bias", &[2], false))?;
//!
//! let mut g = Graph::new();
//! let flat = g.input("params", ElementType::F32, &[layout.len()]);
//! let x = g.input("x", ElementType::F32, &[8, 3]);
//! let weights = layout.bind_flat(&mut g, flat)?;
//!
//! let product = g.matmul(x, weights[0])?;
//! let y = g.add(product, weights[1])?;
//! let square = g.mul(y, y)?;
//! let loss = g.reduce_mean(square, &[0, 1], false)?;
//!
//! let grads = gradient(&mut g, loss, &weights)?;
//! let grads = layout.flatten(&mut g, &grads)?;
//! g.output("loss", loss);
//! g.output("grads", grads);
//!
//! let bytes = model::write(&g, &model::WriteOptions::default())?;
//! let read = model::read(&bytes)?;
//! assert_eq!(read.output_shape("grads"), Some(vec![Some(8)]));
//! # Ok(())
//! # }
//! ```
//!
//! # Running a training graph
//!
//! Parameters, gradient and moments are one flat `f32` buffer each, placed by a
//! [`Layout`]. A step reads one set of buffers and writes another, so a loop
//! needs two bindings, ping and pong: what this step wrote, the next one reads.
//! An output must never be bound to the buffer of an input of the same step:
//! ONNX Runtime may write it before every node has read the input. Sessions for
//! training are created with memory patterns off.
//!
//! # Graphs that other programs exported
//!
//! A [`Forward`] is a graph read from an ONNX file, with its weights: which of
//! them are trained, which are running averages, and the way to add it to a
//! [`Graph`]. Exports of PyTorch are best made from `model.eval()` with
//! `training=TrainingMode.PRESERVE, do_constant_folding=False`, which leaves
//! BatchNormalization as it is.
//!
//! # What the graph promises
//!
//! Every value has a static shape. The same calls give the same bytes. An
//! operator applied twice to the same operands is one node, and a node that no
//! output needs is not written. All operators have `f32` kernels on CPU and
//! CUDA.

mod error;
mod graph;
mod import;
mod op;
mod optimizer;
mod parameters;
mod shape;
mod vjp;

pub mod model;

pub use error::Error;
pub use graph::{Graph, Kernels, Value};
pub use import::{Applied, Binding, Forward, ImportOptions, Mode, Remark, Signature};
pub use op::{
    BatchNormTraining, Coordinates, Interpolation, InterpolationMode, PadMode, Rounding, Sliding,
};
pub use optimizer::{
    AdamW, Lars, LossScale, Optimizer, OptimizerState, Sgd, Unscaled, accumulate, all_finite,
    clip_by_global_norm,
};
pub use parameters::{Layout, Parameter, block_of};
pub use shape::ElementType;
pub use vjp::gradient;

/// The README's examples, run as tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
