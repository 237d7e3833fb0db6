//! Matrix products.

use super::{Attribute, KERNELS, Op, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, broadcast, count};

/// A·B over the last two axes; the axes before them broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct MatMul;

/// A·B + bias with one matrix B, in one kernel; the bias may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Linear {
    /// Whether B is given transposed, as PyTorch keeps weights.
    transpose_b: bool,
}

impl Operator for Linear {
    fn name(&self) -> &'static str {
        "Linear"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let (a, mut b, bias) = match inputs {
            [a, b, bias @ ..] if b.shape.len() == 2 => (a, (*b).clone(), bias),
            _ => return Err(Error::shape(self.name(), "one matrix B", inputs)),
        };
        if self.transpose_b {
            b.shape.swap(0, 1);
        }
        if bias.iter().any(|x| x.element != ElementType::F32 || x.shape != b.shape[1..]) {
            return Err(Error::shape(self.name(), "a bias of B's columns", inputs));
        }
        MatMul.infer(&[a, &b])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("transB", Attribute::Int(self.transpose_b.into()))]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let mut cotangents = pull_rows_back(g, node, self.transpose_b)?;
        if let Some(&bias) = node.inputs.get(2) {
            let dy = node.cotangent(g, 0)?;
            let shape = g.shape(bias).to_vec();
            let wanted = node.wanted[2];
            cotangents.push(if wanted { Some(g.sum_to(dy, &shape)?) } else { None });
        }
        Ok(cotangents)
    }
}

impl Operator for MatMul {
    fn name(&self) -> &'static str {
        "MatMul"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let required = "[.., m, k] and [.., k, n] with leading axes that broadcast";
        let wrong = || Error::shape("MatMul", required, inputs);
        all_f32("MatMul", inputs)?;
        let [a, b] = inputs else { return Err(wrong()) };
        let ([a_batch @ .., m, k], [b_batch @ .., rows, n]) = (&a.shape[..], &b.shape[..]) else {
            return Err(wrong());
        };
        if k != rows {
            return Err(wrong());
        }
        let mut shape = broadcast(a_batch, b_batch).ok_or_else(wrong)?;
        shape.extend([*m, *n]);
        Ok(vec![TensorType::new(ElementType::F32, shape)])
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let (a_shape, b_shape) = (g.shape(a).to_vec(), g.shape(b).to_vec());
        if b_shape.len() == 2 {
            return pull_rows_back(g, node, false);
        }
        let dy = node.cotangent(g, 0)?;
        let mut cotangents = vec![None, None];
        if node.wanted[0] {
            let b = transposed(g, b)?;
            let da = g.matmul(dy, b)?;
            cotangents[0] = Some(g.sum_to(da, &a_shape)?);
        }
        if node.wanted[1] {
            let a = transposed(g, a)?;
            let db = g.matmul(a, dy)?;
            cotangents[1] = Some(g.sum_to(db, &b_shape)?);
        }
        Ok(cotangents)
    }
}

/// The cotangents of A and of one matrix B, which every row of A meets, so that
/// both products are single Gemms.
fn pull_rows_back(
    g: &mut Graph,
    node: &Pullback,
    transpose_b: bool,
) -> Result<Vec<Option<Value>>, Error> {
    let dy = node.cotangent(g, 0)?;
    let dy = rows(g, dy)?;
    let (a, b) = (node.inputs[0], node.inputs[1]);
    let mut cotangents = vec![None, None];
    if node.wanted[0] {
        let da = gemm(g, dy, false, b, !transpose_b)?;
        let shape = g.shape(a).to_vec();
        cotangents[0] = Some(g.reshape(da, &shape)?);
    }
    if node.wanted[1] {
        let a = rows(g, a)?;
        let (left, right) = if transpose_b { (dy, a) } else { (a, dy) };
        cotangents[1] = Some(gemm(g, left, true, right, false)?);
    }
    Ok(cotangents)
}

/// The product of two matrices, each transposed where asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Gemm {
    pub kernel: bool,
    pub transpose_a: bool,
    pub transpose_b: bool,
}

impl Operator for Gemm {
    fn name(&self) -> &'static str {
        "Gemm"
    }

    fn domain(&self) -> &'static str {
        if self.kernel { KERNELS } else { "" }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let required = "two matrices [m, k] and [k, n], after transposition";
        let wrong = || Error::shape("Gemm", required, inputs);
        all_f32("Gemm", inputs)?;
        let [a, b] = inputs else { return Err(wrong()) };
        let (&[mut m, mut k], &[mut rows, mut n]) = (&a.shape[..], &b.shape[..]) else {
            return Err(wrong());
        };
        if self.transpose_a {
            (m, k) = (k, m);
        }
        if self.transpose_b {
            (rows, n) = (n, rows);
        }
        if k != rows {
            return Err(wrong());
        }
        Ok(vec![TensorType::new(ElementType::F32, [m, n])])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("transA", Attribute::Int(self.transpose_a.into())),
            ("transB", Attribute::Int(self.transpose_b.into())),
        ]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (a, b) = (node.inputs[0], node.inputs[1]);
        let (ta, tb) = (self.transpose_a, self.transpose_b);
        let mut cotangents = vec![None, None];
        if node.wanted[0] {
            cotangents[0] =
                Some(if ta { gemm(g, b, tb, dy, true)? } else { gemm(g, dy, false, b, !tb)? });
        }
        if node.wanted[1] {
            cotangents[1] =
                Some(if tb { gemm(g, dy, true, a, ta)? } else { gemm(g, a, !ta, dy, false)? });
        }
        Ok(cotangents)
    }
}

/// The product of two matrices, with every transposition in the Gemm.
fn gemm(
    g: &mut Graph,
    a: Value,
    transpose_a: bool,
    b: Value,
    transpose_b: bool,
) -> Result<Value, Error> {
    let (a, transpose_a) = peel(g, a, transpose_a);
    let (b, transpose_b) = peel(g, b, transpose_b);
    if !transpose_a && !transpose_b {
        return g.matmul(a, b);
    }
    g.gemm(a, transpose_a, b, transpose_b)
}

/// A matrix and whether it is transposed, looked at behind a Transpose node.
fn peel(g: &Graph, x: Value, transpose: bool) -> (Value, bool) {
    match g.producer(x).map(|node| (&node.op, &node.inputs[..])) {
        Some((Op::Transpose(op), &[source])) if op.swaps_last_two() => (source, !transpose),
        _ => (x, transpose),
    }
}

/// A value with every axis but the last folded into rows.
fn rows(g: &mut Graph, x: Value) -> Result<Value, Error> {
    match g.shape(x).to_vec().split_last() {
        Some((&columns, rest)) => g.reshape(x, &[count(rest), columns]),
        None => Ok(x),
    }
}

/// A value with its last two axes exchanged.
///
/// A product is turned around, (AB)ᵀ = BᵀAᵀ: the transpositions then stand
/// before a product, where ONNX Runtime makes them part of it.
pub(super) fn transposed(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let producer = g.producer(x).map(|node| (&node.op, &node.inputs[..]));
    match producer {
        Some((&Op::Gemm(op), &[a, b])) => gemm(g, b, !op.transpose_b, a, !op.transpose_a),
        Some((&Op::Linear(op), &[a, b])) if g.shape(a).len() == 2 => {
            gemm(g, b, !op.transpose_b, a, true)
        }
        Some((Op::MatMul(_), &[a, b])) if g.shape(a).len() == 2 && g.shape(b).len() == 2 => {
            gemm(g, b, true, a, true)
        }
        Some((Op::MatMul(_), &[a, b])) => {
            let (a, b) = (g.swap_last_two(a)?, g.swap_last_two(b)?);
            g.matmul(b, a)
        }
        _ => g.swap_last_two(x),
    }
}

fn all_f32(operator: &'static str, inputs: &[&TensorType]) -> Result<(), Error> {
    if inputs.iter().all(|x| x.element == ElementType::F32) {
        return Ok(());
    }
    Err(Error::element_type(operator, "F32", inputs))
}

impl Graph {
    /// a·b over the last two axes, `[.., m, k]` by `[.., k, n]`; the axes before
    /// them broadcast.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not fit, [`Error::ElementType`]
    /// where an operand is not `f32`.
    pub fn matmul(&mut self, a: Value, b: Value) -> Result<Value, Error> {
        if self.kernels() {
            if self.shape(b).len() == 2 {
                let (b, transpose_b) = peel(self, b, false);
                return self.apply(Linear { transpose_b }, &[a, b]);
            }
            if let Some(y) = self.fused_attention(a, b)? {
                return Ok(y);
            }
        }
        self.apply(MatMul, &[a, b])
    }

    /// A product that is a kernel's, with the bias in the same kernel.
    pub(super) fn biased(&mut self, product: Value, bias: Value) -> Result<Option<Value>, Error> {
        let Some((&Op::Linear(op), &[x, w])) =
            self.producer(product).map(|node| (&node.op, &node.inputs[..]))
        else {
            return Ok(None);
        };
        if self.shape(product).last_chunk::<1>().map(|last| &last[..]) != Some(self.shape(bias)) {
            return Ok(None);
        }
        self.apply(op, &[x, w, bias]).map(Some)
    }

    /// x·w + bias, of x `[.., k]`, w `[k, n]` and a bias `[n]`.
    ///
    /// # Errors
    /// As [`Graph::matmul`].
    pub fn linear(&mut self, x: Value, w: Value, bias: Value) -> Result<Value, Error> {
        let product = self.matmul(x, w)?;
        self.add(product, bias)
    }

    /// The product of two matrices, each transposed first where asked.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes do not fit, [`Error::ElementType`]
    /// where an operand is not `f32`.
    pub fn gemm(
        &mut self,
        a: Value,
        transpose_a: bool,
        b: Value,
        transpose_b: bool,
    ) -> Result<Value, Error> {
        if self.kernels() && !transpose_a && self.shape(a).len() == 2 {
            return self.apply(Linear { transpose_b }, &[a, b]);
        }
        let op = Gemm { kernel: self.kernels(), transpose_a, transpose_b };
        self.apply(op, &[a, b])
    }
}
