//! What may be asked of the generator, and its limits.

use super::{PhantomError, tissue::Contrast};
use crate::study::Modality;

/// How large a phantom cohort is and how it is scanned.
///
/// The limits keep a slip of the pen from filling a disk; [`Settings::check`]
/// looks at them before anything is allocated or written.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Subjects, 1 to 10 000.
    pub subjects: usize,
    /// Decides everything that is drawn: the same settings give the same bytes.
    pub seed: u64,
    /// What is scanned in every session: T1, T2, FLAIR, PD, CT or PET, each once.
    pub modalities: Vec<Modality>,
    /// Sessions a subject, 1 to 20.
    pub sessions: usize,
    /// Voxels along (i, j, k) of a T1 scan, 8 to 512 each; other modalities have
    /// other spacings and cover about the same space.
    pub shape: [usize; 3],
    /// Distance between voxel centres of a T1 scan along (i, j, k), 0.25 to 20 mm.
    pub spacing_mm: [f64; 3],
    /// How many of the subjects, the last ones, are written as DICOM series;
    /// the others are NIfTI.
    pub dicom_subjects: usize,
    /// Whether known bad inputs are added, for trying what happens to them.
    pub corrupt: bool,
}

impl Settings {
    /// Most subjects of a cohort.
    pub const MAX_SUBJECTS: usize = 10_000;
    /// Most sessions of a subject.
    pub const MAX_SESSIONS: usize = 20;
    /// Least and most voxels along one axis.
    pub const SIDE: [usize; 2] = [8, 512];
    /// Least and largest spacing in mm.
    pub const SPACING_MM: [f64; 2] = [0.25, 20.0];
    /// Most voxels of all scans together: 2³⁶, 128 GiB before compression.
    pub const MAX_VOXELS: u64 = 1 << 36;

    /// The defaults for another number of subjects, a quarter of them as DICOM.
    pub fn with_subjects(subjects: usize) -> Self {
        Self {
            subjects,
            seed: 0,
            modalities: vec![Modality::T1, Modality::T2],
            sessions: 2,
            shape: [96, 96, 48],
            spacing_mm: [2.2, 2.2, 3.2],
            dicom_subjects: subjects / 4,
            corrupt: false,
        }
    }

    /// Nothing where the settings are within their limits.
    ///
    /// # Errors
    /// [`PhantomError::Limit`] with the setting, its value and the limit;
    /// [`PhantomError::Modality`] for a modality without contrast or asked for twice.
    pub fn check(&self) -> Result<(), PhantomError> {
        let whole = |setting, value: usize, [least, most]: [usize; 2]| {
            within(setting, value as f64, [least as f64, most as f64])
        };
        whole("subjects", self.subjects, [1, Self::MAX_SUBJECTS])?;
        whole("sessions", self.sessions, [1, Self::MAX_SESSIONS])?;
        whole("dicom_subjects", self.dicom_subjects, [0, self.subjects])?;
        whole("number of modalities", self.modalities.len(), [1, Modality::ALL.len()])?;
        for (n, &modality) in self.modalities.iter().enumerate() {
            if Contrast::of(modality).is_none() || self.modalities[..n].contains(&modality) {
                return Err(PhantomError::Modality { modality });
            }
        }
        for axis in 0..3 {
            whole("shape", self.shape[axis], Self::SIDE)?;
            within("spacing_mm", self.spacing_mm[axis], Self::SPACING_MM)?;
        }
        // No overflow: at most 512³ voxels, 20 sessions, 10 000 subjects.
        let scans = (self.subjects * self.sessions * self.modalities.len()) as u64;
        let voxels = scans * self.shape.iter().map(|&n| n as u64).product::<u64>();
        within("voxels of all scans", voxels as f64, [1.0, Self::MAX_VOXELS as f64])
    }
}

fn within(setting: &'static str, value: f64, [least, most]: [f64; 2]) -> Result<(), PhantomError> {
    // Also false for NaN.
    if value >= least && value <= most {
        Ok(())
    } else {
        Err(PhantomError::Limit { setting, value, least, most })
    }
}

impl Default for Settings {
    /// 24 subjects, two sessions, T1 and T2, six of the subjects as DICOM.
    fn default() -> Self {
        Self::with_subjects(24)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings::default();
        change(&mut settings);
        settings.check().unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_pass() {
        Settings::default().check().unwrap();
        Settings::with_subjects(1).check().unwrap();
    }

    #[test]
    fn sizes_are_refused_before_anything_is_made() {
        assert_eq!(refused(|s| s.subjects = 10_001), "subjects is 10001, not within 1 to 10000");
        assert!(refused(|s| s.shape = [usize::MAX; 3]).starts_with("shape is"));
        assert!(refused(|s| s.spacing_mm[2] = f64::NAN).starts_with("spacing_mm is NaN"));
        assert!(refused(|s| s.dicom_subjects = 25).starts_with("dicom_subjects is 25"));
        assert!(refused(|s| s.modalities.clear()).starts_with("number of modalities is 0"));
        let many = refused(|s| {
            s.subjects = 10_000;
            s.shape = [512; 3];
        });
        assert!(many.starts_with("voxels of all scans"));
    }

    #[test]
    fn a_modality_without_contrast_or_named_twice_is_refused() {
        assert!(refused(|s| s.modalities.push(Modality::Adc)).contains("ADC"));
        assert!(refused(|s| s.modalities.push(Modality::T1)).contains("T1"));
    }
}
