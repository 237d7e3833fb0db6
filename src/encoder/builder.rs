//! One description of a network that says both what its parameters are and what
//! it computes.

use onnx_grad::{ElementType, Graph, Parameter, Sliding, Value};

use super::EncoderError;

/// How a parameter begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Init {
    /// All elements this number.
    Constant(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// These elements.
    Given(Vec<f32>),
}

/// Whether statistics are those of the batch or those kept from training.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// Batch statistics; dropout, where a network has it, is drawn from the
    /// number of the step, a scalar.
    Train {
        /// The number of the step.
        step: Value,
    },
    /// Running averages, no dropout.
    Infer,
}

/// What a network has: parameters that are trained, buffers that follow.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub parameters: Vec<(Parameter, Init)>,
    pub buffers: Vec<(Parameter, Init)>,
}

/// The values of a network's parameters and buffers in a graph, in the order in
/// which the network asks for them.
pub(super) struct Bound<'a> {
    pub parameters: std::slice::Iter<'a, Value>,
    pub buffers: std::slice::Iter<'a, Value>,
}

/// Where a network's parameters come from.
pub(super) enum Source<'a> {
    /// From nowhere yet: they are written down, and stand in as inputs.
    Declare(&'a mut Declared),
    /// From values of the graph.
    Bind(Bound<'a>),
}

/// A graph in which a network is being laid out.
pub(super) struct Builder<'a> {
    pub g: &'a mut Graph,
    source: Source<'a>,
    mode: Mode,
    /// The buffers after the step, in their order.
    pub next_buffers: Vec<Value>,
}

impl<'a> Builder<'a> {
    pub fn new(g: &'a mut Graph, source: Source<'a>, mode: Mode) -> Self {
        Self { g, source, mode, next_buffers: Vec::new() }
    }

    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// The next parameter.
    pub fn parameter(&mut self, parameter: Parameter, init: Init) -> Result<Value, EncoderError> {
        match &mut self.source {
            Source::Declare(declared) => {
                let value = self.g.input(&parameter.name, ElementType::F32, &parameter.shape);
                declared.parameters.push((parameter, init));
                Ok(value)
            }
            Source::Bind(bound) => bound.parameters.next().copied().ok_or_else(missing),
        }
    }

    /// The next buffer: state that follows the batches and has no gradient.
    pub fn buffer(
        &mut self,
        name: String,
        shape: &[usize],
        init: Init,
    ) -> Result<Value, EncoderError> {
        match &mut self.source {
            Source::Declare(declared) => {
                let value = self.g.input(&name, ElementType::F32, shape);
                declared.buffers.push((Parameter::new(name, shape, false), init));
                Ok(value)
            }
            Source::Bind(bound) => bound.buffers.next().copied().ok_or_else(missing),
        }
    }

    /// x W + b, over the last axis.
    ///
    /// # Source
    /// Weights: Glorot and Bengio 2010, eq. 12, by its normal form.
    pub fn linear(&mut self, x: Value, name: &str, outputs: usize) -> Result<Value, EncoderError> {
        let inputs = self.g.shape(x).last().copied().unwrap_or(1);
        let deviation = (2.0 / (inputs + outputs) as f32).sqrt();
        let weight = Parameter::new(format!("{name}.weight"), &[inputs, outputs], true);
        let weight = self.parameter(weight, Init::Normal(deviation))?;
        let bias = Parameter::new(format!("{name}.bias"), &[outputs], false);
        let bias = self.parameter(bias, Init::Constant(0.0))?;
        Ok(self.g.linear(x, weight, bias)?)
    }

    /// Layer normalisation over the last axis.
    pub fn layer_norm(&mut self, x: Value, name: &str) -> Result<Value, EncoderError> {
        let dim = self.g.shape(x).last().copied().unwrap_or(1);
        let (scale, bias) = self.scale_and_bias(name, dim)?;
        Ok(self.g.layer_norm(x, scale, bias, -1, 1e-6)?)
    }

    /// Batch normalisation of every channel, axis 1.
    ///
    /// # Source
    /// Ioffe and Szegedy 2015, algorithm 1; running averages with momentum 0.9.
    pub fn batch_norm(&mut self, x: Value, name: &str) -> Result<Value, EncoderError> {
        let channels = self.g.shape(x).get(1).copied().unwrap_or(1);
        let (scale, bias) = self.scale_and_bias(name, channels)?;
        let mean = self.buffer(format!("{name}.running_mean"), &[channels], Init::Constant(0.0))?;
        let variance =
            self.buffer(format!("{name}.running_var"), &[channels], Init::Constant(1.0))?;
        match self.mode {
            Mode::Infer => Ok(self.g.batch_norm(x, scale, bias, mean, variance, 1e-5)?),
            Mode::Train { .. } => {
                let out = self.g.batch_norm_training(x, scale, bias, mean, variance, 1e-5, 0.9)?;
                self.next_buffers.extend([out.mean, out.variance]);
                Ok(out.y)
            }
        }
    }

    /// Normalisation of every group of channels, axis 1, of every example.
    pub fn group_norm(
        &mut self,
        x: Value,
        name: &str,
        groups: usize,
    ) -> Result<Value, EncoderError> {
        let channels = self.g.shape(x).get(1).copied().unwrap_or(1);
        let (scale, bias) = self.scale_and_bias(name, channels)?;
        Ok(self.g.group_norm(x, groups, scale, bias, 1e-5)?)
    }

    /// Convolution without bias to so many channels.
    ///
    /// # Source
    /// Weights: He et al. 2015, eq. 14, by the fan out.
    pub fn conv(
        &mut self,
        x: Value,
        name: &str,
        outputs: usize,
        kernel: &[usize],
        sliding: &Sliding,
    ) -> Result<Value, EncoderError> {
        let channels = self.g.shape(x).get(1).copied().unwrap_or(1);
        let fan_out = outputs * kernel.iter().product::<usize>();
        let shape = [&[outputs, channels], kernel].concat();
        let weight = Parameter::new(format!("{name}.weight"), &shape, true);
        let weight = self.parameter(weight, Init::Normal((2.0 / fan_out as f32).sqrt()))?;
        Ok(self.g.conv(x, weight, None, 1, sliding)?)
    }

    /// As [`Builder::conv`], with a bias for each channel: where no normalisation follows.
    pub fn conv_with_bias(
        &mut self,
        x: Value,
        name: &str,
        outputs: usize,
        kernel: &[usize],
        sliding: &Sliding,
    ) -> Result<Value, EncoderError> {
        let x = self.conv(x, name, outputs, kernel, sliding)?;
        let bias = Parameter::new(format!("{name}.bias"), &[outputs], false);
        let bias = self.parameter(bias, Init::Constant(0.0))?;
        let over = [&[outputs][..], &vec![1; kernel.len()]].concat();
        let bias = self.g.reshape(bias, &over)?;
        Ok(self.g.add(x, bias)?)
    }

    fn scale_and_bias(&mut self, name: &str, n: usize) -> Result<(Value, Value), EncoderError> {
        let scale = Parameter::new(format!("{name}.weight"), &[n], false);
        let scale = self.parameter(scale, Init::Constant(1.0))?;
        let bias = Parameter::new(format!("{name}.bias"), &[n], false);
        Ok((scale, self.parameter(bias, Init::Constant(0.0))?))
    }
}

/// A network asks for the same parameters every time, so this is not reached.
fn missing() -> EncoderError {
    EncoderError::Shape { requirement: "a value for every parameter", received: "fewer".to_owned() }
}
