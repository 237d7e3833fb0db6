//! What the numbers of a scan mean, made comparable between scans.

use ndarray::Array3;

use crate::study::Family;

/// How intensities are normalised, as a pipeline sets it.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct Settings {
    /// Lowest and highest Hounsfield units of CT; they become −1 and 1.
    pub ct_window_hu: [f32; 2],
    /// Robust z-scores of MR and PET beyond this are cut.
    pub clip_z: f32,
    /// Lowest and highest standardised uptake of PET that has it; they become −1 and 1.
    // Left out where there is none, so that results made before still match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pet_window_suv: Option<[f32; 2]>,
    /// In place of z-scores: these percentiles of a scan of MR or PET become −1 and 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percentiles: Option<[f32; 2]>,
}

/// A normalisation, fitted to one scan: `normalised = (value − centre) / scale`,
/// cut to `range`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normalisation {
    /// The intensity that becomes 0.
    pub centre: f32,
    /// The intensity difference that becomes 1.
    pub scale: f32,
    /// Lowest and highest normalised value.
    pub range: [f32; 2],
    /// Normalised value above which a voxel belongs to the body.
    pub foreground_above: f32,
    /// Normalised value of air, taken for all that lies outside the scan.
    pub background: f32,
}

/// Why a scan cannot be normalised.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum IntensityError {
    /// Fewer than 100 voxels were measured and finite.
    #[error("only {finite} voxels are finite numbers; at least {required} are needed")]
    TooFew {
        /// Finite voxels.
        finite: usize,
        /// Least number needed.
        required: usize,
    },
    /// All measured voxels are (nearly) the same.
    #[error("the scan is blank: its foreground spans {spread:e} intensity units")]
    Blank {
        /// Interquartile range of the foreground, or distance of the percentiles.
        spread: f32,
    },
}

/// Voxels read for the statistics: enough for the third digit of a quantile.
const SAMPLE: usize = 200_000;

/// A CT voxel above this many Hounsfield units is body, below it air or lung.
pub(crate) const CT_BODY_HU: f32 = -400.0;

/// A PET voxel of more standardised uptake than this is body; resting muscle has some 0.5.
pub(crate) const PET_BODY_SUV: f32 = 0.2;

/// Between percentiles, a voxel above this share of the way is body.
const BODY_SHARE: f32 = 0.1;

/// Interquartile range of a normal distribution, in standard deviations.
const NORMAL_IQR: f32 = 1.349;

impl Normalisation {
    /// The normalisation of a scan `[k, j, i]`, in the unit of its family or, of PET, in
    /// the one that is named in DICOM's words.
    ///
    /// CT and PET in `GML` are calibrated: a window maps to −1…1 whatever the scan holds.
    /// MR and nuclear images have arbitrary units: the foreground (above Otsu's
    /// threshold) is centred at its median and scaled by its interquartile range
    /// / 1.349, the robust z-score. Where half of a scan is dark tissue and the other half
    /// bright, as muscle and fat or a tumour in PET, that threshold lies between the two and
    /// what is below is crowded: then percentiles serve better.
    ///
    /// # Errors
    /// [`IntensityError`] for a scan without content.
    ///
    /// # Source
    /// Otsu 1979, *A threshold selection method from gray-level histograms*, eq. 12–18.
    pub fn fit(
        voxels: &Array3<f32>,
        family: Family,
        unit: Option<&str>,
        settings: &Settings,
    ) -> Result<Self, IntensityError> {
        const REQUIRED: usize = 100;
        let stride = stride(voxels.dim());
        let mut sample: Vec<f32> =
            voxels.iter().step_by(stride).copied().filter(|v| v.is_finite()).collect();
        if sample.len() < REQUIRED.min(voxels.len().max(1)) {
            return Err(IntensityError::TooFew { finite: sample.len(), required: REQUIRED });
        }
        match (family, unit, settings.pet_window_suv) {
            (Family::Ct, ..) => return Ok(Self::of_window(settings.ct_window_hu, CT_BODY_HU)),
            (Family::Nuclear, Some("GML"), Some(window)) => {
                return Ok(Self::of_window(window, PET_BODY_SUV));
            }
            _ => {}
        }
        sample.sort_by(f32::total_cmp);
        if let Some(percentiles) = settings.percentiles {
            return Self::between(percentiles, &sample);
        }
        let threshold = otsu(&sample);
        let foreground = &sample[sample.partition_point(|&v| v <= threshold)..];
        let quantile = |q: f64| {
            let at = (foreground.len().saturating_sub(1) as f64 * q).round() as usize;
            foreground.get(at).copied().unwrap_or(threshold)
        };
        let spread = quantile(0.75) - quantile(0.25);
        let whole = sample.last().unwrap_or(&0.0) - sample.first().unwrap_or(&0.0);
        // A mask or label map has a flat foreground; its range still tells inside from outside.
        let scale = if spread > whole * 1e-4 { spread / NORMAL_IQR } else { whole };
        if !(scale.is_finite() && scale > f32::MIN_POSITIVE) {
            return Err(IntensityError::Blank { spread });
        }
        let centre = quantile(0.5);
        let range = [-settings.clip_z, settings.clip_z];
        let normalised = |v: f32| ((v - centre) / scale).clamp(range[0], range[1]);
        Ok(Self {
            centre,
            scale,
            range,
            foreground_above: normalised(threshold),
            background: normalised(sample.first().copied().unwrap_or(0.0).min(0.0)),
        })
    }

    /// Two percentiles of sorted values as the ends of a window.
    fn between(percentiles: [f32; 2], sorted: &[f32]) -> Result<Self, IntensityError> {
        let last = sorted.len().saturating_sub(1) as f32;
        let at = |p: f32| sorted.get((last * p / 100.0).round() as usize).copied();
        let ends = percentiles.map(|p| at(p).unwrap_or(f32::NAN));
        let spread = ends[1] - ends[0];
        if !(spread.is_finite() && spread > f32::MIN_POSITIVE) {
            return Err(IntensityError::Blank { spread });
        }
        Ok(Self::of_window(ends, ends[0] + BODY_SHARE * spread))
    }

    /// A window, and the intensity above which a voxel belongs to the body.
    fn of_window([low, high]: [f32; 2], body_above: f32) -> Self {
        let centre = (low + high) / 2.0;
        let scale = (high - low) / 2.0;
        Self {
            centre,
            scale,
            range: [-1.0, 1.0],
            foreground_above: ((body_above - centre) / scale).clamp(-1.0, 1.0),
            background: -1.0,
        }
    }

    /// The normalised value of an intensity; what was not measured is background.
    #[inline]
    pub fn apply(&self, value: f32) -> f32 {
        // Without a branch, so that many are made at once.
        let normalised = ((value - self.centre) / self.scale).max(self.range[0]).min(self.range[1]);
        if value.is_nan() { self.background } else { normalised }
    }

    /// The intensity that stands for air before normalisation.
    pub fn outside(&self) -> f32 {
        self.background * self.scale + self.centre
    }
}

/// Every how many voxels of a volume `[k, j, i]` are read: never so that all of them are of a
/// few columns.
fn stride((nk, nj, ni): (usize, usize, usize)) -> usize {
    const COLUMNS: usize = 32;
    fn common(a: usize, b: usize) -> usize {
        if b == 0 { a } else { common(b, a % b) }
    }
    let least = (nk * nj * ni).div_ceil(SAMPLE).max(1);
    let met = |stride| ni / common(stride, ni).max(1);
    (least..least + ni.max(1)).find(|&n| met(n) >= ni.min(COLUMNS)).unwrap_or(least)
}

/// Otsu's threshold of sorted values: the split into two classes with the
/// largest variance between them, over 256 bins.
fn otsu(sorted: &[f32]) -> f32 {
    const BINS: usize = 256;
    let (Some(&low), Some(&high)) = (sorted.first(), sorted.last()) else { return 0.0 };
    if high <= low {
        return low;
    }
    // A single bright voxel must not squeeze the histogram into its first bin.
    let high = sorted[(sorted.len() - 1) * 999 / 1000].max(low + (high - low) * 1e-3);
    let width = (high - low) / BINS as f32;
    let mut counts = [0u32; BINS];
    for &value in sorted {
        let bin = ((value - low) / width) as usize;
        counts[bin.min(BINS - 1)] += 1;
    }
    let total = sorted.len() as f64;
    let mean =
        counts.iter().enumerate().map(|(b, &n)| b as f64 * f64::from(n)).sum::<f64>() / total;
    let (mut below, mut moment, mut best) = (0.0, 0.0, (f64::NEG_INFINITY, 0));
    for (bin, &count) in counts.iter().enumerate().take(BINS - 1) {
        below += f64::from(count) / total;
        moment += bin as f64 * f64::from(count) / total;
        let between = (mean * below - moment).powi(2) / (below * (1.0 - below)).max(1e-12);
        if between > best.0 {
            best = (between, bin);
        }
    }
    low + width * (best.1 + 1) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: Settings = Settings {
        ct_window_hu: [-1000.0, 1000.0],
        clip_z: 5.0,
        pet_window_suv: None,
        percentiles: None,
    };

    fn scan(inside: impl Fn(usize) -> f32) -> Array3<f32> {
        Array3::from_shape_fn((20, 20, 20), |(k, j, i)| {
            let body = (5..15).contains(&k) && (5..15).contains(&j) && (5..15).contains(&i);
            if body { inside(i) } else { 0.0 }
        })
    }

    #[test]
    fn mr_does_not_depend_on_its_arbitrary_scale() {
        let one = scan(|i| 100.0 + 10.0 * i as f32);
        let other = one.mapv(|v| v * 7.5);
        let a = Normalisation::fit(&one, Family::Mr, None, &SETTINGS).unwrap();
        let b = Normalisation::fit(&other, Family::Mr, None, &SETTINGS).unwrap();
        for (x, y) in one.iter().zip(&other) {
            assert!((a.apply(*x) - b.apply(*y)).abs() < 1e-4);
        }
        assert!(a.apply(200.0) > a.foreground_above);
        // Not above: both may lie on the cut.
        assert!(a.apply(0.0) <= a.foreground_above);
    }

    #[test]
    fn percentiles_are_the_ends_of_mr_and_not_of_ct() {
        let ramp = Array3::from_shape_fn((10, 10, 10), |(k, j, i)| (100 * k + 10 * j + i) as f32);
        let settings = Settings { percentiles: Some([10.0, 90.0]), ..SETTINGS };
        let mr = Normalisation::fit(&ramp, Family::Mr, None, &settings).unwrap();
        for (value, expected) in [(100.0, -1.0), (899.0, 1.0), (499.5, 0.0), (999.0, 1.0)] {
            assert!((mr.apply(value) - expected).abs() < 1e-3, "{value}: {}", mr.apply(value));
        }
        assert!(mr.apply(170.0) < mr.foreground_above && mr.apply(190.0) > mr.foreground_above);
        let ct = Normalisation::fit(&ramp, Family::Ct, None, &settings).unwrap();
        assert_eq!(ct.apply(500.0), 0.5);
        let blank = Array3::from_elem((10, 10, 10), 3.0);
        assert!(Normalisation::fit(&blank, Family::Mr, None, &settings).is_err());
    }

    #[test]
    fn ct_is_its_window() {
        let ct = Normalisation::fit(&scan(|_| 40.0), Family::Ct, None, &SETTINGS).unwrap();
        assert_eq!(ct.apply(-1000.0), -1.0);
        assert_eq!(ct.apply(3000.0), 1.0);
        assert_eq!(ct.apply(0.0), 0.0);
        assert_eq!(ct.apply(f32::NAN), -1.0);
        assert_eq!(ct.outside(), -1000.0);
    }

    #[test]
    fn pet_is_its_window_where_it_is_in_suv() {
        let uptake = scan(|i| 0.5 * i as f32);
        let settings = Settings { pet_window_suv: Some([0.0, 5.0]), ..SETTINGS };
        let pet = |unit| Normalisation::fit(&uptake, Family::Nuclear, unit, &settings).unwrap();
        let window = pet(Some("GML"));
        for (value, expected) in [(0.0, -1.0), (2.5, 0.0), (7.0, 1.0)] {
            assert_eq!(window.apply(value), expected);
        }
        assert!(window.apply(0.1) < window.foreground_above);
        assert!(window.apply(0.3) > window.foreground_above);
        assert_eq!((pet(Some("BQML")).range, pet(None).range), ([-5.0, 5.0], [-5.0, 5.0]));
    }

    #[test]
    fn a_sample_is_of_many_columns() {
        for (shape, expected) in [
            ((500, 400, 400), 401),
            ((195, 512, 512), 257),
            ((312, 320, 320), 161),
            ((277, 240, 240), 81),
            ((59, 158, 174), 9),
            ((20, 20, 20), 1),
        ] {
            assert_eq!(stride(shape), expected, "{shape:?}");
        }
        // Air in the first column alone, where every 400th voxel lies.
        let scan = Array3::from_shape_fn((500, 400, 400), |(k, j, i)| {
            if i == 0 { 0.0 } else { (k % 7 + j % 5 + i % 3) as f32 }
        });
        assert!(Normalisation::fit(&scan, Family::Mr, None, &SETTINGS).is_ok());
    }

    #[test]
    fn blank_and_unmeasured_scans_are_refused() {
        let blank = Array3::from_elem((10, 10, 10), 3.0);
        assert!(matches!(
            Normalisation::fit(&blank, Family::Mr, None, &SETTINGS),
            Err(IntensityError::Blank { .. })
        ));
        let nothing = Array3::from_elem((10, 10, 10), f32::NAN);
        assert!(matches!(
            Normalisation::fit(&nothing, Family::Ct, None, &SETTINGS),
            Err(IntensityError::TooFew { .. })
        ));
    }
}
