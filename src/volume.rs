//! Voxels with their place and their meaning.

mod memory;

use ndarray::Array3;

use crate::{geometry::Grid, study::Modality};

pub use memory::{NoRoom, keep_freed_memory, room, zeros};

/// A scan in memory.
#[derive(Debug, Clone)]
pub struct Volume {
    /// Intensities `[k, j, i]` after rescale, in the unit of the modality
    /// (Hounsfield units for CT). `NaN` marks a voxel that was not measured.
    pub voxels: Array3<f32>,
    /// Where the voxels lie; `grid.shape` is (i, j, k), the reverse of `voxels.dim()`.
    pub grid: Grid,
    /// What was measured.
    pub modality: Modality,
}
