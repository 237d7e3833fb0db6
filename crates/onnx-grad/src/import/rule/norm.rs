//! Normalisation.

use super::Role::{Data, Own, Statistic};
use super::Rule;
use crate::Error;
use crate::graph::Value;
use crate::shape::{broadcast, count};

use super::super::Mode;
use super::super::call::{Call, Operand, Results, one, unsupported};

pub(super) const RULES: &[Rule] = &[
    Rule { operator: "BatchNormalization", roles: &[Data, Own, Own, Statistic], apply: batch_norm },
    Rule { operator: "GroupNormalization", roles: &[Data, Own], apply: group_norm },
    Rule { operator: "InstanceNormalization", roles: &[Data, Own], apply: instance_norm },
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
    let axis = c.axis(0, c.int("axis", -1)?)?;
    let epsilon = c.float("epsilon", 1e-5)?;
    let x = c.value(0)?;
    let shape = c.g.shape(x)[axis..].to_vec();
    let scale = own(c, 1, &shape)?;
    let bias = match c.given(2) {
        Some(_) => Some(own(c, 2, &shape)?),
        None => None,
    };
    let y = c.g.layer_norm(x, scale, bias, axis as i64, epsilon)?;
    if !c.wants(1) && !c.wants(2) {
        return one(y);
    }
    let axes: Vec<i64> = (axis..c.g.shape(x).len()).map(|a| a as i64).collect();
    let mean = c.g.reduce_mean(x, &axes, true)?;
    let centred = c.g.sub(x, mean)?;
    let square = c.g.mul(centred, centred)?;
    let variance = c.g.reduce_mean(square, &axes, true)?;
    let epsilon = c.g.scalar(epsilon);
    let shifted = c.g.add(variance, epsilon)?;
    let deviation = c.g.sqrt(shifted)?;
    let inverse = c.g.reciprocal(deviation)?;
    Ok([y, mean, inverse].map(Operand::Value).into())
}

/// Batch statistics in training, whatever `training_mode` says, and the next
/// running averages kept; else the running averages.
fn batch_norm(c: &mut Call) -> Results {
    let epsilon = c.float("epsilon", 1e-5)?;
    let momentum = c.float("momentum", 0.9)?;
    let (x, scale, bias) = (c.value(0)?, c.value(1)?, c.value(2)?);
    let (mean, variance) = (average(c, 3)?, average(c, 4)?);
    if c.walk.mode == Mode::Infer {
        let y = c.g.batch_norm(x, scale, bias, mean, variance, epsilon)?;
        return Ok([y, mean, variance].map(Operand::Value).into());
    }
    let trained = c.g.batch_norm_training(x, scale, bias, mean, variance, epsilon, momentum)?;
    for (i, next) in [(3, trained.mean), (4, trained.variance)] {
        if let Some(place) = c.buffer(i)
            && let Some((_, newest)) = c.walk.buffers.get_mut(place)
        {
            *newest = next;
        }
    }
    Ok([trained.y, trained.mean, trained.variance].map(Operand::Value).into())
}

/// A running average: the newest, where several nodes share it.
fn average(c: &mut Call, i: usize) -> Result<Value, Error> {
    match c.buffer(i).and_then(|place| c.walk.buffers.get(place)) {
        Some(&(_, newest)) => Ok(newest),
        None => c.value(i),
    }
}

fn instance_norm(c: &mut Call) -> Results {
    let epsilon = c.float("epsilon", 1e-5)?;
    let (x, scale, bias) = (c.value(0)?, c.value(1)?, c.value(2)?);
    one(c.g.instance_norm(x, scale, bias, epsilon)?)
}

fn group_norm(c: &mut Call) -> Results {
    let epsilon = c.float("epsilon", 1e-5)?;
    let groups = c.int("num_groups", 0)?;
    let x = c.value(0)?;
    let channels = c.g.shape(x).get(1).copied().unwrap_or(0);
    let natural = usize::try_from(groups).ok().filter(|&n| n > 0 && channels % n == 0);
    let groups = natural.ok_or_else(|| Error::Malformed {
        reason: format!("{groups} groups of {channels} channels"),
    })?;
    let mut own = [c.value(1)?, c.value(2)?];
    // before opset 21 scale and bias are one a group
    if c.step.opset < 21 && groups != channels {
        for value in &mut own {
            let column = c.g.reshape(*value, &[groups, 1])?;
            let repeated = c.g.expand(column, &[groups, channels / groups])?;
            *value = c.g.reshape(repeated, &[channels])?;
        }
    }
    one(c.g.group_norm(x, groups, own[0], own[1], epsilon)?)
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
