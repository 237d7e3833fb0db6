//! Optimizers, accumulation and clipping against naive references in `f64`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{
    AdamW, ElementType, Error, Graph, Lars, Layout, Optimizer, OptimizerState, Parameter, Sgd,
    accumulate, clip_by_global_norm, model,
};
use reference::{Array, assert_close};
use runtime::Model;

/// Decay in the first, the last, both or none of two parameters, and in a third
/// one as in the first.
fn layout(decay: [bool; 2]) -> Layout {
    let mut layout = Layout::new();
    layout.push(Parameter::new("a", &[2, 3], decay[0])).unwrap();
    layout.push(Parameter::new("b", &[4], decay[1])).unwrap();
    layout.push(Parameter::new("c", &[1, 5], decay[0])).unwrap();
    layout
}

/// Ranges of the flat buffer, with or without decay, written out by hand.
fn ranges(decay: [bool; 2]) -> [(std::ops::Range<usize>, bool); 3] {
    match decay {
        [true, false] => [(0..6, true), (6..11, true), (11..15, false)],
        [false, true] => [(0..4, true), (4..10, false), (10..15, false)],
        [both, _] => [(0..6, both), (6..10, both), (10..15, both)],
    }
}

/// The graph of one step, from the names that the optimizer gives.
fn graph(optimizer: &dyn Optimizer, layout: &Layout) -> Vec<u8> {
    let mut g = Graph::new();
    let mut flat = |name: &str| g.input(name, ElementType::F32, &[layout.len()]);
    let (params, grads) = (flat("params"), flat("grads"));
    let moments = optimizer.moments().iter().map(|name| flat(name)).collect();
    let scalars: Vec<_> =
        optimizer.scalars().iter().map(|name| g.input(name, ElementType::F32, &[])).collect();
    let state = OptimizerState { params, moments };
    let next = optimizer.update(&mut g, layout, &state, grads, &scalars).unwrap();
    g.output("next_params", next.params);
    for (name, value) in optimizer.moments().iter().zip(next.moments) {
        g.output(&format!("next_{name}"), value);
    }
    model::write(&g, &model::WriteOptions::default()).unwrap()
}

/// The state in the naive references: parameters, then moments.
type Naive = Vec<Vec<f64>>;

/// Twenty steps of an optimizer, and of a reference that takes a range of the
/// buffer, whether it decays, the learning rate, the step and the gradient.
fn twenty_steps(
    optimizer: &dyn Optimizer,
    reference: impl Fn(&mut Naive, std::ops::Range<usize>, bool, f64, i32, &[f64]),
) {
    for decay in [[true, false], [false, true], [true, true], [false, false]] {
        let layout = layout(decay);
        let mut model = Model::load(&graph(optimizer, &layout));
        let names: Vec<&str> = ["params"].iter().chain(optimizer.moments()).copied().collect();
        let mut state = vec![Array::new(&[15], &[0.0; 15]); names.len()];
        state[0] = Array::random(&[15], 1);
        let mut naive: Naive = state.iter().map(|x| x.data.clone()).collect();
        for t in 1..=20 {
            let mut grads = Array::random(&[15], 100 + t);
            if t == 7 {
                // a range without a gradient
                grads.data[..6].fill(0.0);
            }
            let rate = 0.05 / t as f64;
            let scalars = optimizer.scalar_values(rate, t);
            let scalars: Vec<Array> =
                scalars.iter().map(|&x| Array::new(&[], &[f64::from(x)])).collect();
            let mut feeds: Vec<(&str, &Array)> = names.iter().copied().zip(&state).collect();
            feeds.push(("grads", &grads));
            feeds.extend(optimizer.scalars().iter().copied().zip(&scalars));
            let outputs = model.run(&feeds);
            state = names.iter().map(|name| outputs[&format!("next_{name}")].clone()).collect();
            for (range, decays) in ranges(decay) {
                reference(&mut naive, range, decays, rate, t as i32, &grads.data);
            }
        }
        for ((name, received), expected) in names.iter().zip(&state).zip(&naive) {
            let what = format!("{decay:?} {name}");
            assert_close(&what, received, &Array::new(&[15], expected), 3e-6);
        }
    }
}

#[test]
fn twenty_steps_of_adamw() {
    let adamw = AdamW { beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weight_decay: 0.3 };
    let [b1, b2, epsilon, decay] =
        [adamw.beta1, adamw.beta2, adamw.epsilon, adamw.weight_decay].map(f64::from);
    twenty_steps(&adamw, |state, range, decays, rate, t, grads| {
        for i in range {
            let g = grads[i];
            state[1][i] = b1 * state[1][i] + (1.0 - b1) * g;
            state[2][i] = b2 * state[2][i] + (1.0 - b2) * g * g;
            if decays {
                state[0][i] -= rate * decay * state[0][i];
            }
            let (m, v) = (state[1][i] / (1.0 - b1.powi(t)), state[2][i] / (1.0 - b2.powi(t)));
            state[0][i] -= rate * m / (v.sqrt() + epsilon);
        }
    });
}

#[test]
fn twenty_steps_of_sgd() {
    for (momentum, nesterov) in [(0.0, false), (0.7, false), (0.7, true)] {
        let sgd = Sgd { momentum, nesterov, weight_decay: 0.3 };
        let [momentum, decay] = [sgd.momentum, sgd.weight_decay].map(f64::from);
        assert_eq!(sgd.moments().len(), usize::from(momentum > 0.0));
        twenty_steps(&sgd, |state, range, decays, rate, _, grads| {
            for i in range {
                let mut step = grads[i];
                if decays {
                    step += decay * state[0][i];
                }
                if momentum > 0.0 {
                    state[1][i] = momentum * state[1][i] + step;
                    step = if nesterov { step + momentum * state[1][i] } else { state[1][i] };
                }
                state[0][i] -= rate * step;
            }
        });
    }
}

#[test]
fn twenty_steps_of_lars() {
    let lars = Lars { momentum: 0.7, weight_decay: 0.3, trust: 0.5 };
    let [momentum, decay, trust] = [lars.momentum, lars.weight_decay, lars.trust].map(f64::from);
    twenty_steps(&lars, |state, range, decays, rate, _, grads| {
        let norm = |x: &[f64]| x.iter().map(|x| x * x).sum::<f64>().sqrt();
        let (weights, gradient) = (norm(&state[0][range.clone()]), norm(&grads[range.clone()]));
        let ratio = if decays && weights > 0.0 && gradient > 0.0 {
            trust * weights / (gradient + decay * weights)
        } else {
            1.0
        };
        for i in range {
            let pull = if decays { decay * state[0][i] } else { 0.0 };
            state[1][i] = momentum * state[1][i] + rate * ratio * (grads[i] + pull);
            state[0][i] -= state[1][i];
        }
    });
}

#[test]
fn lars_moves_weights_that_are_zero() {
    let layout = layout([true, false]);
    let lars = Lars { weight_decay: 0.0, ..Lars::default() };
    let mut model = Model::load(&graph(&lars, &layout));
    let zeros = Array::new(&[15], &[0.0; 15]);
    let grads = Array::random(&[15], 3);
    let rate = Array::new(&[], &[0.5]);
    let feeds =
        [("params", &zeros), ("grads", &grads), ("momentum", &zeros), ("learning_rate", &rate)];
    let outputs = model.run(&feeds);
    assert_close("params", &outputs["next_params"], &grads.map(|g| -0.5 * g), 1e-6);
    // nothing moves without a gradient, and nothing turns into a NaN
    let feeds =
        [("params", &zeros), ("grads", &zeros), ("momentum", &zeros), ("learning_rate", &rate)];
    assert_eq!(model.run(&feeds)["next_params"].map(f64::abs), zeros);
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let layout = layout([true, false]);
    let mut g = Graph::new();
    let long = g.input("long", ElementType::F32, &[layout.len()]);
    let short = g.input("short", ElementType::F32, &[layout.len() - 1]);
    let rate = g.input("rate", ElementType::F32, &[]);
    let optimizers: [(&str, &dyn Optimizer); 4] = [
        ("AdamW", &AdamW::default()),
        ("SGD", &Sgd::default()),
        ("SGD", &Sgd { momentum: 0.0, ..Sgd::default() }),
        ("LARS", &Lars::default()),
    ];
    for (name, optimizer) in optimizers {
        let (moments, scalars) = (optimizer.moments().len(), optimizer.scalars().len());
        let state = |params, moments| OptimizerState { params, moments };
        let fits = state(long, vec![long; moments]);
        let rates = vec![rate; scalars];
        assert!(optimizer.update(&mut g, &layout, &fits, long, &rates).is_ok());
        let more = state(long, vec![long; moments + 1]);
        for (state, grads, scalars) in [
            (&fits, short, &rates),
            (&state(short, vec![long; moments]), long, &rates),
            (&more, long, &rates),
            (&fits, long, &vec![rate; scalars + 1]),
            (&fits, long, &vec![long; scalars]),
        ] {
            let error = optimizer.update(&mut g, &layout, state, grads, scalars).unwrap_err();
            assert!(matches!(error, Error::Shape { operator, .. } if operator == name), "{error}");
        }
    }
}

#[test]
fn accumulation_and_update_share_a_buffer() {
    let (layout, sgd) = (layout([true, false]), Sgd { momentum: 0.0, ..Sgd::default() });
    let mut g = Graph::new();
    let mut flat = |name| g.input(name, ElementType::F32, &[layout.len()]);
    let (sum, grads) = (flat("sum"), flat("grads"));
    let mut scalar = |name| g.input(name, ElementType::F32, &[]);
    let (keep, weight) = (scalar("keep"), scalar("weight"));
    let next = accumulate(&mut g, sum, grads, keep, weight).unwrap();
    g.output("next_sum", next);
    let error = accumulate(&mut g, sum, grads, sum, weight).unwrap_err();
    assert!(matches!(error, Error::Shape { operator: "accumulate", .. }), "{error}");
    let mut part = Model::load(&model::write(&g, &model::WriteOptions::default()).unwrap());
    let mut update = Model::load(&graph(&sgd, &layout));

    let mut params = Array::random(&[15], 1);
    let mut expected = params.clone();
    // what the buffer holds before a step, a NaN included, does not count
    let mut sum = params.map(|_| f64::NAN);
    let weight = Array::new(&[], &[0.25]);
    for step in 0..3 {
        let mut mean = vec![0.0; 15];
        for micro in 0..4u8 {
            let grads = Array::random(&[15], 10 * step + u64::from(micro));
            mean.iter_mut().zip(&grads.data).for_each(|(mean, g)| *mean += 0.25 * g);
            let keep = Array::new(&[], &[f64::from(micro.min(1))]);
            let feeds = [("sum", &sum), ("grads", &grads), ("keep", &keep), ("weight", &weight)];
            sum = part.run(&feeds)["next_sum"].clone();
        }
        assert_close("sum", &sum, &Array::new(&[15], &mean), 1e-6);
        let rate = Array::new(&[], &[0.1]);
        let feeds = [("params", &params), ("grads", &sum), ("learning_rate", &rate)];
        params = update.run(&feeds)["next_params"].clone();
        expected.data.iter_mut().zip(&mean).for_each(|(theta, g)| *theta -= 0.1 * g);
    }
    assert_close("params", &params, &expected, 1e-6);
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
