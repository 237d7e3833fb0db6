//! A cohort of scanned heads whose truth is known.
mod anatomy;
mod blur;
mod draw;
mod organs;
mod scan;
mod settings;
mod shape;
mod tissue;

pub use anatomy::Anatomy;
pub use scan::{Scene, intensity_at};
pub use settings::Settings;
pub use tissue::{Contrast, Mixture, Tissue};

use crate::study::Modality;

/// Why a phantom cohort was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PhantomError {
    /// A setting is outside its limits.
    #[error("{setting} is {value}, not within {least} to {most}")]
    Limit {
        /// The setting.
        setting: &'static str,
        /// Its value.
        value: f64,
        /// Least value allowed.
        least: f64,
        /// Largest value allowed.
        most: f64,
    },
    /// The phantom has no contrast for a modality, or it is named twice.
    #[error("modality {modality}: named twice, or none of T1, T2, FLAIR, PD, CT, PET")]
    Modality {
        /// The modality.
        modality: Modality,
    },
}

#[doc(hidden)]
pub fn dump_for_look(
    settings: &Settings,
    subject: &str,
    session: usize,
    modality: Modality,
) -> crate::volume::Volume {
    let anatomy = Anatomy::of_subject(settings.seed, subject);
    let s = format!("{session}");
    let name = scan::ScanName { seed: settings.seed, subject, session: &s, modality };
    let scene =
        Scene { anatomy: &anatomy, session, ras_from_head: crate::geometry::Affine::IDENTITY };
    let grid = scan::grid_of(&name, settings, false);
    scan::scan(&scene, &Contrast::of(modality).unwrap_or_else(|| unreachable!()), grid, &name)
        .volume
}
