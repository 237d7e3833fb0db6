//! Affine maps, target named first: `ras_from_voxel = ras_from_lps * lps_from_voxel`.

use glam::{DAffine3, DMat3, DVec3};

/// An affine map of three-dimensional points, f64.
///
/// `ras_from_voxel` takes a voxel index (i, j, k) = (column, row, slice), zero
/// at the centre of the first voxel, to RAS+ millimetres.
pub type Affine = DAffine3;

/// The affine of a 4 × 4 matrix given as its rows; the last row is ignored, as
/// both NIfTI and DICOM fix it at (0, 0, 0, 1).
pub fn affine_from_rows(rows: &[[f64; 4]; 4]) -> Affine {
    let column = |c: usize| DVec3::new(rows[0][c], rows[1][c], rows[2][c]);
    DAffine3::from_mat3_translation(DMat3::from_cols(column(0), column(1), column(2)), column(3))
}

/// The 4 × 4 matrix of an affine as its rows, the last one (0, 0, 0, 1).
pub fn affine_to_rows(affine: &Affine) -> [[f64; 4]; 4] {
    let (m, t) = (affine.matrix3, affine.translation);
    [
        [m.x_axis.x, m.y_axis.x, m.z_axis.x, t.x],
        [m.x_axis.y, m.y_axis.y, m.z_axis.y, t.y],
        [m.x_axis.z, m.y_axis.z, m.z_axis.z, t.z],
        [0.0, 0.0, 0.0, 1.0],
    ]
}

/// The affine of a 4 × 4 matrix laid row by row, as tables hold it.
pub fn affine_from_flat(flat: &[f64; 16]) -> Affine {
    let mut rows = [[0.0; 4]; 4];
    rows.as_flattened_mut().copy_from_slice(flat);
    affine_from_rows(&rows)
}

/// The 4 × 4 matrix of an affine laid row by row.
pub fn affine_to_flat(affine: &Affine) -> [f64; 16] {
    let mut flat = [0.0; 16];
    flat.copy_from_slice(affine_to_rows(affine).as_flattened());
    flat
}

/// Distance in mm between the centres of neighbouring voxels along i, j and k.
pub fn spacing_mm(ras_from_voxel: &Affine) -> [f64; 3] {
    let m = ras_from_voxel.matrix3;
    [m.x_axis.length(), m.y_axis.length(), m.z_axis.length()]
}

/// The map from DICOM's LPS+ to RAS+: x and y change sign.
///
/// # Source
/// DICOM PS3.3 C.7.6.2.1.1 for LPS; NIfTI-1 `qfac` notes for RAS.
pub fn ras_from_lps() -> Affine {
    DAffine3::from_scale(DVec3::new(-1.0, -1.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_round_trip() {
        let rows = [
            [0.5, 0.1, 0.0, -90.0],
            [0.0, 0.7, 0.2, -126.0],
            [0.0, 0.0, 3.0, -72.0],
            [0.0, 0.0, 0.0, 1.0],
        ];
        let affine = affine_from_rows(&rows);
        assert_eq!(affine_to_rows(&affine), rows);
        assert_eq!(affine_from_flat(&affine_to_flat(&affine)), affine);
    }

    #[test]
    fn spacing_is_the_length_of_the_columns() {
        let tilted = affine_from_rows(&[
            [0.0, -3.0, 0.0, 0.0],
            [4.0, 0.0, 0.0, 0.0],
            [3.0, 0.0, 2.0, 0.0],
            [0.0, 0.0, 0.0, 1.0],
        ]);
        assert_eq!(spacing_mm(&tilted), [5.0, 3.0, 2.0]);
    }

    #[test]
    fn lps_to_ras_flips_left_and_posterior() {
        let left_posterior_superior = DVec3::new(1.0, 2.0, 3.0);
        assert_eq!(
            ras_from_lps().transform_point3(left_posterior_superior),
            DVec3::new(-1.0, -2.0, 3.0)
        );
    }
}
