use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

use super::*;
use crate::{
    objective::bound::{BOUNDS, CRITICS, Critic},
    progress::Progress,
    runtime::{Device, Runtime},
    table::Values,
};

/// Pairs of Gaussians whose coordinates correlate in pairs, so that the truth is `nats`.
fn draw(nats: f64, dim: usize, k: usize, rng: &mut ChaCha8Rng) -> [Vec<f32>; 2] {
    let square = 1.0 - (-2.0 * nats / dim as f64).exp();
    let (rho, rest) = (square.sqrt() as f32, (1.0 - square).sqrt() as f32);
    let mut normal = || -> f32 { StandardNormal.sample(rng) };
    let x: Vec<f32> = (0..k * dim).map(|_| normal()).collect();
    let y = x.iter().map(|x| rho * x + rest * normal()).collect();
    [x, y]
}

/// Estimates of each step of a critic that sees fresh pairs in each.
fn trained(
    bound: Bound,
    settings: CriticSettings,
    (nats, dim): (f64, usize),
    (steps, rate): (usize, f32),
) -> Vec<f64> {
    let runtime = Runtime::open(Device::Cpu, 0).unwrap();
    let critic = Critic::new(settings, [dim, dim], bound.learns_baseline()).unwrap();
    let initial = critic.initial(1);
    let mut trainer = Trainer::new(&runtime, &critic, &initial, bound, 64, rate).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(nats.to_bits());
    let step = |_| {
        let [x, y] = draw(nats, dim, 64, &mut rng);
        f64::from(trainer.step(x, y).unwrap())
    };
    (0..steps).map(step).collect()
}

fn last_quarter(estimates: &[f64]) -> f64 {
    let last = &estimates[estimates.len() - estimates.len() / 4..];
    last.iter().sum::<f64>() / last.len() as f64
}

fn most(estimates: &[f64]) -> f64 {
    estimates.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

#[test]
fn every_bound_learns_with_every_critic() {
    let truth = 1.5;
    for critic in CRITICS {
        let kind = critic.parse().unwrap();
        let settings = CriticSettings { kind, layers: 2, hidden: 32, embed: 8 };
        for name in BOUNDS {
            let bound: Bound = name.parse().unwrap();
            let estimates = trained(bound, settings, (truth, 2), (400, 5e-3));
            let mean = last_quarter(&estimates);
            println!("{name} {critic}: {mean:.3} of {truth}");
            // xᵀ W y lacks the squares of the density ratio
            let least = if critic == "bilinear" { 0.3 } else { 1.0 };
            assert!((least..truth + 0.3).contains(&mean), "{name} {critic}: {mean}");
        }
    }
}

#[test]
fn gaussians_of_twenty_dimensions_are_learned_in_short() {
    let estimates = trained(Bound::InfoNce, CriticSettings::default(), (4.0, 20), (1_000, 5e-4));
    let mean = last_quarter(&estimates);
    println!("{mean:.3} after 1,000 steps");
    assert!((2.2..3.072).contains(&mean), "{mean}");
    assert!(most(&estimates) <= 64f64.ln() + 1e-5);
}

/// The check of Poole et al. 2019, whole; half a minute.
#[test]
#[ignore = "half a minute"]
fn gaussians_of_twenty_dimensions_are_learned() {
    let expected = [
        (2.0, 1.69, 1.815),
        (4.0, 2.94, 3.072),
        (6.0, 3.64, 3.741),
        (8.0, 3.95, 4.023),
        (10.0, 4.08, 4.122),
    ];
    for (nats, known, best) in expected {
        let estimates =
            trained(Bound::InfoNce, CriticSettings::default(), (nats, 20), (4_000, 5e-4));
        let mean = last_quarter(&estimates);
        println!("truth {nats}: {mean:.3}, most {:.4}", most(&estimates));
        assert!((known - 0.1..best).contains(&mean), "{nats}: {mean}");
        assert!(most(&estimates) <= 64f64.ln() + 1e-5, "{nats}: {}", most(&estimates));
    }
}

/// Pairs of rows `[rows, width]`, each row in the group given.
fn pairs(x: Vec<f32>, y: Vec<f32>, widths: [usize; 2], group: impl Fn(usize) -> usize) -> Pairs {
    let side = |values, width| {
        Side::of_columns(vec![("numbers".to_owned(), Values::Vectors { width, values })]).unwrap()
    };
    let (x, y) = (side(x, widths[0]), side(y, widths[1]));
    let rows = x.rows();
    let labels: Vec<_> = (0..rows).map(|row| Some(group(row).to_string())).collect();
    let matched = (0..rows).map(|row| [row, row]).collect();
    Pairs::new(x, y, matched, [0, 0], &labels, "subjects").unwrap()
}

fn small(bound: Bound, steps: usize) -> Settings {
    let critic = CriticSettings { hidden: 32, embed: 8, ..CriticSettings::default() };
    Settings { bound, critic, folds: 3, steps, batch: 32, learning_rate: 2e-3, seed: 5 }
}

fn report(pairs: &Pairs, settings: &Settings) -> Report {
    let runtime = Runtime::open(Device::Cpu, 1).unwrap();
    let progress = Progress::new("mi", "steps", 0);
    estimate(&runtime, pairs, settings, &progress).unwrap().unwrap()
}

#[test]
fn held_out_pairs_tell_what_they_share_and_shuffled_ones_nothing() {
    let truth = 1.0;
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let [x, y] = draw(truth, 2, 900, &mut rng);
    let pairs = pairs(x, y, [2, 2], |row| row);
    for bound in [Bound::InfoNce, Bound::Smile { clip: 5.0 }] {
        let found = report(&pairs, &small(bound, 400));
        let Interval { value, low, high } = found.pairs.interval;
        println!("{}: {value:.3} ({low:.3} to {high:.3}), {:?}", bound.name(), found.shuffled);
        assert!(low > 0.5 && low < truth && value < truth + 0.15, "{found:?}");
        assert!(found.shuffled.interval.value.abs() < 0.05, "{:?}", found.shuffled);
        assert_eq!(found.k, 32);
    }
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    let [x, y] = draw(1.0, 2, 300, &mut rng);
    let pairs = pairs(x, y, [2, 2], |row| row);
    let settings = small(Bound::InfoNce, 50);
    let first = report(&pairs, &settings);
    assert_eq!(first, report(&pairs, &settings));
    assert_ne!(first, report(&pairs, &Settings { seed: 6, ..settings }));
}

/// x tells who a subject is and nothing else, y is a number of the subject that has
/// nothing to do with x: who sees a subject in training and in judging finds it known.
#[test]
fn who_someone_is_tells_nothing_of_another_subject() {
    let (subjects, rows) = (90, 6);
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let codes: Vec<f32> = (0..subjects * 6).map(|_| StandardNormal.sample(&mut rng)).collect();
    let numbers: Vec<f32> = (0..subjects).map(|_| rng.random_range(0.0..1.0)).collect();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for row in 0..subjects * rows {
        let subject = row / rows;
        x.extend(codes[subject * 6..][..6].iter().map(|c| c + rng.random_range(-0.1..0.1)));
        y.push(numbers[subject]);
    }
    let settings = small(Bound::InfoNce, 400);
    let by_subject = report(&pairs(x.clone(), y.clone(), [6, 1], |row| row / rows), &settings);
    let by_row = report(&pairs(x, y, [6, 1], |row| row), &settings);
    println!("by subject {:?}\nby row {:?}", by_subject.pairs, by_row.pairs);
    assert!(by_subject.pairs.interval.low < 0.05, "{:?}", by_subject.pairs);
    assert!(by_subject.pairs.interval.value < 0.1, "{:?}", by_subject.pairs);
    assert!(by_row.pairs.interval.low > 0.5, "{:?}", by_row.pairs);
}

#[test]
fn a_side_that_says_nothing_is_refused_and_gaps_are_counted() {
    let numbers = |values: Vec<f64>| {
        Side::of_columns(vec![("age".to_owned(), Values::Numbers(values))]).unwrap()
    };
    let matched: Vec<[usize; 2]> = (0..4).map(|row| [row, row]).collect();
    let labels = vec![Some("a".to_owned()), Some("b".to_owned()), None, Some("c".to_owned())];
    let with = |y: Vec<f64>| {
        let x = numbers(vec![1.0, f64::NAN, 3.0, 4.0]);
        Pairs::new(x, numbers(y), matched.clone(), [0, 0], &labels, "subjects")
    };
    let found = with(vec![1.0, 2.0, 3.0, 4.0]).unwrap();
    assert_eq!((found.len(), found.remarks.incomplete), (2, 2));
    assert!(found.warnings()[0].contains("2 of 4 pairs"), "{:?}", found.warnings());
    let error = with(vec![1.0; 4]).unwrap_err().to_string();
    assert!(error.contains("table B are the same in all 2 rows"), "{error}");
    let error = with(vec![f64::INFINITY; 4]).unwrap_err().to_string();
    assert!(error.contains("4 with empty cells"), "{error}");
}
