//! Activation functions with parameters.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Attribute, Float, Gelu, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, broadcast};

/// √(2/π), the slope inside the hyperbolic tangent of [`Graph::gelu_tanh`].
const SQRT_2_OVER_PI: f32 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
/// The weight of the cube inside it.
const CUBE: f32 = 0.044_715;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Activation {
    Elu { alpha: Float },
    Gelu { tanh: bool },
    HardSigmoid { alpha: Float, beta: Float },
    LeakyRelu { alpha: Float },
}

impl Operator for Activation {
    fn name(&self) -> &'static str {
        match self {
            Self::Elu { .. } => "Elu",
            Self::Gelu { .. } => "Gelu",
            Self::HardSigmoid { .. } => "HardSigmoid",
            Self::LeakyRelu { .. } => "LeakyRelu",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.element == ElementType::F32 => Ok(vec![(*x).clone()]),
            _ => Err(Error::element_type(self.name(), "one F32", inputs)),
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let alpha = |alpha: &Float| ("alpha", Attribute::Float(alpha.0));
        match self {
            Self::Gelu { tanh: false } => Vec::new(),
            Self::Gelu { tanh: true } => vec![("approximate", Attribute::Text("tanh"))],
            Self::Elu { alpha: a } | Self::LeakyRelu { alpha: a } => vec![alpha(a)],
            Self::HardSigmoid { alpha: a, beta } => {
                vec![alpha(a), ("beta", Attribute::Float(beta.0))]
            }
        }
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, y) = (node.inputs[0], node.outputs[0]);
        let zero = g.scalar(0.0);
        let dx = match self {
            Self::Elu { alpha } => {
                // α·eˣ = y + α
                let alpha = g.scalar(alpha.0);
                let slope = g.add(y, alpha)?;
                let below = g.mul(dy, slope)?;
                let positive = g.less(zero, x)?;
                g.where_(positive, dy, below)?
            }
            Self::Gelu { tanh } => {
                let slope = if *tanh { gelu_tanh_slope(g, x)? } else { gelu_slope(g, x)? };
                g.mul(dy, slope)?
            }
            Self::HardSigmoid { alpha, .. } => {
                let (alpha, one) = (g.scalar(alpha.0), g.scalar(1.0));
                let inner = g.mul(dy, alpha)?;
                let (above, below) = (g.less(zero, y)?, g.less(y, one)?);
                let within = g.and(above, below)?;
                g.where_(within, inner, zero)?
            }
            Self::LeakyRelu { alpha } => {
                let alpha = g.scalar(alpha.0);
                let below = g.mul(dy, alpha)?;
                let positive = g.less(zero, x)?;
                g.where_(positive, dy, below)?
            }
        };
        Ok(vec![Some(dx)])
    }
}

/// Φ(x) + x·φ(x), with u = x/√2: ½ (1 + erf u + 2/√π · u / exp u²).
///
/// The division spares the negation of u²; it gives 0 where exp u² overflows.
fn gelu_slope(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let frac_1_sqrt_2 = g.scalar(FRAC_1_SQRT_2);
    let u = g.mul(x, frac_1_sqrt_2)?;
    let square = g.mul(u, u)?;
    let well = g.exp(square)?;
    let frac_2_sqrt_pi = g.scalar(FRAC_2_SQRT_PI);
    let line = g.mul(u, frac_2_sqrt_pi)?;
    let tangent = g.div(line, well)?;
    let erf = g.erf(u)?;
    let doubled = g.add(erf, tangent)?;
    let (half, one) = (g.scalar(0.5), g.scalar(1.0));
    let doubled = g.add(doubled, one)?;
    g.mul(doubled, half)
}

/// ½ (1 + t) (1 + x·(1 − t)·u′), with t = tanh u and u = √(2/π)·(x + 0.044715 x³).
fn gelu_tanh_slope(g: &mut Graph, x: Value) -> Result<Value, Error> {
    let (one, half) = (g.scalar(1.0), g.scalar(0.5));
    let square = g.mul(x, x)?;
    let (linear, cubic) = (g.scalar(SQRT_2_OVER_PI), g.scalar(SQRT_2_OVER_PI * CUBE));
    let rise = g.mul(square, cubic)?;
    let factor = g.add(rise, linear)?;
    let u = g.mul(x, factor)?;
    let t = g.tanh(u)?;
    let steep = g.scalar(3.0 * SQRT_2_OVER_PI * CUBE);
    let rise = g.mul(square, steep)?;
    let du = g.add(rise, linear)?;
    let rest = g.sub(one, t)?;
    let moved = g.mul(x, du)?;
    let moved = g.mul(rest, moved)?;
    let outer = g.add(moved, one)?;
    let gate = g.add(t, one)?;
    let gate = g.mul(gate, half)?;
    g.mul(gate, outer)
}

/// x where it is positive, else slope·x; the slope broadcasts to x.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct PRelu;

impl Operator for PRelu {
    fn name(&self) -> &'static str {
        "PRelu"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x, slope] if [x, slope].iter().any(|t| t.element != ElementType::F32) => {
                Err(Error::element_type(self.name(), "F32", inputs))
            }
            [x, slope] if broadcast(&x.shape, &slope.shape).as_ref() == Some(&x.shape) => {
                Ok(vec![(*x).clone()])
            }
            _ => Err(Error::shape(self.name(), "a slope that broadcasts to the operand", inputs)),
        }
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, slope) = (node.inputs[0], node.inputs[1]);
        let zero = g.scalar(0.0);
        let mut cotangents = vec![None, None];
        if node.wanted[0] {
            let below = g.mul(dy, slope)?;
            let positive = g.less(zero, x)?;
            cotangents[0] = Some(g.where_(positive, dy, below)?);
        }
        if node.wanted[1] {
            let negative = g.minimum(x, zero)?;
            let part = g.mul(dy, negative)?;
            let shape = g.shape(slope).to_vec();
            cotangents[1] = Some(g.sum_to(part, &shape)?);
        }
        Ok(cotangents)
    }
}

/// Element by element; the result has the shape of `x`.
///
/// Each returns [`Error::ElementType`] where an operand is not `f32`.
impl Graph {
    /// x where it is positive, else α·(eˣ − 1). Its slope at 0 is taken as α.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// Clevert, Unterthiner and Hochreiter 2016, equation 15; ONNX `Elu`.
    pub fn elu(&mut self, x: Value, alpha: f32) -> Result<Value, Error> {
        self.apply(Activation::Elu { alpha: Float(alpha) }, &[x])
    }

    /// x Φ(x), with Φ the distribution function of the normal distribution.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// Hendrycks and Gimpel 2016, section 2; ONNX `Gelu`, `approximate="none"`.
    pub fn gelu(&mut self, x: Value) -> Result<Value, Error> {
        if self.kernels() {
            return self.apply(Gelu, &[x]);
        }
        self.apply(Activation::Gelu { tanh: false }, &[x])
    }

    /// ½ x (1 + tanh(√(2/π)·(x + 0.044715 x³))), close to [`Graph::gelu`].
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// Hendrycks and Gimpel 2016, section 2; ONNX `Gelu`, `approximate="tanh"`.
    pub fn gelu_tanh(&mut self, x: Value) -> Result<Value, Error> {
        self.apply(Activation::Gelu { tanh: true }, &[x])
    }

    /// α·x + β limited to 0..=1. Its slope at the limits is taken as 0.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// ONNX `HardSigmoid`.
    pub fn hard_sigmoid(&mut self, x: Value, alpha: f32, beta: f32) -> Result<Value, Error> {
        let (alpha, beta) = (Float(alpha), Float(beta));
        self.apply(Activation::HardSigmoid { alpha, beta }, &[x])
    }

    /// x · hard_sigmoid(x, 1/6, 1/2).
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// Howard et al. 2019, section 5.2; ONNX `HardSwish`.
    pub fn hard_swish(&mut self, x: Value) -> Result<Value, Error> {
        let gate = self.hard_sigmoid(x, 1.0 / 6.0, 0.5)?;
        self.mul(x, gate)
    }

    /// x where it is positive, else α·x. Its slope at 0 is taken as α.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// ONNX `LeakyRelu`.
    pub fn leaky_relu(&mut self, x: Value, alpha: f32) -> Result<Value, Error> {
        self.apply(Activation::LeakyRelu { alpha: Float(alpha) }, &[x])
    }

    /// x where it is positive, else slope·x; the slope broadcasts to `x`, from
    /// the last axis as everywhere in ONNX. At 0 the slope counts.
    ///
    /// # Errors
    /// [`Error::Shape`] where the slope does not broadcast to `x`,
    /// [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// He et al. 2015, equation 1; ONNX `PRelu`.
    pub fn prelu(&mut self, x: Value, slope: Value) -> Result<Value, Error> {
        self.apply(PRelu, &[x, slope])
    }
}
