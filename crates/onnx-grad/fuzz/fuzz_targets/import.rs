//! Reads arbitrary bytes as a model and builds its gradient and its file.
//!
//!     cargo +nightly fuzz run import -- -max_len=16384 -malloc_limit_mb=1024 -timeout=10

#![no_main]

use libfuzzer_sys::fuzz_target;
use onnx_grad::{
    Binding, ElementType, Error, Forward, Graph, ImportOptions, Mode, gradient, model,
};

/// The greatest number of elements of an input, so that what follows is short.
const ELEMENTS: usize = 1 << 24;

fuzz_target!(|bytes: &[u8]| {
    let _ = train(bytes);
});

fn train(bytes: &[u8]) -> Result<(), Error> {
    let options = ImportOptions { batch: Some(2), untrained: true, ..ImportOptions::default() };
    let forward = Forward::read(bytes, &options)?;
    let mut g = Graph::new();
    let mut fed = Vec::new();
    for input in forward.inputs() {
        let shape: Vec<usize> = input.shape.iter().map(|n| n.unwrap_or(2)).collect();
        if shape.iter().fold(1, |n: usize, &d| n.saturating_mul(d)) > ELEMENTS {
            return Ok(());
        }
        fed.push(g.input(&input.name, input.element, &shape));
    }
    let parameters = forward.layout().bind_initializers(&mut g, &forward.parameters())?;
    let buffers = forward.buffers().bind_initializers(&mut g, &forward.buffer_values())?;
    let seed = g.input("seed of draws", ElementType::I64, &[]);
    let mode = Mode::Train { seed: Some(seed) };
    let binding = Binding { inputs: &fed, parameters: &parameters, buffers: &buffers, mode };
    let outputs = forward.apply(&mut g, binding)?.outputs;
    g.output("y", outputs[0]);
    let dynamic_batch = Some("n".to_owned());
    let _ = model::write(&g, &model::WriteOptions { dynamic_batch, ..Default::default() });
    let axes: Vec<i64> = (0..g.shape(outputs[0]).len() as i64).collect();
    let loss = g.reduce_mean(outputs[0], &axes, false)?;
    for gradient in gradient(&mut g, loss, &[&parameters[..], &fed[..]].concat())? {
        g.output("gradient", gradient);
    }
    let _ = model::write(&g, &model::WriteOptions::default());
    Ok(())
}
