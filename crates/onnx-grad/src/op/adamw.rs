//! The AdamW update of a flat buffer.

use super::{Attribute, Float, KERNELS, Operator};
use crate::Error;
use crate::shape::TensorType;

/// The next params, m and v, from params, grads, m, v, lr, bias_correction1 and
/// bias_correction2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct AdamW {
    pub beta1: Float,
    pub beta2: Float,
    pub epsilon: Float,
    pub weight_decay: Float,
    /// How many elements from the first on decay.
    pub decayed: usize,
}

impl Operator for AdamW {
    fn name(&self) -> &'static str {
        "AdamW"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        Ok(inputs.first().map_or_else(Vec::new, |&flat| vec![flat.clone(); 3]))
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("beta1", Attribute::Float(self.beta1.0)),
            ("beta2", Attribute::Float(self.beta2.0)),
            ("epsilon", Attribute::Float(self.epsilon.0)),
            ("weight_decay", Attribute::Float(self.weight_decay.0)),
            ("decayed", Attribute::Int(self.decayed as i64)),
        ]
    }
}
