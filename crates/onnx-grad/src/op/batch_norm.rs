//! Normalisation of channels by their mean and variance over the batch.

use super::{Attribute, Float, KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{ElementType, TensorType, count};

/// scale · (x − mean) / √(variance + ε) + bias, one of each a channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchNorm {
    epsilon: Float,
    /// Whether the mean and the variance are those of x itself. Their share of
    /// the cotangent is then part of dx, and they have none of their own.
    of_batch: bool,
}

impl Operator for BatchNorm {
    fn name(&self) -> &'static str {
        "BatchNormalization"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        if inputs.iter().any(|x| x.element != ElementType::F32) {
            return Err(Error::element_type(self.name(), "F32", inputs));
        }
        match inputs {
            [x, statistics @ ..]
                if x.shape.len() >= 2
                    && statistics.len() == 4
                    && statistics.iter().all(|s| s.shape == x.shape[1..2]) =>
            {
                Ok(vec![(*x).clone()])
            }
            _ => {
                let required = "[n, c, ..] and scale, bias, mean and variance of shape [c]";
                Err(Error::shape(self.name(), required, inputs))
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("epsilon", Attribute::Float(self.epsilon.0))]
    }

    /// With x̂ = (x − μ)/σ and fixed statistics dx = scale/σ · dy. With those of
    /// x itself dx = scale/σ · (dy − mean dy − x̂ · mean(dy·x̂)), of which the
    /// last two terms are a normalisation of x with other scales and biases.
    ///
    /// The source is Ioffe and Szegedy 2015, section 3.
    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        let &[x, scale, _, mean, variance] = node.inputs else {
            return Err(node.no_gradient(self.name(), ""));
        };
        let dy = node.cotangent(g, 0)?;
        if g.kernels() && self.of_batch {
            let op = BatchNormGrad { epsilon: self.epsilon };
            let cotangents = g.apply_all(op, &[dy, x, scale, mean, variance])?;
            return Ok(cotangents.into_iter().map(Some).chain([None, None]).collect());
        }
        let shape = g.shape(x).to_vec();
        let (channels, axes) = (shape[1], reduced(&shape));
        let epsilon = g.scalar(self.epsilon.0);
        let shifted = g.add(variance, epsilon)?;
        let deviation = g.sqrt(shifted)?;
        let slope = g.div(scale, deviation)?;

        let dbias = g.reduce_sum(dy, &axes, false)?;
        let one = g.scalar(1.0);
        let (ones, zeros) = (g.expand(one, &[channels])?, g.zeros(&[channels])?);
        let normal = g.apply(*self, &[x, ones, zeros, mean, variance])?;
        let aligned = g.mul(dy, normal)?;
        let dscale = g.reduce_sum(aligned, &axes, false)?;

        let column = column(&shape);
        let slopes = g.reshape(slope, &column)?;
        let mut dx = g.mul(dy, slopes)?;
        let (mut dmean, mut dvariance) = (None, None);
        if self.of_batch {
            let elements = count(&shape) / channels.max(1);
            let share = g.scalar(-1.0 / elements as f32);
            let share = g.mul(slope, share)?;
            let (along, shift) = (g.mul(share, dscale)?, g.mul(share, dbias)?);
            let rest = g.apply(*self, &[x, along, shift, mean, variance])?;
            dx = g.add(dx, rest)?;
        } else {
            let part = g.mul(slope, dbias)?;
            dmean = Some(g.neg(part)?);
            let half = g.scalar(-0.5);
            let part = g.div(scale, shifted)?;
            let part = g.mul(part, half)?;
            dvariance = Some(g.mul(part, dscale)?);
        }
        Ok(vec![Some(dx), Some(dscale), Some(dbias), dmean, dvariance])
    }
}

/// The cotangents of x, scale and bias where x was normalised by its own
/// statistics, from that of y, x, scale, mean and variance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct BatchNormGrad {
    epsilon: Float,
}

impl Operator for BatchNormGrad {
    fn name(&self) -> &'static str {
        "BatchNormalizationGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let inputs = [inputs.get(1), inputs.get(2), inputs.get(2)];
        Ok(inputs.into_iter().flatten().map(|&x| x.clone()).collect())
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("epsilon", Attribute::Float(self.epsilon.0))]
    }
}

/// The mean and the variance of every channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Moments;

impl Operator for Moments {
    fn name(&self) -> &'static str {
        "Moments"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let channels = inputs.first().map_or(&[][..], |x| &x.shape[1..2]);
        Ok(vec![TensorType::new(ElementType::F32, channels); 2])
    }
}

/// All axes but that of the channels.
fn reduced(shape: &[usize]) -> Vec<i64> {
    (0..shape.len() as i64).filter(|&axis| axis != 1).collect()
}

/// The shape in which one number a channel broadcasts to `[n, c, ..]`.
pub(super) fn column(shape: &[usize]) -> Vec<usize> {
    let mut column = vec![1; shape.len().saturating_sub(1)];
    column[0] = shape[1];
    column
}

/// What [`Graph::batch_norm_training`] returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormTraining {
    /// The normalised values.
    pub y: Value,
    /// The next running mean.
    pub mean: Value,
    /// The next running variance.
    pub variance: Value,
}

impl Graph {
    /// `x` `[n, c, ..]` with every channel brought from this mean and variance
    /// to 0 and 1, then scaled and shifted: one number a channel of each.
    ///
    /// # Errors
    /// [`Error::Shape`] where `x` has fewer than two axes or another operand is
    /// not of shape `[c]`, [`Error::ElementType`] where one is not `f32`.
    ///
    /// # Source
    /// Ioffe and Szegedy 2015, algorithm 2; ONNX `BatchNormalization`.
    pub fn batch_norm(
        &mut self,
        x: Value,
        scale: Value,
        bias: Value,
        mean: Value,
        variance: Value,
        epsilon: f32,
    ) -> Result<Value, Error> {
        let op = BatchNorm { epsilon: Float(epsilon), of_batch: false };
        self.apply(op, &[x, scale, bias, mean, variance])
    }

    /// `x` `[n, c, ..]` with every channel brought to mean 0 and variance 1 over
    /// the batch, then scaled and shifted; and the running averages `mean` and
    /// `variance` after this batch, old · momentum + new · (1 − momentum).
    ///
    /// The variance is that of the population, in the running average too;
    /// PyTorch averages n/(n − 1) of it there, and its momentum is one minus
    /// this.
    ///
    /// # Errors
    /// As [`Graph::batch_norm`].
    ///
    /// # Source
    /// Ioffe and Szegedy 2015, algorithm 1; ONNX `BatchNormalization`,
    /// `training_mode=1`, written without it because the CUDA provider has no
    /// such kernel.
    #[expect(clippy::too_many_arguments, reason = "the operator's operands and attributes")]
    pub fn batch_norm_training(
        &mut self,
        x: Value,
        scale: Value,
        bias: Value,
        mean: Value,
        variance: Value,
        epsilon: f32,
        momentum: f32,
    ) -> Result<BatchNormTraining, Error> {
        let op = BatchNorm { epsilon: Float(epsilon), of_batch: true };
        op.infer(&[x, scale, bias, mean, variance].map(|v| self.ty(v)))?;
        let [batch_mean, batch_variance] = self.moments(x)?;
        Ok(BatchNormTraining {
            y: self.apply(op, &[x, scale, bias, batch_mean, batch_variance])?,
            mean: self.running(mean, batch_mean, momentum)?,
            variance: self.running(variance, batch_variance, momentum)?,
        })
    }

    /// The mean and the variance of every channel.
    fn moments(&mut self, x: Value) -> Result<[Value; 2], Error> {
        if self.kernels()
            && let [mean, variance] = self.apply_all(Moments, &[x])?[..]
        {
            return Ok([mean, variance]);
        }
        let axes = reduced(self.shape(x));
        let mean = self.reduce_mean(x, &axes, true)?;
        let centred = self.sub(x, mean)?;
        let square = self.mul(centred, centred)?;
        let variance = self.reduce_mean(square, &axes, false)?;
        let shape = self.shape(variance).to_vec();
        Ok([self.reshape(mean, &shape)?, variance])
    }

    fn running(&mut self, old: Value, new: Value, momentum: f32) -> Result<Value, Error> {
        let (keep, take) = (self.scalar(momentum), self.scalar(1.0 - momentum));
        let (old, new) = (self.mul(old, keep)?, self.mul(new, take)?);
        self.add(old, new)
    }
}
