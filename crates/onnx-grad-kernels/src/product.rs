//! Matrix products, `onnx_grad`'s in place of ONNX Runtime's.

use ort::operator::KernelContext;

use crate::kernel::{Kernel, Tensor, attribute, refuse};
use crate::matrix::{Matrix, multiply_on};
use crate::pool::Pool;

/// The product of two matrices, each transposed first where `transA` and
/// `transB` say so.
pub struct Gemm {
    transpose_a: bool,
    transpose_b: bool,
}

impl Gemm {
    fn matrices<'a>(&self, inputs: &[Tensor<'a>]) -> Option<(Matrix<'a>, Matrix<'a>)> {
        let matrix = |x: &Tensor<'a>| match x.shape[..] {
            [rows, columns] => Matrix::new(x.data, rows, columns, columns),
            _ => None,
        };
        let a = matrix(inputs.first()?)?.transposed_if(self.transpose_a);
        let b = matrix(inputs.get(1)?)?.transposed_if(self.transpose_b);
        (a.columns() == b.rows()).then_some((a, b))
    }
}

impl Kernel for Gemm {
    const NAME: &'static str = "Gemm";
    const INPUTS: usize = 2;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        let flag = |name| Ok::<_, ort::Error>(attribute::<Self, i64>(node, name)? != 0);
        Ok(Self { transpose_a: flag("transA")?, transpose_b: flag("transB")? })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        match self.matrices(inputs) {
            Some((a, b)) => Ok(vec![vec![a.rows(), b.columns()]]),
            None => refuse::<Self, _>("two matrices that fit", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let done =
            self.matrices(inputs).and_then(|(a, b)| multiply_on(pool, a, b, None, outputs[0]));
        done.unwrap_or_else(|| refuse::<Self, _>("two matrices that fit", inputs))
    }
}

/// x·w + bias, of x `[.., k]`, w `[k, n]` and, where given, a bias `[n]`; where
/// `transB` says so, w is given as `[n, k]`.
pub struct Linear {
    transpose_b: bool,
}

impl Linear {
    fn weight<'a>(&self, w: &Tensor<'a>) -> Option<Matrix<'a>> {
        let &[rows, columns] = &w.shape[..] else { return None };
        Some(Matrix::new(w.data, rows, columns, columns)?.transposed_if(self.transpose_b))
    }
}

impl Kernel for Linear {
    const NAME: &'static str = "Linear";
    const INPUTS: usize = 2;
    const OPTIONAL: usize = 1;
    const OUTPUTS: usize = 1;

    fn new(node: &KernelContext) -> ort::Result<Self> {
        Ok(Self { transpose_b: attribute::<Self, i64>(node, "transB")? != 0 })
    }

    fn shapes(&self, inputs: &[Tensor]) -> ort::Result<Vec<Vec<usize>>> {
        let weight = inputs.get(1).and_then(|w| self.weight(w));
        match (inputs, weight) {
            ([x, _, bias @ ..], Some(w))
                if x.shape.last() == Some(&w.rows())
                    && bias.iter().all(|bias| bias.shape == [w.columns()]) =>
            {
                let mut shape = x.shape.clone();
                shape.truncate(x.shape.len() - 1);
                shape.push(w.columns());
                Ok(vec![shape])
            }
            _ => refuse::<Self, _>("[.., k], [k, n] and [n]", inputs),
        }
    }

    fn run(&self, pool: &Pool, inputs: &[Tensor], outputs: &mut [&mut [f32]]) -> ort::Result<()> {
        let mut multiply = || {
            let (rows, k) = inputs[0].rows();
            let x = Matrix::new(inputs[0].data, rows, k, k)?;
            let w = self.weight(&inputs[1])?;
            multiply_on(pool, x, w, inputs.get(2).map(|bias| bias.data), outputs[0])
        };
        multiply().unwrap_or_else(|| refuse::<Self, _>("[.., k], [k, n] and [n]", inputs))
    }
}
