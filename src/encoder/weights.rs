//! The numbers of an encoder: fresh ones, and those of a file.

use std::path::Path;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

use super::{Encoder, EncoderError, Init, imported};
use crate::durable;

/// The numbers of an encoder, flat by the layouts of the same names.
#[derive(Debug, Clone, PartialEq)]
pub struct Weights {
    /// What is trained.
    pub trained: Vec<f32>,
    /// What keeps its values.
    pub frozen: Vec<f32>,
    /// Running averages.
    pub buffers: Vec<f32>,
}

impl Encoder {
    /// The weights before training: drawn from the seed, or those of the file
    /// that the settings name.
    pub fn initial_weights(&self, seed: u64) -> Weights {
        // one stream over all parameters: freezing changes no draw
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut weights = Weights {
            trained: vec![0.0; self.trained.len()],
            frozen: vec![0.0; self.frozen.len()],
            buffers: vec![0.0; self.buffers.len()],
        };
        let Weights { trained, frozen, buffers } = &mut weights;
        let mut parts =
            [(&self.trained, trained), (&self.frozen, frozen), (&self.buffers, buffers)];
        for (parameter, init) in self.declared.parameters.iter().chain(&self.declared.buffers) {
            let count: usize = parameter.shape.iter().product();
            let values = parts.iter_mut().find_map(|(layout, flat)| {
                let at = layout.offset(layout.find(&parameter.name)?)?;
                flat.get_mut(at..at + count)
            });
            if let Some(values) = values {
                fill(values, init, &mut rng);
            }
        }
        weights
    }

    /// SHA-256 of the numbers that came from files; empty where none did.
    pub fn source_digest(&self) -> String {
        let all = self.declared.parameters.iter().chain(&self.declared.buffers);
        let given = all.filter_map(|(_, init)| match init {
            Init::Given(values) => Some(values),
            _ => None,
        });
        let bytes: Vec<u8> = given.flatten().flat_map(|v| v.to_le_bytes()).collect();
        if bytes.is_empty() { String::new() } else { durable::sha256_hex(&bytes) }
    }
}

fn fill(values: &mut [f32], init: &Init, rng: &mut ChaCha8Rng) {
    match init {
        Init::Constant(value) => values.fill(*value),
        Init::Normal(deviation) => {
            if let Ok(normal) = Normal::new(0.0, *deviation) {
                values.fill_with(|| normal.sample(rng));
            }
        }
        Init::Given(given) => values.copy_from_slice(given),
    }
}

/// Lets the parameters and buffers that a file has under the same names begin
/// with its numbers.
pub(super) fn take_from_file(encoder: &mut Encoder, path: &Path) -> Result<(), EncoderError> {
    let file = imported::numbers(path)?;
    let refuse = |reason: String| EncoderError::Weights { path: path.to_owned(), reason };
    let declared = &mut encoder.declared;
    let total = declared.parameters.len() + declared.buffers.len();
    let mut taken = 0;
    for (parameter, init) in declared.parameters.iter_mut().chain(&mut declared.buffers) {
        let Some((shape, values)) = file.get(&parameter.name) else { continue };
        if *shape != parameter.shape {
            return Err(refuse(format!(
                "{} is {:?} in the encoder and {shape:?} in the file",
                parameter.name, parameter.shape
            )));
        }
        *init = Init::Given(values.clone());
        taken += 1;
    }
    if taken == 0 {
        return Err(refuse(format!("none of the encoder's {total} names is among them")));
    }
    encoder.remarks.push(format!("{taken} of {total} tensors begin with the weights of the file"));
    Ok(())
}
