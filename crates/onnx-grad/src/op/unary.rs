//! Operators of one operand, element by element.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::{Gelu, KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Abs,
    Erf,
    Exp,
    Gelu,
    Log,
    Neg,
    Relu,
    Sigmoid,
    Sign,
    Sqrt,
    Tanh,
}

impl Operator for Unary {
    fn name(&self) -> &'static str {
        match self {
            Self::Abs => "Abs",
            Self::Erf => "Erf",
            Self::Exp => "Exp",
            Self::Gelu => "Gelu",
            Self::Log => "Log",
            Self::Neg => "Neg",
            Self::Relu => "Relu",
            Self::Sigmoid => "Sigmoid",
            Self::Sign => "Sign",
            Self::Sqrt => "Sqrt",
            Self::Tanh => "Tanh",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.element == ElementType::F32 => Ok(vec![(*x).clone()]),
            _ => Err(Error::element_type(self.name(), "one F32", inputs)),
        }
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (x, y) = (node.inputs[0], node.outputs[0]);
        let dx = match self {
            Self::Sign => return Ok(vec![None]),
            Self::Abs => {
                let sign = g.apply(Self::Sign, &[x])?;
                g.mul(dy, sign)?
            }
            Self::Erf => {
                // 2/√π · exp(−x²)
                let square = g.mul(x, x)?;
                let negative = g.neg(square)?;
                let bell = g.exp(negative)?;
                let factor = g.scalar(FRAC_2_SQRT_PI);
                let scaled = g.mul(bell, factor)?;
                g.mul(dy, scaled)?
            }
            Self::Exp => g.mul(dy, y)?,
            Self::Gelu => {
                let slope = gelu_slope(g, x)?;
                g.mul(dy, slope)?
            }
            Self::Log => g.div(dy, x)?,
            Self::Neg => g.neg(dy)?,
            Self::Relu if g.kernels() => g.apply(ReluGrad, &[dy, y])?,
            Self::Relu => {
                // y ≥ 0, so its sign is one where x > 0 and zero elsewhere
                let slope = g.apply(Self::Sign, &[y])?;
                g.mul(dy, slope)?
            }
            Self::Sigmoid => {
                let scaled = g.mul(dy, y)?;
                let rest = g.mul(scaled, y)?;
                g.sub(scaled, rest)?
            }
            Self::Sqrt => {
                let half = g.scalar(0.5);
                let halved = g.mul(dy, half)?;
                g.div(halved, y)?
            }
            Self::Tanh => {
                let scaled = g.mul(dy, y)?;
                let rest = g.mul(scaled, y)?;
                g.sub(dy, rest)?
            }
        };
        Ok(vec![Some(dx)])
    }
}

/// The cotangent of x, from that of y and y = max(x, 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ReluGrad;

impl Operator for ReluGrad {
    fn name(&self) -> &'static str {
        "ReluGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.last().map(|&y| y.clone()).into_iter().collect())
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

/// Hands its operand on; where `stops`, no cotangent passes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Identity {
    pub stops: bool,
}

impl Operator for Identity {
    fn name(&self) -> &'static str {
        "Identity"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.iter().map(|&x| x.clone()).collect())
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        if self.stops {
            return Ok(vec![None]);
        }
        Ok(vec![Some(node.cotangent(g, 0)?)])
    }
}

macro_rules! unary_methods {
    ($($(#[$doc:meta])+ $method:ident => $operator:ident;)+) => {
        /// Element by element, one operand of `f32`; the result has its shape.
        ///
        /// Each returns [`Error::ElementType`] where the operand is not `f32`.
        impl Graph {
            $($(#[$doc])+
            ///
            /// # Errors
            /// [`Error::ElementType`] where `x` is not `f32`.
            pub fn $method(&mut self, x: Value) -> Result<Value, Error> {
                self.apply(Unary::$operator, &[x])
            })+
        }
    };
}

unary_methods! {
    /// |x|. Its slope at 0 is taken as 0.
    abs => Abs;
    /// The error function of x.
    erf => Erf;
    /// e to the power x.
    exp => Exp;
    /// The natural logarithm of x.
    log => Log;
    /// −x.
    neg => Neg;
    /// max(x, 0). Its slope at 0 is taken as 0.
    relu => Relu;
    /// 1 / (1 + e to the power −x).
    sigmoid => Sigmoid;
    /// √x.
    sqrt => Sqrt;
    /// The hyperbolic tangent of x.
    tanh => Tanh;
}

impl Graph {
    /// x Φ(x), with Φ the distribution function of the normal distribution.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `f32`.
    ///
    /// # Source
    /// Hendrycks and Gimpel 2016, section 2; ONNX `Gelu`, `approximate="none"`.
    pub fn gelu(&mut self, x: Value) -> Result<Value, Error> {
        if self.kernels() { self.apply(Gelu, &[x]) } else { self.apply(Unary::Gelu, &[x]) }
    }

    /// x itself, as a value of its own.
    ///
    /// # Errors
    /// None at present.
    pub fn identity(&mut self, x: Value) -> Result<Value, Error> {
        self.apply(Identity { stops: false }, &[x])
    }

    /// x itself, taken as a constant by [`gradient`](crate::gradient).
    ///
    /// # Errors
    /// None at present.
    pub fn stop_gradient(&mut self, x: Value) -> Result<Value, Error> {
        self.apply(Identity { stops: true }, &[x])
    }
}
