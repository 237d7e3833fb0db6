//! Which way the voxel axes run, to the nearest patient axis.

use std::fmt;

use glam::DVec3;

use super::Affine;

/// Patient axis (0 = left–right, 1 = posterior–anterior, 2 = inferior–superior)
/// and direction of each voxel axis i, j, k; `RAS` is the identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Orientation {
    /// For each of i, j, k: the world axis it runs along.
    pub world_axis: [usize; 3],
    /// For each of i, j, k: whether it runs against that world axis.
    pub flipped: [bool; 3],
}

/// Why an affine has no orientation.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum OrientationError {
    /// A column is zero or not finite, or two columns are parallel.
    #[error("the affine is singular or not finite (determinant {determinant:e})")]
    Singular {
        /// Determinant of the 3 × 3 part.
        determinant: f64,
    },
}

impl Orientation {
    /// The orientation of the voxel axes nearest to the patient's axes.
    ///
    /// Of the six ways to give three voxel axes to three world axes, the one
    /// with the largest sum of absolute cosines is taken: a greedy choice may
    /// give one world axis twice at 45°.
    ///
    /// # Errors
    /// [`OrientationError::Singular`] where the affine spans no volume.
    pub fn from_affine(ras_from_voxel: &Affine) -> Result<Self, OrientationError> {
        let determinant = ras_from_voxel.matrix3.determinant();
        if !ras_from_voxel.is_finite() || determinant.abs() < 1e-12 {
            return Err(OrientationError::Singular { determinant });
        }
        let m = ras_from_voxel.matrix3;
        let cosines = [m.x_axis, m.y_axis, m.z_axis].map(DVec3::normalize);
        let assignments = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let score = |axes: &[usize; 3]| -> f64 { (0..3).map(|v| cosines[v][axes[v]].abs()).sum() };
        let mut world_axis = assignments[0];
        for candidate in assignments {
            if score(&candidate) > score(&world_axis) + 1e-9 {
                world_axis = candidate;
            }
        }
        let flipped = [0, 1, 2].map(|v| cosines[v][world_axis[v]] < 0.0);
        Ok(Self { world_axis, flipped })
    }

    /// For each world axis: the voxel axis that runs along it.
    pub fn voxel_axis(&self) -> [usize; 3] {
        let mut voxel = [0; 3];
        for (v, &w) in self.world_axis.iter().enumerate() {
            voxel[w] = v;
        }
        voxel
    }
}

impl fmt::Display for Orientation {
    /// The end that each axis runs towards, as in nibabel's `aff2axcodes`: `RAS`, `LPI`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (&axis, &flipped) in self.world_axis.iter().zip(&self.flipped) {
            let letter = [["R", "L"], ["A", "P"], ["S", "I"]][axis][usize::from(flipped)];
            f.write_str(letter)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::affine_from_rows;

    fn codes(rows: [[f64; 3]; 3]) -> Result<String, OrientationError> {
        let [x, y, z] = rows;
        let affine = affine_from_rows(&[
            [x[0], x[1], x[2], 0.0],
            [y[0], y[1], y[2], 0.0],
            [z[0], z[1], z[2], 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        Orientation::from_affine(&affine).map(|o| o.to_string())
    }

    #[test]
    fn names_the_ends() {
        let eye = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(codes(eye).as_deref(), Ok("RAS"));
        let sagittal = [[0.0, 0.0, -2.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]];
        assert_eq!(codes(sagittal).as_deref(), Ok("PIL"));
    }

    #[test]
    fn every_world_axis_is_taken_once_at_forty_five_degrees() {
        let c = std::f64::consts::FRAC_1_SQRT_2;
        let turned = [[c, -c, 0.0], [c, c, 0.0], [0.0, 0.0, 1.0]];
        assert_eq!(codes(turned).as_deref(), Ok("RAS"));
    }

    #[test]
    fn refuses_what_spans_no_volume() {
        let flat = [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
        assert!(codes(flat).is_err());
        assert!(codes([[f64::NAN; 3]; 3]).is_err());
    }
}
