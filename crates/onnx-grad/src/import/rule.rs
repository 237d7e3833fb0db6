//! One rule an operator: how its node becomes calls of the graph's methods.
//!
//! A new operator is a function in a file of its family and a line in the
//! family's table.

use crate::shape::TensorType;

use super::call::{Call, Results};

mod arithmetic;
mod arrange;
mod conv;
mod linear;
mod norm;
mod reduce;
mod resample;
mod select;
mod shape;
mod window;

/// The oldest opset that is read.
pub(super) const LEAST_OPSET: i64 = 13;
/// The newest opset whose operators have been compared with the rules.
pub(super) const MOST_OPSET: i64 = 28;

/// What an operand means for training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// A cotangent passes.
    Data,
    /// A cotangent passes, and an initializer here is a weight that decays.
    Weight,
    /// A cotangent passes, and an initializer here is the operator's own, of
    /// whatever size: a bias, a scale, a slope.
    Own,
    /// A running average.
    Statistic,
    /// A shape, an index, a limit: no cotangent passes.
    Fixed,
}

/// How an operator is read.
pub(super) struct Rule {
    pub operator: &'static str,
    /// What its operands mean; the last word holds for all that follow.
    pub roles: &'static [Role],
    pub apply: fn(&mut Call) -> Results,
}

impl Rule {
    pub fn role(&self, operand: usize) -> Role {
        self.roles.get(operand).or(self.roles.last()).copied().unwrap_or(Role::Fixed)
    }
}

/// The tables of the families.
const FAMILIES: &[&[Rule]] = &[
    arithmetic::RULES,
    arrange::RULES,
    conv::RULES,
    linear::RULES,
    norm::RULES,
    reduce::RULES,
    resample::RULES,
    select::RULES,
    shape::RULES,
    window::RULES,
];

/// The rule of an operator of the standard's own domain.
pub(super) fn find(operator: &str) -> Option<&'static Rule> {
    FAMILIES.iter().flat_map(|family| family.iter()).find(|rule| rule.operator == operator)
}

/// The size of one axis where a type has it.
fn size(ty: &TensorType, axis: usize) -> usize {
    ty.shape.get(axis).copied().unwrap_or_default()
}
