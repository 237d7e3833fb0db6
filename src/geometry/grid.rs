//! A lattice of voxel centres in the world.

use glam::{DAffine3, DMat3, DVec3};

use super::{Affine, Orientation, OrientationError, spacing_mm};

/// A finite lattice of voxel centres: how many along (i, j, k), and where.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Grid {
    /// Voxels along (i, j, k) = (column, row, slice).
    pub shape: [usize; 3],
    /// Voxel index to RAS+ mm.
    pub ras_from_voxel: Affine,
}

/// Why a grid cannot be made.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum GridError {
    /// The affine spans no volume.
    #[error(transparent)]
    Orientation(#[from] OrientationError),
    /// The grid asked for has more voxels than the limit.
    #[error("a grid of {shape:?} voxels is above the limit of {limit}")]
    TooLarge {
        /// Voxels along (i, j, k).
        shape: [usize; 3],
        /// Most voxels allowed.
        limit: usize,
    },
    /// A spacing asked for is not a positive number of mm.
    #[error("a spacing of {spacing_mm:?} mm is not positive and finite")]
    Spacing {
        /// The spacing asked for.
        spacing_mm: [f64; 3],
    },
}

impl Grid {
    /// Most voxels a grid may have: 2³¹, an 8 GiB volume of f32.
    pub const MAX_VOXELS: usize = 1 << 31;

    /// Number of voxels, or `None` above [`Grid::MAX_VOXELS`].
    pub fn voxel_count(&self) -> Option<usize> {
        self.shape
            .iter()
            .try_fold(1usize, |n, &s| n.checked_mul(s))
            .filter(|&n| n <= Self::MAX_VOXELS)
    }

    /// Distance in mm between neighbouring centres along i, j and k.
    pub fn spacing_mm(&self) -> [f64; 3] {
        spacing_mm(&self.ras_from_voxel)
    }

    /// RAS+ mm of a (fractional) voxel index (i, j, k).
    pub fn world_mm(&self, voxel: DVec3) -> DVec3 {
        self.ras_from_voxel.transform_point3(voxel)
    }

    /// RAS+ mm of the middle of the grid.
    pub fn centre_mm(&self) -> DVec3 {
        self.world_mm(self.last_index() * 0.5)
    }

    fn last_index(&self) -> DVec3 {
        let [i, j, k] = self.shape.map(|n| n.saturating_sub(1) as f64);
        DVec3::new(i, j, k)
    }

    /// The axis-aligned RAS grid with the spacing asked for that covers this one.
    ///
    /// A grid that is already aligned with the patient's axes (in any order and
    /// direction) keeps its first and last voxel centres as far as the spacing
    /// allows, so that an unchanged spacing gives back the same centres. An
    /// oblique grid is covered by its bounding box.
    ///
    /// # Errors
    /// [`GridError`] for an affine without volume, a spacing that is not
    /// positive, or a result above [`Grid::MAX_VOXELS`].
    pub fn covering_ras(&self, spacing_mm: [f64; 3]) -> Result<Self, GridError> {
        Orientation::from_affine(&self.ras_from_voxel)?;
        if spacing_mm.iter().any(|s| !s.is_finite() || *s <= 0.0) {
            return Err(GridError::Spacing { spacing_mm });
        }
        let (low, high) = self.bounds_mm();
        let mut shape = [1; 3];
        for axis in 0..3 {
            // Tolerates rounding: 99.9999 steps are 100.
            let steps = ((high[axis] - low[axis]) / spacing_mm[axis] + 1e-3).floor();
            shape[axis] = if steps < u32::MAX as f64 { steps as usize + 1 } else { usize::MAX };
        }
        let grid = Self {
            shape,
            ras_from_voxel: DAffine3::from_mat3_translation(
                DMat3::from_diagonal(DVec3::from_array(spacing_mm)),
                low,
            ),
        };
        match grid.voxel_count() {
            Some(_) => Ok(grid),
            None => Err(GridError::TooLarge { shape, limit: Self::MAX_VOXELS }),
        }
    }

    /// Lowest and highest RAS+ mm of the voxel centres.
    pub fn bounds_mm(&self) -> (DVec3, DVec3) {
        let last = self.last_index();
        let (mut low, mut high) = (DVec3::INFINITY, DVec3::NEG_INFINITY);
        for corner in 0..8 {
            let pick = |axis: usize| if corner >> axis & 1 == 1 { last[axis] } else { 0.0 };
            let p = self.world_mm(DVec3::new(pick(0), pick(1), pick(2)));
            low = low.min(p);
            high = high.max(p);
        }
        (low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::affine_from_rows;

    fn grid(shape: [usize; 3], rows: [[f64; 4]; 3]) -> Grid {
        let [x, y, z] = rows;
        Grid { shape, ras_from_voxel: affine_from_rows(&[x, y, z, [0.0, 0.0, 0.0, 1.0]]) }
    }

    #[test]
    fn the_same_spacing_keeps_the_centres_of_a_flipped_grid() {
        let lps =
            grid([5, 4, 3], [[-2.0, 0.0, 0.0, 8.0], [0.0, -3.0, 0.0, 9.0], [0.0, 0.0, 4.0, -1.0]]);
        let ras = lps.covering_ras([2.0, 3.0, 4.0]).unwrap();
        assert_eq!(ras.shape, [5, 4, 3]);
        assert_eq!(ras.world_mm(DVec3::ZERO), DVec3::new(0.0, 0.0, -1.0));
        assert_eq!(ras.bounds_mm(), lps.bounds_mm());
    }

    #[test]
    fn a_bad_spacing_and_a_huge_grid_are_refused() {
        let unit = grid(
            [100, 100, 100],
            [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]],
        );
        assert!(matches!(unit.covering_ras([1.0, 0.0, 1.0]), Err(GridError::Spacing { .. })));
        assert!(matches!(unit.covering_ras([1e-6, 1e-6, 1e-6]), Err(GridError::TooLarge { .. })));
    }
}
