//! Operators for the training graphs of `onnx-grad`, in Rust, that ONNX Runtime
//! runs on the CPU in place of the standard ones.
//!
//! A graph made by `Graph::with_kernels(Kernels::Cpu)` holds nodes of the domain
//! `onnx_grad`; the session that runs it takes [`domain`]. Work is cut by shapes and spread
//! over the session's own intra-op threads, so a result has the same bits on
//! any number of them.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let environment: &ort::environment::Environment = todo!();
//! let builder = ort::session::Session::builder(environment)?;
//! let mut builder = builder.with_operators(onnx_grad_kernels::domain()?)?;
//! let session = builder.commit_from_file("training.onnx")?;
//! # Ok(())
//! # }
//! ```

mod adamw;
mod attention;
mod batch_norm;
mod conv;
mod convolve;
#[cfg(feature = "cudnn")]
mod cudnn;
mod gelu;
mod kernel;
mod layer_norm;
mod math;
mod matrix;
mod max_pool;
mod pool;
mod product;
mod relu;
mod softmax;
mod transposition;
mod vectorised;
mod window;
mod winograd;

use ort::operator::OperatorDomain;

use kernel::register;

/// The operators, as a domain for a session builder.
///
/// Sessions that take it are to be made one at a time: ONNX Runtime enters the
/// domain in a table that it does not guard.
///
/// # Errors
/// Those of ONNX Runtime, where it does not take an operator.
pub fn domain() -> ort::Result<OperatorDomain> {
    let domain = OperatorDomain::new("onnx_grad")?;
    let domain = register::<adamw::AdamW>(domain)?;
    let domain = register::<attention::Attention>(domain)?;
    let domain = register::<attention::AttentionGrad>(domain)?;
    let domain = register::<batch_norm::BatchNormGrad>(domain)?;
    let domain = register::<batch_norm::Moments>(domain)?;
    let domain = register::<convolve::Conv>(domain)?;
    let domain = register::<conv::ConvImageGrad>(domain)?;
    let domain = register::<conv::ConvKernelGrad>(domain)?;
    let domain = register::<gelu::Gelu>(domain)?;
    let domain = register::<gelu::GeluGrad>(domain)?;
    let domain = register::<layer_norm::LayerNormGrad>(domain)?;
    let domain = register::<max_pool::MaxPoolGrad>(domain)?;
    let domain = register::<product::Gemm>(domain)?;
    let domain = register::<product::Linear>(domain)?;
    let domain = register::<relu::ReluGrad>(domain)?;
    register::<softmax::SoftmaxGrad>(domain)
}

/// The gradients of convolutions on CUDA, by cuDNN, as a domain for the builder of
/// a session that runs a graph made with `Kernels::Cudnn`.
///
/// # Errors
/// Those of ONNX Runtime, where it does not take an operator.
#[cfg(feature = "cudnn")]
pub fn cuda_domain() -> ort::Result<OperatorDomain> {
    let domain = OperatorDomain::new("onnx_grad")?;
    let domain = cudnn::register::<conv::ConvImageGrad>(domain)?;
    cudnn::register::<conv::ConvKernelGrad>(domain)
}
