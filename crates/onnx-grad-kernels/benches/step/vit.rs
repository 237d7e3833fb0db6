//! The vision transformer that mivox trains, `src/encoder/vit.rs`.

use onnx_grad::{Error, Graph, Layout, Parameter, Value};

pub const SIDE: usize = 96;
const PATCH: usize = 8;
const ROW: usize = SIDE / PATCH;
const TOKENS: usize = ROW * ROW;
const WIDTH: usize = 192;
const BLOCKS: usize = 6;
const HEADS: usize = 6;
const EPSILON: f32 = 1e-6;

/// Norm, attention, norm, perceptron.
const OF_A_BLOCK: usize = 12;

pub fn layout() -> Result<Layout, Error> {
    let mut layout = Layout::new();
    let mut pair = |name: String, weight: &[usize], bias: usize| {
        let decays = weight.len() > 1;
        layout.push(Parameter::new(format!("{name}.weight"), weight, decays))?;
        layout.push(Parameter::new(format!("{name}.bias"), &[bias], false))
    };
    pair("patch".to_owned(), &[PATCH * PATCH, WIDTH], WIDTH)?;
    for n in 0..BLOCKS {
        pair(format!("{n}.norm1"), &[WIDTH], WIDTH)?;
        pair(format!("{n}.qkv"), &[WIDTH, 3 * WIDTH], 3 * WIDTH)?;
        pair(format!("{n}.attention"), &[WIDTH, WIDTH], WIDTH)?;
        pair(format!("{n}.norm2"), &[WIDTH], WIDTH)?;
        pair(format!("{n}.up"), &[WIDTH, 4 * WIDTH], 4 * WIDTH)?;
        pair(format!("{n}.down"), &[4 * WIDTH, WIDTH], WIDTH)?;
    }
    pair("norm".to_owned(), &[WIDTH], WIDTH)?;
    Ok(layout)
}

/// Scales of one, and weights as large as their fan-in lets them be.
pub fn parameters(layout: &Layout) -> Vec<f32> {
    let mut flat = vec![0.0; layout.len()];
    let mut state = 1u32;
    for (i, parameter) in layout.parameters().iter().enumerate() {
        let start = layout.offset(i).unwrap();
        let len: usize = parameter.shape.iter().product();
        for x in &mut flat[start..start + len] {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let uniform = f64::from(state >> 8) / f64::from(1 << 23) - 1.0;
            *x = match parameter.shape[..] {
                [fan_in, _] => (uniform * (3.0 / fan_in as f64).sqrt()) as f32,
                _ if parameter.name.contains("norm") && parameter.name.ends_with("weight") => 1.0,
                _ => 0.0,
            };
        }
    }
    flat
}

/// Features `[n, WIDTH]` of images `[n, 1, SIDE, SIDE]`.
pub fn forward(g: &mut Graph, images: Value, p: &[Value]) -> Result<Value, Error> {
    let n = g.shape(images)[0];
    let x = g.reshape(images, &[n, ROW, PATCH, ROW, PATCH])?;
    let x = g.transpose(x, &[0, 1, 3, 2, 4])?;
    let x = g.reshape(x, &[n, TOKENS, PATCH * PATCH])?;
    let x = linear(g, x, &p[..2])?;
    let positions = g.constant_f32(&[TOKENS, WIDTH], &positions())?;
    let mut x = g.add(x, positions)?;
    let blocks = &p[2..2 + BLOCKS * OF_A_BLOCK];
    for p in blocks.chunks(OF_A_BLOCK) {
        let y = g.layer_norm(x, p[0], p[1], -1, EPSILON)?;
        let y = attention(g, y, &p[2..6])?;
        x = g.add(x, y)?;
        let y = g.layer_norm(x, p[6], p[7], -1, EPSILON)?;
        let y = linear(g, y, &p[8..10])?;
        let y = g.gelu(y)?;
        let y = linear(g, y, &p[10..12])?;
        x = g.add(x, y)?;
    }
    let last = &p[2 + BLOCKS * OF_A_BLOCK..];
    let x = g.layer_norm(x, last[0], last[1], -1, EPSILON)?;
    g.reduce_mean(x, &[1], false)
}

fn linear(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    g.linear(x, p[0], p[1])
}

fn attention(g: &mut Graph, x: Value, p: &[Value]) -> Result<Value, Error> {
    let qkv = linear(g, x, &p[..2])?;
    let parts = g.split(qkv, -1, &[WIDTH; 3])?;
    let mixed = g.attention(parts[0], parts[1], parts[2], HEADS)?;
    linear(g, mixed, &p[2..4])
}

/// A quarter of the width each for sine and cosine of row and column.
fn positions() -> Vec<f32> {
    let quarter = WIDTH / 4;
    let one = |token: usize, i: usize| {
        let place = if i < WIDTH / 2 { token / ROW } else { token % ROW } as f64;
        let angle = place / 10_000f64.powf((i % quarter) as f64 / quarter as f64);
        if (i / quarter).is_multiple_of(2) { angle.sin() as f32 } else { angle.cos() as f32 }
    };
    (0..TOKENS * WIDTH).map(|i| one(i / WIDTH, i % WIDTH)).collect()
}
