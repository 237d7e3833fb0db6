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
    Mul,
    Pow,
    Sub,
}

/// The common rule: one element type, and shapes that broadcast.
fn infer(
    operator: &'static str,
    inputs: &[&TensorType],
    result: Option<ElementType>,
) -> Result<Vec<TensorType>, Error> {
    let [a, b] = inputs else {
        return Err(Error::shape(operator, "two operands", inputs));
    };
    if a.element != b.element || (a.element == ElementType::Bool && result.is_none()) {
        let required = "two numbers of one element type";
        return Err(Error::element_type(operator, required, inputs));
    }
    let shape = broadcast(&a.shape, &b.shape)
        .ok_or_else(|| Error::shape(operator, "shapes that broadcast", inputs))?;
    Ok(vec![TensorType::new(result.unwrap_or(a.element), shape)])
}

impl Operator for Binary {
    fn name(&self) -> &'static str {
        match self {
            Self::Add => "Add",
            Self::Div => "Div",
            Self::Max => "Max",
            Self::Min => "Min",
            Self::Mul => "Mul",
            Self::Pow => "Pow",
            Self::Sub => "Sub",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        infer(self.name(), inputs, None)
    }

    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let dy = node.cotangent(g, 0)?;
        let (a, b, y) = (node.inputs[0], node.inputs[1], node.outputs[0]);
        let mut cotangents = vec![None, None];
        if node.wanted[0] {
            let da = match self {
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
    /// Where the second operand is the result; at a tie it is the first.
    fn takes_second(self, g: &mut Graph, a: Value, b: Value) -> Result<Value, Error> {
        match self {
            Self::Max => g.less(a, b),
            _ => g.less(b, a),
        }
    }
}

/// A comparison: truth values out, no cotangents back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Compare {
    Equal,
    Less,
}

impl Operator for Compare {
    fn name(&self) -> &'static str {
        match self {
            Self::Equal => "Equal",
            Self::Less => "Less",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        infer(self.name(), inputs, Some(ElementType::Bool))
    }
}

macro_rules! binary_methods {
    ($($(#[$doc:meta])+ $method:ident => $operator:expr;)+) => {
        /// Element by element, two operands of one element type that broadcast.
        impl Graph {
            $($(#[$doc])+
            ///
            /// # Errors
            /// [`Error::Shape`] where the shapes do not broadcast,
            /// [`Error::ElementType`] where the element types differ.
            pub fn $method(&mut self, a: Value, b: Value) -> Result<Value, Error> {
                self.apply($operator, &[a, b])
            })+
        }
    };
}

binary_methods! {
    /// a + b.
    add => Binary::Add;
    /// a / b.
    div => Binary::Div;
    /// Where a equals b, as truth values.
    equal => Compare::Equal;
    /// Where a is less than b, as truth values.
    less => Compare::Less;
    /// The greater of a and b. At a tie the cotangent goes to a.
    maximum => Binary::Max;
    /// The lesser of a and b. At a tie the cotangent goes to a.
    minimum => Binary::Min;
    /// a · b.
    mul => Binary::Mul;
    /// a to the power b. The cotangent of b needs log a, so a > 0.
    pow => Binary::Pow;
    /// a − b.
    sub => Binary::Sub;
}
