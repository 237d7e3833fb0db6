//! The objectives written one row after another in f64, as slow as can be read.

use super::Case;

/// A row brought to length one.
pub fn unit(row: &[f64]) -> Vec<f64> {
    let norm = row.iter().map(|v| v * v).sum::<f64>().sqrt();
    row.iter().map(|v| v / norm).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// One candidate of a row: its score, its share of the positive mass, whether it may stand.
type Candidate = (f64, f64, bool);

/// Mean loss, and mean ceiling, negatives, and the number of rows without any.
fn mean_of_rows(rows: &[Vec<Candidate>]) -> (f64, [f64; 3]) {
    let (mut loss, mut ceiling, mut negatives, mut alone) = (0.0, 0.0, 0.0, 0.0);
    for row in rows {
        let standing: Vec<&Candidate> = row.iter().filter(|c| c.1 > 0.0 || c.2).collect();
        let others = standing.iter().filter(|c| c.1 == 0.0).count();
        negatives += others as f64;
        if others == 0 {
            alone += 1.0;
            continue;
        }
        let below = standing.iter().map(|c| c.0.exp()).sum::<f64>().ln();
        let total: f64 = standing.iter().map(|c| c.1).sum();
        loss += standing.iter().map(|c| c.1 / total * (below - c.0)).sum::<f64>();
        ceiling += (standing.len() as f64).ln();
    }
    let count = rows.len() as f64;
    (loss / count, [ceiling / count, negatives / count, alone])
}

/// Every place of every pair as a pair.
fn of_places(case: &Case) -> (f64, Option<[f64; 3]>) {
    let (count, places) = (case.anchors.len() / case.width, case.places);
    let rows = count * places;
    let (mut targets, mut allowed) = (vec![0.0; rows * rows], vec![1.0; rows * rows]);
    for row in 0..rows {
        for column in 0..rows {
            let pairs = row / places * count + column / places;
            if row % places == column % places {
                targets[row * rows + column] = case.targets[pairs];
                allowed[row * rows + column] = case.allowed[pairs];
            }
        }
    }
    let (name, width) = (case.name.trim_end_matches(" places").to_owned(), case.width / places);
    loss(&Case { name, width, places: 1, targets, allowed, ..case.clone() })
}

/// The loss of a case, and what it chose among.
pub fn loss(case: &Case) -> (f64, Option<[f64; 3]>) {
    if case.places > 1 {
        return of_places(case);
    }
    let width = case.width;
    let raw = |flat: &[f64]| -> Vec<Vec<f64>> { flat.chunks(width).map(<[f64]>::to_vec).collect() };
    let (a, p) = (raw(&case.anchors), raw(&case.positives));
    let count = a.len();
    let target = |i: usize, j: usize| case.targets[i * count + j];
    let may = |i: usize, j: usize| case.allowed[i * count + j] > 0.0;
    let score = |x: &[f64], y: &[f64]| dot(&unit(x), &unit(y)) / case.temperature;
    let forward = |a: &[Vec<f64>]| -> Vec<Vec<Candidate>> {
        let row =
            |i: usize| (0..count).map(|j| (score(&a[i], &p[j]), target(i, j), may(i, j))).collect();
        (0..count).map(row).collect()
    };
    let contrastive = |rows: &[Vec<Candidate>]| {
        let (loss, candidates) = mean_of_rows(rows);
        (loss, Some(candidates))
    };
    match case.name.as_str() {
        "info-nce anchor" => contrastive(&forward(&a)),
        "info-nce both" => {
            let backward: Vec<Vec<Candidate>> = (0..count)
                .map(|j| {
                    (0..count).map(|i| (score(&a[i], &p[j]), target(i, j), may(i, j))).collect()
                })
                .collect();
            let (x, y) = (mean_of_rows(&forward(&a)), mean_of_rows(&backward));
            let both = [0, 1, 2].map(|n| (x.1[n] + y.1[n]) / 2.0);
            ((x.0 + y.0) / 2.0, Some(both))
        }
        name @ ("nt-xent" | "supcon") => {
            let views: Vec<(usize, usize)> =
                [0, 1].iter().flat_map(|&side| (0..count).map(move |n| (side, n))).collect();
            let z = |(side, n): (usize, usize)| if side == 0 { &a[n] } else { &p[n] };
            let mut rows = Vec::new();
            for &(side, n) in &views {
                let mut row = Vec::new();
                for &(other, m) in views.iter().filter(|&&view| view != (side, n)) {
                    let (share, stands) = if side == 0 {
                        (target(n, m), may(n, m))
                    } else {
                        (target(m, n), may(m, n))
                    };
                    let kin = target(n, m) > 0.0 || target(m, n) > 0.0;
                    let (share, stands) = match (name, side == other) {
                        ("nt-xent", true) => (0.0, stands && !kin),
                        _ => (share, stands),
                    };
                    row.push((score(z((side, n)), z((other, m))), share, stands));
                }
                rows.push(row);
            }
            contrastive(&rows)
        }
        "moco" => {
            let queue = raw(&case.queue);
            let mut rows = forward(&a);
            for (i, row) in rows.iter_mut().enumerate() {
                for (q, key) in queue.iter().enumerate() {
                    let stands = case.allowed_queue[i * queue.len() + q] > 0.0;
                    // the queue's keys are taken as they are
                    row.push((dot(&unit(&a[i]), key) / case.temperature, 0.0, stands));
                }
            }
            contrastive(&rows)
        }
        "cpc" => {
            let predicted: Vec<Vec<f64>> = a
                .iter()
                .zip(&case.context)
                .map(|(row, &context)| match context > 0.0 {
                    true => (0..width)
                        .map(|c| (0..width).map(|r| row[r] * case.weight[r * width + c]).sum())
                        .collect(),
                    false => row.clone(),
                })
                .collect();
            contrastive(&forward(&predicted))
        }
        "vicreg" => (vicreg(&a, &p), None),
        "barlow-twins" => (barlow_twins(&a, &p), None),
        name => panic!("{name}"),
    }
}

/// The numbers of one column less their mean.
fn centred(z: &[Vec<f64>], column: usize) -> Vec<f64> {
    let mean = z.iter().map(|row| row[column]).sum::<f64>() / z.len() as f64;
    z.iter().map(|row| row[column] - mean).collect()
}

fn vicreg(a: &[Vec<f64>], p: &[Vec<f64>]) -> f64 {
    let (rows, width) = (a.len(), a[0].len());
    let mut distance = 0.0;
    for (x, y) in a.iter().zip(p) {
        distance += x.iter().zip(y).map(|(x, y)| (x - y).powi(2)).sum::<f64>();
    }
    let mut loss = 25.0 * distance / (rows * width) as f64;
    for z in [a, p] {
        for i in 0..width {
            for j in 0..width {
                let covariance = dot(&centred(z, i), &centred(z, j)) / (rows - 1) as f64;
                loss += match i == j {
                    true => 25.0 * (1.0 - (covariance + 1e-4).sqrt()).max(0.0) / width as f64,
                    false => covariance.powi(2) / width as f64,
                };
            }
        }
    }
    loss
}

fn barlow_twins(a: &[Vec<f64>], p: &[Vec<f64>]) -> f64 {
    let width = a[0].len();
    let mut loss = 0.0;
    for i in 0..width {
        for j in 0..width {
            let (x, y) = (centred(a, i), centred(p, j));
            let correlation = dot(&x, &y) / (dot(&x, &x) * dot(&y, &y)).sqrt();
            loss += match i == j {
                true => (1.0 - correlation).powi(2),
                false => 5e-3 * correlation.powi(2),
            };
        }
    }
    loss
}

/// The gradient of the loss by the anchors, the positives and CPC's matrix, by central
/// differences.
pub fn differences(case: &Case) -> Vec<f64> {
    const STEP: f64 = 1e-5;
    let mut all = Vec::new();
    for part in 0..3 {
        let count = [&case.anchors, &case.positives, &case.weight][part].len();
        for n in 0..count {
            let moved = |by: f64| {
                let mut case = case.clone();
                let values = match part {
                    0 => &mut case.anchors,
                    1 => &mut case.positives,
                    _ => &mut case.weight,
                };
                values[n] += by;
                loss(&case).0
            };
            all.push((moved(STEP) - moved(-STEP)) / (2.0 * STEP));
        }
    }
    all
}
