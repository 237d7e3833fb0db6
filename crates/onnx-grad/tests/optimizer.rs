//! AdamW and clipping against naive references in `f64`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{
    AdamW, AdamWState, AdamWStep, ElementType, Error, Graph, Layout, Parameter,
    clip_by_global_norm, model,
};
use reference::{Array, assert_close};
use runtime::Model;

/// Decay in the first, the last, both or none of two parameters.
fn layout(decay: [bool; 2]) -> Layout {
    let mut layout = Layout::new();
    layout.push(Parameter::new("a", &[2, 3], decay[0])).unwrap();
    layout.push(Parameter::new("b", &[4], decay[1])).unwrap();
    layout
}

fn graph(adamw: AdamW, layout: &Layout) -> Vec<u8> {
    let mut g = Graph::new();
    let names = ["params", "grads", "m", "v"];
    let [params, grads, m, v] = names.map(|name| g.input(name, ElementType::F32, &[layout.len()]));
    let scalars = ["lr", "bias_correction1", "bias_correction2"];
    let [lr, bias_correction1, bias_correction2] =
        scalars.map(|name| g.input(name, ElementType::F32, &[]));
    let state = AdamWState { params, grads, m, v };
    let step = AdamWStep { lr, bias_correction1, bias_correction2 };
    let update = adamw.update(&mut g, layout, state, step).unwrap();
    g.output("next_params", update.params);
    g.output("next_m", update.m);
    g.output("next_v", update.v);
    model::write(&g, &model::WriteOptions::default()).unwrap()
}

#[test]
fn twenty_steps_of_adamw() {
    let adamw = AdamW { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.3 };
    let (beta1, beta2) = (f64::from(adamw.beta1), f64::from(adamw.beta2));
    let (epsilon, decay) = (f64::from(adamw.epsilon), f64::from(adamw.weight_decay));
    for decayed in [[true, false], [false, true], [true, true], [false, false]] {
        let layout = layout(decayed);
        let mut model = Model::load(&graph(adamw, &layout));
        // in the order of the buffer, written out by hand
        let pulled: Vec<bool> = match decayed {
            [true, false] => [[true; 6].to_vec(), [false; 4].to_vec()].concat(),
            [false, true] => [[true; 4].to_vec(), [false; 6].to_vec()].concat(),
            [both, _] => vec![both; 10],
        };
        let mut state = Array::random(&[10], 1);
        let (mut m, mut v) = (state.map(|_| 0.0), state.map(|_| 0.0));
        let (mut theta, mut first, mut second) = (state.clone(), m.clone(), v.clone());
        for t in 1..=20 {
            let grads = Array::random(&[10], 100 + t);
            let lr = 0.05 / t as f64;
            let corrections = [beta1, beta2].map(|b| 1.0 - b.powi(t as i32));
            let scalars = [lr, corrections[0], corrections[1]].map(|x| Array::new(&[], &[x]));
            let outputs = model.run(&[
                ("params", &state),
                ("grads", &grads),
                ("m", &m),
                ("v", &v),
                ("lr", &scalars[0]),
                ("bias_correction1", &scalars[1]),
                ("bias_correction2", &scalars[2]),
            ]);
            (state, m, v) = (
                outputs["next_params"].clone(),
                outputs["next_m"].clone(),
                outputs["next_v"].clone(),
            );
            for (i, &pulled) in pulled.iter().enumerate() {
                let g = grads.data[i];
                first.data[i] = beta1 * first.data[i] + (1.0 - beta1) * g;
                second.data[i] = beta2 * second.data[i] + (1.0 - beta2) * g * g;
                if pulled {
                    theta.data[i] -= lr * decay * theta.data[i];
                }
                let (m, v) = (first.data[i] / corrections[0], second.data[i] / corrections[1]);
                theta.data[i] -= lr * m / (v.sqrt() + epsilon);
            }
        }
        assert_close("params", &state, &theta, 2e-6);
        assert_close("m", &m, &first, 2e-6);
        assert_close("v", &v, &second, 2e-6);
    }
}

#[test]
fn a_state_of_another_length_is_refused() {
    let layout = layout([true, false]);
    let mut g = Graph::new();
    let long = g.input("long", ElementType::F32, &[layout.len()]);
    let short = g.input("short", ElementType::F32, &[layout.len() - 1]);
    let lr = g.input("lr", ElementType::F32, &[]);
    let step = AdamWStep { lr, bias_correction1: lr, bias_correction2: lr };
    let state = AdamWState { params: long, grads: short, m: long, v: long };
    let error = AdamW::default().update(&mut g, &layout, state, step).unwrap_err();
    assert!(matches!(error, Error::Shape { operator: "AdamW", .. }), "{error}");
}

#[test]
fn clipping() {
    let mut g = Graph::new();
    let grads = g.input("grads", ElementType::F32, &[10]);
    let (clipped, norm) = clip_by_global_norm(&mut g, grads, 2.0).unwrap();
    g.output("clipped", clipped);
    g.output("norm", norm);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let mut model = Model::load(&bytes);
    for factor in [0.0, 0.1, 1.0, 1e4] {
        let x = Array::random(&[10], 2).map(|x| x * factor);
        let norm = x.map(|x| x * x).total().sqrt();
        let scale = if norm > 2.0 { 2.0 / norm } else { 1.0 };
        let outputs = model.run(&[("grads", &x)]);
        assert_close("norm", &outputs["norm"], &Array::new(&[], &[norm]), 1e-6);
        assert_close("clipped", &outputs["clipped"], &x.map(|x| x * scale), 1e-6);
    }
    // what is not a number must stay visible
    let outputs = model.run(&[("grads", &Array::new(&[10], &[f64::NAN; 10]))]);
    assert!(outputs["norm"].data[0].is_nan());
    assert!(outputs["clipped"].data.iter().all(|x| x.is_nan()));
}

#[test]
fn layout_places_decay_first() {
    let mut layout = Layout::new();
    assert!(layout.is_empty());
    assert_eq!(layout.push(Parameter::new("bias", &[4], false)).unwrap(), 0);
    assert_eq!(layout.push(Parameter::new("weight", &[2, 3], true)).unwrap(), 1);
    assert_eq!(layout.push(Parameter::new("scale", &[], false)).unwrap(), 2);
    assert_eq!(layout.push(Parameter::new("last", &[1, 2], true)).unwrap(), 3);
    let error = layout.push(Parameter::new("bias", &[1], true)).unwrap_err();
    assert!(matches!(error, Error::DuplicateName { name } if name == "bias"));
    assert_eq!((layout.len(), layout.decayed()), (13, 8));
    let offsets: Vec<_> = (0..5).map(|i| layout.offset(i)).collect();
    assert_eq!(offsets, [Some(8), Some(0), Some(12), Some(6), None]);
    assert_eq!(layout.find("scale"), Some(2));

    let flat: Vec<f32> = (0..13u8).map(f32::from).collect();
    let mut g = Graph::new();
    let input = g.input("flat", ElementType::F32, &[13]);
    let bound = layout.bind_flat(&mut g, input).unwrap();
    let stored = layout.bind_initializers(&mut g, &flat).unwrap();
    for (i, parameter) in layout.parameters().iter().enumerate() {
        assert_eq!(g.shape(bound[i]), parameter.shape);
        let difference = g.sub(bound[i], stored[i]).unwrap();
        g.output(&format!("difference{i}"), difference);
    }
    let again = layout.flatten(&mut g, &stored).unwrap();
    g.output("again", again);
    let error = layout.flatten(&mut g, &stored[..3]).unwrap_err();
    assert!(matches!(error, Error::Shape { .. }));
    let error = layout.bind_initializers(&mut g, &flat[1..]).unwrap_err();
    assert!(matches!(error, Error::Length { required: 13, received: 12, .. }));

    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let flat = Array::from_fn(&[13], |i| i[0] as f64);
    let outputs = Model::load(&bytes).run(&[("flat", &flat)]);
    assert_eq!(outputs["again"], flat);
    for i in 0..4 {
        assert!(outputs[&format!("difference{i}")].data.iter().all(|&x| x == 0.0));
    }
}
