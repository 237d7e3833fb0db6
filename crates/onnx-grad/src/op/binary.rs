//! Operators of two operands that broadcast, element by element.

use super::{Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, broadcast};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Binary {
    Add,
    Div,
    Max,
    Min,
    Mod,
    Mul,
    Pow,
    Sub,
}

/// The shape that two operands of one element type broadcast to, and that type
/// where `takes` it.
pub(super) fn infer_pair(
    operator: &'static str,
    inputs: &[&TensorType],
    required: &'static str,
    takes: impl Fn(ElementType) -> bool,
) -> Result<TensorType, Error> {
    let [a, b] = inputs else {
        return Err(Error::shape(operator, "two operands", inputs));
    };
    if a.element != b.element || !takes(a.element) {
        return Err(Error::element_type(operator, required, inputs));
    }
    let shape = broadcast(&a.shape, &b.shape)
        .ok_or_else(|| Error::shape(operator, "shapes that broadcast", inputs))?;
    Ok(TensorType::new(a.element, shape))
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Div => "Div",
            Self::Max => "Max",
            Self::Min => "Min",
            Self::Mod => "Mod",
            Self::Mul => "Mul",
            Self::Pow => "Pow",
            Self::Sub => "Sub",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let (required, takes): (_, fn(ElementType) -> bool) = match self {
            Self::Mod => ("two I64", |element| element == ElementType::I64),
            _ => ("two numbers of one element type", |element| element != ElementType::Bool),
        };
        Ok(vec![infer_pair(self.name(), inputs, required, takes)?])
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (a, b, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let mut cotangents = vec![None, None];
        if node.wanted[0] {
            let da = match self {
                // whole numbers have no cotangents
                Self::Mod => return Ok(cotangents),
                Self::Add | Self::Sub => dy,
                Self::Mul => g.mul(dy, b)?,
                Self::Div => g.div(dy, b)?,
                Self::Pow => {
                    let one = g.scalar(1.0);
                    let below = g.sub(b, one)?;
                    let power = g.pow(a, below)?;
                    let slope = g.mul(power, b)?;
                    g.mul(dy, slope)?
                }
                Self::Max | Self::Min => {
                    let zero = g.scalar(0.0);
                    let other = self.takes_second(g, a, b)?;
                    g.where_(other, zero, dy)?
                }
            };
            let shape = g.shape(a).to_vec();
            cotangents[0] = Some(g.sum_to(da, &shape)?);
        }
        if node.wanted[1] {
            let db = match self {
                Self::Mod => return Ok(cotangents),
                Self::Add => dy,
                Self::Sub => {
                    // negated after the sum, where there is less to negate
                    let shape = g.shape(b).to_vec();
                    let sum = g.sum_to(dy, &shape)?;
                    g.neg(sum)?
                }
                Self::Mul => g.mul(dy, a)?,
                Self::Div => {
                    let quotient = g.div(y, b)?;
                    let product = g.mul(dy, quotient)?;
                    g.neg(product)?
                }
                Self::Pow => {
                    let log = g.log(a)?;
                    let slope = g.mul(y, log)?;
                    g.mul(dy, slope)?
                }
                Self::Max | Self::Min => {
                    let zero = g.scalar(0.0);
                    let other = self.takes_second(g, a, b)?;
                    g.where_(other, dy, zero)?
                }
            };
            let shape = g.shape(b).to_vec();
            cotangents[1] = Some(g.sum_to(db, &shape)?);
        }
        Ok(cotangents)
    }
}

impl Binary {
    /// What the first operand is multiplied by where the second is a number.
    pub fn as_factor(self, second: f32) -> Option<f32> {
        match self {
            Self::Mul => Some(second),
            Self::Div => Some(second.recip()),
            _ => None,
        }
    }

    /// Where the second operand is the result; at a tie it is the first.
    fn takes_second(self, g: &mut Graph, a: Value, b: Value) -> Result<Value, Error> {
        match self {
            Self::Max => g.less(a, b),
            _ => g.less(b, a),
        }
    }
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])+ $method:ident => $operator:ident;)+) => {
        /// Element by element, two operands of one element type that broadcast.
        impl Graph {
            $($(#[$doc])+
            ///
            /// # Errors
            /// [`Error::Shape`] where the shapes do not broadcast,
            /// [`Error::ElementType`] where the element types differ.
            pub fn $method(&mut self, a: Value, b: Value) -> Result<Value, Error> {
                self.apply(Binary::$operator, &[a, b])
            })+
        }
    };
}

binary_methods! {
    /// a / b.
    div => Div;
    /// The greater of a and b. At a tie the cotangent goes to a.
    maximum => Max;
    /// The lesser of a and b. At a tie the cotangent goes to a.
    minimum => Min;
    /// a modulo b, of `i64`; the remainder has the sign of b.
    mod_ => Mod;
    /// a · b.
    mul => Mul;
    /// a to the power b. The cotangent of b needs log a, so a > 0.
    pow => Pow;
    /// a − b.
    sub => Sub;
}

impl Graph {
    /// a + b, element by element, two operands of one element type that broadcast.
    ///
    /// # Errors
    /// As [`Graph::sub`].
    pub fn add(&mut self, a: Value, b: Value) -> Result<Value, Error> {
        for (product, bias) in [(a, b), (b, a)] {
            if let Some(biased) = self.biased(product, bias)? {
                return Ok(biased);
            }
        }
        self.apply(Binary::Add, &[a, b])
    }
}

/// Any number of operands that broadcast, element by element, in their order.
impl Graph {
    /// a + b + c + ….
    ///
    /// # Errors
    /// [`Error::Shape`] where there is no operand or they do not broadcast,
    /// [`Error::ElementType`] where the element types differ.
    pub fn sum(&mut self, operands: &[Value]) -> Result<Value, Error> {
        self.fold(operands, Binary::Add, "Sum")
    }

    /// The mean of the operands, of `f32`.
    ///
    /// # Errors
    /// As [`Graph::sum`].
    pub fn mean(&mut self, operands: &[Value]) -> Result<Value, Error> {
        let total = self.fold(operands, Binary::Add, "Mean")?;
        let count = self.scalar(operands.len() as f32);
        self.div(total, count)
    }

    /// The greatest of the operands. At a tie the cotangent goes to the first.
    ///
    /// # Errors
    /// As [`Graph::sum`].
    pub fn max(&mut self, operands: &[Value]) -> Result<Value, Error> {
        self.fold(operands, Binary::Max, "Max")
    }

    /// The least of the operands. At a tie the cotangent goes to the first.
    ///
    /// # Errors
    /// As [`Graph::sum`].
    pub fn min(&mut self, operands: &[Value]) -> Result<Value, Error> {
        self.fold(operands, Binary::Min, "Min")
    }

    fn fold(
        &mut self,
        operands: &[Value],
        op: Binary,
        operator: &'static str,
    ) -> Result<Value, Error> {
        let (&first, rest) =
            operands.split_first().ok_or_else(|| Error::shape(operator, "an operand", &[]))?;
        rest.iter().try_fold(first, |result, &next| self.apply(op, &[result, next]))
    }
}
