//! Attention of several heads.

use super::{Attribute, KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

/// Queries, keys and values `[n, tokens, width]` to their attention.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attention {
    heads: usize,
}

impl Operator for Attention {
    fn name(&self) -> &'static str {
        "Attention"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.first().map(|&q| q.clone()).into_iter().collect())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("heads", Attribute::Int(self.heads as i64))]
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let operands = [&[dy], node.inputs].concat();
        let cotangents = g.apply_all(AttentionGrad { heads: self.heads }, &operands)?;
        Ok(cotangents.into_iter().map(Some).collect())
    }
}

/// The cotangents of queries, keys and values, from that of the result and them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttentionGrad {
    heads: usize,
}

impl Operator for AttentionGrad {
    fn name(&self) -> &'static str {
        "AttentionGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.iter().skip(1).map(|&x| x.clone()).collect())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("heads", Attribute::Int(self.heads as i64))]
    }
}

impl Graph {
    /// softmax(q·kᵀ/√depth)·v for each of `heads` equal parts of the width, of
    /// queries, keys and values `[n, tokens, width]` each: `[n, tokens, width]`.
    ///
    /// # Errors
    /// [`Error::Shape`] where the shapes differ or the width is no multiple of
    /// the heads, [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// Vaswani et al. 2017, equation 1 and section 3.2.2.
    pub fn attention(
        &mut self,
        q: Value,
        k: Value,
        v: Value,
        heads: usize,
    ) -> Result<Value, Error> {
        let types = [q, k, v].map(|x| self.ty(x).clone());
        let received = types.each_ref();
        if types.iter().any(|x| x.element != ElementType::F32) {
            return Err(Error::element_type("Attention", "F32", &received));
        }
        let &[n, tokens, width] = &types[0].shape[..] else {
            return Err(Error::shape("Attention", "[n, tokens, width]", &received));
        };
        if heads == 0 || width % heads != 0 || types.iter().any(|x| x.shape != types[0].shape) {
            let required = format!("one shape [n, tokens, width], width a multiple of {heads}");
            return Err(Error::shape("Attention", required, &received));
        }
        if self.kernels() {
            return self.apply(Attention { heads }, &[q, k, v]);
        }
        let depth = width / heads;
        let split = |g: &mut Self, x: Value, order: &[usize]| {
            let x = g.reshape(x, &[n, tokens, heads, depth])?;
            g.transpose(x, order)
        };
        let q = split(self, q, &[0, 2, 1, 3])?;
        let k = split(self, k, &[0, 2, 1, 3])?;
        let k = self.transpose(k, &[0, 1, 3, 2])?;
        let v = split(self, v, &[0, 2, 1, 3])?;
        // fewer elements than the scores have
        let scale = self.scalar((depth as f32).sqrt().recip());
        let q = self.mul(q, scale)?;
        let scores = self.matmul(q, k)?;
        let weights = self.softmax(scores, -1)?;
        let y = self.matmul(weights, v)?;
        let y = self.transpose(y, &[0, 2, 1, 3])?;
        self.reshape(y, &[n, tokens, width])
    }
}
