//! What PyTorch makes of exported encoders, and the same in ONNX Runtime.

use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use crate::info_nce::info_nce;
use crate::reference::{self, Array};
use onnx_grad::{
    AdamW, Binding, ElementType, Forward, Graph, ImportOptions, Layout, Mode, Optimizer,
    OptimizerState, Remark, gradient, model,
};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor};
use safetensors::{Dtype, SafeTensors};

/// What a loss may be off by, relative to itself.
const LOSS: f64 = 1e-5;

/// What a gradient may be off by, relative to its root mean square.
const GRADIENT: f64 = 1e-4;

/// The least a gradient counts as, relative to the largest of the model, both
/// as root mean squares. Where a gradient is small because large terms cancel,
/// as that of a scale between two normalisations, their roundings remain.
const FLOOR: f64 = 1e-3;

/// The same for a gradient that is zero but for float64's roundings, as that of
/// a bias before BatchNorm: float32 leaves 2e-7 of the largest, in PyTorch too.
const FLOOR_OF_ZERO: f64 = 1e-2;

/// What makes a gradient one that is zero, relative to the largest.
const ZERO: f64 = 1e-9;

/// What a running average may be off by, relative to the greatest of its tensor.
const AVERAGE: f64 = 1e-5;

/// What the loss may be off by in twenty steps, relative to itself.
const CURVE: f64 = 1e-4;

/// A folder beside this one.
pub fn folder(name: &str) -> PathBuf {
    // the crate may be another one that includes this file
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../onnx-grad/tests").join(name)
}

/// How a training step is built and run.
pub struct Runner {
    pub graph: fn() -> Graph,
    pub session: fn(&[u8]) -> Session,
}

/// What PyTorch makes of a model.
struct Golden {
    settings: serde_json::Value,
    tensors: HashMap<String, Array>,
}

impl Golden {
    fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap();
        let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let settings = &metadata.metadata().as_ref().unwrap()["golden"];
        let stored = SafeTensors::deserialize(&bytes).unwrap();
        let tensors = stored.tensors().into_iter().map(|(name, view)| {
            let data: Vec<f64> = match view.dtype() {
                Dtype::F32 => {
                    let numbers = view.data().as_chunks().0;
                    numbers.iter().map(|&b| f64::from(f32::from_le_bytes(b))).collect()
                }
                Dtype::F64 => {
                    view.data().as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()
                }
                other => panic!("{name} is of {other:?}"),
            };
            (name, Array::new(view.shape(), &data))
        });
        Self { settings: serde_json::from_str(settings).unwrap(), tensors: tensors.collect() }
    }

    fn number(&self, name: &str) -> f32 {
        self.settings[name].as_f64().unwrap() as f32
    }

    /// The loss before each step, in float64 where that was computed.
    fn curve(&self) -> &[f64] {
        let curve = self.tensors.get("curve64").unwrap_or_else(|| &self.tensors["curve32"]);
        &curve.data
    }

    /// The names that stand behind a prefix.
    fn names(&self, prefix: &str) -> BTreeSet<&str> {
        self.tensors.keys().filter_map(|name| name.strip_prefix(prefix)).collect()
    }
}

/// A training step in ONNX Runtime, and what it carries on.
struct Training {
    session: Session,
    adamw: AdamW,
    image: DynValue,
    /// The flat parameters, moments and running averages, by the names of the
    /// inputs.
    state: Vec<(&'static str, DynValue)>,
}

impl Training {
    fn new(runner: &Runner, forward: &Forward, golden: &Golden) -> Self {
        let adamw = AdamW {
            beta1: golden.number("beta1"),
            beta2: golden.number("beta2"),
            epsilon: golden.number("epsilon"),
            weight_decay: golden.number("weight_decay"),
        };
        let image = &golden.tensors["input"];
        let g = (runner.graph)();
        let bytes = graph(g, forward, &image.shape, adamw, golden.number("temperature"));
        // first, since it loads ONNX Runtime
        let session = (runner.session)(&bytes);
        let flat = |data: Vec<f32>| Tensor::from_array(([data.len()], data)).unwrap().into_dyn();
        let zeros = || flat(vec![0.0; forward.layout().len()]);
        let mut state =
            vec![("params", flat(forward.parameters())), ("m", zeros()), ("v", zeros())];
        if !forward.buffers().is_empty() {
            state.push(("buffers", flat(forward.buffer_values())));
        }
        let data: Vec<f32> = image.data.iter().map(|&x| x as f32).collect();
        let image = Tensor::from_array((image.shape.clone(), data)).unwrap().into_dyn();
        Self { session, adamw, image, state }
    }

    /// The loss before the step, and the flat gradient.
    fn step(&mut self, learning_rate: f64, t: u64) -> (f64, Vec<f32>) {
        let mut feeds: Vec<(&str, SessionInputValue)> =
            self.state.iter().map(|(name, value)| (*name, value.into())).collect();
        feeds.push(("image", (&self.image).into()));
        let values = self.adamw.scalar_values(learning_rate, t);
        for (name, value) in self.adamw.scalars().iter().zip(values) {
            let scalar = Tensor::from_array((Vec::<i64>::new(), vec![value])).unwrap();
            feeds.push((name, scalar.into()));
        }
        let mut outputs = self.session.run(feeds).unwrap();
        let loss = f64::from(outputs["loss"].try_extract_scalar::<f32>().unwrap());
        let grads = outputs["grads"].try_extract_tensor::<f32>().unwrap().1.to_vec();
        let next = self
            .state
            .iter()
            .map(|(name, _)| (*name, outputs.remove(format!("next_{name}")).unwrap()));
        let next = next.collect();
        drop(outputs);
        self.state = next;
        (loss, grads)
    }

    fn buffers(&self) -> Vec<f32> {
        let found = self.state.iter().find(|(name, _)| *name == "buffers");
        found.map_or_else(Vec::new, |(_, value)| {
            value.try_extract_tensor::<f32>().unwrap().1.to_vec()
        })
    }
}

/// The training graph of a model under InfoNCE and AdamW.
fn graph(
    mut g: Graph,
    forward: &Forward,
    shape: &[usize],
    adamw: AdamW,
    temperature: f32,
) -> Vec<u8> {
    let layout = forward.layout();
    let [params, m, v] =
        ["params", "m", "v"].map(|name| g.input(name, ElementType::F32, &[layout.len()]));
    let scalars: Vec<_> =
        adamw.scalars().iter().map(|name| g.input(name, ElementType::F32, &[])).collect();
    let image = g.input("image", ElementType::F32, shape);
    let parameters = layout.bind_flat(&mut g, params).unwrap();
    let buffers = match forward.buffers().len() {
        0 => Vec::new(),
        len => {
            let flat = g.input("buffers", ElementType::F32, &[len]);
            forward.buffers().bind_flat(&mut g, flat).unwrap()
        }
    };
    let binding = Binding {
        inputs: &[image],
        parameters: &parameters,
        buffers: &buffers,
        mode: Mode::Train { seed: None },
    };
    let applied = forward.apply(&mut g, binding).unwrap();
    let loss = info_nce(&mut g, applied.outputs[0], temperature).unwrap();
    let grads = gradient(&mut g, loss, &parameters).unwrap();
    let grads = layout.flatten(&mut g, &grads).unwrap();
    let state = OptimizerState { params, moments: vec![m, v] };
    let next = adamw.update(&mut g, layout, &state, grads, &scalars).unwrap();
    g.output("loss", loss);
    g.output("grads", grads);
    g.output("next_params", next.params);
    g.output("next_m", next.moments[0]);
    g.output("next_v", next.moments[1]);
    if !buffers.is_empty() {
        let next = forward.buffers().flatten(&mut g, &applied.buffers).unwrap();
        g.output("next_buffers", next);
    }
    model::write(&g, &model::WriteOptions::default()).unwrap()
}

/// The parts of a flat buffer by name.
fn parts<'a>(layout: &'a Layout, flat: &'a [f32]) -> impl Iterator<Item = (&'a str, &'a [f32])> {
    layout.parameters().iter().enumerate().map(move |(i, parameter)| {
        let start = layout.offset(i).unwrap();
        (&*parameter.name, &flat[start..start + parameter.shape.iter().product::<usize>()])
    })
}

fn root_mean_square(numbers: impl ExactSizeIterator<Item = f64>) -> f64 {
    let len = numbers.len() as f64;
    (numbers.map(|x| x * x).sum::<f64>() / len).sqrt()
}

/// The names of the parameters, and of those that decay.
fn check_layout(name: &str, layout: &Layout, golden: &Golden) {
    let parameters = || layout.parameters().iter();
    let names: BTreeSet<&str> = parameters().map(|p| &*p.name).collect();
    assert_eq!(names, golden.names("grad."), "{name}: the trainable parameters");
    let decayed: BTreeSet<&str> = parameters().filter(|p| p.decay).map(|p| &*p.name).collect();
    let expected = golden.settings["decayed"].as_array().unwrap().iter();
    let expected = expected.map(|name| name.as_str().unwrap()).collect();
    assert_eq!(decayed, expected, "{name}: the parameters that decay");
    for parameter in parameters() {
        let expected = &golden.tensors[&format!("grad.{}", parameter.name)].shape;
        assert_eq!(&parameter.shape, expected, "{name}: {}", parameter.name);
    }
}

/// The greatest error of a gradient, none above the tolerance.
fn check_gradients(name: &str, layout: &Layout, flat: &[f32], golden: &Golden) -> f64 {
    let expected = |parameter: &str| golden.tensors[&format!("grad.{parameter}")].data.iter();
    let size = |parameter: &str| root_mean_square(expected(parameter).copied());
    let largest = parts(layout, flat).map(|(p, _)| size(p)).fold(0.0, f64::max);
    let mut errors: Vec<(f64, &str)> = parts(layout, flat)
        .map(|(parameter, grad)| {
            let difference = grad.iter().zip(expected(parameter)).map(|(&a, b)| f64::from(a) - b);
            let own = size(parameter);
            let floor = if own > ZERO * largest { FLOOR } else { FLOOR_OF_ZERO };
            (root_mean_square(difference) / own.max(floor * largest), parameter)
        })
        .collect();
    errors.sort_by(|a, b| b.0.total_cmp(&a.0));
    // a NaN is not right
    let right = errors.iter().filter(|(error, _)| *error <= GRADIENT).count();
    let wrong = errors.len() - right;
    assert_eq!(
        wrong,
        0,
        "{name}: gradients of {wrong} of {} parameters are off, the most: {:?}",
        errors.len(),
        &errors[..errors.len().min(8)]
    );
    errors[0].0
}

/// Running averages after one step: PyTorch's, but for the variance over n,
/// which ONNX has where PyTorch has n − 1.
fn check_averages(name: &str, layout: &Layout, flat: &[f32], golden: &Golden) {
    for (buffer, received) in parts(layout, flat) {
        let of_population = golden.tensors.get(&format!("population.{buffer}"));
        let expected =
            of_population.unwrap_or_else(|| &golden.tensors[&format!("buffer.{buffer}")]);
        let received: Vec<f64> = received.iter().map(|&x| f64::from(x)).collect();
        let received = Array::new(&expected.shape, &received);
        reference::assert_close(&format!("{name}: {buffer}"), &received, expected, AVERAGE);
    }
}

impl Runner {
    /// A model under InfoNCE and AdamW, beside PyTorch's golden of it.
    pub fn check(&self, folder: &Path, name: &str) {
        let golden = Golden::read(&folder.join(format!("{name}.safetensors")));
        let path = folder.join(format!("{name}.onnx"));
        let forward = Forward::open(path, &ImportOptions::default()).unwrap();
        check_layout(name, forward.layout(), &golden);
        assert_eq!(forward.remarks(), [], "{name}");

        let mut training = Training::new(self, &forward, &golden);
        let learning_rate = f64::from(golden.number("lr"));
        let (mut gradient_error, mut curve_error) = (0.0, 0.0f64);
        for (t, expected) in golden.curve().iter().enumerate() {
            let (loss, grads) = training.step(learning_rate, t as u64 + 1);
            let error = (loss - expected).abs() / expected.abs();
            let most = if t == 0 { LOSS } else { CURVE };
            assert!(error <= most, "{name}: loss {loss} before step {t}, PyTorch has {expected}");
            curve_error = curve_error.max(error);
            if t == 0 {
                gradient_error = check_gradients(name, forward.layout(), &grads, &golden);
                check_averages(name, forward.buffers(), &training.buffers(), &golden);
            }
        }
        eprintln!(
            "{name}: gradients off by {gradient_error:.1e} (PyTorch in float32: {:.1e}), \
         the loss of 20 steps by {curve_error:.1e}",
            golden.settings["float32_error"].as_f64().unwrap()
        );
    }

    /// BatchNorm gone into the convolutions: said, and trained without.
    pub fn check_folded(&self, folder: &Path, name: &str) {
        let golden = Golden::read(&folder.join(format!("{name}.safetensors")));
        let path = folder.join(format!("{name}.onnx"));
        let forward = Forward::open(path, &ImportOptions::default()).unwrap();
        let folded = |remark: &Remark| matches!(remark, Remark::FoldedNorms { .. });
        assert!(forward.remarks().iter().any(folded), "{name}: {:?}", forward.remarks());
        assert!(forward.buffers().is_empty());

        let mut training = Training::new(self, &forward, &golden);
        let learning_rate = f64::from(golden.number("lr"));
        let losses: Vec<f64> = (1..=20).map(|t| training.step(learning_rate, t).0).collect();
        assert!(
            losses[19] < losses[0],
            "{name}: the loss went from {} to {}",
            losses[0],
            losses[19]
        );
    }
}
