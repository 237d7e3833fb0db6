//! What an operator is here, and how ONNX Runtime gets to call it.

use std::marker::PhantomData;

use ort::operator::{
    ComputeContext, KernelContext, Operator, OperatorDomain, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use crate::pool::Pool;

/// An operand: its shape, and its elements in row-major order.
#[derive(Clone, Debug)]
pub struct Tensor<'a> {
    pub shape: Vec<usize>,
    pub data: &'a [f32],
}

impl Tensor<'_> {
    /// The sizes of the first axes and the last one.
    pub fn rows(&self) -> (usize, usize) {
        match self.shape.split_last() {
            Some((&columns, rest)) => (rest.iter().product(), columns),
            None => (1, 1),
        }
    }
}

/// An operator on tensors of `f32`.
pub trait Kernel: Sized + Send + 'static {
    /// The operator's name in the domain.
    const NAME: &'static str;
    /// The number of operands.
    const INPUTS: usize;
    /// The number of operands that may follow them.
    const OPTIONAL: usize = 0;
    /// The number of results.
    const OUTPUTS: usize;
    /// The number of results that may follow them.
    const OPTIONAL_OUTPUTS: usize = 0;

    /// The operator with the attributes of a node.
    fn new(attributes: &KernelContext) -> ort::Result<Self>;

    /// The shapes of the results; an error where the operands do not fit.
    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>>;

    /// Fills the results.
    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()>;
}

/// An error that says what an operator requires.
pub fn refuse<K: Kernel, T>(required: &str, inputs: &[Tensor]) -> ort::Result<T> {
    let shapes: Vec<_> = inputs.iter().map(|x| &x.shape).collect();
    Err(ort::Error::new(format!("{} requires {required}, received shapes {shapes:?}", K::NAME)))
}

/// An attribute that a node must have.
pub fn attribute<'a, K: Kernel, T: ort::operator::FromKernelContext<'a>>(
    attributes: &KernelContext<'a>,
    name: &str,
) -> ort::Result<T> {
    let missing = || ort::Error::new(format!("{} lacks the attribute {name}", K::NAME));
    attributes.get(name).ok_or_else(missing)
}

struct Registered<K>(PhantomData<fn() -> K>);

/// Adds an operator to a domain.
pub fn register<K: Kernel>(domain: OperatorDomain) -> ort::Result<OperatorDomain> {
    domain.add(Registered::<K>(PhantomData))
}

impl<K: Kernel> Operator for Registered<K> {
    type Kernel<'attr> = Instance<K>;

    fn name(&self) -> &str {
        K::NAME
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        let required = (0..K::INPUTS).map(|_| OperatorInput::required(TensorElementType::Float32));
        required
            .chain((0..K::OPTIONAL).map(|_| OperatorInput::optional(TensorElementType::Float32)))
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        let required =
            (0..K::OUTPUTS).map(|_| OperatorOutput::required(TensorElementType::Float32));
        required.chain(
            (0..K::OPTIONAL_OUTPUTS).map(|_| OperatorOutput::optional(TensorElementType::Float32)),
        )
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<Instance<K>> {
        K::new(node).map(Instance)
    }
}

struct Instance<K>(K);

impl<K: Kernel> ort::operator::Kernel for Instance<K> {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let mut values = Vec::with_capacity(K::INPUTS + K::OPTIONAL);
        for i in 0..context.num_inputs()? {
            values.extend(context.input(i)?);
        }
        let inputs = values
            .iter()
            .map(|value| {
                let (shape, data) = value.try_extract_tensor::<f32>()?;
                Ok(Tensor { shape: shape.iter().map(|&n| n as usize).collect(), data })
            })
            .collect::<ort::Result<Vec<_>>>()?;
        let shapes = self.0.shapes(&inputs)?;
        let mut results = Vec::with_capacity(K::OUTPUTS);
        for (i, shape) in shapes.iter().enumerate() {
            let missing = || ort::Error::new(format!("{} was given no result {i}", K::NAME));
            results.push(context.output(i, shape.as_slice())?.ok_or_else(missing)?);
        }
        let mut outputs = results
            .iter_mut()
            .map(|value| Ok(value.try_extract_tensor_mut::<f32>()?.1))
            .collect::<ort::Result<Vec<_>>>()?;
        self.0.run(&Pool(context), &inputs, &mut outputs)
    }
}
