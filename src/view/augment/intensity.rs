//! What changes the values of a view: bias field, gamma, noise, cut-out.

use std::ops::Range;

use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::lattice::Lattice;

/// Multiplies what a view shows above air by the exponential of a smooth field, as
/// the sensitivity of receive coils does; `[slice, row, column]`.
///
/// # Source
/// The multiplicative model of Sled, Zijdenbos and Evans 1998 (N3), eq. 1–2.
pub(super) fn bias(values: &mut [f32], [columns, rows, _]: [usize; 3], field: &Lattice, air: f32) {
    let mut line = vec![0.0; columns];
    for (n, values) in values.chunks_exact_mut(columns).enumerate() {
        field.line(n % rows, n / rows, &mut line);
        for (value, field) in values.iter_mut().zip(&line) {
            *value = air + (*value - air) * field.exp();
        }
    }
}

/// Raises values to a power between the lowest and the highest of the view, which
/// stay what they are.
pub(super) fn gamma(values: &mut [f32], power: f32) {
    let low = values.iter().copied().fold(f32::INFINITY, f32::min);
    let high = values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let range = high - low;
    if range.is_finite() && range > 0.0 {
        for value in values {
            *value = low + range * ((*value - low) / range).powf(power);
        }
    }
}

/// Changes contrast and brightness, and adds noise of a normal distribution.
pub(super) fn gaussian(
    values: &mut [f32],
    [contrast, brightness, noise]: [f32; 3],
    rng: &mut impl Rng,
) {
    if noise == 0.0 {
        values.iter_mut().for_each(|value| *value = *value * contrast + brightness);
        return;
    }
    for value in values {
        let drawn: f32 = StandardNormal.sample(rng);
        *value = *value * contrast + brightness + noise * drawn;
    }
}

/// Changes contrast and brightness, and makes each value above air the magnitude
/// of a complex one whose parts have normal noise.
///
/// # Source
/// Gudbjartsson and Patz 1995, *The Rician distribution of noisy MRI data*, eq. 1.
pub(super) fn rician(
    values: &mut [f32],
    [contrast, brightness, noise]: [f32; 3],
    air: f32,
    rng: &mut impl Rng,
) {
    let air = air * contrast + brightness;
    for value in values {
        let [real, imaginary]: [f32; 2] =
            [StandardNormal.sample(rng), StandardNormal.sample(rng)];
        let signal = (*value * contrast + brightness - air).max(0.0);
        *value = air + (signal + noise * real).hypot(noise * imaginary);
    }
}

/// Sets a block of columns, rows and slices to a value.
///
/// # Source
/// DeVries and Taylor 2017, *Improved regularization of convolutional neural
/// networks with cutout*, § 3.2.
pub(super) fn cut_out(
    values: &mut [f32],
    [columns, rows, _]: [usize; 3],
    [across, down, deep]: &[Range<usize>; 3],
    value: f32,
) {
    for (n, line) in values.chunks_exact_mut(columns).enumerate() {
        if down.contains(&(n % rows)) && deep.contains(&(n / rows)) {
            line.get_mut(across.clone()).unwrap_or_default().fill(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const MANY: usize = 200_000;

    fn moments(values: &[f32]) -> (f64, f64) {
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / values.len() as f64;
        let square = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>();
        (mean, square / values.len() as f64)
    }

    #[test]
    fn the_noise_of_magnitudes_has_the_moments_of_rice() {
        let mut rng = ChaCha8Rng::seed_from_u64(6);
        let (air, noise) = (-2.0, 0.3_f64);
        // In air it is Rayleigh's distribution.
        let mut values = vec![air; MANY];
        rician(&mut values, [1.0, 0.0, noise as f32], air, &mut rng);
        let (mean, variance) = moments(&values);
        let pi = std::f64::consts::PI;
        assert!((mean + 2.0 - noise * (pi / 2.0).sqrt()).abs() < 3e-3, "{mean}");
        assert!((variance - (2.0 - pi / 2.0) * noise * noise).abs() < 1e-3, "{variance}");
        // Of any signal the mean square is signal² + 2 noise².
        for signal in [0.2_f64, 0.5, 3.0] {
            let mut values = vec![air + signal as f32; MANY];
            rician(&mut values, [1.5, 0.4, noise as f32], air, &mut rng);
            let air = f64::from(air) * 1.5 + 0.4;
            let magnitudes: Vec<f32> = values.iter().map(|&v| (f64::from(v) - air) as f32).collect();
            assert!(magnitudes.iter().all(|&magnitude| magnitude >= 0.0));
            let (mean, variance) = moments(&magnitudes);
            let expected = (1.5 * signal).powi(2) + 2.0 * noise * noise;
            assert!((mean * mean + variance - expected).abs() < 0.01 * expected, "{signal}");
            // Far above the noise it is normal about the signal.
            if signal == 3.0 {
                assert!((variance - noise * noise).abs() < 2e-3, "{variance}");
            }
        }
    }

    #[test]
    fn the_other_noise_is_normal_about_the_value() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let mut values = vec![0.8; MANY];
        gaussian(&mut values, [1.25, -0.5, 0.2], &mut rng);
        let (mean, variance) = moments(&values);
        assert!((mean - 0.5).abs() < 2e-3 && (variance - 0.04).abs() < 1e-3, "{mean} {variance}");
        let mut still = vec![0.8; 4];
        gaussian(&mut still, [1.25, -0.5, 0.0], &mut rng);
        assert_eq!(still, vec![0.5; 4]);
    }

    #[test]
    fn gamma_keeps_the_ends_and_the_order() {
        let mut values: Vec<f32> = (0..=10).map(|n| -1.0 + 0.4 * n as f32).collect();
        let before = values.clone();
        gamma(&mut values, 2.0);
        assert_eq!((values[0], values[10]), (before[0], before[10]));
        assert!(values.windows(2).all(|pair| pair[0] < pair[1]));
        // Half-way up becomes a quarter.
        assert!((values[5] - (-1.0 + 4.0 * 0.25)).abs() < 1e-5);
        let mut level = vec![3.0; 5];
        gamma(&mut level, 2.0);
        assert_eq!(level, vec![3.0; 5]);
    }

    #[test]
    fn the_bias_multiplies_what_is_above_air() {
        let mut rng = ChaCha8Rng::seed_from_u64(8);
        let field = Lattice::draw([8, 8, 1], [3.0; 3], &mut rng, |_| 0.4);
        let mut values = vec![-2.0; 64];
        values[9] = 1.0;
        bias(&mut values, [8, 8, 1], &field, -2.0);
        assert!((values[9] - (-2.0 + 3.0 * 0.4_f32.exp())).abs() < 1e-4);
        assert_eq!(values.iter().filter(|&&value| value == -2.0).count(), 63);
    }

    #[test]
    fn a_block_is_cut_out() {
        let mut values = vec![1.0; 6 * 5 * 4];
        cut_out(&mut values, [6, 5, 4], &[1..4, 2..5, 0..2], -1.0);
        for (n, &value) in values.iter().enumerate() {
            let inside = (1..4).contains(&(n % 6)) && (2..5).contains(&(n / 6 % 5)) && n / 30 < 2;
            assert_eq!(value == -1.0, inside, "{n}");
        }
    }
}
