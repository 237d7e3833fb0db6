//! Times single operators with their gradients, of standard operators and with
//! the kernels, by the CPU time of one thread.
//!
//!     cargo bench -p onnx-grad-kernels --bench operators -- [PATTERN]

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use onnx_grad::{
    AdamW, ElementType, Error, Graph, Layout, Optimizer, OptimizerState, Parameter, Sliding, Value,
    gradient, model,
};
use ort::session::Session;
use ort::value::{Tensor, ValueType};

const F32: ElementType = ElementType::F32;

/// Of ResNet-18, ConvNeXt-T, EfficientNet-B0, ResNeXt and 3D networks: name, and
/// n, c, o, groups, image, kernel, stride, axes.
const CONVOLUTIONS: [(&str, [usize; 8]); 18] = [
    ("conv, resnet stem 7x7 s2", [8, 3, 64, 1, 224, 7, 2, 2]),
    ("conv, resnet 64 3x3", [8, 64, 64, 1, 56, 3, 1, 2]),
    ("conv, resnet 128 3x3", [8, 128, 128, 1, 28, 3, 1, 2]),
    ("conv, resnet 256 3x3", [8, 256, 256, 1, 14, 3, 1, 2]),
    ("conv, resnet 512 3x3", [8, 512, 512, 1, 7, 3, 1, 2]),
    ("conv, resnet 64-128 3x3 s2", [8, 64, 128, 1, 56, 3, 2, 2]),
    ("conv, resnet 256-512 3x3 s2", [8, 256, 512, 1, 14, 3, 2, 2]),
    ("conv, resnet 64-128 1x1 s2", [8, 64, 128, 1, 56, 1, 2, 2]),
    ("conv, resnet50 64-256 1x1", [8, 64, 256, 1, 56, 1, 1, 2]),
    ("conv, resnext 128 3x3 g32", [8, 128, 128, 32, 28, 3, 1, 2]),
    ("conv, convnext stem 4x4 s4", [8, 3, 96, 1, 224, 4, 4, 2]),
    ("conv, convnext 96 dw 7x7", [8, 96, 96, 96, 56, 7, 1, 2]),
    ("conv, convnext 384 dw 7x7", [8, 384, 384, 384, 14, 7, 1, 2]),
    ("conv, efficientnet 144 dw 3x3", [8, 144, 144, 144, 56, 3, 1, 2]),
    ("conv, efficientnet 144 dw 5x5 s2", [8, 144, 144, 144, 56, 5, 2, 2]),
    ("conv, 3d stem 7x7x7 s2", [2, 1, 64, 1, 48, 7, 2, 3]),
    ("conv, 3d 64 3x3x3", [2, 64, 64, 1, 16, 3, 1, 3]),
    ("conv, 3d 64-128 3x3x3 s2", [2, 64, 128, 1, 16, 3, 2, 3]),
];

/// Outputs y and its gradients.
fn differentiate(g: &mut Graph, y: Value, of: &[Value]) -> Result<(), Error> {
    g.output("y", y);
    let shape = g.shape(y).to_vec();
    let dy = g.input("dy", F32, &shape);
    let product = g.mul(y, dy)?;
    let axes: Vec<i64> = (0..shape.len() as i64).collect();
    let loss = g.reduce_sum(product, &axes, false)?;
    for (i, dx) in gradient(g, loss, of)?.into_iter().enumerate() {
        g.output(&format!("dx{i}"), dx);
    }
    Ok(())
}

/// With pads that keep the image at a stride of one, and none where windows do
/// not overlap.
fn conv(g: &mut Graph, sizes: [usize; 8]) -> Result<(), Error> {
    let [n, c, o, groups, image, kernel, stride, axes] = sizes;
    let shape = |a, b, size| [vec![a, b], vec![size; axes]].concat();
    let x = g.input("x", F32, &shape(n, c, image));
    let k = g.input("k", F32, &shape(o, c / groups, kernel));
    let pads = vec![if stride < kernel { (kernel - 1) / 2 } else { 0 }; axes];
    let sliding = Sliding {
        strides: vec![stride; axes],
        pads_before: pads.clone(),
        pads_after: pads,
        ..Sliding::unit(axes)
    };
    let y = g.conv(x, k, None, groups, &sliding)?;
    differentiate(g, y, &[x, k])
}

/// The tokens of mivox's transformer, sixteen images.
const TOKENS: [usize; 3] = [16, 144, 192];

fn layer_norm(g: &mut Graph) -> Result<(), Error> {
    let x = g.input("x", F32, &TOKENS);
    let [scale, bias] = ["scale", "bias"].map(|name| g.input(name, F32, &TOKENS[2..]));
    let y = g.layer_norm(x, scale, bias, -1, 1e-6)?;
    differentiate(g, y, &[x, scale, bias])
}

fn attention(g: &mut Graph) -> Result<(), Error> {
    let [q, k, v] = ["q", "k", "v"].map(|name| g.input(name, F32, &TOKENS));
    let y = g.attention(q, k, v, 6)?;
    differentiate(g, y, &[q, k, v])
}

fn gelu(g: &mut Graph) -> Result<(), Error> {
    let x = g.input("x", F32, &[16, 144, 768]);
    let y = g.gelu(x)?;
    differentiate(g, y, &[x])
}

fn adamw(g: &mut Graph) -> Result<(), Error> {
    let rule = AdamW { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.05 };
    let mut layout = Layout::new();
    layout.push(Parameter::new("weight", &[1024, 1024], true))?;
    let [params, m, v, grads] =
        ["params", "m", "v", "grads"].map(|name| g.input(name, F32, &[layout.len()]));
    let scalars: Vec<_> = rule.scalars().iter().map(|name| g.input(name, F32, &[])).collect();
    let state = OptimizerState { params, moments: vec![m, v] };
    let next = rule.update(g, &layout, &state, grads, &scalars)?;
    g.output("next_params", next.params);
    g.output("next_m", next.moments[0]);
    g.output("next_v", next.moments[1]);
    Ok(())
}

/// The CPU time of this thread, or the time of day where the system does not say.
fn cpu_time(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    told.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// A session with what it is fed, positive numbers: second moments are.
fn prepare(g: &Graph) -> (Session, Vec<(String, Tensor<f32>)>) {
    let bytes = model::write(g, &model::WriteOptions::default()).unwrap();
    // loads ONNX Runtime, which the domain needs
    let builder = runtime::builder(1);
    let mut builder = builder.with_operators(onnx_grad_kernels::domain().unwrap()).unwrap();
    let session = builder.commit_from_memory(&bytes).unwrap();
    let feeds = session.inputs().iter().filter_map(|input| {
        let ValueType::Tensor { shape, .. } = input.dtype() else { return None };
        let shape: Vec<usize> = shape.iter().map(|&n| n as usize).collect();
        let random = reference::Array::random(&shape, 1).data;
        let data: Vec<f32> = random.iter().map(|x| x.abs() as f32).collect();
        Some((input.name().to_owned(), Tensor::from_array((shape, data)).unwrap()))
    });
    let feeds = feeds.collect();
    (session, feeds)
}

fn time(c: &mut Criterion, name: &str, build: impl Fn(&mut Graph) -> Result<(), Error>) {
    let mut group = c.benchmark_group(name);
    for (kind, mut g) in [
        ("standard", Graph::new()),
        ("kernels", Graph::new().with_kernels(onnx_grad::Kernels::Cpu)),
    ] {
        build(&mut g).unwrap();
        group.bench_function(kind, |bencher| {
            let (mut session, feeds) = prepare(&g);
            bencher.iter_custom(|runs| {
                let start = Instant::now();
                let before = cpu_time(start);
                for _ in 0..runs {
                    let feeds = feeds.iter().map(|(name, x)| (name.as_str(), x));
                    session.run(feeds.collect::<Vec<_>>()).unwrap();
                }
                cpu_time(start) - before
            });
        });
    }
}

fn operators(c: &mut Criterion) {
    for (name, sizes) in CONVOLUTIONS {
        time(c, name, |g| conv(g, sizes));
    }
    time(c, "layer norm, 192", layer_norm);
    time(c, "attention, 144 tokens", attention);
    time(c, "gelu, 768", gelu);
    time(c, "AdamW, 1 M parameters", adamw);
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2));
    targets = operators
}
criterion_main!(benches);
