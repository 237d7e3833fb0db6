//! Elementary functions that the compiler can vectorise: no branch, no call.
//!
//! Their relative error is below 1e-6.

use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

/// 1/√(2π).
const FRAC_1_SQRT_2PI: f32 = 0.398_942_3;

/// e to the power x, for x in −87.3..88.3; what lies outside is taken to the
/// nearer end.
///
/// # Source
/// Cephes, `expf.c`: x = n ln 2 + r, and a polynomial for the exponential of r.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: what is added to it is rounded to a whole number.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.3, 88.3);
    let shifted = x.mul_add(LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = n.mul_add(-LN_2_LOW, n.mul_add(-LN_2_HIGH, x));
    let mut p = 1.987_569_1e-4_f32;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5, 1.0, 1.0]
    {
        p = p.mul_add(r, coefficient);
    }
    // the low bits of the shifted number are n: they become the exponent
    let power = f32::from_bits((shifted.to_bits() << 23).wrapping_add(0x3f80_0000));
    p * power
}

/// The error function.
///
/// # Source
/// The rational minimax approximation of Eigen's `generic_fast_erf_float`.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let square = x * x;
    let mut p = -2.726_142_3e-10_f32;
    for coefficient in [
        2.770_681_4e-8,
        -2.101_024e-6,
        -5.692_506_4e-5,
        -7.349_906_3e-4,
        -2.954_6e-3,
        -1.609_603_3e-2,
    ] {
        p = p.mul_add(square, coefficient);
    }
    let mut q = -1.456_607_2e-5_f32;
    for coefficient in [-2.133_740_6e-4, -1.682_827e-3, -7.373_329_2e-3, -1.426_473_9e-2] {
        q = q.mul_add(square, coefficient);
    }
    x * p / q
}

/// x Φ(x), with Φ the distribution function of the normal distribution.
#[inline(always)]
pub fn gelu(x: f32) -> f32 {
    0.5 * x * (1.0 + erf(x * FRAC_1_SQRT_2))
}

/// The slope of [`gelu`]: Φ(x) + x φ(x).
#[inline(always)]
pub fn gelu_slope(x: f32) -> f32 {
    let bell = exp(-0.5 * x * x) * FRAC_1_SQRT_2PI;
    x.mul_add(bell, (0.5 * erf(x * FRAC_1_SQRT_2)) + 0.5)
}

/// The sum of f over the places of slices of one length, in an order that does
/// not depend on the machine.
#[inline(always)]
pub fn sum<const N: usize>(slices: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    const LANES: usize = 16;
    let len = slices.iter().map(|s| s.len()).min().unwrap_or(0);
    let slices = slices.map(|s| &s[..len]);
    let mut lanes = [0.0f32; LANES];
    let whole = len - len % LANES;
    for start in (0..whole).step_by(LANES) {
        let parts = slices.map(|s| &s[start..start + LANES]);
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += f(parts.map(|part| part[lane]));
        }
    }
    for i in whole..len {
        lanes[i - whole] += f(slices.map(|s| s[i]));
    }
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
        width /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_accurate_to_1e_6() {
        for i in -87_000..88_000 {
            let x = i as f32 * 1e-3;
            let expected = f64::from(x).exp();
            let error = (f64::from(exp(x)) - expected).abs() / expected;
            assert!(error < 1e-6, "exp({x}): relative error {error}");
        }
        assert!(exp(f32::NAN).is_nan());
    }

    /// Abramowitz and Stegun 7.1.5 (series), summed in f64.
    fn erf_series(x: f64) -> f64 {
        let mut term = x;
        let mut total = x;
        for n in 1..200 {
            term *= -x * x / f64::from(n);
            total += term / f64::from(2 * n + 1);
        }
        total * std::f64::consts::FRAC_2_SQRT_PI
    }

    #[test]
    fn erf_is_accurate_to_1e_6() {
        for i in -3900..3900 {
            let x = i as f32 * 1e-3;
            let expected = erf_series(f64::from(x));
            let error = (f64::from(erf(x)) - expected).abs();
            assert!(error <= 1e-6 * expected.abs(), "erf({x}): error {error}");
        }
        assert!((erf(9.0) - 1.0).abs() < 1e-6 && (erf(-9.0) + 1.0).abs() < 1e-6);
        assert!(erf(f32::NAN).is_nan());
    }

    #[test]
    fn sum_takes_every_place_once() {
        for len in [0, 1, 15, 16, 17, 100] {
            let x: Vec<f32> = (0..len).map(|i| i as f32).collect();
            let expected: f32 = x.iter().map(|x| x * x).sum();
            assert_eq!(sum([&x, &x], |[a, b]| a * b), expected);
        }
    }
}
