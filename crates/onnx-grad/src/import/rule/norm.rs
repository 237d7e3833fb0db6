//! Normalisation.

use super::Role::{Data, Own};
use super::Rule;
use crate::Error;
use crate::graph::Value;
use crate::shape::{broadcast, count};

use super::super::call::{Call, Results, one, unsupported};
use super::super::constant::Constant;

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "LayerNormalization", roles: &[Data, Own], apply: layer_norm },
    Rule { operator: "RMSNormalization", roles: &[Data, Own], apply: rms_norm },
];

/// A scale or bias at the shape of the axes that it stands for.
fn own(c: &mut Call, i: usize, shape: &[usize]) -> Result<Value, Error> {
    let value = c.value(i)?;
    match broadcast(c.g.shape(value), shape) {
        Some(all) if all == shape => c.g.expand(value, shape),
        _ => {
            let required = format!("operand {i} of a shape that broadcasts to {shape:?}");
            let received = vec![c.g.shape(value).to_vec()];
            Err(Error::Shape { operator: c.rule.operator, required, received })
        }
    }
}

fn layer_norm(c: &mut Call) -> Results {
    if c.wants(1) || c.wants(2) {
        return Err(unsupported("a mean or deviation as a result"));
    }
    let axis = c.axis(0, c.int("axis", -1)?)?;
    let epsilon = c.float("epsilon", 1e-5)?;
    let x = c.value(0)?;
    let shape = c.g.shape(x)[axis..].to_vec();
    let scale = own(c, 1, &shape)?;
    let bias = match c.given(2) {
        Some(_) => own(c, 2, &shape)?,
        None => {
            let n = c.fold(&shape)?;
            Constant::floats(&shape, vec![0.0; n]).bind(c.g)?
        }
    };
    one(c.g.layer_norm(x, scale, bias, axis as i64, epsilon)?)
}

/// x / √(mean x² + ε) · scale.
///
/// # Source
/// Zhang and Sennrich 2019, equation 4; ONNX `RMSNormalization`.
fn rms_norm(c: &mut Call) -> Results {
    let axis = c.axis(0, c.int("axis", -1)?)?;
    let epsilon = c.float("epsilon", 1e-5)?;
    let (x, scale) = (c.value(0)?, c.value(1)?);
    let axes: Vec<i64> = (axis..c.g.shape(x).len()).map(|a| a as i64).collect();
    let square = c.g.mul(x, x)?;
    let mean = c.g.reduce_mean(square, &axes, true)?;
    let epsilon = c.g.scalar(epsilon);
    let shifted = c.g.add(mean, epsilon)?;
    let root = c.g.sqrt(shifted)?;
    let normal = c.g.div(x, root)?;
    let y = c.g.mul(normal, scale)?;
    if count(c.g.shape(y)) != count(c.g.shape(x)) {
        return Err(unsupported("a scale larger than its operand"));
    }
    one(y)
}
