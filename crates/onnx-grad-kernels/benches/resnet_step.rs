//! Times a training step of ResNet-18 as `vit_step` does that of a vision
//! transformer.
//!
//!     cargo bench -p onnx-grad-kernels --bench resnet_step -- [batch] [image] [threads] [rounds]

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "../../onnx-grad/tests/support/reference.rs"]
mod reference;
#[path = "../../onnx-grad/tests/support/runtime.rs"]
mod runtime;
#[path = "support/training.rs"]
mod training;

use onnx_grad::{Error, Graph, Layout, Parameter, Sliding, Value};

/// Channels in, channels out, kernel, stride of every convolution, in order; the
/// third one of a stage that narrows is its shortcut.
fn convolutions() -> Vec<[usize; 4]> {
    let mut list = vec![[1, 64, 7, 2]];
    for (from, to) in [(64, 64), (64, 128), (128, 256), (256, 512)] {
        let stride = to / from;
        list.extend([[from, to, 3, stride], [to, to, 3, 1]]);
        if stride > 1 {
            list.push([from, to, 1, stride]);
        }
        list.extend([[to, to, 3, 1]; 2]);
    }
    list
}

fn layout() -> Result<Layout, Error> {
    let mut layout = Layout::new();
    for (i, [from, to, kernel, _]) in convolutions().into_iter().enumerate() {
        layout.push(Parameter::new(format!("{i}.weight"), &[to, from, kernel, kernel], true))?;
        layout.push(Parameter::new(format!("{i}.scale"), &[to], false))?;
        layout.push(Parameter::new(format!("{i}.bias"), &[to], false))?;
    }
    Ok(layout)
}

fn sliding(kernel: usize, stride: usize) -> Sliding {
    let pads = vec![(kernel - 1) / 2; 2];
    Sliding {
        strides: vec![stride; 2],
        pads_before: pads.clone(),
        pads_after: pads,
        ..Sliding::unit(2)
    }
}

fn embed(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let list = convolutions();
    let conv = |g: &mut Graph, x: Value, i: usize| {
        let [_, to, kernel, stride] = list[i];
        let x = g.conv(x, p[3 * i], None, 1, &sliding(kernel, stride))?;
        let (mean, variance) = (vec![0.0; to], vec![1.0; to]);
        let (mean, variance) = (g.constant_f32(&[to], &mean)?, g.constant_f32(&[to], &variance)?);
        let scale = p[3 * i + 1];
        let bias = p[3 * i + 2];
        Ok::<_, Error>(g.batch_norm_training(x, scale, bias, mean, variance, 1e-5, 0.9)?.y)
    };
    let x = conv(g, x, 0)?;
    let x = g.relu(x)?;
    let mut x = g.max_pool(x, &[3, 3], &sliding(3, 2), false)?;
    let mut i = 1;
    while i < list.len() {
        let narrows = list[i][3] > 1;
        let y = conv(g, x, i)?;
        let y = g.relu(y)?;
        let y = conv(g, y, i + 1)?;
        let shortcut = if narrows { conv(g, x, i + 2)? } else { x };
        let sum = g.add(y, shortcut)?;
        x = g.relu(sum)?;
        i += if narrows { 3 } else { 2 };
    }
    g.reduce_mean(x, &[2, 3], false)
}

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let argument = |i: usize, default| given.get(i).copied().unwrap_or(default);
    let (batch, image) = (argument(0, 32), argument(1, 96));
    let (threads, rounds) = (argument(2, 2), argument(3, 11));
    let layout = layout().unwrap();
    let mut params = Vec::new();
    for kind in [true, false] {
        for parameter in layout.parameters().iter().filter(|p| p.decay == kind) {
            let fan_in: usize = parameter.shape[1..].iter().product();
            let values = reference::Array::random(&parameter.shape, params.len() as u64 + 1);
            let scale = (6.0 / fan_in as f64).sqrt();
            let one = parameter.name.ends_with("scale");
            let value = |&x: &f64| if kind { (x * scale) as f32 } else { f32::from(one) };
            params.extend(values.data.iter().map(value));
        }
    }
    training::compare(&[batch, 1, image, image], &layout, &params, threads, rounds, embed);
}
