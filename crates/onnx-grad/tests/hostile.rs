//! Files that are not what they seem: no panic, and an end in time.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::{Duration, Instant};

#[path = "support/file.rs"]
mod file;

use onnx_grad::{
    Binding, ElementType, Error, Forward, Graph, ImportOptions, Kernels, Mode, gradient,
};

/// Reads bytes as a model and builds its gradient, on standard operators and on
/// kernels.
fn train(bytes: &[u8]) -> Result<(), Error> {
    let on_kernels = train_on(Graph::new().with_kernels(Kernels::Cpu), bytes);
    train_on(Graph::new(), bytes).and(on_kernels)
}

fn train_on(mut g: Graph, bytes: &[u8]) -> Result<(), Error> {
    let options = ImportOptions { batch: Some(2), ..ImportOptions::default() };
    let forward = Forward::read(bytes, &options)?;
    let mut fed = Vec::new();
    for input in forward.inputs() {
        let shape: Vec<usize> = input.shape.iter().map(|n| n.unwrap_or(2)).collect();
        fed.push(g.input(&input.name, input.element, &shape));
    }
    let parameters = forward.layout().bind_initializers(&mut g, &forward.parameters())?;
    let buffers = forward.buffers().bind_initializers(&mut g, &forward.buffer_values())?;
    let seed = g.input("seed of draws", ElementType::I64, &[]);
    let mode = Mode::Train { seed: Some(seed) };
    let binding = Binding { inputs: &fed, parameters: &parameters, buffers: &buffers, mode };
    let y = forward.apply(&mut g, binding)?.outputs[0];
    let axes: Vec<i64> = (0..g.shape(y).len() as i64).collect();
    let loss = g.reduce_mean(y, &axes, false)?;
    gradient(&mut g, loss, &parameters)?;
    Ok(())
}

fn in_time(bytes: &[u8]) -> bool {
    let start = Instant::now();
    let result = train(bytes);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?} for {result:?}", start.elapsed());
    result.is_ok()
}

#[test]
fn every_truncation_ends_well() {
    let bytes = file::network().to_bytes();
    assert!(in_time(&bytes));
    for end in 0..bytes.len() {
        in_time(&bytes[..end]);
    }
}

#[test]
fn changed_bytes_end_well() {
    let bytes = file::network().to_bytes();
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |n: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 33) as usize % n
    };
    let mut good = 0;
    for _ in 0..4000 {
        let mut changed = bytes.clone();
        for _ in 0..=next(3) {
            let place = next(changed.len());
            match next(4) {
                0 => changed[place] ^= 1 << next(8),
                1 => changed[place] = [0, 1, 0x7f, 0x80, 0xff][next(5)],
                2 => drop(changed.remove(place)),
                _ => {
                    let from = next(changed.len());
                    let to = (from + next(40)).min(changed.len());
                    let part = changed[from..to].to_vec();
                    changed.splice(place..place, part);
                }
            }
        }
        good += usize::from(in_time(&changed));
    }
    // many changes touch a weight's value, which harms nothing
    assert!(good > 100, "{good} of 4000 are still models");
}

#[test]
fn changed_numbers_end_well() {
    let wild = [0, 1, -1, 2, 7, 1 << 20, 1 << 40, i64::MAX, i64::MIN];
    let message = file::network();
    let graph = message.graph.as_ref().unwrap();
    for &n in &wild {
        for i in 0..graph.initializer.len() {
            for k in 0..graph.initializer[i].dims.len() {
                let mut changed = message.clone();
                changed.graph.as_mut().unwrap().initializer[i].dims[k] = n;
                in_time(&changed.to_bytes());
            }
            for k in 0..graph.initializer[i].int64_data.len() {
                let mut changed = message.clone();
                changed.graph.as_mut().unwrap().initializer[i].int64_data[k] = n;
                in_time(&changed.to_bytes());
            }
        }
        for i in 0..graph.node.len() {
            for k in 0..graph.node[i].attribute.len() {
                let mut changed = message.clone();
                let attribute = &mut changed.graph.as_mut().unwrap().node[i].attribute[k];
                attribute.i = n;
                attribute.ints.fill(n);
                in_time(&changed.to_bytes());
            }
            for k in 0..graph.node[i].input.len() {
                for other in ["", "x", "shape", "y", "zero", "conv.w"] {
                    let mut changed = message.clone();
                    changed.graph.as_mut().unwrap().node[i].input[k] = other.to_owned();
                    in_time(&changed.to_bytes());
                }
            }
        }
    }
}
