//! The node cases that the `onnx` wheel carries, imported, written and run.
//!
//! `conformance.txt` lists the operators, and every case that is not run with
//! the reason. A case that is listed and passes, or is not and fails, or is
//! listed and absent, fails the test.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use onnx_grad::{Binding, Error, Forward, Graph, ImportOptions, Mode, Signature, Value, model};
use ort::session::SessionInputValue;
use ort::value::{DynValue, Tensor, TensorElementType};
use prost::Message;

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

/// Where the cases are: `ONNX_NODE_CASES`, or written by the wheel in `.venv`.
fn cases(operators: &[&str]) -> PathBuf {
    if let Some(folder) = std::env::var_os("ONNX_NODE_CASES") {
        return folder.into();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("onnx_node_cases");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let _ = fs::remove_dir_all(&folder);
    let status = Command::new(root.join("../../.venv/bin/python"))
        .arg("-Wignore")
        .arg(root.join("tests/conformance/generate.py"))
        .arg(&folder)
        .args(operators)
        .status();
    assert!(
        status.as_ref().is_ok_and(std::process::ExitStatus::success),
        "the onnx wheel in .venv writes its cases: {status:?}; `pip install -r requirements.txt`"
    );
    folder
}

/// A tensor of a case, as numbers.
struct Numbers {
    message: model::TensorProto,
    shape: Vec<usize>,
    data: Vec<f64>,
}

impl Numbers {
    fn read(path: &Path) -> Option<Self> {
        let message = model::TensorProto::decode(&fs::read(path).ok()?[..]).ok()?;
        let shape: Vec<usize> = message.dims.iter().map(|&n| n as usize).collect();
        let raw = &message.raw_data;
        let words = |n: usize| raw.chunks_exact(n);
        let data: Vec<f64> = match message.data_type {
            1 => words(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect(),
            2 | 9 => raw.iter().map(|&b| f64::from(b)).collect(),
            3 => raw.iter().map(|&b| f64::from(b as i8)).collect(),
            5 => words(2).map(|b| f64::from(i16::from_le_bytes(b.try_into().unwrap()))).collect(),
            6 => words(4).map(|b| f64::from(i32::from_le_bytes(b.try_into().unwrap()))).collect(),
            7 => words(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f64).collect(),
            11 => words(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect(),
            _ => return None,
        };
        (data.len() == shape.iter().product()).then_some(Self { message, shape, data })
    }

    fn feed(&self) -> SessionInputValue<'static> {
        fn tensor<T: ort::value::PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
            shape: &[usize],
            data: Vec<T>,
        ) -> SessionInputValue<'static> {
            SessionInputValue::from(Tensor::from_array((shape.to_vec(), data)).unwrap())
        }
        let numbers = self.data.iter();
        match self.message.data_type {
            2 => tensor(&self.shape, numbers.map(|&x| x as u8).collect()),
            5 => tensor(&self.shape, numbers.map(|&x| x as i16).collect()),
            6 => tensor(&self.shape, numbers.map(|&x| x as i32).collect()),
            7 => tensor(&self.shape, numbers.map(|&x| x as i64).collect()),
            9 => tensor(&self.shape, numbers.map(|&x| x != 0.0).collect()),
            _ => tensor(&self.shape, numbers.map(|&x| x as f32).collect()),
        }
    }
}

fn numbers(value: &DynValue) -> Vec<f64> {
    match value.data_type() {
        TensorElementType::Float32 => {
            let (_, data) = value.try_extract_tensor::<f32>().unwrap();
            data.iter().map(|&x| f64::from(x)).collect()
        }
        TensorElementType::Int64 => {
            let (_, data) = value.try_extract_tensor::<i64>().unwrap();
            data.iter().map(|&x| x as f64).collect()
        }
        _ => {
            let (_, data) = value.try_extract_tensor::<bool>().unwrap();
            data.iter().map(|&x| f64::from(x)).collect()
        }
    }
}

/// Why a case does not pass.
fn run(folder: &Path, name: &str) -> Result<(), String> {
    let data = folder.join("test_data_set_0");
    let mut message = model::read(&fs::read(folder.join("model.onnx")).unwrap()).unwrap();
    let read = |kind: &str, n: usize| -> Result<Vec<Numbers>, String> {
        let path = |i| data.join(format!("{kind}_{i}.pb"));
        let one = |i| Numbers::read(&path(i)).ok_or_else(|| format!("element type of {kind} {i}"));
        (0..n).map(one).collect()
    };
    let graph = message.graph.as_mut().unwrap();
    let inputs = read("input", graph.input.len())?;
    let outputs = read("output", graph.output.len())?;
    // an empty list is one of axes, or of nothing
    for numbers in inputs.iter().filter(|numbers| numbers.data.is_empty()) {
        graph.initializer.push(numbers.message.clone());
    }
    // shapes, axes and limits are inputs of the cases, and constants of models
    let forward = loop {
        let options = ImportOptions { untrained: true, ..ImportOptions::default() };
        let found = Forward::read(&message.to_bytes(), &options);
        let place = match found {
            Err(Error::Node { ref source, .. }) => match **source {
                Error::NotConstant { operand } => operand,
                _ => return Err(found.unwrap_err().to_string()),
            },
            other => break other.map_err(|e| e.to_string())?,
        };
        let graph_name = graph_operand(&message, place);
        let graph = message.graph.as_mut().unwrap();
        let index = graph.input.iter().position(|i| i.name == graph_name).unwrap();
        graph.initializer.push(inputs[index].message.clone());
    };
    let training = name.contains("training_mode");
    let mut g = Graph::new();
    let fed: Vec<Value> = (forward.inputs().iter())
        .map(|Signature { name, element, shape }| {
            let shape: Vec<usize> = shape.iter().map(|n| n.unwrap()).collect();
            g.input(name, *element, &shape)
        })
        .collect();
    let stored = |what: Result<Vec<Value>, Error>| what.map_err(|e| e.to_string());
    let parameters = stored(forward.layout().bind_initializers(&mut g, &forward.parameters()))?;
    let buffers = stored(forward.buffers().bind_initializers(&mut g, &forward.buffer_values()))?;
    let mode = if training { Mode::Train { seed: None } } else { Mode::Infer };
    let binding = Binding { inputs: &fed, parameters: &parameters, buffers: &buffers, mode };
    let applied = forward.apply(&mut g, binding).map_err(|e| e.to_string())?;
    for (i, (&value, expected)) in applied.outputs.iter().zip(&outputs).enumerate() {
        if g.shape(value) != expected.shape {
            return Err(format!("inferred shape {:?} of output {i}", g.shape(value)));
        }
        g.output(&format!("output_{i}"), value);
    }
    let bytes = model::write(&g, &model::WriteOptions::default()).map_err(|e| e.to_string())?;
    let mut session = runtime::session(&bytes, 1);
    let graph = message.graph.as_ref().unwrap();
    let feeds: Vec<(String, SessionInputValue)> = (graph.input.iter().zip(&inputs))
        .filter(|(info, _)| forward.inputs().iter().any(|s| s.name == info.name))
        .map(|(info, numbers)| (info.name.clone(), numbers.feed()))
        .collect();
    let received = session.run(feeds).map_err(|e| e.to_string())?;
    for (i, expected) in outputs.iter().enumerate() {
        let received = numbers(&received[format!("output_{i}").as_str()]);
        if received.len() != expected.data.len() {
            return Err(format!("{} elements of output {i}", received.len()));
        }
        for (a, b) in received.iter().zip(&expected.data) {
            let close =
                (a - b).abs() <= 1e-5 + 1e-3 * b.abs() || a == b || (a.is_nan() && b.is_nan());
            if !close {
                return Err(format!("output {i}: received {a}, expected {b}"));
            }
        }
    }
    Ok(())
}

/// The name of an operand of the case's node.
fn graph_operand(message: &model::ModelProto, place: usize) -> String {
    message.graph.as_ref().unwrap().node[0].input[place].clone()
}

#[test]
fn node_cases_of_the_standard() {
    let manifest = include_str!("conformance.txt");
    let lines = manifest.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let (operators, skipped): (Vec<&str>, Vec<&str>) =
        lines.partition(|line| line.starts_with("operators "));
    let operators: Vec<&str> =
        operators.iter().flat_map(|line| line.split_whitespace().skip(1)).collect();
    let skipped: BTreeMap<&str, &str> =
        skipped.iter().map(|line| line.split_once(' ').expect("a case and a reason")).collect();
    let folder = cases(&operators);
    let mut found: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    let (mut passed, mut wrong) = (0, Vec::new());
    let mut names = Vec::new();
    for case in &found {
        let name = case.file_name().unwrap().to_string_lossy().into_owned();
        match (run(case, &name), skipped.get(name.as_str())) {
            (Ok(()), None) => passed += 1,
            (Ok(()), Some(_)) => wrong.push(format!("{name} passes, and is listed")),
            (Err(_), Some(_)) => {}
            (Err(reason), None) => wrong.push(format!("{name} {reason}")),
        }
        names.push(name);
    }
    for name in skipped.keys().filter(|name| !names.iter().any(|found| found == *name)) {
        wrong.push(format!("{name} is listed, and is no case"));
    }
    println!("{passed} of {} cases pass, {} are listed", found.len(), skipped.len());
    assert!(wrong.is_empty(), "{} unexpected:\n{}", wrong.len(), wrong.join("\n"));
    assert!(passed > 300, "only {passed} cases");
}
