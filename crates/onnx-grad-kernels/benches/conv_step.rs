//! Times single convolutions, forward alone and with both gradients, of
//! standard operators and with the kernels, by the CPU
//! time of one thread: the median of rounds in which every convolution has a turn.
//!
//!     cargo bench -p onnx-grad-kernels --bench conv_step -- [n] [c] [o] [groups] [image] [kernel] [stride] [axes]
//!
//! Without numbers, those of ResNet-18, ConvNeXt-T, EfficientNet-B0, ResNeXt and
//! 3D networks are timed; a word chooses among them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;

use std::time::{Duration, Instant};

use onnx_grad::{ElementType, Error, Graph, Kernels, Sliding, gradient, model};
use ort::session::Session;
use ort::value::Tensor;

const ROUNDS: usize = 7;

/// How long a turn is: the system counts CPU time in steps of some milliseconds.
const TURN: Duration = Duration::from_millis(100);

/// Name, and n, c, o, groups, image, kernel, stride, axes.
const CONVOLUTIONS: [(&str, [usize; 8]); 18] = [
    ("resnet stem 7x7 s2", [8, 3, 64, 1, 224, 7, 2, 2]),
    ("resnet 64 3x3", [8, 64, 64, 1, 56, 3, 1, 2]),
    ("resnet 128 3x3", [8, 128, 128, 1, 28, 3, 1, 2]),
    ("resnet 256 3x3", [8, 256, 256, 1, 14, 3, 1, 2]),
    ("resnet 512 3x3", [8, 512, 512, 1, 7, 3, 1, 2]),
    ("resnet 64-128 3x3 s2", [8, 64, 128, 1, 56, 3, 2, 2]),
    ("resnet 256-512 3x3 s2", [8, 256, 512, 1, 14, 3, 2, 2]),
    ("resnet 64-128 1x1 s2", [8, 64, 128, 1, 56, 1, 2, 2]),
    ("resnet50 64-256 1x1", [8, 64, 256, 1, 56, 1, 1, 2]),
    ("resnext 128 3x3 g32", [8, 128, 128, 32, 28, 3, 1, 2]),
    ("convnext stem 4x4 s4", [8, 3, 96, 1, 224, 4, 4, 2]),
    ("convnext 96 dw 7x7", [8, 96, 96, 96, 56, 7, 1, 2]),
    ("convnext 384 dw 7x7", [8, 384, 384, 384, 14, 7, 1, 2]),
    ("efficientnet 144 dw 3x3", [8, 144, 144, 144, 56, 3, 1, 2]),
    ("efficientnet 144 dw 5x5 s2", [8, 144, 144, 144, 56, 5, 2, 2]),
    ("3d stem 7x7x7 s2", [2, 1, 64, 1, 48, 7, 2, 3]),
    ("3d 64 3x3x3", [2, 64, 64, 1, 16, 3, 1, 3]),
    ("3d 64-128 3x3x3 s2", [2, 64, 128, 1, 16, 3, 2, 3]),
];

/// A convolution with pads that keep the image at a stride of one, and none where
/// windows do not overlap.
fn graph(g: Graph, sizes: [usize; 8], gradients: bool) -> Result<(Graph, [Vec<usize>; 3]), Error> {
    let [n, c, o, groups, image, kernel, stride, axes] = sizes;
    let shape = |a, b, size| [vec![a, b], vec![size; axes]].concat();
    let mut g = g;
    let shapes = [shape(n, c, image), shape(o, c / groups, kernel)];
    let [x, k] = [("x", &shapes[0]), ("k", &shapes[1])]
        .map(|(name, shape)| g.input(name, ElementType::F32, shape));
    let pads = vec![if stride < kernel { (kernel - 1) / 2 } else { 0 }; axes];
    let sliding = Sliding {
        strides: vec![stride; axes],
        pads_before: pads.clone(),
        pads_after: pads,
        ..Sliding::unit(axes)
    };
    let y = g.conv(x, k, None, groups, &sliding)?;
    g.output("y", y);
    let places = g.shape(y).to_vec();
    let dy = g.input("dy", ElementType::F32, &places);
    if gradients {
        let product = g.mul(y, dy)?;
        let all: Vec<i64> = (0..places.len() as i64).collect();
        let loss = g.reduce_sum(product, &all, false)?;
        let [dx, dk] = gradient(&mut g, loss, &[x, k])?[..] else { unreachable!() };
        g.output("dx", dx);
        g.output("dk", dk);
    }
    let [x, k] = shapes;
    Ok((g, [x, k, places]))
}

/// The CPU time of this thread, or the time of day where the system does not say.
fn cpu_time(start: Instant) -> Duration {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split_whitespace().next()?.parse().ok());
    told.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

fn main() {
    let start = Instant::now();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
    let numbers: Vec<usize> = arguments.iter().filter_map(|a| a.parse().ok()).collect();
    let chosen: Vec<_> = match <[usize; 8]>::try_from(numbers) {
        Ok(sizes) => vec![("given", sizes)],
        Err(_) => {
            let named = |name: &str| arguments.iter().all(|word| name.contains(word.as_str()));
            CONVOLUTIONS.into_iter().filter(|(name, _)| named(name)).collect()
        }
    };
    let mut sessions: Vec<(Session, [Tensor<f32>; 3], Vec<Duration>)> = Vec::new();
    for &(_, sizes) in &chosen {
        for (g, gradients) in [
            (Graph::new(), false),
            (Graph::new(), true),
            (Graph::new().with_kernels(Kernels::Cpu), true),
        ] {
            let (g, shapes) = graph(g, sizes, gradients).unwrap();
            let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
            let builder = runtime::builder(1);
            let domain = onnx_grad_kernels::domain().unwrap();
            let mut builder = builder.with_operators(domain).unwrap();
            let session = builder.commit_from_memory(&bytes).unwrap();
            let inputs = shapes.map(|shape| {
                let x = reference::Array::random(&shape, 1);
                let data: Vec<f32> = x.data.iter().map(|&x| x as f32).collect();
                Tensor::from_array((shape, data)).unwrap()
            });
            sessions.push((session, inputs, Vec::new()));
        }
    }
    for _ in 0..ROUNDS {
        for (session, [x, k, dy], times) in &mut sessions {
            let before = cpu_time(start);
            let mut runs = 0;
            while cpu_time(start) - before < TURN {
                session.run(ort::inputs! { "x" => &*x, "k" => &*k, "dy" => &*dy }).unwrap();
                runs += 1;
            }
            times.push((cpu_time(start) - before) / runs);
        }
    }
    println!(
        "{:28} {:>10} {:>16} {:>16} {:>6}",
        "CPU time of one thread", "forward", "and gradients", "with kernels", "ratio"
    );
    for ((name, _), three) in chosen.iter().zip(sessions.chunks_mut(3)) {
        let [forward, both, fused] = [0, 1, 2].map(|i| {
            let times = &mut three[i].2;
            times.sort_unstable();
            times[ROUNDS / 2].as_secs_f64() * 1e3
        });
        let ratio = fused / both;
        println!("{name:28} {forward:7.1} ms {both:13.1} ms {fused:13.1} ms {ratio:6.2}");
    }
}
