//! Prints what the bounds make of data whose mutual information is known: the tables of
//! docs/mutual-information.md.
//!
//!     cargo run --release --example mutual_information
//!
//! takes about half an hour on two cores. Words choose a part: `best`, `phantoms`, or names of
//! bounds and critics, such as `infonce separable`.

use std::error::Error;

use mivox::{
    mi::{Scorer, Trainer},
    objective::bound::{
        BOUNDS, Baseline, Bound, CRITICS, Critic, CriticKind, CriticSettings, Strata,
        info_nce_of_strata,
    },
    runtime::{Device, Runtime},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

const DIM: usize = 20;
const BATCH: usize = 64;
const STEPS: usize = 4_000;
const TRUTHS: [f64; 5] = [2.0, 4.0, 6.0, 8.0, 10.0];

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let chosen = |name: &str, of: &[&str]| {
        !words.iter().any(|word| of.contains(&word.as_str())) || words.iter().any(|w| w == name)
    };
    let parts = [&["best", "phantoms", "training"][..], &BOUNDS, &CRITICS].concat();
    if let Some(word) = words.iter().find(|word| !parts.contains(&word.as_str())) {
        return Err(format!("{word:?} is none of {}", parts.join(", ")).into());
    }
    let only = |part: &str| words.iter().any(|word| word == part);
    let training = !only("best") && !only("phantoms");
    if only("best") || words.is_empty() {
        best();
    }
    if only("phantoms") || words.is_empty() {
        phantoms()?;
    }
    if training {
        for critic in CRITICS.into_iter().filter(|name| chosen(name, &CRITICS)) {
            for bound in BOUNDS.into_iter().filter(|name| chosen(name, &BOUNDS)) {
                gaussians(bound.parse()?, critic.parse()?)?;
            }
        }
    }
    Ok(())
}

/// Pairs of Gaussians whose coordinates correlate in pairs: y = ρ x + √(1 − ρ²) ε.
struct Gaussians {
    square: f64,
}

impl Gaussians {
    fn of(nats: f64) -> Self {
        Self { square: 1.0 - (-2.0 * nats / DIM as f64).exp() }
    }

    fn draw(&self, k: usize, rng: &mut ChaCha8Rng) -> [Vec<f32>; 2] {
        let (rho, rest) = (self.square.sqrt(), (1.0 - self.square).sqrt());
        let mut normal = || -> f64 { StandardNormal.sample(rng) };
        let x: Vec<f64> = (0..k * DIM).map(|_| normal()).collect();
        let y = x.iter().map(|x| (rho * x + rest * normal()) as f32).collect();
        [x.iter().map(|x| *x as f32).collect(), y]
    }

    /// The log density ratio of all pairings, which no critic beats.
    fn best_scores(&self, x: &[f32], y: &[f32]) -> Vec<f64> {
        let (square, rho, rest) = (self.square, self.square.sqrt(), 1.0 - self.square);
        let term = |(x, y): (&f32, &f32)| {
            let (x, y) = (f64::from(*x), f64::from(*y));
            -0.5 * (rest.ln() + (square * (x * x + y * y) - 2.0 * rho * x * y) / rest)
        };
        let score = |x: &[f32], y: &[f32]| x.iter().zip(y).map(term).sum();
        let rows = x.chunks_exact(DIM);
        rows.flat_map(|x| y.chunks_exact(DIM).map(move |y| score(x, y))).collect()
    }
}

fn spread(numbers: &[f64]) -> (f64, f64) {
    let n = numbers.len() as f64;
    let mean = numbers.iter().sum::<f64>() / n;
    (mean, (numbers.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt())
}

fn best() {
    println!(
        "The best critic's estimate of {DIM}-dimensional Gaussians, nats: mean (deviation of a batch)"
    );
    println!("{:9} {:>6} {}", "bound", "K", TRUTHS.map(|t| format!("{t:>15}")).join(""));
    let bounds = [Bound::InfoNce, Bound::Nwj, Bound::Dv, Bound::Smile { clip: 5.0 }];
    for (k, batches) in [(BATCH, 1000), (1024, 20)] {
        for bound in bounds {
            let cells = TRUTHS.map(|nats| {
                let gaussians = Gaussians::of(nats);
                let mut rng = ChaCha8Rng::seed_from_u64(nats.to_bits());
                let estimates: Vec<f64> = (0..batches)
                    .map(|_| {
                        let [x, y] = gaussians.draw(k, &mut rng);
                        bound.estimate(&gaussians.best_scores(&x, &y), &[])
                    })
                    .collect();
                let (mean, deviation) = spread(&estimates);
                format!("{:>15}", format!("{mean:.3} ({deviation:.3})"))
            });
            println!("{:9} {k:>6} {}", bound.name(), cells.join(""));
        }
    }
}

fn gaussians(bound: Bound, critic: CriticKind) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::open(Device::Auto, 0)?;
    let settings = CriticSettings { kind: critic, ..CriticSettings::default() };
    let variants = match bound {
        Bound::Tuba(_) => vec![bound, Bound::Tuba(Baseline::Constant(1.0))],
        other => vec![other],
    };
    for bound in variants {
        let name = match bound {
            Bound::Tuba(Baseline::Learned) => "tuba, learned",
            Bound::Tuba(Baseline::Constant(_)) => "tuba, ln a = 1",
            other => other.name(),
        };
        print!("{name:14} {:13}", critic.name());
        for nats in TRUTHS {
            let critic = Critic::new(settings, [DIM, DIM], bound.learns_baseline())?;
            let mut trainer =
                Trainer::new(&runtime, &critic, &critic.initial(1), bound, BATCH, 5e-4)?;
            let mut rng = ChaCha8Rng::seed_from_u64(nats.to_bits());
            let gaussians = Gaussians::of(nats);
            let mut estimates = Vec::with_capacity(STEPS);
            for _ in 0..STEPS {
                let [x, y] = gaussians.draw(BATCH, &mut rng);
                estimates.push(f64::from(trainer.step(x, y)?));
            }
            let (mean, deviation) = spread(&estimates[STEPS - STEPS / 4..]);
            let most = estimates.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            print!("  {mean:6.3} ({deviation:.3}; {most:.2})");
        }
        println!();
    }
    Ok(())
}

/// k equally likely anatomies in two modalities: each shows an anatomy by a code of its
/// own, with noise, so that both tell it and share nothing else.
fn phantoms() -> Result<(), Box<dyn Error>> {
    println!("k equally likely anatomies in two modalities, K = {BATCH}, nats");
    println!(
        "{:>4} {:>7} {:>13} {:>13} {:>15} {:>15}",
        "k", "ln k", "best", "best, strata", "trained", "trained, strata"
    );
    let runtime = Runtime::open(Device::Auto, 0)?;
    for kinds in [4, 16, 64] {
        let mut rng = ChaCha8Rng::seed_from_u64(kinds as u64);
        let codes: Vec<f32> =
            (0..2 * kinds * DIM).map(|_| StandardNormal.sample(&mut rng)).collect();
        let critic = Critic::new(CriticSettings::default(), [DIM, DIM], false)?;
        let mut trainer =
            Trainer::new(&runtime, &critic, &critic.initial(1), Bound::InfoNce, BATCH, 5e-4)?;
        let (mut best, mut best_strata) = (Vec::new(), Vec::new());
        let (mut trained, mut trained_strata) = (Vec::new(), Vec::new());
        let mut draw = || {
            let labels: Vec<usize> = (0..BATCH).map(|_| rng.random_range(0..kinds)).collect();
            let [mut x, mut y] = [Vec::new(), Vec::new()];
            for (modality, side) in [&mut x, &mut y].into_iter().enumerate() {
                for label in &labels {
                    let code = &codes[(modality * kinds + label) * DIM..][..DIM];
                    side.extend(code.iter().map(|c| {
                        let noise: f32 = StandardNormal.sample(&mut rng);
                        c + 0.1 * noise
                    }));
                }
            }
            (labels, x, y)
        };
        for _ in 0..STEPS {
            let (_, x, y) = draw();
            trainer.step(x, y)?;
        }
        let mut scorer = Scorer::new(&runtime, &critic, &trainer.parameters()?, BATCH)?;
        for _ in 0..1_000 {
            let (labels, x, y) = draw();
            let rows = x.chunks_exact(DIM).zip(y.chunks_exact(DIM));
            let rows: Vec<f32> = rows.flat_map(|(x, y)| [x, y].concat()).collect();
            let (scores, _) = scorer.scores(&rows)?;
            let strata = Strata::of_labels(&labels, |_| 1.0 / kinds as f64);
            trained.push(Bound::InfoNce.estimate(&scores, &[]));
            trained_strata.push(info_nce_of_strata(&scores, &strata));
            let same = |(a, b): (&usize, &usize)| if a == b { (kinds as f64).ln() } else { -50.0 };
            let scores: Vec<f64> =
                labels.iter().flat_map(|a| labels.iter().map(move |b| (a, b))).map(same).collect();
            best.push(Bound::InfoNce.estimate(&scores, &[]));
            best_strata.push(info_nce_of_strata(&scores, &strata));
        }
        let cell = |of: &[f64]| {
            let (mean, deviation) = spread(of);
            format!("{mean:.3} ({deviation:.3})")
        };
        println!(
            "{kinds:>4} {:>7.3} {:>13} {:>13} {:>15} {:>15}",
            (kinds as f64).ln(),
            cell(&best),
            cell(&best_strata),
            cell(&trained),
            cell(&trained_strata)
        );
    }
    Ok(())
}
