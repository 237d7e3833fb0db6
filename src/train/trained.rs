//! All that is trained, in one flat buffer: the encoder, and what the objective has
//! of its own.

use onnx_grad::{Error, Graph, Layout, Value};

use crate::objective::{self, LARGEST_LOG_SCALE};

/// Where everything that is trained lies.
#[derive(Debug)]
pub(super) struct Trained {
    layout: Layout,
    encoder: Layout,
    objective: Layout,
    /// The objective's first values, flat by its layout.
    first: Vec<f32>,
    learns_temperature: bool,
}

impl Trained {
    /// What is trained of an encoder whose projections have this width, and of an
    /// objective.
    pub fn new(
        encoder: &Layout,
        width: usize,
        settings: &objective::Settings,
    ) -> Result<Self, Error> {
        let (mut layout, mut own) = (encoder.clone(), Layout::new());
        let parameters = settings.parameters(width);
        for (parameter, _) in &parameters {
            layout.push(parameter.clone())?;
            own.push(parameter.clone())?;
        }
        let mut first = vec![0.0; own.len()];
        for (parameter, values) in &parameters {
            let mut alone = Layout::new();
            alone.push(parameter.clone())?;
            own.put(&mut first, &alone, values)?;
        }
        let learns_temperature = settings.learns_temperature();
        Ok(Self { layout, encoder: encoder.clone(), objective: own, first, learns_temperature })
    }

    /// The layout of the flat buffer.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The flat buffer before the first step.
    pub fn initial(&self, encoder: &[f32]) -> Result<Vec<f32>, Error> {
        let mut flat = vec![0.0; self.layout.len()];
        self.layout.put(&mut flat, &self.encoder, encoder)?;
        self.layout.put(&mut flat, &self.objective, &self.first)?;
        Ok(flat)
    }

    /// The encoder's part of a flat buffer.
    pub fn of_encoder(&self, flat: &[f32]) -> Result<Vec<f32>, Error> {
        self.layout.take(flat, &self.encoder)
    }

    /// The encoder's parameters and the objective's, cut out of a flat value.
    pub fn bind(&self, g: &mut Graph, flat: Value) -> Result<(Vec<Value>, Vec<Value>), Error> {
        let mut bound = self.layout.bind_flat(g, flat)?;
        let objective = bound.split_off(self.encoder.parameters().len());
        Ok((bound, objective))
    }

    /// The learned temperature of a flat buffer.
    pub fn temperature(&self, flat: &[f32]) -> Option<f32> {
        // the last parameter pushed, and without decay: the last number
        flat.last().filter(|_| self.learns_temperature).map(|log_scale| (-log_scale).exp())
    }

    /// The flat parameters with the learned temperature kept above its limit.
    ///
    /// # Source
    /// Radford et al. 2021 (CLIP), § 2.5: the scale is clipped, not its slope, so that it
    /// may come back.
    pub fn limited(&self, g: &mut Graph, flat: Value) -> Result<Value, Error> {
        if !self.learns_temperature {
            return Ok(flat);
        }
        let parts = g.split(flat, 0, &[self.layout.len() - 1, 1])?;
        let largest = g.scalar(LARGEST_LOG_SCALE);
        let log_scale = g.minimum(parts[1], largest)?;
        g.concat(&[parts[0], log_scale], 0)
    }
}

#[cfg(test)]
mod tests {
    use onnx_grad::Parameter;

    use super::*;
    use crate::objective::{Objective, Settings, Temperature};

    #[test]
    fn parts_come_back_and_the_temperature_is_the_last_number() {
        let mut encoder = Layout::new();
        encoder.push(Parameter::new("bias", &[2], false)).unwrap();
        encoder.push(Parameter::new("weight", &[3], true)).unwrap();
        let settings = Settings { kind: Objective::Cpc, temperature: Temperature::Learned(0.25) };
        let trained = Trained::new(&encoder, 2, &settings).unwrap();
        let flat = trained.initial(&[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
        // with decay: weight, then CPC's; without: bias, then the temperature
        let log_scale = 4f32.ln();
        assert_eq!(flat, [1.0, 2.0, 3.0, 1.0, 0.0, 0.0, 1.0, 4.0, 5.0, log_scale]);
        assert_eq!(trained.layout().decayed(), 7);
        assert_eq!(trained.of_encoder(&flat).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0]);
        assert!((trained.temperature(&flat).unwrap() - 0.25).abs() < 1e-6);
        let fixed = Settings { temperature: Temperature::Fixed(0.25), ..settings };
        let fixed = Trained::new(&encoder, 2, &fixed).unwrap();
        assert_eq!(fixed.temperature(&flat), None);
        assert_eq!(fixed.layout().len(), flat.len() - 1);
    }
}
