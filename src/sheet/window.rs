//! Intensities to grey.

use ndarray::Array3;

/// Voxels read for percentiles: enough for the third digit.
const SAMPLE: usize = 200_000;

/// Share of the voxels that is black.
const BLACK: f64 = 0.01;

/// Share from which on voxels are white: of MR, where fat is far above all else
/// and one percent of a head.
const WHITE: f64 = 0.99;

/// The same of nuclear images, of which little more is of interest.
const WHITE_NUCLEAR: f64 = 0.995;

/// What the shares are, in words.
pub(super) fn told() -> String {
    let [black, white, nuclear] = [BLACK, WHITE, WHITE_NUCLEAR].map(|share| share * 100.0);
    format!("others percentile {black} to {white}, PET and SPECT to {nuclear} and inverted")
}

/// The grey of what lies outside a volume.
pub(super) const OUTSIDE: u8 = 28;

/// The intensity that stands for it: of no scan.
pub(super) const NOT_SCANNED: f32 = f32::MIN;

/// From intensities to grey.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Window {
    range: [f32; 2],
    inverted: bool,
}

impl Window {
    /// The lowest value as black and the highest as white, or the other way
    /// round, as nuclear images are read.
    pub fn new(range: [f32; 2], inverted: bool) -> Self {
        Self { range, inverted }
    }

    /// The window between two percentiles of a volume's measured voxels.
    pub fn of_percentiles(voxels: &Array3<f32>, inverted: bool) -> Self {
        let stride = voxels.len().div_ceil(SAMPLE).max(1);
        let mut sample: Vec<f32> =
            voxels.iter().step_by(stride).copied().filter(|value| value.is_finite()).collect();
        sample.sort_by(f32::total_cmp);
        let quantile = |share: f64| {
            let at = (sample.len().saturating_sub(1) as f64 * share).round() as usize;
            sample.get(at).copied().unwrap_or(0.0)
        };
        let whole = [quantile(0.0), quantile(1.0)];
        let range = [BLACK, if inverted { WHITE_NUCLEAR } else { WHITE }].map(quantile);
        // A mask is all background but for less than a percentile.
        Self::new(if range[0] < range[1] { range } else { whole }, inverted)
    }

    /// What stands for nothing.
    pub fn lowest(&self) -> f32 {
        self.range[0]
    }

    /// The grey of an intensity.
    pub fn grey(&self, value: f32) -> u8 {
        if value == NOT_SCANNED {
            return OUTSIDE;
        }
        let [low, high] = self.range;
        let share = if high > low { ((value - low) / (high - low)).clamp(0.0, 1.0) } else { 0.0 };
        let share = if self.inverted { 1.0 - share } else { share };
        (share * 255.0).round() as u8
    }
}
