//! Dropout: the mask's statistics, and that it is the same in every run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "support/reference.rs"]
mod reference;
#[path = "support/runtime.rs"]
mod runtime;

use onnx_grad::{ElementType, Error, Graph, gradient, model};
use reference::Array;
use runtime::Model;

/// Masks as ±1 where an element stays or goes, less their mean.
struct Masks {
    model: Model,
    ratio: f64,
}

impl Masks {
    /// For a shape, with one output a site.
    fn new(shape: &[usize], ratio: f32, sites: &[u64]) -> Self {
        let mut g = Graph::new();
        let seed = g.input("seed", ElementType::F32, &[]);
        let seed = g.cast(seed, ElementType::I64).unwrap();
        let one = g.scalar(1.0);
        let ones = g.expand(one, shape).unwrap();
        for &site in sites {
            let y = g.dropout(ones, ratio, seed, site).unwrap();
            g.output(&format!("site{site}"), y);
        }
        let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
        Self { model: Model::load(&bytes), ratio: f64::from(ratio) }
    }

    /// 1 where the element of a site stays, else 0.
    fn draw(&mut self, seed: u32, site: u64) -> Array {
        let scale = 1.0 / (1.0 - self.ratio);
        let y = &self.model.run(&[("seed", &Array::new(&[], &[f64::from(seed)]))])
            [&format!("site{site}")];
        assert!(y.data.iter().all(|&y| y == 0.0 || (y - scale).abs() < 1e-6 * scale));
        y.map(|y| f64::from(y > 0.0))
    }
}

/// How many standard deviations the mean of a mask is off.
fn deviation(mask: &[f64], ratio: f64) -> f64 {
    let n = mask.len() as f64;
    (mask.iter().sum::<f64>() - n * (1.0 - ratio)) / (n * ratio * (1.0 - ratio)).sqrt()
}

/// How many standard deviations the correlation of two masks is from none.
fn correlation(a: impl Iterator<Item = f64>, b: impl Iterator<Item = f64>, ratio: f64) -> f64 {
    let keep = 1.0 - ratio;
    let (mut sum, mut n) = (0.0, 0.0);
    for (a, b) in a.zip(b) {
        sum += (a - keep) * (b - keep);
        n += 1.0f64;
    }
    sum / (n.sqrt() * ratio * keep)
}

/// The sum of squared deviations, as so many standard deviations of χ² with as
/// many degrees of freedom.
fn chi_square(deviations: &[f64]) -> f64 {
    let n = deviations.len() as f64;
    (deviations.iter().map(|d| d * d).sum::<f64>() - n) / (2.0 * n).sqrt()
}

const SHAPE: [usize; 2] = [300, 200];

#[test]
fn the_mean_is_that_of_the_ratio() {
    for ratio in [0.01, 0.1, 0.5, 0.9] {
        let mut masks = Masks::new(&SHAPE, ratio, &[0, 7]);
        let ratio = f64::from(ratio);
        let mut deviations = Vec::new();
        for seed in 0..20 {
            for site in [0, 7] {
                deviations.push(deviation(&masks.draw(seed, site).data, ratio));
            }
        }
        assert!(deviations.iter().all(|d| d.abs() < 4.0), "{ratio}: {deviations:?}");
        assert!(chi_square(&deviations).abs() < 4.0, "{ratio}: {deviations:?}");
    }
}

#[test]
fn rows_and_columns_vary_as_independent_elements_do() {
    for ratio in [0.1, 0.5] {
        let mut masks = Masks::new(&SHAPE, ratio, &[3]);
        let ratio = f64::from(ratio);
        for seed in 0..6 {
            let mask = masks.draw(seed, 3);
            let rows: Vec<f64> =
                mask.data.chunks(SHAPE[1]).map(|row| deviation(row, ratio)).collect();
            let columns: Vec<f64> = (0..SHAPE[1])
                .map(|c| {
                    let column: Vec<f64> =
                        mask.data.iter().skip(c).step_by(SHAPE[1]).copied().collect();
                    deviation(&column, ratio)
                })
                .collect();
            for counts in [&rows, &columns] {
                assert!(chi_square(counts).abs() < 4.5, "{ratio}, {seed}: {}", chi_square(counts));
            }
        }
    }
}

#[test]
fn neighbours_are_independent() {
    for ratio in [0.1, 0.5] {
        let mut masks = Masks::new(&SHAPE, ratio, &[3]);
        let ratio = f64::from(ratio);
        for seed in 0..6 {
            let mask = masks.draw(seed, 3).data;
            for lag in [1, 2, 3, 64, SHAPE[1] - 1, SHAPE[1], SHAPE[1] + 1, 2 * SHAPE[1]] {
                let shifted = mask.iter().skip(lag).copied();
                let found = correlation(mask.iter().copied(), shifted, ratio);
                assert!(found.abs() < 4.0, "{ratio}, seed {seed}, lag {lag}: {found}");
            }
        }
    }
}

#[test]
fn rectangles_and_triples_are_independent() {
    // the third and fourth moments of what rows and columns share
    let keep = 0.5;
    let mut masks = Masks::new(&SHAPE, 0.5, &[3]);
    for seed in 0..4 {
        let mask = masks.draw(seed, 3);
        let at = |r: usize, c: usize| 2.0 * (mask.at(&[r, c]) - keep);
        let (mut rectangles, mut triples, mut n) = (0.0, 0.0, 0.0f64);
        for r in 0..SHAPE[0] - 5 {
            for c in 0..SHAPE[1] - 2 {
                rectangles += at(r, c) * at(r, c + 1) * at(r + 5, c) * at(r + 5, c + 1);
                triples += at(r, c) * at(r, c + 1) * at(r, c + 2);
                n += 1.0;
            }
        }
        for (what, sum) in [("rectangles", rectangles), ("triples", triples)] {
            assert!((sum / n.sqrt()).abs() < 4.5, "{what}, seed {seed}: {}", sum / n.sqrt());
        }
    }
}

#[test]
fn sites_and_steps_are_independent() {
    let sites: Vec<u64> = (0..6).chain([u64::MAX]).collect();
    let mut masks = Masks::new(&[60, 50], 0.3, &sites);
    let mut drawn = Vec::new();
    for seed in [0, 1, 2, 3, 1000, 1001] {
        for &site in &sites {
            drawn.push(((seed, site), masks.draw(seed, site).data));
        }
    }
    let mut found = Vec::new();
    for (i, (a, first)) in drawn.iter().enumerate() {
        for (b, second) in &drawn[..i] {
            let value = correlation(first.iter().copied(), second.iter().copied(), 0.3);
            assert!(value.abs() < 5.0, "{a:?} and {b:?}: {value}");
            found.push(value);
        }
    }
    assert!(chi_square(&found).abs() < 5.0, "{}", chi_square(&found));
}

#[test]
fn a_seed_gives_the_same_mask_again() {
    // in another session, beside another site, and on other threads
    let mut one = Masks::new(&SHAPE, 0.3, &[3]);
    let mut two = Masks::new(&SHAPE, 0.3, &[9, 3]);
    let first = one.draw(5, 3);
    assert_eq!(first, one.draw(5, 3));
    assert_eq!(first, two.draw(5, 3));
    assert_ne!(first, one.draw(6, 3));
    assert_ne!(first, two.draw(5, 9));
    // the bits themselves, so that another version cannot change them unseen
    let digits: String = Masks::new(&[2, 16], 0.5, &[1])
        .draw(42, 1)
        .data
        .iter()
        .map(|&kept| if kept > 0.0 { '1' } else { '0' })
        .collect();
    assert_eq!(digits, MASK);
}

const MASK: &str = "00100010000100111101111000101101";

#[test]
fn any_seed_serves() {
    // every number on the way stays within i64: the mask is as dense as ever
    for seed in [i64::MIN, i64::MIN + 1, -1, 0, 1 << 31, (1 << 62) + 1, i64::MAX] {
        let mut g = Graph::new();
        let seed = g.constant_i64(&[], &[seed]).unwrap();
        let one = g.scalar(1.0);
        let ones = g.expand(one, &SHAPE).unwrap();
        let y = g.dropout(ones, 0.5, seed, 1).unwrap();
        g.output("y", y);
        let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
        let mask = Model::load(&bytes).run(&[])["y"].map(|y| y / 2.0);
        assert!(deviation(&mask.data, 0.5).abs() < 4.0);
    }
}

#[test]
fn the_gradient_passes_what_stayed() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[3, 1, 4]);
    let seed = g.constant_i64(&[], &[11]).unwrap();
    let y = g.dropout(x, 0.25, seed, 2).unwrap();
    let cube = g.mul(y, y).unwrap();
    let cube = g.mul(cube, y).unwrap();
    let loss = g.reduce_sum(cube, &[0, 1, 2], false).unwrap();
    let dx = gradient(&mut g, loss, &[x]).unwrap()[0];
    g.output("y", y);
    g.output("dx", dx);
    let bytes = model::write(&g, &model::WriteOptions::default()).unwrap();
    let x = Array::random(&[3, 1, 4], 1);
    let outputs = Model::load(&bytes).run(&[("x", &x)]);
    let (y, dx) = (&outputs["y"], &outputs["dx"]);
    let kept = y.data.iter().filter(|&&y| y != 0.0).count();
    assert!((1..12).contains(&kept), "{y:?}");
    for i in 0..12 {
        let scale = if y.data[i] == 0.0 { 0.0 } else { 4.0 / 3.0 };
        assert!((y.data[i] - scale * x.data[i]).abs() < 1e-6);
        assert!((dx.data[i] - 3.0 * y.data[i].powi(2) * scale).abs() < 1e-5);
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let mut g = Graph::new();
    let x = g.input("x", ElementType::F32, &[2, 3]);
    let seed = g.constant_i64(&[], &[1]).unwrap();
    let seeds = g.constant_i64(&[1], &[1]).unwrap();
    assert_eq!(g.dropout(x, 0.0, seed, 1).unwrap(), x);
    for ratio in [1.0, -0.1, f32::NAN, f32::INFINITY] {
        let error = g.dropout(x, ratio, seed, 1).unwrap_err();
        assert!(matches!(error, Error::Attribute { operator: "Dropout", .. }), "{error}");
    }
    let error = g.dropout(x, 0.5, seeds, 1).unwrap_err();
    assert!(matches!(error, Error::Shape { operator: "Dropout", .. }), "{error}");
    let error = g.dropout(x, 0.5, x, 1).unwrap_err();
    assert!(matches!(error, Error::ElementType { operator: "Dropout", .. }), "{error}");
    // shapes without axes or elements
    for shape in [&[][..], &[0, 3], &[1], &[7]] {
        let x = g.input("other", ElementType::F32, shape);
        let y = g.dropout(x, 0.5, seed, 1).unwrap();
        assert_eq!(g.shape(y), shape);
    }
}
