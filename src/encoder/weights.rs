//! The numbers of an encoder: fresh ones, and those of a file.

use std::{collections::HashMap, path::Path};

use onnx_grad::{Layout, Parameter};
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
        let mut places = [0, 0];
        for ((parameter, init), &trained) in self.declared.parameters.iter().zip(&self.is_trained) {
            let (layout, flat, place) = match trained {
                true => (&self.trained, &mut weights.trained, &mut places[0]),
                false => (&self.frozen, &mut weights.frozen, &mut places[1]),
            };
            fill(layout, *place, parameter, init, flat, &mut rng);
            *place += 1;
        }
        for (index, (buffer, init)) in self.declared.buffers.iter().enumerate() {
            fill(&self.buffers, index, buffer, init, &mut weights.buffers, &mut rng);
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

fn fill(
    layout: &Layout,
    index: usize,
    parameter: &Parameter,
    init: &Init,
    flat: &mut [f32],
    rng: &mut ChaCha8Rng,
) {
    let count: usize = parameter.shape.iter().product();
    let Some(values) = layout.offset(index).and_then(|at| flat.get_mut(at..at + count)) else {
        return;
    };
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
    let file: HashMap<String, (Vec<usize>, Vec<f32>)> = imported::numbers(path)?;
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

/// The index of the first parameter that is trained, where only so many of the
/// last blocks are, with all that follows them.
pub(super) fn first_trained<'a>(
    names: impl Iterator<Item = &'a str>,
    blocks: usize,
) -> Result<usize, EncoderError> {
    let mut starts: Vec<usize> = Vec::new();
    let mut seen: Vec<&str> = Vec::new();
    let mut count = 0;
    for (index, name) in names.enumerate() {
        count = index + 1;
        let block = block_of(name);
        if !block.is_empty() && !seen.contains(&block) {
            seen.push(block);
            starts.push(index);
        }
    }
    match blocks {
        0 => Ok(first_of_projector(count)),
        _ => starts
            .len()
            .checked_sub(blocks)
            .and_then(|at| starts.get(at).copied())
            .ok_or(EncoderError::Blocks { asked: blocks, blocks: starts.len() }),
    }
}
