//! The state of a run on disk: parameters, moments, step and metrics.

use std::{collections::HashMap, io::Write, path::Path};

use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use super::monitor::MetricRow;
use crate::{
    durable::{self, DurableError},
    runtime::StateVariable,
};

/// Why a checkpoint cannot be written or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckpointError {
    /// It did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The system refused.
    #[error("the checkpoint cannot be {action}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is damaged or of another kind.
    #[error("the checkpoint is damaged ({what}); remove it to train from the start")]
    Damaged {
        /// What is wrong.
        what: &'static str,
    },
}

/// What a run needs to go on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct State {
    /// Steps made.
    pub step: usize,
    /// Parameters, moments and running averages, flat.
    pub variables: Vec<StateVariable>,
    /// One row a step.
    pub metrics: Vec<MetricRow>,
}

/// The tensor of bytes that holds the rows, as postcard lays them out.
const METRICS: &str = "metrics";
/// What changes when the layout of a checkpoint does.
const FORMAT: &str = "3";

impl State {
    /// The state before the first step.
    pub fn fresh(variables: Vec<StateVariable>) -> Self {
        Self { step: 0, variables, metrics: Vec::new() }
    }

    /// Takes over the values of the session, in the order of the variables.
    pub fn take(&mut self, values: Vec<Vec<f32>>) {
        for (variable, values) in self.variables.iter_mut().zip(values) {
            variable.values = values;
        }
    }

    /// The values of a variable; none where there is no such one.
    pub fn values(&self, name: &str) -> Vec<f32> {
        let found = self.variables.iter().find(|variable| variable.name == name);
        found.map(|variable| variable.values.clone()).unwrap_or_default()
    }

    /// Writes the state as a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn write(&self, path: &Path, digest: &str) -> Result<(), CheckpointError> {
        let unfit = || CheckpointError::Damaged { what: "it cannot be laid out" };
        let bytes_of = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let variables = self.variables.iter();
        let mut parts: Vec<(&str, Dtype, Vec<u8>)> =
            variables.map(|v| (v.name.as_str(), Dtype::F32, bytes_of(&v.values))).collect();
        let metrics = postcard::to_stdvec(&self.metrics).map_err(|_| unfit())?;
        parts.push((METRICS, Dtype::U8, metrics));
        let views = parts
            .iter()
            .map(|(name, dtype, bytes)| {
                let count = bytes.len() * 8 / dtype.bitsize();
                Ok((*name, TensorView::new(*dtype, vec![count], bytes).map_err(|_| unfit())?))
            })
            .collect::<Result<Vec<_>, CheckpointError>>()?;
        let about = HashMap::from([
            ("format".to_owned(), FORMAT.to_owned()),
            ("digest".to_owned(), digest.to_owned()),
            ("step".to_owned(), self.step.to_string()),
        ]);
        let bytes = safetensors::serialize(views, Some(about)).map_err(|_| unfit())?;
        durable::write_atomically(path, |out| {
            out.write_all(&bytes)
                .map_err(|source| CheckpointError::Io { action: "written", source })
        })
    }

    /// The state of an earlier run with the same digest and these variables, if
    /// there is one.
    ///
    /// # Errors
    /// [`CheckpointError`] where there is a file and it is damaged.
    pub fn open(
        path: &Path,
        digest: &str,
        names: &[&str],
    ) -> Result<Option<Self>, CheckpointError> {
        let bytes = match std::fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(CheckpointError::Io { action: "read", source }),
        };
        let damaged = |what| CheckpointError::Damaged { what };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(|_| damaged("its header"))?;
        let about = header.metadata().as_ref();
        let entry = |key: &str| about.and_then(|about| about.get(key));
        let is = |key: &str, wanted: &str| entry(key).is_some_and(|value| value == wanted);
        if !is("digest", digest) || !is("format", FORMAT) {
            return Ok(None);
        }
        let step = entry("step").and_then(|s| s.parse().ok()).ok_or_else(|| damaged("its step"))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(|_| damaged("its tensors"))?;
        let read = |name: &str| -> Result<Vec<f32>, CheckpointError> {
            let tensor = tensors.tensor(name).map_err(|_| damaged("a tensor is missing"))?;
            let (values, _) = tensor.data().as_chunks::<4>();
            Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())
        };
        let metrics = tensors.tensor(METRICS).map_err(|_| damaged("a tensor is missing"))?;
        let metrics = postcard::from_bytes(metrics.data()).map_err(|_| damaged("its metrics"))?;
        let variables = names
            .iter()
            .map(|&name| Ok(StateVariable { name: name.to_owned(), values: read(name)? }))
            .collect::<Result<_, CheckpointError>>()?;
        Ok(Some(Self { step, variables, metrics }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(values: &[f32]) -> State {
        State::fresh(vec![StateVariable { name: "params".to_owned(), values: values.to_vec() }])
    }

    #[test]
    fn a_state_comes_back_for_its_digest_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        let mut state = state(&[1.5, -2.0, 3.25]);
        state.step = 2;
        let row = |step| MetricRow {
            step,
            loss: 0.1,
            rank_me: (step == 1).then_some(3.5),
            alarms: (step == 0).then(|| "collapse".to_owned()),
            ..MetricRow::default()
        };
        state.metrics = (0..2).map(row).collect();
        assert_eq!(State::open(&path, "a", &["params"]).unwrap(), None);
        state.write(&path, "a").unwrap();
        assert_eq!(State::open(&path, "a", &["params"]).unwrap(), Some(state));
        assert_eq!(State::open(&path, "b", &["params"]).unwrap(), None);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_no_panic() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("checkpoint.safetensors");
        state(&[0.5; 9]).write(&path, "a").unwrap();
        let whole = std::fs::read(&path).unwrap();
        for length in 0..whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            assert!(!matches!(State::open(&path, "a", &["params"]), Ok(Some(_))), "{length}");
        }
    }
}
