//! Operators of one operand, element by element.

use std::f32::consts::FRAC_2_SQRT_PI;

use super::{KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Unary {
    Abs,
    Ceil,
    Cos,
    Erf,
    Exp,
    Floor,
    Log,
    Neg,
    Reciprocal,
    Relu,
    Round,
    Sigmoid,
    Sign,
    Sin,
    Softplus,
    Sqrt,
    Tanh,
}

impl Operator for Unary {
    fn name(&self) -> &'static str {
        match self {
            Self::Abs => "Abs",
            Self::Ceil => "Ceil",
            Self::Cos => "Cos",
            Self::Erf => "Erf",
            Self::Exp => "Exp",
            Self::Floor => "Floor",
            Self::Log => "Log",
            Self::Neg => "Neg",
            Self::Reciprocal => "Reciprocal",
            Self::Relu => "Relu",
            Self::Round => "Round",
            Self::Sigmoid => "Sigmoid",
            Self::Sign => "Sign",
            Self::Sin => "Sin",
            Self::Softplus => "Softplus",
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
            Self::Ceil | Self::Floor | Self::Round | Self::Sign => return Ok(vec![None]),
            Self::Abs => {
                let sign = g.apply(Self::Sign, &[x])?;
                g.mul(dy, sign)?
            }
            Self::Cos => {
                let sine = g.sin(x)?;
                let product = g.mul(dy, sine)?;
                g.neg(product)?
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
            Self::Log => g.div(dy, x)?,
            Self::Neg => g.neg(dy)?,
            Self::Reciprocal => {
                let square = g.mul(y, y)?;
                let product = g.mul(dy, square)?;
                g.neg(product)?
            }
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
            Self::Sin => {
                let cosine = g.cos(x)?;
                g.mul(dy, cosine)?
            }
            Self::Softplus => {
                let slope = g.sigmoid(x)?;
                g.mul(dy, slope)?
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
    /// The least whole number not below x. Its slope is taken as 0.
    ceil => Ceil;
    /// The cosine of x, in radians.
    cos => Cos;
    /// The error function of x.
    erf => Erf;
    /// e to the power x.
    exp => Exp;
    /// The greatest whole number not above x. Its slope is taken as 0.
    floor => Floor;
    /// The natural logarithm of x.
    log => Log;
    /// −x.
    neg => Neg;
    /// 1 / x.
    reciprocal => Reciprocal;
    /// max(x, 0). Its slope at 0 is taken as 0.
    relu => Relu;
    /// The nearest whole number, of two the even one. Its slope is taken as 0.
    round => Round;
    /// 1 / (1 + e to the power −x).
    sigmoid => Sigmoid;
    /// The sine of x, in radians.
    sin => Sin;
    /// The logarithm of 1 + e to the power x.
    softplus => Softplus;
    /// √x.
    sqrt => Sqrt;
    /// The hyperbolic tangent of x.
    tanh => Tanh;
}

impl Graph {
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
