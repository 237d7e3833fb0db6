//! Rigid alignment of a scan to another one by mutual information.
//!
//! [`align`] takes two [`Image`]s, pyramids of scans of any modality, spacing and
//! obliquity, and gives the rigid map between their worlds with a [`Quality`], by
//! which a bad fit is refused. [`plan`](mod@plan) says which scans of a subject are
//! aligned to which.

mod climb;
mod image;
mod metric;
pub mod plan;
mod quality;
mod rigid;
mod sample;
mod search;
mod subject;

#[cfg(test)]
mod tests;

use std::str::FromStr;

use glam::DAffine3;
use serde::Serialize;

use crate::{
    cohort::ReadError, geometry::GridError, intensity::IntensityError, resample::ResampleError,
    study::UnknownModality, table::record,
};

pub use image::Image;
pub use quality::{Doubt, LEAST_GAIN, LEAST_OVERLAP, MOST_HALVES_MM, Quality};
pub use subject::{ALIGNED, REFERENCE, REFUSED, Refusal, align_subject};

use search::Search;

/// Whether scans are aligned, as a pipeline sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Mode {
    /// Scans keep the coordinates of their scanner.
    None,
    /// By a rotation and a shift.
    Rigid,
}

impl FromStr for Mode {
    type Err = &'static str;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        match word {
            "none" => Ok(Self::None),
            "rigid" => Ok(Self::Rigid),
            _ => Err("\"none\" or \"rigid\""),
        }
    }
}

/// How two scans are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// mm between voxels of the finest level.
    pub finest_mm: f64,
    /// Places of the fixed image that a level looks at, at most.
    pub samples: usize,
    /// Decides where they lie.
    pub seed: u64,
}

impl Settings {
    /// As measured in `docs/registration.md`.
    pub fn new(seed: u64) -> Self {
        Self { finest_mm: 1.0, samples: 40_000, seed }
    }
}

/// A rigid alignment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Alignment {
    /// RAS+ mm of the moving scan from RAS+ mm of the fixed one: where the moving
    /// scan shows what the fixed one shows at a place.
    pub moving_from_fixed: DAffine3,
    /// What speaks for it.
    pub quality: Quality,
}

/// Why a scan cannot be aligned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegisterError {
    /// Its voxels cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Its intensities cannot be interpreted.
    #[error(transparent)]
    Modality(#[from] UnknownModality),
    /// No normalisation of its intensities.
    #[error(transparent)]
    Intensity(#[from] IntensityError),
    /// No grid of the spacing of a level.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// It cannot be brought onto that grid.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// Too thin for its levels.
    #[error("the scan is {extent_mm} mm thick, not at least {least_mm} mm")]
    Thin {
        /// Its extent along its shortest axis, mm.
        extent_mm: f64,
        /// Least extent, mm.
        least_mm: f64,
    },
    /// Too long for its levels.
    #[error("the scan is {extent_mm} mm long, not at most {most_mm} mm")]
    Large {
        /// Its extent along its longest axis, mm.
        extent_mm: f64,
        /// Largest extent, mm.
        most_mm: f64,
    },
    /// Once smoothed, nothing is brighter than the background.
    #[error("a scan shows no body: smoothed to some mm, nothing lies above its background")]
    NoBody,
}

record! {
    /// A row of `alignment.parquet`: where a prepared volume lies in its subject's world.
    pub struct AlignmentRow {
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject.
        pub subject: String,
        /// Pseudonym of the series.
        pub series: String,
        /// The world that its mm are in once `affine` is applied: volumes of a subject
        /// with the same one show the same anatomy at the same place. The pseudonym of
        /// the reference series; of a refused one its frame of reference, or itself.
        pub world: String,
        /// Pseudonym of the subject's reference series.
        pub reference_series: String,
        /// Pseudonym of the series that this one was compared with; none where it
        /// was not, as a reference and a series of the reference's frame.
        pub fixed_series: Option<String>,
        /// Rigid: the world's RAS+ mm from the RAS+ mm of this series, 4 × 4, row by
        /// row; the identity of a reference and of a refused series.
        pub affine: [f64; 16],
        /// mm by which the middle of the volume moves.
        pub moved_mm: f64,
        /// Degrees by which it turns.
        pub turned_deg: f64,
        /// [`Quality::halves_mm`] of the comparison, mm: smaller is better.
        pub quality: Option<f64>,
        /// [`Quality::explained`].
        pub explained: Option<f64>,
        /// [`Quality::gain`].
        pub gain: Option<f64>,
        /// [`Quality::overlap`].
        pub overlap: Option<f64>,
        /// `reference`, `aligned` or `refused`.
        pub status: String,
        /// Why.
        pub reason: String,
    }
}

/// The rigid map that aligns a moving image to a fixed one, by maximising their
/// mutual information from the coarsest level to the finest.
///
/// The same images and settings give the same bits, whatever the number of threads.
/// Whether to believe the result is for [`Quality::doubt`] to say.
///
/// # Errors
/// [`RegisterError::NoBody`] where there is nothing to align.
///
/// # Source
/// Mattes et al. 2003, *PET-CT image registration in the chest using free-form
/// deformations*. We differ: places are drawn near the body only and once for each
/// level, and BFGS climbs in place of L-BFGS-B.
pub fn align(
    fixed: &Image,
    moving: &Image,
    settings: &Settings,
) -> Result<Alignment, RegisterError> {
    // A small scan in a large one: the places must lie in the small one.
    let bodies = [fixed, moving].map(|image| {
        image.levels.last().map_or(0.0, |level| level.foreground(image.foreground_above).1)
    });
    let swapped = bodies[1] < bodies[0] / 2.0;
    let (fixed, moving) = if swapped { (moving, fixed) } else { (fixed, moving) };
    let search = Search::new(fixed, moving, settings).ok_or(RegisterError::NoBody)?;
    let found = search.run().ok_or(RegisterError::NoBody)?;
    let quality = Quality::of(&search, &found).ok_or(RegisterError::NoBody)?;
    let affine = found.pose.affine();
    let moving_from_fixed = if swapped { affine.inverse() } else { affine };
    Ok(Alignment { moving_from_fixed, quality })
}
