//! What the phantom is made of, and how each modality shows it.

use crate::study::Modality;

/// A material with one intensity in each modality.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "snake_case")]
pub enum Tissue {
    /// Outside, and the sinuses.
    Air,
    /// Scalp, orbits, bone marrow.
    Fat,
    /// Face and neck.
    Muscle,
    /// Skull, jaw and spine.
    Bone,
    /// Cerebrospinal fluid, vitreous bodies, cysts.
    Csf,
    /// Cortex and deep nuclei.
    Gray,
    /// White matter.
    White,
    /// Solid tumour.
    Tumour,
    /// Swelling of white matter.
    Oedema,
    /// Bleeding, some days old.
    Blood,
    /// Calcification.
    Calcium,
}

impl Tissue {
    /// How many tissues there are.
    pub const COUNT: usize = 11;

    /// The word used in tables.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Air => "air",
            Self::Fat => "fat",
            Self::Muscle => "muscle",
            Self::Bone => "bone",
            Self::Csf => "csf",
            Self::Gray => "gray",
            Self::White => "white",
            Self::Tumour => "tumour",
            Self::Oedema => "oedema",
            Self::Blood => "blood",
            Self::Calcium => "calcium",
        }
    }
}

/// Volume fractions of the tissues at one place, in the order of [`Tissue`]; they sum to one.
pub type Mixture = [f32; Tissue::COUNT];

/// The intensity of each tissue in one modality, in the order of [`Tissue`].
///
/// MR in units where the brightest tissue is near 1, CT in Hounsfield units,
/// PET in kBq/ml. No table is a monotonic function of another, so that equal
/// brightness never means equal tissue.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Contrast {
    intensities: [f32; Tissue::COUNT],
}

impl Contrast {
    /// The contrast of a modality, or `None` where the phantom has none: it
    /// knows T1, T2, FLAIR, PD, CT and PET.
    pub fn of(modality: Modality) -> Option<Self> {
        //   air  fat  muscle bone  csf  gray white tumour oedema blood calcium
        let intensities = match modality {
            Modality::T1 => [0.0, 0.92, 0.42, 0.10, 0.14, 0.50, 0.76, 0.36, 0.44, 1.0, 0.22],
            Modality::T2 => [0.0, 0.30, 0.20, 0.06, 1.0, 0.58, 0.36, 0.76, 0.88, 0.14, 0.04],
            Modality::Flair => [0.0, 0.34, 0.28, 0.06, 0.10, 0.66, 0.48, 0.86, 1.0, 0.30, 0.05],
            Modality::Pd => [0.0, 0.60, 0.50, 0.08, 0.86, 0.94, 0.72, 0.88, 1.0, 0.40, 0.10],
            Modality::Ct => {
                [-1000.0, -80.0, 55.0, 1000.0, 6.0, 38.0, 30.0, 44.0, 18.0, 72.0, 320.0]
            }
            Modality::Pet => [0.0, 0.4, 2.2, 0.8, 0.6, 14.0, 4.5, 22.0, 2.6, 0.5, 0.4],
            _ => return None,
        };
        Some(Self { intensities })
    }

    /// The intensity of a tissue that fills its place.
    pub fn intensity(&self, tissue: Tissue) -> f32 {
        self.intensities[tissue as usize]
    }

    /// The intensity of a mixture: the mean of its tissues, by volume.
    pub fn mean(&self, mixture: &Mixture) -> f32 {
        self.intensities.iter().zip(mixture).map(|(i, f)| i * f).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [Modality; 6] =
        [Modality::T1, Modality::T2, Modality::Flair, Modality::Pd, Modality::Ct, Modality::Pet];

    #[test]
    fn no_modality_is_a_monotonic_function_of_another() {
        for (n, &a) in KNOWN.iter().enumerate() {
            for &b in &KNOWN[n + 1..] {
                let (a, b) = (Contrast::of(a).unwrap(), Contrast::of(b).unwrap());
                let mut signs = Vec::new();
                for p in 0..Tissue::COUNT {
                    for q in 0..p {
                        let slope = (a.intensities[p] - a.intensities[q])
                            * (b.intensities[p] - b.intensities[q]);
                        signs.push(slope > 0.0);
                    }
                }
                assert!(signs.contains(&true) && signs.contains(&false));
            }
        }
    }

    #[test]
    fn the_brain_has_the_contrast_of_textbooks() {
        let [t1, t2] = [Modality::T1, Modality::T2].map(|m| Contrast::of(m).unwrap());
        assert!(t1.intensity(Tissue::White) > t1.intensity(Tissue::Gray));
        assert!(t1.intensity(Tissue::Gray) > t1.intensity(Tissue::Csf));
        assert!(t2.intensity(Tissue::Csf) > t2.intensity(Tissue::Gray));
        assert!(t2.intensity(Tissue::Gray) > t2.intensity(Tissue::White));
        assert_eq!(Contrast::of(Modality::Adc), None);
    }
}
