//! The operators. Each holds its own rules: what shape it gives, how it is
//! written, and its vector-Jacobian product.
//!
//! A new operator is a type that implements [`Operator`] in a file of its
//! family and a word in the list below.

use std::hash::{Hash, Hasher};

use crate::Error;
use crate::graph::{Graph, Tensor, Value};
use crate::shape::{TensorType, broadcast_axes};

mod activation;
mod adamw;
mod attention;
mod average_pool;
mod batch_norm;
mod binary;
mod compare;
mod conv;
mod dropout;
mod einsum;
mod gather;
mod gelu;
mod layout;
mod matmul;
mod max_pool;
mod norm;
mod pad;
mod partition;
mod pool;
mod reduce;
mod resize;
mod scatter;
mod select;
mod slice;
mod sliding;
mod softmax;
mod strided;
mod unary;

pub(crate) use adamw::AdamW as AdamWKernel;
pub use batch_norm::BatchNormTraining;
pub(crate) use layout::{Expand, Reshape};
pub use pad::PadMode;
pub use resize::{Coordinates, Interpolation, InterpolationMode, Rounding};
pub use sliding::Sliding;
use {
    activation::{Activation, PRelu},
    attention::{Attention, AttentionGrad},
    average_pool::{AveragePool, Spread},
    batch_norm::{BatchNorm, BatchNormGrad, Moments},
    binary::Binary,
    compare::{Compare, Not},
    conv::{Conv, ConvImageGrad, ConvKernelGrad, ConvTranspose, Winograd},
    gather::{Gather, GatherElements, OneHot},
    gelu::{Gelu, GeluGrad},
    layout::Transpose,
    matmul::{Gemm, Linear, MatMul},
    max_pool::{MaxPool, MaxPoolGrad},
    norm::{LayerNorm, LayerNormGrad},
    pad::Pad,
    partition::{Concat, Split},
    reduce::Reduce,
    resize::Resize,
    scatter::{ScatterElements, TakeElements},
    select::{Cast, Clip, Trilu, Where},
    slice::Slice,
    softmax::{Softmax, SoftmaxGrad},
    unary::{Identity, ReluGrad, Unary},
};

/// The domain of the operators that `onnx-grad-kernels` holds.
pub(crate) const KERNELS: &str = "onnx_grad";

macro_rules! operators {
    ($($operator:ident),+ $(,)?) => {
        /// Any operator, with its attributes.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Op {
            $($operator($operator)),+
        }

        impl Op {
            pub fn rules(&self) -> &dyn Operator {
                match self {
                    $(Self::$operator(operator) => operator),+
                }
            }
        }

        $(impl From<$operator> for Op {
            fn from(operator: $operator) -> Self {
                Self::$operator(operator)
            }
        })+
    };
}

operators! {
    Activation, AdamWKernel, Attention, AttentionGrad, AveragePool, BatchNorm, BatchNormGrad, Binary, Cast, Clip,
    Compare, Concat, Conv, ConvImageGrad, ConvKernelGrad, ConvTranspose, Expand, Gather, GatherElements, Gelu,
    GeluGrad, Gemm, Identity, LayerNorm, LayerNormGrad, Linear, MatMul, MaxPool, MaxPoolGrad, Moments, Not, OneHot,
    Pad, PRelu, Reduce, ReluGrad, Reshape, Resize, ScatterElements, Slice, Softmax, SoftmaxGrad, Split, Spread,
    TakeElements, Transpose, Trilu, Unary, Where, Winograd,
}

/// The rules of one operator.
pub(crate) trait Operator {
    /// The operator's name in ONNX.
    fn name(&self) -> &'static str;

    /// The operator set that the name belongs to, empty for the standard's.
    fn domain(&self) -> &'static str {
        ""
    }

    /// The types of the outputs.
    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error>;

    /// The cotangents of the inputs, `None` where an input has none.
    fn vjp(&self, _g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        Err(node.no_gradient(self.name(), ""))
    }

    /// The attributes.
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        Vec::new()
    }

    /// Whether outputs after the first may be left out at the end.
    fn optional_outputs(&self) -> bool {
        false
    }

    /// The constants that follow the inputs: shapes, axes, limits.
    fn constants(&self) -> Vec<Tensor> {
        Vec::new()
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
    Text(&'static str),
}

impl Attribute {
    pub fn ints(list: &[usize]) -> Self {
        Self::Ints(list.iter().map(|&n| n as i64).collect())
    }
}

/// An `f32` attribute, equal where its bits are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float(pub f32);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Float {}

impl Hash for Float {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bits().hash(state);
    }
}

/// A node on the way back: its operands, its results and their cotangents.
pub(crate) struct Pullback<'a> {
    pub name: &'a str,
    pub inputs: &'a [Value],
    pub outputs: &'a [Value],
    /// The cotangents that arrived; at least one did.
    pub cotangents: &'a [Option<Value>],
    /// The inputs whose cotangents somebody waits for.
    pub wanted: &'a [bool],
}

impl Pullback<'_> {
    /// The cotangent of an output: zero where none arrived.
    pub fn cotangent(&self, g: &mut Graph, output: usize) -> Result<Value, Error> {
        match self.cotangents[output] {
            Some(cotangent) => Ok(cotangent),
            None => {
                let shape = g.shape(self.outputs[output]).to_vec();
                g.zeros(&shape)
            }
        }
    }

    pub fn no_gradient(&self, operator: &'static str, detail: &'static str) -> Error {
        Error::NoGradient { node: self.name.to_owned(), operator, detail }
    }
}

impl Graph {
    /// Zeros of a shape, stored as one number.
    pub(crate) fn zeros(&mut self, shape: &[usize]) -> Result<Value, Error> {
        let zero = self.scalar(0.0);
        self.expand(zero, shape)
    }

    /// A cotangent summed over the axes along which the operand, of shape
    /// `shape`, was broadcast.
    pub(crate) fn sum_to(&mut self, cotangent: Value, shape: &[usize]) -> Result<Value, Error> {
        let (lacking, stretched) = broadcast_axes(shape, self.shape(cotangent));
        if lacking == 0 && stretched.is_empty() {
            return Ok(cotangent);
        }
        let axes: Vec<i64> = (0..lacking).chain(stretched).map(|a| a as i64).collect();
        let sum = self.reduce_sum(cotangent, &axes, false)?;
        self.reshape(sum, shape)
    }
}
