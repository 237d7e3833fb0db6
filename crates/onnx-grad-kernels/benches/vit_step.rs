//! Times a training step of a vision transformer, two views of a batch, symmetric
//! InfoNCE, clipping and AdamW: of standard operators, and with the kernels, in
//! turns, in CPU time of all threads.
//!
//!     cargo bench -p onnx-grad-kernels --bench vit_step -- [batch] [width] [blocks] [threads] [rounds]
//!
//! With `VIT_STEP_ONNX` set to a path, the standard training graph is written there.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;

use std::time::{Duration, Instant};

use onnx_grad::{
    AdamW, AdamWState, AdamWStep, ElementType, Error, Graph, Layout, Parameter, Value,
    clip_by_global_norm, gradient, model,
};
use ort::session::Session;
use ort::value::{DynValue, Tensor};

const TOKENS: usize = 64;
const PATCH: usize = 64;
const DEPTH: usize = 32;

fn layout(width: usize, blocks: usize) -> Result<Layout, Error> {
    let mut layout = Layout::new();
    layout.push(Parameter::new("embed.weight", &[PATCH, width], true))?;
    layout.push(Parameter::new("embed.position", &[TOKENS, width], false))?;
    for block in 0..blocks {
        let mut push = |name: &str, shape: &[usize], decay| {
            layout.push(Parameter::new(format!("{block}.{name}"), shape, decay))
        };
        push("norm1.scale", &[width], false)?;
        push("norm1.bias", &[width], false)?;
        for name in ["query", "key", "value", "out"] {
            push(&format!("{name}.weight"), &[width, width], true)?;
            push(&format!("{name}.bias"), &[width], false)?;
        }
        push("norm2.scale", &[width], false)?;
        push("norm2.bias", &[width], false)?;
        push("up.weight", &[width, 4 * width], true)?;
        push("up.bias", &[4 * width], false)?;
        push("down.weight", &[4 * width, width], true)?;
        push("down.bias", &[width], false)?;
    }
    Ok(layout)
}

fn embed(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let width = g.shape(p[0])[1];
    let x = g.matmul(x, p[0])?;
    let mut x = g.add(x, p[1])?;
    for p in p[2..].chunks(16) {
        let y = g.layer_norm(x, p[0], p[1], -1, 1e-6)?;
        let q = g.linear(y, p[2], p[3])?;
        let k = g.linear(y, p[4], p[5])?;
        let v = g.linear(y, p[6], p[7])?;
        let y = g.attention(q, k, v, width / DEPTH)?;
        let y = g.linear(y, p[8], p[9])?;
        x = g.add(x, y)?;
        let y = g.layer_norm(x, p[10], p[11], -1, 1e-6)?;
        let y = g.linear(y, p[12], p[13])?;
        let y = g.gelu(y)?;
        let y = g.linear(y, p[14], p[15])?;
        x = g.add(x, y)?;
    }
    let pooled = g.reduce_mean(x, &[1], false)?;
    let norm = g.reduce_l2(pooled, &[1], true)?;
    g.div(pooled, norm)
}

fn training_graph(g: Graph, batch: usize, layout: &Layout) -> Result<Vec<u8>, Error> {
    let mut g = g;
    let [params, m, v] =
        ["params", "m", "v"].map(|name| g.input(name, ElementType::F32, &[layout.len()]));
    let [lr, bias_correction1, bias_correction2] =
        ["lr", "bias_correction1", "bias_correction2"].map(|n| g.input(n, ElementType::F32, &[]));
    // both views in one batch
    let x = g.input("x", ElementType::F32, &[batch, TOKENS, PATCH]);
    let weights = layout.bind_flat(&mut g, params)?;
    let z = embed(&mut g, x, &weights)?;
    let half = batch / 2;
    let views = g.split(z, 0, &[half, half])?;
    let logits = g.gemm(views[0], false, views[1], true)?;
    let inverse = g.scalar(10.0);
    let logits = g.mul(logits, inverse)?;
    let mut eye = vec![0.0; half * half];
    for i in 0..half {
        eye[i * half + i] = -0.5 / half as f32;
    }
    let eye = g.constant_f32(&[half, half], &eye)?;
    let rows = g.log_softmax(logits, 1)?;
    let columns = g.log_softmax(logits, 0)?;
    let both = g.add(rows, columns)?;
    let hits = g.mul(both, eye)?;
    let loss = g.reduce_sum(hits, &[0, 1], false)?;

    let grads = gradient(&mut g, loss, &weights)?;
    let grads = layout.flatten(&mut g, &grads)?;
    let (grads, norm) = clip_by_global_norm(&mut g, grads, 1.0)?;
    let state = AdamWState { params, grads, m, v };
    let step = AdamWStep { lr, bias_correction1, bias_correction2 };
    let update = AdamW::default().update(&mut g, layout, state, step)?;
    g.output("loss", loss);
    g.output("norm", norm);
    g.output("next_params", update.params);
    g.output("next_m", update.m);
    g.output("next_v", update.v);
    model::write(&g, &model::WriteOptions::default())
}

/// A training step with its state.
struct Training {
    session: Session,
    state: [DynValue; 3],
    x: Tensor<f32>,
    t: i32,
}

impl Training {
    fn new(session: Session, batch: usize, len: usize) -> Self {
        let tensor = |shape: Vec<usize>, seed| {
            let x = reference::Array::random(&shape, seed);
            let data: Vec<f32> = x.data.iter().map(|&x| 0.05 * x as f32).collect();
            Tensor::from_array((shape, data)).unwrap()
        };
        let zero = || Tensor::from_array((vec![len], vec![0.0f32; len])).unwrap().into_dyn();
        let state = [tensor(vec![len], 1).into_dyn(), zero(), zero()];
        Self { session, state, x: tensor(vec![batch, TOKENS, PATCH], 2), t: 0 }
    }

    /// The loss, the CPU time and the wall time of one step.
    fn step(&mut self) -> (f32, Duration, Duration) {
        self.t += 1;
        let scalar = |x: f32| Tensor::from_array((Vec::<i64>::new(), vec![x])).unwrap();
        let [params, m, v] = &self.state;
        let (start, cpu) = (Instant::now(), cpu_time());
        let mut outputs = self
            .session
            .run(ort::inputs! {
                "params" => params, "m" => m, "v" => v, "x" => &self.x,
                "lr" => scalar(1e-3),
                "bias_correction1" => scalar(1.0 - 0.9f32.powi(self.t)),
                "bias_correction2" => scalar(1.0 - 0.999f32.powi(self.t)),
            })
            .unwrap();
        let times = (cpu_time() - cpu, start.elapsed());
        let loss = outputs["loss"].try_extract_scalar::<f32>().unwrap();
        let next = ["next_params", "next_m", "next_v"].map(|name| outputs.remove(name).unwrap());
        drop(outputs);
        self.state = next;
        (loss, times.0, times.1)
    }
}

/// What the scheduler has given all threads of this process.
fn cpu_time() -> Duration {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let nanoseconds = tasks.filter_map(|task| {
        let line = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        line.split(' ').next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanoseconds.sum())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let argument = |i: usize, default| given.get(i).copied().unwrap_or(default);
    let (batch, width, blocks) = (argument(0, 128), argument(1, 192), argument(2, 4));
    let (threads, rounds) = (argument(3, 2), argument(4, 11));
    let layout = layout(width, blocks).unwrap();
    let standard = training_graph(Graph::new(), batch, &layout).unwrap();
    let fused = training_graph(Graph::new().with_kernels(), batch, &layout).unwrap();
    if let Some(path) = std::env::var_os("VIT_STEP_ONNX") {
        std::fs::write(path, &standard).unwrap();
    }
    let builder = runtime::builder(threads).with_intra_op_spinning(false).unwrap();
    let builder = builder.with_operators(onnx_grad_kernels::domain().unwrap()).unwrap();
    let mut trainings = [standard, fused].map(|bytes| {
        let mut builder = builder.clone();
        if let Some(path) = std::env::var_os("VIT_STEP_PROFILE") {
            builder = builder.with_profiling(path).unwrap();
        }
        let session = builder.commit_from_memory(&bytes).unwrap();
        Training::new(session, batch, layout.len())
    });
    let mut times = [const { (Vec::new(), Vec::new()) }; 2];
    for round in 0..=rounds {
        let losses = [0, 1].map(|i| {
            let (loss, cpu, wall) = trainings[i].step();
            // the first step allocates
            if round > 0 {
                times[i].0.push(cpu);
                times[i].1.push(wall);
            }
            loss
        });
        println!("step {round:2}: loss {losses:.5?}");
    }
    println!(
        "batch {batch}, width {width}, blocks {blocks}, threads {threads}: {} parameters, medians \
         of {rounds} steps",
        layout.len()
    );
    let [standard, fused] = times.map(|(cpu, wall)| [median(cpu), median(wall)]);
    for (i, name) in ["CPU ", "wall"].into_iter().enumerate() {
        let ratio = fused[i].as_secs_f64() / standard[i].as_secs_f64();
        println!("{name}: standard {:?}, kernels {:?}, ratio {ratio:.3}", standard[i], fused[i]);
    }
}
