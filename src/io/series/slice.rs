//! Where a slice of a volume comes from.

use std::path::PathBuf;

use super::{gaps, image::files_of};

/// One slice of a volume: a plane of a file, and what makes its values those of
/// the series' unit.
#[derive(Clone, PartialEq)]
pub struct SliceSource {
    /// The file.
    pub file: PathBuf,
    /// Which of its planes, from 0: a frame, or a tile of a mosaic.
    pub frame: u32,
    /// What its values are multiplied by after rescale: 1, but where the activity
    /// of a PET becomes standardised uptake.
    pub scale: f64,
    /// Where it lies on the grid, in slices: a whole number, but where a stack with
    /// uneven gaps is resampled ([`Missing`](super::Missing)).
    pub k: f64,
}

impl SliceSource {
    /// The files that slices lie in, each once, in the order of the slices.
    pub fn files(slices: &[Self]) -> Vec<PathBuf> {
        files_of(slices.iter().map(|slice| &slice.file))
    }

    /// Slices of a grid of so many that lie further than half a gap from any of these,
    /// as [`Series::missing_slices`](super::Series::missing_slices).
    pub fn missing(slices: &[Self], of_grid: usize) -> usize {
        let k: Vec<f64> = slices.iter().map(|slice| slice.k).collect();
        gaps::empty(&k, of_grid).0
    }
}

impl std::fmt::Debug for SliceSource {
    /// Without the path, which may name a patient.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SliceSource")
            .field("frame", &self.frame)
            .field("scale", &self.scale)
            .field("k", &self.k)
            .finish_non_exhaustive()
    }
}
