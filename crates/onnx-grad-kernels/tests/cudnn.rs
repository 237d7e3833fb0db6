//! cuDNN's gradients of convolutions, on CUDA, against the standard operators on
//! the CPU, at shapes that proptest draws; and against themselves: the same bits
//! from run to run. What needs no GPU is checked without one.

#![cfg(feature = "cudnn")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/problem.rs"]
mod problem;
#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;

use std::path::Path;

use onnx_grad::{ElementType, Graph, Kernels, Sliding, gradient, model};
use ort::ep;
use ort::session::builder::SessionBuilder;
use problem::weighted_sum;
use proptest::prelude::*;
use proptest::test_runner::{RngSeed, TestRunner};
use reference::{Array, assert_close};
use runtime::Model;

/// What rounding the operands to TF32, of ten bits, does to a sum.
const TOLERANCE: f64 = 2e-3;

const OPERATORS: [&str; 2] = ["ConvImageGrad", "ConvKernelGrad"];

/// A convolution and the gradients of a weighted sum of it in image and kernel.
#[derive(Debug)]
struct Problem {
    inputs: [Array; 2],
    groups: usize,
    sliding: Sliding,
}

impl Problem {
    fn write(&self, mut g: Graph) -> Vec<u8> {
        let [x, kernel] =
            [0, 1].map(|i| g.input(&format!("x{i}"), ElementType::F32, &self.inputs[i].shape));
        let y = g.conv(x, kernel, None, self.groups, &self.sliding).unwrap();
        // something of every kind that has a kernel on the CPU
        let z = g.relu(y).unwrap();
        let weights = Array::random(g.shape(z), 99);
        let loss = weighted_sum(&mut g, z, &weights).unwrap();
        for (i, dx) in gradient(&mut g, loss, &[x, kernel]).unwrap().into_iter().enumerate() {
            g.output(&format!("dx{i}"), dx);
        }
        model::write(&g, &model::WriteOptions::default()).unwrap()
    }

    /// The operators of the kernels' domain when cuDNN may be used.
    fn fused(&self) -> Vec<String> {
        let bytes = self.write(Graph::new().with_kernels(Kernels::Cudnn));
        let nodes = model::read(&bytes).unwrap().graph.unwrap().node;
        let fused = nodes.into_iter().filter(|node| node.domain == "onnx_grad");
        let mut names: Vec<_> = fused.map(|node| node.op_type).collect();
        names.sort();
        names
    }

    fn check_on(&self, cuda: impl Fn() -> SessionBuilder) {
        let feeds = [("x0", &self.inputs[0]), ("x1", &self.inputs[1])];
        let expected = Model::load(&self.write(Graph::new())).run(&feeds);
        let bytes = self.write(Graph::new().with_kernels(Kernels::Cudnn));
        let mut runs = (0..2).flat_map(|_| {
            let mut model = Model::of(cuda().commit_from_memory(&bytes).unwrap());
            [model.run(&feeds), model.run(&feeds)]
        });
        let first = runs.next().unwrap();
        for (name, expected) in &expected {
            assert_close(name, &first[name], expected, TOLERANCE);
        }
        for again in runs {
            for (name, dx) in &first {
                assert_eq!(again[name].data, dx.data, "{name}: another run differs");
            }
        }
    }
}

/// Convolutions as in `kernels.rs`, of fewer channels too, with pads alike.
fn problems() -> impl Strategy<Value = Problem> {
    let window = || [1usize..4, 1..4, 1..3];
    let axes = prop::collection::vec((window(), 0usize..3, 0usize..9), 1..4);
    (axes, 1usize..4, 1usize..4, [1usize..12, 1..12]).prop_map(|(axes, batch, groups, channels)| {
        let of = |i: usize| axes.iter().map(|(window, ..)| window[i]).collect::<Vec<_>>();
        let pads: Vec<usize> = axes.iter().map(|(_, pad, _)| *pad).collect();
        let image = axes.iter().map(|([k, _, dilation], _, room)| (k - 1) * dilation + 1 + room);
        let x = [vec![batch, groups * channels[0]], image.collect()].concat();
        let kernel = [vec![groups * channels[1], channels[0]], of(0)].concat();
        let sliding = Sliding {
            strides: of(1),
            dilations: of(2),
            pads_before: pads.clone(),
            pads_after: pads,
        };
        Problem { inputs: [Array::random(&x, 1), Array::random(&kernel, 2)], groups, sliding }
    })
}

fn each_problem(cases: u32, check: impl Fn(Problem)) {
    let config = ProptestConfig {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        ..ProptestConfig::default()
    };
    let check = |problem| {
        check(problem);
        Ok(())
    };
    TestRunner::new(config).run(&problems(), check).unwrap();
}

fn with_operators() -> SessionBuilder {
    let builder = runtime::builder(1);
    builder.with_operators(onnx_grad_kernels::cuda_domain().unwrap()).unwrap()
}

#[test]
fn gradients_agree_with_the_standard_operators() {
    if !["/dev/nvidiactl", "/proc/driver/nvidia/version"].iter().any(|p| Path::new(p).exists()) {
        println!("skipped: no CUDA device");
        return;
    }
    each_problem(40, |problem| {
        problem.check_on(|| {
            let cuda = ep::CUDA::default().build().error_on_failure();
            with_operators().with_execution_providers([cuda]).unwrap()
        });
    });
}

#[test]
fn only_gradients_with_pads_alike_are_cudnns() {
    each_problem(40, |mut problem| {
        assert_eq!(problem.fused(), OPERATORS);
        problem.sliding.pads_after[0] += 1;
        assert!(problem.fused().is_empty());
    });
}

#[test]
fn the_operators_are_of_the_cuda_provider_alone() {
    each_problem(1, |problem| {
        let bytes = problem.write(Graph::new().with_kernels(Kernels::Cudnn));
        let error = with_operators().commit_from_memory(&bytes).unwrap_err().to_string();
        assert!(OPERATORS.iter().any(|name| error.contains(name)), "{error}");
    });
}
