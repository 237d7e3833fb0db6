//! Attention of several heads, in one kernel where there is one.

use super::strided::View;
use super::{Attribute, Float, KERNELS, Op, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Origin, Tensor, Value};
use crate::shape::{ElementType, TensorType, count};

/// How many elements of a sample there may be for its views to be compared.
const SAMPLE: usize = 1 << 24;

/// Where queries, keys or values lie in a sample of an operand: depths side by
/// side, heads and tokens so many elements apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Place {
    operand: usize,
    offset: usize,
    head: usize,
    token: usize,
}

/// Queries, keys and values, wherever they lie in the operands, to their
/// attention `[n, tokens, heads, depth]`.
///
/// Together they hold every element of the operands once.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Attention {
    samples: usize,
    heads: usize,
    tokens: usize,
    depth: usize,
    scale: Float,
    places: [Place; 3],
}

impl Attention {
    /// The operator and its operands for queries, keys and values
    /// `[n, heads, tokens, depth]`; `None` where they lie in a way that the kernel
    /// does not read.
    fn of(g: &Graph, views: &[View; 3], scale: f32) -> Option<(Self, Vec<Value>)> {
        let &[samples, heads, tokens, depth] = &views[0].shape[..] else { return None };
        let mut operands: Vec<Value> = Vec::new();
        let mut places = Vec::new();
        for view in views {
            let [batch, head, token, element] = view.strides[..] else { return None };
            let len = count(g.shape(view.base)).checked_div(samples)?;
            let apart = samples == 1 || batch == len;
            let beside = depth == 1 || element == 1;
            if view.shape != views[0].shape || !apart || !beside || view.offset >= len {
                return None;
            }
            let found = operands.iter().position(|x| *x == view.base);
            let operand = found.unwrap_or(operands.len());
            if found.is_none() {
                operands.push(view.base);
            }
            // an axis of one place has no stride of its own
            let token = if tokens == 1 { depth } else { token };
            places.push(Place { operand, offset: view.offset, head, token });
        }
        let places = places.try_into().ok()?;
        let op = Self { samples, heads, tokens, depth, scale: Float(scale), places };
        let whole = |(i, x): (usize, &Value)| op.covers(i, count(g.shape(*x)) / samples);
        operands.iter().enumerate().all(whole).then_some((op, operands))
    }

    /// Whether the places of an operand hold each of its elements once, so that
    /// its cotangent can be written in place.
    fn covers(&self, operand: usize, len: usize) -> bool {
        if len > SAMPLE {
            return false;
        }
        let mut met = vec![false; len];
        for place in self.places.iter().filter(|place| place.operand == operand) {
            for head in 0..self.heads {
                for token in 0..self.tokens {
                    let start = place.offset + head * place.head + token * place.token;
                    match met.get_mut(start..start + self.depth) {
                        Some(row) if !row.contains(&true) => row.fill(true),
                        _ => return false,
                    }
                }
            }
        }
        !met.contains(&false)
    }

    fn listed(&self) -> Vec<(&'static str, Attribute)> {
        let numbers = |p: &Place| [p.operand, p.offset, p.head, p.token];
        let places: Vec<usize> = self.places.iter().flat_map(numbers).collect();
        let sizes = [self.samples, self.heads, self.tokens, self.depth];
        vec![
            ("sizes", Attribute::ints(&sizes)),
            ("places", Attribute::ints(&places)),
            ("scale", Attribute::Float(self.scale.0)),
        ]
    }
}

impl Operator for Attention {
    fn name(&self) -> &'static str {
        "Attention"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        if inputs.iter().any(|x| x.element != ElementType::F32) {
            return Err(Error::element_type(self.name(), "F32", inputs));
        }
        let shape = [self.samples, self.tokens, self.heads, self.depth];
        Ok(vec![TensorType::new(ElementType::F32, shape)])
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.listed()
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let operands = [&[dy], node.inputs].concat();
        let cotangents = g.apply_all(AttentionGrad(self.clone()), &operands)?;
        Ok(cotangents.into_iter().map(Some).collect())
    }
}

/// The cotangents of the operands, from that of the result and them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AttentionGrad(Attention);

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
        self.0.listed()
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
        let depth = width / heads;
        let split = |g: &mut Self, x: Value, order: &[usize]| {
            let x = g.reshape(x, &[n, tokens, heads, depth])?;
            g.transpose(x, order)
        };
        let q = split(self, q, &[0, 2, 1, 3])?;
        let k = split(self, k, &[0, 2, 3, 1])?;
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

    /// A product of weights and values as one kernel, where the weights are the
    /// softmax of scaled products of queries and keys.
    pub(super) fn fused_attention(
        &mut self,
        weights: Value,
        v: Value,
    ) -> Result<Option<Value>, Error> {
        let Some((q, k, scale)) = self.queries_and_keys(weights) else { return Ok(None) };
        let k = self.swap_last_two(k)?;
        let operands = [q, k, v];
        let found = Attention::of(self, &operands.map(|x| View::of(self, x)), scale)
            .or_else(|| Attention::of(self, &operands.map(|x| View::whole(self, x)), scale));
        let Some((op, operands)) = found else { return Ok(None) };
        let y = self.apply(op, &operands)?;
        self.transpose(y, &[0, 2, 1, 3]).map(Some)
    }

    /// Queries `[n, heads, tokens, depth]`, keys `[n, heads, depth, tokens]` and
    /// the factor of their product whose softmax a value is.
    fn queries_and_keys(&self, weights: Value) -> Option<(Value, Value, f32)> {
        let node = self.producer(weights)?;
        let scores = match &node.op {
            Op::Softmax(softmax) if softmax.is_of_axis(self.shape(weights).len() - 1) => {
                node.inputs[0]
            }
            _ => return None,
        };
        let (product, scale) = self.without_factors(scores);
        let node = self.producer(product)?;
        let (Op::MatMul(_), &[q, k], 4) = (&node.op, &node.inputs[..], self.shape(product).len())
        else {
            return None;
        };
        let ((q, of_queries), (k, of_keys)) = (self.without_factors(q), self.without_factors(k));
        Some((q, k, scale * of_queries * of_keys))
    }

    /// A value without the numbers that it was multiplied and divided by, and
    /// their product.
    fn without_factors(&self, mut x: Value) -> (Value, f32) {
        let mut scale = 1.0;
        while let Some(node) = self.producer(x)
            && let (Op::Binary(op), &[a, b]) = (&node.op, &node.inputs[..])
            && let Some(number) = self.number(b)
            && self.shape(a) == self.shape(x)
            && let Some(factor) = op.as_factor(number)
        {
            (x, scale) = (a, scale * factor);
        }
        (x, scale)
    }

    /// The number that a constant of one element is.
    fn number(&self, x: Value) -> Option<f32> {
        match self.origin(x) {
            Origin::Constant(Tensor::F32(_, data)) if data.len() == 1 => data.first().copied(),
            _ => None,
        }
    }
}
