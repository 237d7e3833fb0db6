//! Times a training step: an encoder, symmetric InfoNCE of the two halves of
//! the batch, clipping and AdamW.
//!
//!     cargo bench -p onnx-grad-kernels --bench step -- [MODEL.onnx] [--batch N]
//!         [--threads N] [--steps N] [--standard] [--profile] [--serve]
//!
//! Without a model it is mivox's own vision transformer. Images are those of
//! the file `image.f32` beside the model, random ones without it. The step runs
//! on the kernels of this crate, and on standard operators alone with
//! `--standard`. `--profile` adds what the operators took. With `--serve` a number of
//! steps is read from each line of the standard input, and answered with the loss
//! once they are done, so that peers can take turns.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/info_nce.rs"]
mod info_nce;
#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;
#[path = "step/vit.rs"]
mod vit;

use std::path::Path;
use std::time::Instant;

use onnx_grad::{
    AdamW, Binding, ElementType, Error, Forward, Graph, ImportOptions, Kernels, Layout, Mode,
    Optimizer, OptimizerState, Value, clip_by_global_norm, gradient, model,
};
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Tensor};

const TEMPERATURE: f32 = 0.1;
const LEARNING_RATE: f64 = 1e-4;
const MAX_NORM: f32 = 1.0;
const ADAMW: AdamW = AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.05 };

/// What is trained.
struct Encoder {
    /// Absent for the built-in transformer.
    imported: Option<Forward>,
    layout: Layout,
    parameters: Vec<f32>,
    buffers: Layout,
    averages: Vec<f32>,
    /// Of an input of this batch.
    shape: Vec<usize>,
}

impl Encoder {
    fn open(path: Option<&str>, batch: usize) -> Result<Self, Error> {
        let Some(path) = path else {
            let layout = vit::layout()?;
            return Ok(Self {
                imported: None,
                parameters: vit::parameters(&layout),
                layout,
                buffers: Layout::new(),
                averages: Vec::new(),
                shape: vec![batch, 1, vit::SIDE, vit::SIDE],
            });
        };
        let options = ImportOptions { batch: Some(batch), ..ImportOptions::default() };
        let forward = Forward::open(path, &options)?;
        let shape = forward.inputs()[0].shape.iter().map(|n| n.unwrap_or(batch)).collect();
        Ok(Self {
            layout: forward.layout().clone(),
            parameters: forward.parameters(),
            buffers: forward.buffers().clone(),
            averages: forward.buffer_values(),
            shape,
            imported: Some(forward),
        })
    }

    /// The features, and the next running averages.
    fn apply(
        &self,
        g: &mut Graph,
        image: Value,
        parameters: &[Value],
        buffers: &[Value],
    ) -> Result<(Value, Vec<Value>), Error> {
        let Some(forward) = &self.imported else {
            return Ok((vit::forward(g, image, parameters)?, Vec::new()));
        };
        let mode = Mode::Train { seed: None };
        let binding = Binding { inputs: &[image], parameters, buffers, mode };
        let applied = forward.apply(g, binding)?;
        Ok((applied.outputs[0], applied.buffers))
    }

    fn training_graph(&self, mut g: Graph) -> Result<Vec<u8>, Error> {
        let image = g.input("image", ElementType::F32, &self.shape);
        let [params, m, v] =
            ["params", "m", "v"].map(|name| g.input(name, ElementType::F32, &[self.layout.len()]));
        let scalars: Vec<_> =
            ADAMW.scalars().iter().map(|name| g.input(name, ElementType::F32, &[])).collect();
        let parameters = self.layout.bind_flat(&mut g, params)?;
        let mut buffers = Vec::new();
        if !self.buffers.is_empty() {
            let flat = g.input("buffers", ElementType::F32, &[self.buffers.len()]);
            buffers = self.buffers.bind_flat(&mut g, flat)?;
        }
        let (features, buffers) = self.apply(&mut g, image, &parameters, &buffers)?;
        let loss = info_nce::info_nce(&mut g, features, TEMPERATURE)?;
        let grads = gradient(&mut g, loss, &parameters)?;
        let grads = self.layout.flatten(&mut g, &grads)?;
        let (grads, _) = clip_by_global_norm(&mut g, grads, MAX_NORM)?;
        let state = OptimizerState { params, moments: vec![m, v] };
        let next = ADAMW.update(&mut g, &self.layout, &state, grads, &scalars)?;
        g.output("loss", loss);
        g.output("next_params", next.params);
        g.output("next_m", next.moments[0]);
        g.output("next_v", next.moments[1]);
        if !buffers.is_empty() {
            let flat = self.buffers.flatten(&mut g, &buffers)?;
            g.output("next_buffers", flat);
        }
        model::write(&g, &model::WriteOptions::default())
    }
}

/// A session, and what a step hands to the next.
struct Training {
    session: Session,
    image: DynValue,
    state: Vec<(&'static str, DynValue)>,
    steps: u64,
}

impl Training {
    fn new(encoder: Encoder, bytes: &[u8], image: Vec<f32>, threads: usize, profile: bool) -> Self {
        let mut builder = runtime::builder(threads);
        if profile {
            let prefix = std::env::temp_dir().join("onnx-grad-step");
            builder = builder.with_profiling(prefix).unwrap();
        }
        let mut builder = builder.with_operators(onnx_grad_kernels::domain().unwrap()).unwrap();
        let session = builder.commit_from_memory(bytes).unwrap();
        let flat = |data: Vec<f32>| Tensor::from_array(([data.len()], data)).unwrap().into_dyn();
        let zeros = vec![0.0; encoder.layout.len()];
        let mut state = vec![
            ("params", flat(encoder.parameters)),
            ("m", flat(zeros.clone())),
            ("v", flat(zeros)),
        ];
        if !encoder.averages.is_empty() {
            state.push(("buffers", flat(encoder.averages)));
        }
        let image = Tensor::from_array((encoder.shape, image)).unwrap().into_dyn();
        Self { session, image, state, steps: 0 }
    }

    fn step(&mut self) -> f32 {
        self.steps += 1;
        let mut feeds: Vec<(&str, SessionInputValue)> =
            self.state.iter().map(|(name, value)| (*name, value.into())).collect();
        feeds.push(("image", (&self.image).into()));
        let values = ADAMW.scalar_values(LEARNING_RATE, self.steps);
        for (name, value) in ADAMW.scalars().iter().zip(values) {
            let scalar = Tensor::from_array((Vec::<i64>::new(), vec![value])).unwrap();
            feeds.push((name, scalar.into()));
        }
        let mut outputs = self.session.run(feeds).unwrap();
        let loss = outputs["loss"].try_extract_scalar::<f32>().unwrap();
        let next = self
            .state
            .iter()
            .map(|(name, _)| (*name, outputs.remove(format!("next_{name}")).unwrap()));
        let next = next.collect();
        drop(outputs);
        self.state = next;
        loss
    }
}

/// Prints the time that a session's operators took, those that took most first.
fn print_profile(session: &mut Session, steps: usize) {
    let path = session.end_profiling().unwrap();
    let events: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    std::fs::remove_file(path).unwrap();
    let mut times = std::collections::BTreeMap::new();
    for event in events.iter().filter(|event| event["cat"] == "Node") {
        if let (Some(name), Some(took)) = (event["args"]["op_name"].as_str(), event["dur"].as_f64())
        {
            let shapes = event["args"]["input_type_shape"].to_string().replace("\"float\":", "");
            let (total, count) = times.entry((name, shapes)).or_insert((0.0, 0));
            (*total, *count) = (*total + took, *count + 1);
        }
    }
    let mut times: Vec<_> = times.into_iter().collect();
    times.sort_by(|a, b| b.1.0.total_cmp(&a.1.0));
    let per_step = |microseconds: f64| microseconds / 1e3 / steps as f64;
    let all: f64 = times.iter().map(|(_, (total, _))| total).sum();
    println!("{:9.1} ms a step in all operators", per_step(all));
    for ((name, shapes), (total, count)) in times.into_iter().take(40) {
        println!("{:9.1} ms, {:3} of {name} {shapes}", per_step(total), count / steps);
    }
}

/// The images beside the model, or random ones.
fn images(path: Option<&str>, shape: &[usize]) -> Vec<f32> {
    let file = path.map(|path| Path::new(path).with_file_name("image.f32"));
    if let Some(bytes) = file.and_then(|file| std::fs::read(file).ok()) {
        return bytes.as_chunks().0.iter().map(|x| f32::from_le_bytes(*x)).collect();
    }
    reference::Array::random(shape, 2).data.iter().map(|&x| x as f32).collect()
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |name: &str| {
        let place = arguments.iter().position(|a| a == name)?;
        arguments.get(place + 1).map(String::as_str)
    };
    let number = |name, default| text(name).map_or(default, |n| n.parse().unwrap());
    let (batch, threads) = (number("--batch", 64), number("--threads", 2));
    let path = arguments.iter().map(String::as_str).find(|a| a.ends_with(".onnx"));

    let encoder = Encoder::open(path, batch).unwrap();
    let kernels = !arguments.iter().any(|a| a == "--standard");
    let graph = if kernels { Graph::new().with_kernels(Kernels::Cpu) } else { Graph::new() };
    let bytes = encoder.training_graph(graph).unwrap();
    let parameters = encoder.layout.len();
    let image = images(path, &encoder.shape);
    let profile = arguments.iter().any(|a| a == "--profile");
    let mut training = Training::new(encoder, &bytes, image, threads, profile);
    if arguments.iter().any(|a| a == "--serve") {
        for line in std::io::stdin().lines() {
            let count: usize = line.unwrap().trim().parse().unwrap();
            let loss = (0..count).map(|_| training.step()).last().unwrap_or_default();
            println!("{loss}");
        }
        return;
    }
    let mut times = Vec::new();
    for t in 1..=number("--steps", 12) {
        let start = Instant::now();
        let loss = training.step();
        times.push(start.elapsed());
        println!("step {t:2}: {:?}, loss {loss:.4}", times[times.len() - 1]);
    }
    if profile {
        print_profile(&mut training.session, times.len());
    }
    times.sort_unstable();
    println!(
        "batch {batch}, {threads} threads, {parameters} parameters: median step {:?}",
        times[times.len() / 2]
    );
}
