//! Runs models in ONNX Runtime.

#![allow(dead_code)]

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ort::environment::Environment;
use ort::session::builder::SessionBuilder;
use ort::session::{Session, SessionInputValue};
use ort::value::Tensor;

use crate::reference::Array;

/// Where the library is: `MIVOX_ORT_LIB`, `ORT_DYLIB_PATH`, or the wheel in
/// the workspace's `.venv`.
fn library() -> PathBuf {
    for variable in ["MIVOX_ORT_LIB", "ORT_DYLIB_PATH"] {
        if let Some(path) = std::env::var_os(variable).filter(|path| !path.is_empty()) {
            return path.into();
        }
    }
    let lib = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.venv/lib");
    let found = entries(&lib)
        .into_iter()
        .flat_map(|python| entries(&python.join("site-packages/onnxruntime/capi")))
        .find(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("libonnxruntime.so") || name.starts_with("libonnxruntime.dylib")
        });
    found.unwrap_or_else(|| {
        panic!(
            "ONNX Runtime was not found in MIVOX_ORT_LIB, ORT_DYLIB_PATH or {}: \
             run `make test`, or `pip install onnxruntime` into .venv",
            lib.display()
        )
    })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let list = std::fs::read_dir(folder).into_iter().flatten();
    let mut paths: Vec<_> = list.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

fn environment() -> &'static Environment {
    static ENVIRONMENT: OnceLock<Environment> = OnceLock::new();
    ENVIRONMENT.get_or_init(|| {
        let path = library();
        let loaded = ort::init_from(&path).unwrap_or_else(|error| {
            panic!("ONNX Runtime at {}: {error:?}", path.display());
        });
        loaded.build().unwrap()
    })
}

/// A builder of sessions on this many threads, set up as training needs them.
pub fn builder(threads: usize) -> SessionBuilder {
    let builder = Session::builder(environment()).unwrap();
    let builder = builder.with_intra_threads(threads).unwrap();
    builder.with_memory_pattern(false).unwrap()
}

/// A session on this many threads, of standard operators.
pub fn session(bytes: &[u8], threads: usize) -> Session {
    builder(threads).commit_from_memory(bytes).unwrap()
}

/// A model ready to run.
pub struct Model(Session);

impl Model {
    pub fn load(bytes: &[u8]) -> Self {
        Self(session(bytes, 1))
    }

    pub fn of(session: Session) -> Self {
        Self(session)
    }

    /// The outputs by name, from `f32` inputs.
    pub fn run(&mut self, inputs: &[(&str, &Array)]) -> HashMap<String, Array> {
        let feed = |(name, x): &(&str, &Array)| {
            let data: Vec<f32> = x.data.iter().map(|&v| v as f32).collect();
            let tensor = Tensor::from_array((x.shape.clone(), data)).unwrap();
            ((*name).to_owned(), SessionInputValue::from(tensor))
        };
        let feeds: Vec<_> = inputs.iter().map(feed).collect();
        let outputs = self.0.run(feeds).unwrap();
        outputs
            .iter()
            .map(|(name, value)| {
                let (shape, data) = value.try_extract_tensor::<f32>().unwrap();
                let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
                let data = data.iter().map(|&v| f64::from(v)).collect();
                (name.to_owned(), Array { shape, data })
            })
            .collect()
    }
}
