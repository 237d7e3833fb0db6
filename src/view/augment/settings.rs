//! How strong augmentations are.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::study::{Family, Modality};

/// How views are changed, by modality.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Augments {
    /// Where a modality has none of its own.
    pub all: Augment,
    /// By modality.
    pub of: BTreeMap<Modality, Augment>,
    /// Where all views of a batch lie: drawn once for them, under what each has of its
    /// own. Drawn for each pair it would tell the pairs apart by itself. Its changes of
    /// values are not made.
    // Left out where there is none, so that results made before still match.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<Augment>,
}

impl Augments {
    /// Those of a modality, by its word. Only MR has coils and magnitudes: bias
    /// field and Rician noise are left out of all else.
    pub fn of(&self, modality: &str) -> Augment {
        let Ok(modality) = modality.parse::<Modality>() else { return self.all };
        let augment = *self.of.get(&modality).unwrap_or(&self.all);
        match modality.family() {
            Family::Mr => augment,
            Family::Ct | Family::Nuclear => Augment { bias_field: 0.0, rician: false, ..augment },
        }
    }
}

/// How strong augmentations are, as a pipeline sets it; 0 is off. Left and right
/// are not exchanged unless a chance of it is stated: the body is not symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Augment {
    /// Largest shift along each axis of the view, mm.
    pub shift_mm: f64,
    /// Largest rotation in the plane, degrees.
    pub rotate_deg: f64,
    /// Largest rotation of a box about its two other axes, degrees.
    pub tilt_deg: f64,
    /// Largest change of size, as a fraction.
    pub scale: f64,
    /// Largest part of each side that a random crop leaves out.
    pub crop: f64,
    /// Chance that left and right are exchanged.
    pub flip_left_right: f64,
    /// Chance that anterior and posterior are.
    pub flip_anterior_posterior: f64,
    /// Chance that superior and inferior are.
    pub flip_superior_inferior: f64,
    /// Largest standard deviation of the control points of an elastic change, mm.
    pub elastic_mm: f64,
    /// Distance of these control points, mm.
    pub elastic_spacing_mm: f64,
    /// Largest thickness of a slice that is averaged over, mm.
    pub thickness_mm: f64,
    /// Largest standard deviation of a Gaussian blur, mm.
    pub blur_mm: f64,
    /// Largest standard deviation of the logarithm of a bias field; MR alone.
    pub bias_field: f32,
    /// Largest logarithm of the power that values are raised to.
    pub gamma: f32,
    /// Largest change of contrast, as a fraction.
    pub contrast: f32,
    /// Largest shift of brightness, in normalised units.
    pub brightness: f32,
    /// Largest standard deviation of the noise, in normalised units.
    pub noise: f32,
    /// Whether the noise of MR is that of magnitudes.
    pub rician: bool,
    /// Largest share of the view that is cut out.
    pub cut_out: f64,
}
