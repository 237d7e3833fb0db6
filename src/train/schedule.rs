//! The learning rate from step to step.

use super::Settings;

/// The learning rate of a step: a linear rise over the warm-up, then half a
/// cosine down to zero.
///
/// # Source
/// Loshchilov and Hutter 2017 (SGDR), eq. 5, without restarts.
pub(super) fn learning_rate(settings: &Settings, step: usize) -> f32 {
    if step < settings.warmup {
        return settings.learning_rate * (step + 1) as f32 / settings.warmup as f32;
    }
    let total = (settings.steps.saturating_sub(settings.warmup)).max(1) as f32;
    let done = (step - settings.warmup) as f32 / total;
    settings.learning_rate * 0.5 * (1.0 + (std::f32::consts::PI * done.min(1.0)).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rises_then_falls() {
        let settings = crate::train::tests::settings();
        let rate = |step| learning_rate(&settings, step);
        assert!((rate(0) - 0.1).abs() < 1e-6);
        assert!((rate(9) - 1.0).abs() < 1e-6 && (rate(10) - 1.0).abs() < 1e-6);
        assert!((rate(55) - 0.5).abs() < 1e-6);
        assert!(rate(99) < 1e-3);
    }
}
