use std::fs;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::{
    encoder::{Architecture, Encoder, Own, Projector, Settings as EncoderSettings, Vit},
    objective::{self, Objective, Sides, Temperature},
    runtime::Device,
    train::OptimizerKind,
};

fn encoder(vit: Vit, view: &view::Settings) -> Encoder {
    let settings = EncoderSettings {
        architecture: Architecture::Vit(vit),
        projection: 32,
        projector: Projector::Mlp,
        own: Own::default(),
        weights: None,
        train_last: None,
    };
    Encoder::open(&settings, view).unwrap()
}

fn view(size: usize) -> view::Settings {
    view::Settings { size, pixel_mm: 2.0, plane: view::Plane::Axial, slices: None }
}

fn settings(batch: usize, gradient_cache: usize, optimizer: OptimizerKind) -> Settings {
    Settings {
        batch,
        gradient_cache,
        optimizer,
        learning_rate: 0.05,
        // so far that nothing is clipped
        clip_norm: 1e6,
        objective: objective::Settings {
            kind: Objective::InfoNce { sides: Sides::Both },
            temperature: Temperature::Learned(0.2),
        },
        ..crate::train::tests::settings()
    }
}

/// A batch of noise in which positives are noisy anchors.
fn batch(pairs: usize, view: &view::Settings, seed: u64) -> Batch {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let half = pairs * view.voxels();
    let mut views: Vec<f32> = (0..half).map(|_| rng.random_range(-1.0..1.0)).collect();
    for n in 0..half {
        views.push(views[n] + rng.random_range(-0.5..0.5));
    }
    let mut targets = vec![0.0; pairs * pairs];
    targets.iter_mut().step_by(pairs + 1).for_each(|v| *v = 1.0);
    let mut allowed = vec![1.0; pairs * pairs];
    // a false negative
    if let Some(first) = allowed.get_mut(1) {
        *first = 0.0;
    }
    Batch { views, targets, allowed, ..Batch::default() }
}

/// What steps report, and the state after them.
fn run(
    encoder: &Encoder,
    view: &view::Settings,
    settings: &Settings,
    steps: usize,
) -> (Vec<Vec<f32>>, Vec<Vec<f32>>) {
    let runtime = Runtime::open(Device::Cpu, 0).unwrap();
    let towers = Towers::new(encoder, &[]).unwrap();
    let weights = towers.initial_weights(3).unwrap();
    let trained = Trained::new(towers.layout(), encoder.projection(), &settings.objective).unwrap();
    let rows = vec![0; 2 * settings.batch];
    let plan =
        Plan::new((&towers, &rows), &trained, &weights, settings, view, runtime.kernels()).unwrap();
    let state = plan.state().to_vec();
    let mut stepper = plan.open(&runtime, &state).unwrap();
    let scalars = Scalars { learning_rate: settings.learning_rate, temperature: 0.2 };
    let reported = (0..steps)
        .map(|step| {
            let batch = batch(settings.batch, view, step as u64);
            let values = stepper.step(settings, (step, 0), scalars, batch).unwrap();
            let by_name = stepper.outputs().iter().zip(values);
            let mut by_name: Vec<(&str, f32)> = by_name.map(|(name, v)| (*name, v)).collect();
            by_name.sort_by_key(|(name, _)| *name);
            by_name.into_iter().map(|(_, value)| value).collect()
        })
        .collect();
    (reported, stepper.state().unwrap())
}

/// |a − b| / |b|, in f64.
fn off(a: &[f32], b: &[f32]) -> f64 {
    assert_eq!(a.len(), b.len());
    let square = |v: f64| v * v;
    let gap: f64 = a.iter().zip(b).map(|(a, b)| square(f64::from(a - b))).sum();
    let size: f64 = b.iter().map(|b| square(f64::from(*b))).sum();
    (gap / size).sqrt()
}

#[test]
fn chunks_give_the_gradient_and_the_steps_of_the_whole_batch() {
    let view = view(32);
    let encoder = encoder(Vit { patch: 8, dim: 48, depth: 2, heads: 3 }, &view);
    let learned = Temperature::Learned(0.2);
    for (optimizer, temperature) in [
        (OptimizerKind::AdamW, learned),
        (OptimizerKind::Sgd, learned),
        (OptimizerKind::Sgd, Temperature::Fixed(0.2)),
    ] {
        for steps in [1, 3] {
            // Adam makes a step of the learning rate of a gradient that is zero but for
            // rounding, as that of the keys' bias is
            if optimizer == OptimizerKind::AdamW && steps > 1 {
                continue;
            }
            let of = |chunk| {
                let mut settings = settings(64, chunk, optimizer);
                settings.objective.temperature = temperature;
                run(&encoder, &view, &settings, steps)
            };
            let ((whole, expected), (cached, found)) = (of(0), of(16));
            for (cached, whole) in cached.iter().flatten().zip(whole.iter().flatten()) {
                assert!((cached - whole).abs() <= 1e-5 * whole.abs().max(1.0), "{cached} {whole}");
            }
            // the parameters, and the first moment: of the first step the gradient
            let (params, moment) = (off(&found[0], &expected[0]), off(&found[1], &expected[1]));
            println!(
                "{optimizer:?} after {steps}: parameters off by {params:e}, moment by {moment:e}"
            );
            assert!(moment < 1e-5, "{optimizer:?} after {steps}: {moment:e}");
            let of_params = optimizer == OptimizerKind::AdamW;
            assert!(of_params || params < 1e-5, "{optimizer:?} after {steps}: {params:e}");
        }
    }
}

/// A value of /proc/self/status, or seconds of the processor.
fn of_process(name: &str) -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name));
    line.unwrap_or_default().split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
}

fn processor_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after.split_whitespace().skip(11).take(2).filter_map(|v| v.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// One step of many pairs: MIVOX_CACHE_PAIRS (4096) in chunks of MIVOX_CACHE_CHUNK (32).
#[test]
#[ignore = "a quarter of an hour of processor time"]
fn a_step_of_thousands_of_pairs() {
    let number = |name: &str, usual: usize| {
        std::env::var(name).ok().and_then(|v| v.parse().ok()).unwrap_or(usual)
    };
    let (pairs, chunk) = (number("MIVOX_CACHE_PAIRS", 4096), number("MIVOX_CACHE_CHUNK", 32));
    let view = view(96);
    let encoder = encoder(Vit { patch: 8, dim: 192, depth: 12, heads: 3 }, &view);
    let started = (std::time::Instant::now(), processor_seconds());
    let (reported, _) = run(&encoder, &view, &settings(pairs, chunk, OptimizerKind::AdamW), 1);
    println!(
        "{pairs} pairs, chunks of {chunk}: {:?}; {:.0} s, {:.0} s of processor, at most {}",
        reported[0],
        started.0.elapsed().as_secs_f64(),
        processor_seconds() - started.1,
        of_process("VmHWM")
    );
    assert!(reported[0].iter().all(|v| v.is_finite()));
}
