//! Comparisons and logic: truth values out, no cotangents back.

use super::binary::infer_pair;
use super::{Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType};

/// An operator of two operands that broadcast to truth values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Compare {
    And,
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    Or,
    Xor,
}

impl Operator for Compare {
    fn name(&self) -> &'static str {
        match self {
            Self::And => "And",
            Self::Equal => "Equal",
            Self::Greater => "Greater",
            Self::GreaterOrEqual => "GreaterOrEqual",
            Self::Less => "Less",
            Self::LessOrEqual => "LessOrEqual",
            Self::Or => "Or",
            Self::Xor => "Xor",
        }
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let (required, takes): (_, fn(ElementType) -> bool) = match self {
            Self::And | Self::Or | Self::Xor => ("two Bool", |e| e == ElementType::Bool),
            Self::Equal => ("two of one element type", |_| true),
            _ => ("two numbers of one element type", |e| e != ElementType::Bool),
        };
        let result = infer_pair(self.name(), inputs, required, takes)?;
        Ok(vec![TensorType::new(ElementType::Bool, result.shape)])
    }

    fn vjp(&self, _g: &mut Graph, _node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        Ok(vec![None, None])
    }
}

/// The contrary of a truth value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Not;

impl Operator for Not {
    fn name(&self) -> &'static str {
        "Not"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        match inputs {
            [x] if x.element == ElementType::Bool => Ok(vec![(*x).clone()]),
            _ => Err(Error::element_type(self.name(), "one Bool", inputs)),
        }
    }

    fn vjp(&self, _g: &mut Graph, _node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        Ok(vec![None])
    }
}

macro_rules! compare_methods {
    ($($(#[$doc:meta])+ $method:ident => $operator:ident;)+) => {
        /// Element by element, two operands of one element type that broadcast;
        /// the result holds truth values.
        impl Graph {
            $($(#[$doc])+
            ///
            /// # Errors
            /// [`Error::Shape`] where the shapes do not broadcast,
            /// [`Error::ElementType`] where the element types differ or do not fit.
            pub fn $method(&mut self, a: Value, b: Value) -> Result<Value, Error> {
                self.apply(Compare::$operator, &[a, b])
            })+
        }
    };
}

compare_methods! {
    /// Where both a and b hold.
    and => And;
    /// Where a equals b, numbers or truth values.
    equal => Equal;
    /// Where a is greater than b.
    greater => Greater;
    /// Where a is greater than b or equal to it.
    greater_or_equal => GreaterOrEqual;
    /// Where a is less than b.
    less => Less;
    /// Where a is less than b or equal to it.
    less_or_equal => LessOrEqual;
    /// Where a or b or both hold.
    or => Or;
    /// Where just one of a and b holds.
    xor => Xor;
}

impl Graph {
    /// Where x does not hold.
    ///
    /// # Errors
    /// [`Error::ElementType`] where `x` is not `Bool`.
    pub fn not(&mut self, x: Value) -> Result<Value, Error> {
        self.apply(Not, &[x])
    }
}
