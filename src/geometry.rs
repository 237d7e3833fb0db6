//! Where voxels lie: affines, orientations and grids in the patient's world.
//!
//! One frame from the readers on: **RAS+** millimetres (x towards the
//! patient's right, y towards anterior, z towards superior), as in
//! NIfTI. DICOM's LPS is left behind inside the DICOM reader by
//! [`ras_from_lps`].

mod affine;
mod grid;
mod orientation;

pub use affine::{
    Affine, affine_from_flat, affine_from_rows, affine_to_flat, affine_to_rows, ras_from_lps,
    spacing_mm,
};
pub use grid::{Grid, GridError};
pub use orientation::{Orientation, OrientationError};

pub use glam::{DMat3, DVec3};
