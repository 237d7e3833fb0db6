//! The bounds on mutual information: against PyTorch, sums over pairs and known truths.

use std::collections::HashMap;

use mivox::{
    objective::bound::{
        BOUNDS, Baseline, Bound, CRITICS, CriticKind, Given, Strata, info_nce_of_strata,
    },
    runtime::{self, Device, Runtime},
};
use onnx_grad::{
    ElementType, Graph, gradient,
    model::{self, WriteOptions},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};
use safetensors::SafeTensors;

/// Estimate and gradient of the scores, from a graph in ONNX Runtime.
fn in_graph(bound: Bound, scores: &[f64], extra: &Extra) -> (f64, Vec<f64>) {
    let k = scores.len().isqrt();
    let mut g = Graph::new();
    let input = g.input("scores", ElementType::F32, &[k, k]);
    let constant = |g: &mut Graph, shape: &[usize], values: &Option<Vec<f64>>| {
        let values = values.as_ref()?;
        let values: Vec<f32> = values.iter().map(|v| *v as f32).collect();
        Some(g.constant_f32(shape, &values).unwrap())
    };
    let given = Given {
        scores: input,
        log_weights: constant(&mut g, &[k, k], &extra.log_weights),
        log_baseline: constant(&mut g, &[k], &extra.log_baseline),
        log_mean: constant(&mut g, &[1], &extra.log_mean),
    };
    let fragment = bound.fragment(&mut g, given).unwrap();
    let grads = gradient(&mut g, fragment.loss, &[input]).unwrap()[0];
    g.output("estimate", fragment.estimate);
    g.output("gradient", grads);
    let bytes = model::write(&g, &WriteOptions::default()).unwrap();
    let mut session = Runtime::open(Device::Cpu, 1).unwrap().session(&bytes).unwrap();
    let scores: Vec<f32> = scores.iter().map(|v| *v as f32).collect();
    let outputs =
        runtime::run(&mut session, ("scores", &[k, k], &scores), &["estimate", "gradient"]);
    let outputs = outputs.unwrap();
    (f64::from(outputs[0][0]), outputs[1].iter().map(|v| f64::from(*v)).collect())
}

#[derive(Default)]
struct Extra {
    log_weights: Option<Vec<f64>>,
    log_baseline: Option<Vec<f64>>,
    log_mean: Option<Vec<f64>>,
}

fn worst(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

#[test]
fn graphs_and_estimates_are_those_of_pytorch() {
    let bytes = std::fs::read("tests/fixtures/bounds/peers.safetensors").unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let arrays: HashMap<String, Vec<f64>> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            let numbers = view.data().chunks_exact(8);
            (name, numbers.map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect())
        })
        .collect();
    let (scores, log_baseline) = (&arrays["scores"], &arrays["log_baseline"]);
    let labels: Vec<usize> = arrays["labels"].iter().map(|v| *v as usize).collect();
    let strata = Strata::of_labels(&labels, |_| 0.25);
    let with = |log_baseline: &Vec<f64>| Extra {
        log_baseline: Some(log_baseline.clone()),
        ..Extra::default()
    };
    let cases = [
        ("infonce", Bound::InfoNce, Extra::default()),
        ("nwj", Bound::Nwj, Extra::default()),
        ("tuba_learned", Bound::Tuba(Baseline::Learned), with(log_baseline)),
        ("tuba_constant", Bound::Tuba(Baseline::Constant(0.75)), Extra::default()),
        ("jsd", Bound::Jsd, Extra::default()),
        ("dv", Bound::Dv, Extra::default()),
        (
            "mine",
            Bound::Mine { rate: 0.25 },
            Extra { log_mean: Some(vec![0.3]), ..Extra::default() },
        ),
        ("smile", Bound::Smile { clip: 1.5 }, Extra::default()),
        (
            "strata",
            Bound::InfoNce,
            Extra { log_weights: Some(strata.log_weights()), ..Extra::default() },
        ),
    ];
    for (name, bound, extra) in cases {
        let expected = arrays[&format!("{name}.estimate")][0];
        let in_memory = match name {
            "strata" => info_nce_of_strata(scores, &strata),
            _ => bound.estimate(scores, log_baseline),
        };
        assert!((in_memory - expected).abs() < 1e-12, "{name}: {in_memory} for {expected}");
        let (estimate, gradient) = in_graph(bound, scores, &extra);
        assert!((estimate - expected).abs() < 1e-5, "{name}: {estimate} for {expected}");
        let off = worst(&gradient, &arrays[&format!("{name}.gradient")]);
        assert!(off < 1e-6, "{name}: a gradient is off by {off}");
    }
}

/// The bounds as they are written in the papers, by sums over pairs.
fn naive(bound: Bound, f: &[f64]) -> f64 {
    let k = f.len().isqrt();
    let at = |i: usize, j: usize| f[i * k + j];
    let pairs = (0..k).map(|i| at(i, i)).sum::<f64>() / k as f64;
    let others = |of: &dyn Fn(f64) -> f64| {
        let all = (0..k).flat_map(|i| (0..k).map(move |j| (i, j))).filter(|(i, j)| i != j);
        all.map(|(i, j)| of(at(i, j))).sum::<f64>() / (k * (k - 1)) as f64
    };
    match bound {
        Bound::InfoNce => {
            let term = |i: usize| {
                let mean = (0..k).map(|j| at(i, j).exp()).sum::<f64>() / k as f64;
                (at(i, i).exp() / mean).ln()
            };
            (0..k).map(term).sum::<f64>() / k as f64
        }
        Bound::Nwj | Bound::Jsd => 1.0 + pairs - others(&f64::exp),
        Bound::Tuba(Baseline::Constant(ln_a)) => {
            1.0 + pairs - f64::from(ln_a) - others(&|v| (v - f64::from(ln_a)).exp())
        }
        Bound::Tuba(Baseline::Learned) => 1.0 + pairs - others(&f64::exp),
        Bound::Dv | Bound::Mine { .. } => pairs - others(&f64::exp).ln(),
        Bound::Smile { clip } => {
            let clip = f64::from(clip);
            pairs - others(&|v| v.clamp(-clip, clip).exp()).ln()
        }
    }
}

const ALL: [Bound; 8] = [
    Bound::InfoNce,
    Bound::Nwj,
    Bound::Tuba(Baseline::Constant(-0.4)),
    Bound::Tuba(Baseline::Learned),
    Bound::Jsd,
    Bound::Dv,
    Bound::Mine { rate: 0.1 },
    Bound::Smile { clip: 1.0 },
];

fn random_scores(k: usize, seed: u64) -> Vec<f64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..k * k).map(|_| rng.random_range(-3.0..3.0)).collect()
}

#[test]
fn estimates_are_those_of_sums_over_pairs() {
    for (seed, k) in [2, 3, 9, 30].into_iter().enumerate() {
        let scores = random_scores(k, seed as u64);
        for bound in ALL {
            let (got, expected) = (bound.estimate(&scores, &[]), naive(bound, &scores));
            assert!((got - expected).abs() < 1e-10, "{bound:?} of {k}: {got} for {expected}");
        }
    }
}

#[test]
fn a_critic_that_knows_nothing_gives_zero() {
    let scores = vec![0.0; 100];
    for bound in ALL.into_iter().filter(|b| *b != Bound::Tuba(Baseline::Constant(-0.4))) {
        assert!(bound.estimate(&scores, &[]).abs() < 1e-12, "{bound:?}");
        assert!(in_graph(bound, &scores, &Extra::default()).0.abs() < 1e-6, "{bound:?}");
    }
}

#[test]
fn great_scores_overflow_nothing() {
    let mut scores = vec![-60.0; 64];
    scores.iter_mut().step_by(9).for_each(|v| *v = 300.0);
    for bound in ALL {
        let (estimate, gradient) = in_graph(bound, &scores, &Extra::default());
        assert!(estimate.is_finite(), "{bound:?}: {estimate}");
        assert!(gradient.iter().all(|v| v.is_finite()), "{bound:?}");
    }
    let (estimate, _) = in_graph(Bound::InfoNce, &scores, &Extra::default());
    assert!((estimate - 8f64.ln()).abs() < 1e-6);
}

/// The spread of an estimate over independent batches is what the influences of one
/// batch say that it is.
#[test]
fn influences_tell_the_spread_of_an_estimate() {
    let k = 200;
    let normal = Normal::new(0.0, 1.0).unwrap();
    // what a fixed critic says of one-dimensional Gaussians with a correlation of 0.8
    let batch = |seed: u64| -> Vec<f64> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let x: Vec<f64> = (0..k).map(|_| normal.sample(&mut rng)).collect();
        let y: Vec<f64> = x.iter().map(|x| 0.8 * x + 0.6 * normal.sample(&mut rng)).collect();
        x.iter().flat_map(|x| y.iter().map(move |y| 0.5 * x * y + 0.2 * y)).collect()
    };
    for bound in [Bound::InfoNce, Bound::Nwj, Bound::Dv, Bound::Smile { clip: 1.0 }] {
        let (mut values, mut told) = (Vec::new(), 0.0);
        let batches = 300;
        for seed in 0..batches {
            let influences = bound.influences(&bound.contributions(&batch(seed), &[]));
            let mean = influences.iter().sum::<f64>() / k as f64;
            let squares = influences.iter().map(|v| (v - mean).powi(2)).sum::<f64>();
            told += (squares / (k - 1) as f64 / k as f64) / batches as f64;
            values.push(mean);
        }
        let mean = values.iter().sum::<f64>() / batches as f64;
        let spread = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / batches as f64;
        let ratio = (told / spread).sqrt();
        assert!((0.8..1.25).contains(&ratio), "{bound:?}: told {ratio} times the spread");
    }
}

/// k equally likely anatomies, seen by two modalities: the best critic is ln k on the
/// same anatomy and ln 0 on others, and the truth ln k.
fn phantom(kinds: usize, k: usize, batches: u64) -> [f64; 3] {
    let (mut plain, mut of_strata, mut uncorrected) = (0.0, 0.0, 0.0);
    for seed in 0..batches {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let labels: Vec<usize> = (0..k).map(|_| rng.random_range(0..kinds)).collect();
        let score = |a: &usize, b: &usize| if a == b { (kinds as f64).ln() } else { -50.0 };
        let scores: Vec<f64> =
            labels.iter().flat_map(|a| labels.iter().map(move |b| score(a, b))).collect();
        plain += Bound::InfoNce.estimate(&scores, &[]);
        let mut strata = Strata::of_labels(&labels, |_| 1.0 / kinds as f64);
        of_strata += info_nce_of_strata(&scores, &strata);
        // as if what is left were drawn from the marginal
        for (i, share) in strata.shares.iter_mut().enumerate() {
            let negatives = strata.allowed[i * k..][..k].iter().filter(|a| **a).count();
            *share = 1.0 / (negatives + 1) as f64;
        }
        uncorrected += info_nce_of_strata(&scores, &strata);
    }
    [plain, of_strata, uncorrected].map(|sum| sum / batches as f64)
}

#[test]
fn false_negatives_cost_information_that_strata_give_back() {
    for (kinds, best) in [(4, 1.363), (16, 2.648), (64, 3.592)] {
        let truth = (kinds as f64).ln();
        let [plain, of_strata, uncorrected] = phantom(kinds, 64, 4000);
        println!(
            "k {kinds}: truth {truth:.3}, InfoNCE {plain:.3}, strata {of_strata:.3}, uncorrected {uncorrected:.3}"
        );
        assert!((plain - best).abs() < 3e-3, "{kinds}: {plain} for {best}");
        assert!(of_strata > plain && (of_strata - truth).abs() < 1e-9, "{kinds}: {of_strata}");
        // why the correction is needed: without it there would be no bound
        assert!(kinds == 64 || uncorrected > truth, "{kinds}: {uncorrected}");
    }
}

#[test]
fn independent_sides_give_strata_nothing_to_gain() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for kinds in [4, 16, 64] {
        let mut sum = 0.0;
        for _ in 0..400 {
            let labels: Vec<usize> = (0..64).map(|_| rng.random_range(0..kinds)).collect();
            let scores: Vec<f64> = (0..64 * 64).map(|_| rng.random_range(-4.0..4.0)).collect();
            let strata = Strata::of_labels(&labels, |_| 1.0 / f64::from(kinds as u32));
            sum += info_nce_of_strata(&scores, &strata);
        }
        assert!(sum < 0.0, "{kinds}: {}", sum / 400.0);
    }
}

/// Scores of the best critic, the log density ratio, for Gaussians of `dim` dimensions
/// whose coordinates correlate in pairs so that the truth is `nats`.
fn best_scores(nats: f64, dim: usize, k: usize, seed: u64) -> Vec<f64> {
    let square = 1.0 - (-2.0 * nats / dim as f64).exp();
    let (rho, rest) = (square.sqrt(), 1.0 - square);
    let normal = Normal::new(0.0, 1.0).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let x: Vec<f64> = (0..k * dim).map(|_| normal.sample(&mut rng)).collect();
    let y: Vec<f64> = x.iter().map(|x| rho * x + rest.sqrt() * normal.sample(&mut rng)).collect();
    let ratio = |x: &[f64], y: &[f64]| -> f64 {
        let term = |(x, y): (&f64, &f64)| {
            -0.5 * (rest.ln() + (square * (x * x + y * y) - 2.0 * rho * x * y) / rest)
        };
        x.iter().zip(y).map(term).sum()
    };
    let rows = x.chunks_exact(dim);
    rows.flat_map(|x| y.chunks_exact(dim).map(move |y| ratio(x, y))).collect()
}

#[test]
fn the_best_critic_of_gaussians_gives_what_is_known() {
    let cases = [
        (64, 400, [1.815, 3.072, 3.741, 4.023, 4.122], 0.02),
        (1024, 6, [1.986, 3.799, 5.231, 6.151, 6.620], 0.04),
    ];
    for (k, batches, expected, tolerance) in cases {
        for (n, expected) in expected.into_iter().enumerate() {
            let nats = 2.0 * (n + 1) as f64;
            let sum: f64 = (0..batches)
                .map(|seed| Bound::InfoNce.estimate(&best_scores(nats, 20, k, seed), &[]))
                .sum();
            let mean = sum / batches as f64;
            println!("K {k}, truth {nats}: {mean:.3} for {expected}");
            assert!((mean - expected).abs() < tolerance, "K {k}, {nats}: {mean} for {expected}");
            assert!(mean < (k as f64).ln());
        }
    }
}

#[test]
fn names_are_read_or_refused() {
    for name in BOUNDS {
        assert_eq!(name.parse::<Bound>().unwrap().name(), name);
    }
    for name in CRITICS {
        assert_eq!(name.parse::<CriticKind>().unwrap().name(), name);
    }
    let error = "club".parse::<Bound>().unwrap_err().to_string();
    assert!(error.contains("infonce, nwj"), "{error}");
}
