//! A mean of independent numbers with what is not known of it.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A mean and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Interval {
    /// The mean.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Student's interval of the mean of independent numbers; without ends where
    /// there are fewer than two.
    pub fn of(numbers: &[f64]) -> Self {
        let n = numbers.len() as f64;
        let value = numbers.iter().sum::<f64>() / n.max(1.0);
        let variance = numbers.iter().map(|v| (v - value).powi(2)).sum::<f64>() / (n - 1.0);
        let quantile = StudentsT::new(0.0, 1.0, n - 1.0).map(|t| t.inverse_cdf(0.975));
        let half = quantile.map_or(f64::INFINITY, |q| q * (variance / n).sqrt());
        Self { value, low: value - half, high: value + half }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_numbers_have_the_quantile_of_the_tables() {
        let interval = Interval::of(&[1.0, 2.0, 3.0, 4.0, 5.0]);
        // t of 4 degrees of freedom at 0.975 is 2.776
        let half = 2.776_445 * (2.5f64 / 5.0).sqrt();
        assert!((interval.value - 3.0).abs() < 1e-12);
        assert!((interval.high - 3.0 - half).abs() < 1e-5, "{interval:?}");
        assert!((3.0 - interval.low - half).abs() < 1e-5, "{interval:?}");
        assert_eq!(Interval::of(&[1.0]).high, f64::INFINITY);
    }
}
