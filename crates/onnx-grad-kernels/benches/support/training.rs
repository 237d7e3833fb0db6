//! Training steps of standard operators and with the kernels, in turns.

use std::time::{Duration, Instant};

use onnx_grad::{
    AdamW, AdamWState, AdamWStep, ElementType, Error, Graph, Layout, Value, clip_by_global_norm,
    gradient, model,
};
use ort::session::Session;
use ort::value::{DynValue, Tensor};

use crate::{reference, runtime};

/// A step on images or patches `x` in pairs of views, the first of each in the
/// first half of the batch: symmetric InfoNCE of what `embed` makes of them,
/// clipping and AdamW.
fn training_graph(
    mut g: Graph,
    x: &[usize],
    layout: &Layout,
    embed: impl Fn(&mut Graph, Value, &[Value]) -> Result<Value, Error>,
) -> Result<Vec<u8>, Error> {
    let [params, m, v] =
        ["params", "m", "v"].map(|name| g.input(name, ElementType::F32, &[layout.len()]));
    let [lr, bias_correction1, bias_correction2] =
        ["lr", "bias_correction1", "bias_correction2"].map(|n| g.input(n, ElementType::F32, &[]));
    let batch = x[0];
    let x = g.input("x", ElementType::F32, x);
    let weights = layout.bind_flat(&mut g, params)?;
    let z = embed(&mut g, x, &weights)?;
    let norm = g.reduce_l2(z, &[1], true)?;
    let z = g.div(z, norm)?;
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
    fn new(session: Session, params: Vec<f32>, x: &[usize]) -> Self {
        let len = params.len();
        let flat = |x: Vec<f32>| Tensor::from_array((vec![len], x)).unwrap().into_dyn();
        let state = [flat(params), flat(vec![0.0; len]), flat(vec![0.0; len])];
        let data: Vec<f32> =
            reference::Array::random(x, 2).data.iter().map(|&x| x as f32).collect();
        let x = Tensor::from_array((x.to_vec(), data)).unwrap();
        Self { session, state, x, t: 0 }
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

/// Prints the losses of steps of both kinds and the medians of their times.
pub fn compare(
    x: &[usize],
    layout: &Layout,
    params: &[f32],
    threads: usize,
    rounds: usize,
    embed: impl Fn(&mut Graph, Value, &[Value]) -> Result<Value, Error>,
) {
    let standard = training_graph(Graph::new(), x, layout, &embed).unwrap();
    let fused = training_graph(Graph::new().with_kernels(), x, layout, &embed).unwrap();
    if let Some(path) = std::env::var_os("STEP_ONNX") {
        std::fs::write(path, &standard).unwrap();
    }
    let builder = runtime::builder(threads).with_intra_op_spinning(false).unwrap();
    let builder = builder.with_operators(onnx_grad_kernels::domain().unwrap()).unwrap();
    let mut trainings = [standard, fused].map(|bytes| {
        let mut builder = builder.clone();
        if let Some(path) = std::env::var_os("STEP_PROFILE") {
            builder = builder.with_profiling(path).unwrap();
        }
        let session = builder.commit_from_memory(&bytes).unwrap();
        Training::new(session, params.to_vec(), x)
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
    println!("x {x:?}, threads {threads}: {} parameters, medians of {rounds} steps", layout.len());
    let [standard, fused] = times.map(|(cpu, wall)| [median(cpu), median(wall)]);
    for (i, name) in ["CPU ", "wall"].into_iter().enumerate() {
        let ratio = fused[i].as_secs_f64() / standard[i].as_secs_f64();
        println!("{name}: standard {:?}, kernels {:?}, ratio {ratio:.3}", standard[i], fused[i]);
    }
}
