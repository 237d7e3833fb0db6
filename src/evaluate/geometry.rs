//! The shape of a cloud of embeddings, `[N, width]` row by row.

use nalgebra::{DMatrix, SymmetricEigen};

/// Rows beyond this are left out of the pairwise mean.
const MOST_ROWS: usize = 2048;

/// The effective rank: the exponential of the entropy of the singular values'
/// shares, from 1 (all on one line) to `width` or the number of rows, if that is less.
///
/// # Source
/// Garrido et al. 2023, *RankMe*, eq. 2, ε = 1e-7.
pub fn rank_me(rows: &[f32], width: usize) -> f64 {
    let count = rows.len() / width.max(1);
    // a column of the matrix is a row of the embeddings
    let x = DMatrix::from_iterator(width, count, rows.iter().map(|&v| f64::from(v)));
    // the smaller one: wide embeddings of few rows would take minutes
    let gram = if count < width { x.tr_mul(&x) } else { &x * x.transpose() };
    // Singular values of the rows are roots of the Gram matrix's eigenvalues.
    let singular: Vec<f64> =
        SymmetricEigen::new(gram).eigenvalues.iter().map(|e| e.max(0.0).sqrt()).collect();
    let total: f64 = singular.iter().sum();
    if total <= 0.0 {
        return 0.0;
    }
    let entropy: f64 =
        singular.iter().map(|s| s / total + 1e-7).map(|share| -share * share.ln()).sum();
    entropy.exp()
}

/// Mean squared distance of paired rows on the unit sphere.
///
/// # Source
/// Wang and Isola 2020, eq. 4, α = 2.
pub fn alignment(anchors: &[f32], positives: &[f32], width: usize) -> f64 {
    let (a, b) = (unit_rows(anchors, width), unit_rows(positives, width));
    let count = a.len().max(1) as f64;
    a.iter().zip(&b).map(|(x, y)| squared_distance(x, y)).sum::<f64>() / count
}

/// Logarithm of the mean Gaussian potential of all pairs of rows on the unit
/// sphere; the lower, the more evenly spread. At most 2,048 rows are used.
///
/// # Source
/// Wang and Isola 2020, eq. 5, t = 2.
pub fn uniformity(rows: &[f32], width: usize) -> f64 {
    let step = (rows.len() / width.max(1)).div_ceil(MOST_ROWS).max(1);
    let rows: Vec<Vec<f64>> = unit_rows(rows, width).into_iter().step_by(step).collect();
    let mut sum = 0.0;
    let mut count = 0usize;
    for (n, x) in rows.iter().enumerate() {
        for y in &rows[n + 1..] {
            sum += (-2.0 * squared_distance(x, y)).exp();
            count += 1;
        }
    }
    (sum / count.max(1) as f64).ln()
}

/// The [`uniformity`] of the anchors or the positives of pairs, whichever is worse: each may
/// have an encoder of its own, and both together hide that one of them is a point.
pub fn uniformity_of_sides(sides: [&[f32]; 2], width: usize) -> f64 {
    sides.map(|side| uniformity(side, width)).into_iter().fold(f64::NEG_INFINITY, f64::max)
}

/// The [`rank_me`] of the anchors or the positives of pairs, whichever is worse.
pub fn rank_me_of_sides(sides: [&[f32]; 2], width: usize) -> f64 {
    sides.map(|side| rank_me(side, width)).into_iter().fold(f64::INFINITY, f64::min)
}

fn unit_rows(rows: &[f32], width: usize) -> Vec<Vec<f64>> {
    rows.chunks_exact(width)
        .map(|row| {
            let norm = row.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt().max(1e-12);
            row.iter().map(|&v| f64::from(v) / norm).collect()
        })
        .collect()
}

fn squared_distance(x: &[f64], y: &[f64]) -> f64 {
    x.iter().zip(y).map(|(a, b)| (a - b).powi(2)).sum()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, StandardNormal};

    use super::*;

    fn gaussian(rows: usize, width: usize, rank: usize) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut all = Vec::new();
        for _ in 0..rows {
            all.extend((0..width).map(|n| {
                let draw: f32 = StandardNormal.sample(&mut rng);
                if n < rank { draw } else { 0.0 }
            }));
        }
        all
    }

    #[test]
    fn the_effective_rank_of_known_clouds() {
        for (rank, expected) in [(1, 1.0), (8, 8.0), (32, 31.9), (128, 127.0)] {
            let measured = rank_me(&gaussian(2048, 128, rank), 128);
            assert!((measured / expected - 1.0f64).abs() < 0.005, "{rank}: {measured}");
        }
    }

    #[test]
    fn the_effective_rank_of_few_wide_rows() {
        let rows = gaussian(64, 300, 300);
        let x = DMatrix::from_iterator(300, 64, rows.iter().map(|&v| f64::from(v)));
        let singular = x.singular_values();
        let total = singular.sum();
        let shares = singular.iter().map(|s| s / total + 1e-7);
        let expected = shares.map(|share| -share * share.ln()).sum::<f64>().exp();
        assert!((rank_me(&rows, 300) - expected).abs() < 1e-6 * expected, "{expected}");
    }

    #[test]
    fn the_uniformity_of_an_even_sphere() {
        for (width, expected) in [(16, -3.513), (32, -3.752), (128, -3.938)] {
            let measured = uniformity(&gaussian(2048, width, width), width);
            assert!((measured - expected).abs() < 0.01f64, "{width}: {measured}");
        }
    }

    #[test]
    fn alignment_of_equal_and_opposite_rows() {
        let rows = gaussian(64, 8, 8);
        let opposite: Vec<f32> = rows.iter().map(|v| -v).collect();
        assert!(alignment(&rows, &rows, 8) < 1e-12);
        assert!((alignment(&rows, &opposite, 8) - 4.0).abs() < 1e-6);
    }
}
