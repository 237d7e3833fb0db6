//! Normalisation.

use super::{Attribute, Float, KERNELS, Operator, Pullback};
use crate::Error;
use crate::graph::{Graph, Value};
use crate::shape::{self, ElementType, TensorType};

/// Outputs Y, Mean and InvStdDev; the last two have ones for the axes from
/// `axis` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct LayerNorm {
    axis: usize,
    epsilon: Float,
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
            [x, scale, bias]
                if self.axis < x.shape.len()
                    && scale.shape == x.shape[self.axis..]
                    && bias.shape == scale.shape =>
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
        let centred = g.sub(x, mean)?;
        let normal = g.mul(centred, inverse)?;
        let mut cotangents = vec![None; 3];
        if node.wanted[0] {
            let axes: Vec<i64> = (self.axis..g.shape(x).len()).map(|a| a as i64).collect();
            let h = g.mul(dy, scale)?;
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
        if node.wanted[2] {
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
    /// scaled and shifted by values of the shape of those axes.
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
        bias: Value,
        axis: i64,
        epsilon: f32,
    ) -> Result<Value, Error> {
        let axis = shape::axis("LayerNormalization", axis, self.ty(x))?;
        let epsilon = Float(epsilon);
        self.apply(LayerNorm { axis, epsilon }, &[x, scale, bias])
    }
}
