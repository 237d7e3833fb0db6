//! Normalisation of each example by itself.

use super::batch_norm::column;
use super::{Attribute, Float, KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{self, ElementType, TensorType, count};

/// Outputs Y, Mean and InvStdDev; the last two have ones for the axes from
/// `axis` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LayerNorm {
    axis: usize,
    epsilon: Float,
    /// Whether the scale is known to be one everywhere, and there is no bias:
    /// the result is then what its cotangent needs of x.
    plain: bool,
}

impl Operator for LayerNorm {
    fn name(&self) -> &'static str {
        "LayerNormalization"
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        if inputs.iter().any(|x| x.element != ElementType::F32) {
            return Err(Error::element_type(self.name(), "F32", inputs));
        }
        match inputs {
            [x, factors @ ..]
                if self.axis < x.shape.len()
                    && matches!(factors.len(), 1 | 2)
                    && factors.iter().all(|f| f.shape == x.shape[self.axis..]) =>
            {
                let mut moment = (*x).clone();
                moment.shape[self.axis..].fill(1);
                Ok(vec![(*x).clone(), moment.clone(), moment])
            }
            _ => {
                let axis = self.axis;
                let required = format!("scale and bias of the operand's shape from axis {axis} on");
                Err(Error::shape(self.name(), required, inputs))
            }
        }
    }

    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("axis", Attribute::Int(self.axis as i64)),
            ("epsilon", Attribute::Float(self.epsilon.0)),
        ]
    }

    fn optional_outputs(&self) -> bool {
        true
    }

    /// With x̂ = (x − μ)/σ and h = scale·dy: dx = (h − mean h − x̂·mean(h·x̂))/σ.
    ///
    /// The source is Ba, Kiros and Hinton 2016, equation 4, differentiated.
    fn vjp(&self, g: &mut Graph, node: &Pullback) -> Result<Vec<Option<Value>>, Error> {
        if node.cotangents[1..].iter().any(Option::is_some) {
            return Err(node.no_gradient(self.name(), " through Mean and InvStdDev"));
        }
        let (x, scale) = (node.inputs[0], node.inputs[1]);
        let (mean, inverse) = (node.outputs[1], node.outputs[2]);
        let dy = node.cotangent(g, 0)?;
        if g.kernels() {
            let cotangents = g.apply_all(LayerNormGrad, &[dy, x, scale, mean, inverse])?;
            return Ok(cotangents.into_iter().map(Some).collect());
        }
        let shape = g.shape(scale).to_vec();
        let (normal, h) = if self.plain {
            (node.outputs[0], dy)
        } else {
            let centred = g.sub(x, mean)?;
            (g.mul(centred, inverse)?, g.mul(dy, scale)?)
        };
        let mut cotangents = vec![None; node.inputs.len()];
        if node.wanted[0] {
            let axes: Vec<i64> = (self.axis..g.shape(x).len()).map(|a| a as i64).collect();
            let shift = g.reduce_mean(h, &axes, true)?;
            let aligned = g.mul(h, normal)?;
            let slope = g.reduce_mean(aligned, &axes, true)?;
            let along = g.mul(normal, slope)?;
            let rest = g.sub(h, shift)?;
            let rest = g.sub(rest, along)?;
            cotangents[0] = Some(g.mul(rest, inverse)?);
        }
        if node.wanted[1] {
            let product = g.mul(dy, normal)?;
            cotangents[1] = Some(g.sum_to(product, &shape)?);
        }
        if node.wanted.get(2) == Some(&true) {
            cotangents[2] = Some(g.sum_to(dy, &shape)?);
        }
        Ok(cotangents)
    }
}

/// The cotangents of x, scale and bias, from that of y, x, scale, Mean and
/// InvStdDev.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LayerNormGrad;

impl Operator for LayerNormGrad {
    fn name(&self) -> &'static str {
        "LayerNormalizationGrad"
    }

    fn domain(&self) -> &'static str {
        KERNELS
    }

    fn infer(&self, inputs: &[&TensorType]) -> Result<Vec<TensorType>, Error> {
        let inputs = [inputs.get(1), inputs.get(2), inputs.get(2)];
        Ok(inputs.into_iter().flatten().map(|&x| x.clone()).collect())
    }
}

impl Graph {
    /// `x` brought to mean 0 and variance 1 over the axes from `axis` on, then
    /// scaled and, where there is a bias, shifted by values of the shape of
    /// those axes.
    ///
    /// # Errors
    /// [`Error::Shape`] where scale or bias have another shape,
    /// [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// Ba, Kiros and Hinton 2016, equation 4; ONNX `LayerNormalization`.
    pub fn layer_norm(
        &mut self,
        x: Value,
        scale: Value,
        bias: impl Into<Option<Value>>,
        axis: i64,
        epsilon: f32,
    ) -> Result<Value, Error> {
        let axis = shape::axis("LayerNormalization", axis, self.ty(x))?;
        let op = LayerNorm { axis, epsilon: Float(epsilon), plain: false };
        let operands: Vec<Value> = [x, scale].into_iter().chain(bias.into()).collect();
        self.apply(op, &operands)
    }

    /// `x` `[n, c, ..]` with every group of channels of every example brought to
    /// mean 0 and variance 1, then scaled and shifted by one number a channel.
    ///
    /// # Errors
    /// [`Error::Shape`] where the channels do not fall into so many groups of
    /// one size, or scale or bias are not of shape `[c]`;
    /// [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// Wu and He 2018, equation 7; ONNX `GroupNormalization` of opset 21, where
    /// scale and bias became one a channel, in operators of opset 20.
    pub fn group_norm(
        &mut self,
        x: Value,
        groups: usize,
        scale: Value,
        bias: Value,
        epsilon: f32,
    ) -> Result<Value, Error> {
        self.norm_of_groups("GroupNormalization", x, groups, scale, bias, epsilon)
    }

    /// `x` `[n, c, ..]` with every channel of every example brought to mean 0
    /// and variance 1, then scaled and shifted by one number a channel.
    ///
    /// # Errors
    /// [`Error::Shape`] where `x` has fewer than two axes, or scale or bias are
    /// not of shape `[c]`; [`Error::ElementType`] where an operand is not `f32`.
    ///
    /// # Source
    /// Ulyanov, Vedaldi and Lempitsky 2016, equation 4; ONNX
    /// `InstanceNormalization`.
    pub fn instance_norm(
        &mut self,
        x: Value,
        scale: Value,
        bias: Value,
        epsilon: f32,
    ) -> Result<Value, Error> {
        let groups = self.shape(x).get(1).copied().unwrap_or(0);
        self.norm_of_groups("InstanceNormalization", x, groups, scale, bias, epsilon)
    }

    fn norm_of_groups(
        &mut self,
        operator: &'static str,
        x: Value,
        groups: usize,
        scale: Value,
        bias: Value,
        epsilon: f32,
    ) -> Result<Value, Error> {
        let operands = [self.ty(x), self.ty(scale), self.ty(bias)];
        if operands.iter().any(|ty| ty.element != ElementType::F32) {
            return Err(Error::element_type(operator, "F32", &operands));
        }
        let shape = operands[0].shape.clone();
        let fits = |&[_, channels]: &[usize; 2]| {
            channels.checked_rem(groups) == Some(0)
                && operands[1..].iter().all(|ty| ty.shape == [channels])
        };
        let Some(&[examples, channels]) = shape.first_chunk().filter(|outer| fits(outer)) else {
            let required = format!("[n, c, ..] in {groups} groups, scale and bias of shape [c]");
            return Err(Error::shape(operator, required, &operands));
        };
        let size = (channels / groups).saturating_mul(count(&shape[2..]));
        let one = self.scalar(1.0);
        let ones = self.expand(one, &[size])?;
        let grouped = self.reshape(x, &[examples, groups, size])?;
        let op = LayerNorm { axis: 2, epsilon: Float(epsilon), plain: true };
        let normal = self.apply(op, &[grouped, ones])?;
        let normal = self.reshape(normal, &shape)?;
        let column = column(&shape);
        let (scale, bias) = (self.reshape(scale, &column)?, self.reshape(bias, &column)?);
        let scaled = self.mul(normal, scale)?;
        self.add(scaled, bias)
    }
}
