//! Every kernel against the graph of standard operators that it stands for, in
//! ONNX Runtime, at shapes that proptest draws; and against itself: the same bits
//! from run to run, on one thread and on two.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/problem.rs"]
mod problem;
#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use onnx_grad::{
    AdamW, ElementType, Error, Graph, Kernels, Layout, Optimizer, OptimizerState, Parameter,
    Sliding, Value, gradient, model,
};
use ort::session::Session;
use problem::weighted_sum;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use reference::{Array, assert_close};
use runtime::Model;

/// What two orders of summation in `f32` differ by.
const TOLERANCE: f64 = 1e-5;

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 12,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    }
}

/// A session with the kernels; one is made at a time, as ONNX Runtime's table of
/// domains is not guarded.
fn session(bytes: &[u8], threads: usize) -> Session {
    static MAKING: Mutex<()> = Mutex::new(());
    let _alone = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
    let builder = runtime::builder(threads);
    let mut builder = builder.with_operators(onnx_grad_kernels::domain().unwrap()).unwrap();
    builder.commit_from_memory(bytes).unwrap()
}

fn run(bytes: &[u8], inputs: &[Array], threads: usize) -> HashMap<String, Array> {
    let mut model = Model::of(session(bytes, threads));
    let names: Vec<String> = (0..inputs.len()).map(|i| format!("x{i}")).collect();
    let feeds: Vec<_> = names.iter().map(String::as_str).zip(inputs).collect();
    let first = model.run(&feeds);
    let again = model.run(&feeds);
    assert_eq!(bits(&first), bits(&again), "the second run differs");
    first
}

fn bits(outputs: &HashMap<String, Array>) -> Vec<(&String, Vec<u64>)> {
    let of = |x: &Array| x.data.iter().map(|x| x.to_bits()).collect();
    let mut list: Vec<_> = outputs.iter().map(|(name, x)| (name, of(x))).collect();
    list.sort();
    list
}

/// Checks that a graph gives the same outputs with the kernels that it names as
/// without.
fn compare(
    kernels: &[&str],
    inputs: &[Array],
    build: impl Fn(&mut Graph, &[Value]) -> Result<Vec<Value>, Error>,
) {
    let [standard, fused] = [Graph::new(), Graph::new().with_kernels(Kernels::Cpu)].map(|mut g| {
        let values: Vec<Value> = inputs
            .iter()
            .enumerate()
            .map(|(i, x)| g.input(&format!("x{i}"), ElementType::F32, &x.shape))
            .collect();
        for (i, y) in build(&mut g, &values).unwrap().into_iter().enumerate() {
            g.output(&format!("y{i}"), y);
        }
        model::write(&g, &model::WriteOptions::default()).unwrap()
    });
    let written = model::read(&fused).unwrap().graph.unwrap();
    let used: Vec<_> = written.node.iter().filter(|n| n.domain == "onnx_grad").collect();
    for kernel in kernels {
        assert!(used.iter().any(|node| node.op_type == *kernel), "{kernel} is not used");
    }
    let written = model::read(&standard).unwrap().graph.unwrap();
    assert!(written.node.iter().all(|node| node.domain.is_empty()));

    let expected = run(&standard, inputs, 1);
    let [one, two] = [1, 2].map(|threads| run(&fused, inputs, threads));
    assert_eq!(bits(&one), bits(&two), "two threads differ from one");
    for (name, expected) in &expected {
        assert_close(&format!("{kernels:?}: {name}"), &one[name], expected, TOLERANCE);
    }
}

/// As [`compare`], for a result and its gradient in every input.
fn compare_gradient(
    kernels: &[&str],
    inputs: &[Array],
    build: impl Fn(&mut Graph, &[Value]) -> Result<Value, Error>,
) {
    compare(kernels, inputs, |g, values| {
        let y = build(g, values)?;
        let weights = Array::random(g.shape(y), 99);
        let loss = weighted_sum(g, y, &weights)?;
        let mut outputs = gradient(g, loss, values)?;
        outputs.push(y);
        Ok(outputs)
    });
}

fn randoms(shapes: &[&[usize]]) -> Vec<Array> {
    shapes.iter().zip(1..).map(|(shape, seed)| Array::random(shape, seed)).collect()
}

/// Attention as `scaled_dot_product_attention` is exported: the root of the scale
/// on either side.
fn packed_attention(g: &mut Graph, x: Value, heads: usize, depth: usize) -> Result<Value, Error> {
    let [n, tokens, width] = g.shape(x)[..] else { panic!("three axes") };
    let x = g.reshape(x, &[n, tokens, 3, heads, depth])?;
    let x = g.transpose(x, &[2, 0, 3, 1, 4])?;
    let mut parts = Vec::new();
    for i in 0..3 {
        let part = g.slice(x, 0, i..i + 1)?;
        parts.push(g.squeeze(part, &[0])?);
    }
    let root = g.scalar((depth as f32).powf(-0.25));
    let q = g.mul(parts[0], root)?;
    let k = g.reshape(parts[1], &[n * heads, tokens, depth])?;
    let k = g.transpose(k, &[0, 2, 1])?;
    let k = g.reshape(k, &[n, heads, depth, tokens])?;
    let k = g.mul(k, root)?;
    let scores = g.matmul(q, k)?;
    let weights = g.softmax(scores, -1)?;
    let y = g.matmul(weights, parts[2])?;
    let y = g.transpose(y, &[0, 2, 1, 3])?;
    g.reshape(y, &[n, tokens, width / 3])
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn linear(n in 1usize..5, rows in 1usize..140, k in 1usize..50, columns in 1usize..140) {
        let inputs = randoms(&[&[n, rows, k], &[k, columns], &[columns]]);
        compare_gradient(&["Linear", "Gemm"], &inputs, |g, v| g.linear(v[0], v[1], v[2]));
    }

    /// As PyTorch exports it: the weight transposed, the bias added.
    #[test]
    fn linear_of_two_nodes(n in 1usize..5, rows in 1usize..140, k in 1usize..50, columns in 1usize..140) {
        let inputs = randoms(&[&[n, rows, k], &[columns, k], &[columns]]);
        compare_gradient(&["Linear", "Gemm"], &inputs, |g, v| {
            let w = g.transpose(v[1], &[1, 0])?;
            let product = g.matmul(v[0], w)?;
            g.add(v[2], product)
        });
    }

    #[test]
    fn gemm(m in 1usize..400, k in 1usize..40, n in 1usize..400, flags: [bool; 2]) {
        let a = if flags[0] { [k, m] } else { [m, k] };
        let b = if flags[1] { [n, k] } else { [k, n] };
        let inputs = randoms(&[&a, &b]);
        compare_gradient(&["Gemm"], &inputs, |g, v| g.gemm(v[0], flags[0], v[1], flags[1]));
    }

    #[test]
    fn attention(n in 1usize..4, tokens in 1usize..40, heads in 1usize..5, depth in 1usize..20) {
        let shape = [n, tokens, heads * depth];
        let inputs = randoms(&[&shape, &shape, &shape]);
        compare_gradient(&["Attention", "AttentionGrad"], &inputs, |g, v| {
            g.attention(v[0], v[1], v[2], heads)
        });
    }

    /// As PyTorch exports it, queries, keys and values of one product: neither it
    /// nor its cotangent is copied.
    #[test]
    fn attention_of_packed_heads(
        n in 1usize..4, tokens in 1usize..40, heads in 1usize..5, depth in 1usize..20
    ) {
        let inputs = randoms(&[&[n, tokens, 3 * heads * depth]]);
        let packed = |g: &mut Graph, v: &[Value]| packed_attention(g, v[0], heads, depth);
        compare_gradient(&["Attention", "AttentionGrad"], &inputs, packed);
        let mut g = Graph::new().with_kernels(Kernels::Cpu);
        let x = g.input("x", ElementType::F32, &[n, tokens, 3 * heads * depth]);
        let y = packed(&mut g, &[x]).unwrap();
        let total = g.reduce_sum(y, &[0, 1, 2], false).unwrap();
        let dx = gradient(&mut g, total, &[x]).unwrap()[0];
        g.output("dx", dx);
        let written = model::write(&g, &model::WriteOptions::default()).unwrap();
        let nodes = model::read(&written).unwrap().graph.unwrap().node;
        let copies = ["Transpose", "Slice", "Concat", "Pad", "Add"];
        for node in &nodes {
            prop_assert!(!copies.contains(&&*node.op_type), "{} is copied", node.name);
        }
    }

    /// Keys that are queries too overlap, and are copied.
    #[test]
    fn attention_of_tied_heads(n in 1usize..3, tokens in 1usize..20, depth in 1usize..20) {
        let inputs = randoms(&[&[n, tokens, 2 * depth], &[n, tokens, 2 * depth]]);
        compare_gradient(&["Attention", "AttentionGrad"], &inputs, |g, v| {
            g.attention(v[0], v[0], v[1], 2)
        });
    }

    #[test]
    fn layer_norm(rows in 1usize..80, columns in 1usize..70, planes in 1usize..4, whole: bool) {
        let shape = [rows, planes, columns];
        let scale: &[usize] = if whole { &shape[1..] } else { &shape[2..] };
        let inputs = randoms(&[&shape, scale, scale]);
        let axis = if whole { 1 } else { -1 };
        compare_gradient(&["LayerNormalizationGrad"], &inputs, |g, v| {
            // an epsilon that keeps rows of one element in bounds
            g.layer_norm(v[0], v[1], v[2], axis, 1e-2)
        });
    }

    #[test]
    fn gelu(len in 1usize..9000, factor in 1usize..12) {
        let x = Array::random(&[len], 1).map(|x| factor as f64 * x);
        compare_gradient(&["Gelu", "GeluGrad"], &[x], |g, v| g.gelu(v[0]));
    }

    #[test]
    fn softmax(rows in 1usize..50, columns in 1usize..70, factor in 1usize..20) {
        let x = Array::random(&[2, rows, columns], 1).map(|x| factor as f64 * x);
        compare_gradient(&["SoftmaxGrad"], &[x], |g, v| g.softmax(v[0], -1));
    }

    #[test]
    fn conv(
        axes in 1usize..4,
        batch in 1usize..4,
        groups in 1usize..4,
        channels in (4usize..12, 4usize..12),
        window in [(1usize..4, 1usize..4, 1usize..3), (1..4, 1..4, 1..3), (1..4, 1..4, 1..3)],
        pads in [(0usize..4, 0usize..4), (0..4, 0..4), (0..4, 0..4)],
        room in [0usize..9, 0..9, 0..9],
    ) {
        let of = |f: fn((usize, usize, usize)) -> usize| window.map(f)[..axes].to_vec();
        let sliding = Sliding {
            strides: of(|w| w.1),
            dilations: of(|w| w.2),
            pads_before: pads.map(|p| p.0)[..axes].to_vec(),
            pads_after: pads.map(|p| p.1)[..axes].to_vec(),
        };
        let kernel = of(|w| w.0);
        let image = (0..axes).map(|i| (kernel[i] - 1) * sliding.dilations[i] + 1 + room[i]);
        let x = [vec![batch, groups * channels.0], image.collect()].concat();
        let k = [vec![groups * channels.1, channels.0], kernel].concat();
        let inputs = randoms(&[&x, &k, &[groups * channels.1]]);
        compare_gradient(&["ConvKernelGrad", "ConvImageGrad"], &inputs, |g, v| {
            g.conv(v[0], v[1], Some(v[2]), groups, &sliding)
        });
    }

    /// 3 × 3 kernels at steps of one, with channels for Winograd's algorithms and
    /// without.
    #[test]
    fn conv_by_tiles(
        batch in 1usize..6,
        channels in (1usize..41, 1usize..41),
        image in (1usize..21, 1usize..21),
        pads in [0usize..3, 0..3, 0..3, 0..3],
        biased: bool,
    ) {
        let image = [image.0.max(3 - (pads[0] + pads[2]).min(2)), image.1.max(3 - (pads[1] + pads[3]).min(2))];
        let sliding = Sliding {
            pads_before: pads[..2].to_vec(),
            pads_after: pads[2..].to_vec(),
            ..Sliding::unit(2)
        };
        let (c, o) = channels;
        let mut inputs = randoms(&[&[batch, c, image[0], image[1]], &[o, c, 3, 3], &[o]]);
        inputs.truncate(2 + usize::from(biased));
        let places = [0, 1].map(|i| image[i] + pads[i] + pads[2 + i] - 2);
        let tiled = c.min(o) >= 16 && places.iter().all(|&n| n >= 3);
        let mut kernels = if tiled { vec!["Conv"] } else { Vec::new() };
        if c * o >= 16 {
            kernels.extend(["ConvKernelGrad", "ConvImageGrad"]);
        }
        compare_gradient(&kernels, &inputs, |g, v| g.conv(v[0], v[1], v.get(2).copied(), 1, &sliding));
    }

    #[test]
    fn max_pool(
        channels in (1usize..4, 1usize..40),
        window in [(1usize..4, 1usize..4, 1usize..3), (1..4, 1..4, 1..3)],
        pads in [(0usize..2, 0usize..2), (0..2, 0..2)],
        room in [1usize..9, 1..9],
        ceil: bool,
    ) {
        let kernel = window.map(|w| w.0);
        let pad = |f: fn((usize, usize)) -> usize| {
            pads.into_iter().zip(kernel).map(|(p, k)| f(p).min(k - 1)).collect()
        };
        let sliding = Sliding {
            strides: window.map(|w| w.1).to_vec(),
            dilations: window.map(|w| w.2).to_vec(),
            pads_before: pad(|p| p.0),
            pads_after: pad(|p| p.1),
        };
        let size = |i: usize| (kernel[i] - 1) * sliding.dilations[i] + 1 + room[i];
        // few numbers, so that windows hold their maximum more than once
        let x = Array::random(&[channels.0, channels.1, size(0), size(1)], 1);
        let x = x.map(|x| (2.0 * x).round());
        compare_gradient(&["MaxPoolGrad"], &[x], |g, v| {
            g.max_pool(v[0], &kernel, &sliding, ceil)
        });
    }

    #[test]
    fn batch_norm(n in 1usize..6, c in 1usize..70, size in 2usize..40) {
        let inputs = randoms(&[&[n, c, size], &[c], &[c], &[c], &[c]]);
        compare(&["BatchNormalizationGrad", "Moments"], &inputs, |g, v| {
            // an epsilon that keeps channels of few elements in bounds
            let next = g.batch_norm_training(v[0], v[1], v[2], v[3], v[4], 1e-2, 0.9)?;
            let weights = Array::random(g.shape(next.y), 99);
            let loss = weighted_sum(g, next.y, &weights)?;
            let mut outputs = gradient(g, loss, &v[..3])?;
            outputs.extend([next.y, next.mean, next.variance]);
            Ok(outputs)
        });
    }

    #[test]
    fn relu(len in 1usize..40_000) {
        let x = Array::random(&[len], 1).map(|x| x.signum() * (x.abs() - 0.3).max(0.0));
        compare_gradient(&["ReluGrad"], &[x], |g, v| g.relu(v[0]));
    }

    #[test]
    fn adamw(decayed in 0usize..40_000, rest in 0usize..40_000, rate in 0u8..3) {
        let mut layout = Layout::new();
        layout.push(Parameter::new("weight", &[decayed], true)).unwrap();
        layout.push(Parameter::new("bias", &[rest + 1], false)).unwrap();
        let flat = [layout.len()];
        let mut inputs = randoms(&[&flat, &flat, &flat, &flat]);
        inputs[3] = inputs[3].map(|v| v * v);
        inputs.extend([0.01, 0.19, 0.002].map(|x| Array::new(&[], &[x])));
        let adamw = AdamW { weight_decay: 0.05 * f32::from(rate), ..AdamW::default() };
        compare(&["AdamW"], &inputs, |g, x| {
            let state = OptimizerState { params: x[0], moments: x[2..4].to_vec() };
            let next = adamw.update(g, &layout, &state, x[1], &x[4..])?;
            Ok([&[next.params], &next.moments[..]].concat())
        });
    }
}

#[test]
fn softmax_along_another_axis_stays_standard() {
    compare_gradient(&[], &randoms(&[&[3, 4, 5]]), |g, v| g.softmax(v[0], 1));
}

#[test]
fn operands_that_do_not_fit_are_an_error() {
    // a model that was written for another shape than it is fed
    let mut g = Graph::new().with_kernels(Kernels::Cpu);
    let x = g.input("x0", ElementType::F32, &[2, 3]);
    let w = g.input("x1", ElementType::F32, &[3, 4]);
    let y = g.matmul(x, w).unwrap();
    g.output("y", y);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let mut written = model::read(&bytes).unwrap();
    let graph = written.graph.as_mut().unwrap();
    for info in graph.input.iter_mut().chain(&mut graph.output) {
        info.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap().shape = None;
    }
    graph.value_info.clear();
    let mut session = session(&written.to_bytes(), 1);
    let tensor = |shape: [usize; 2]| {
        ort::value::Tensor::from_array((shape, vec![1.0f32; shape[0] * shape[1]])).unwrap()
    };
    let error = session.run(ort::inputs![tensor([2, 3]), tensor([2, 4])]).unwrap_err();
    assert!(error.to_string().contains("Linear requires"), "{error}");
}
