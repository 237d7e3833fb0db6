//! Which planes are seen, and where each pixel lies.

use ndarray::{Array2, Array3, Axis};

use super::{
    Convention, Settings,
    window::{NOT_SCANNED, Window},
};
use crate::{
    geometry::{Affine, DMat3, DVec3, Grid},
    resample::{ResampleError, Resampler},
};

/// The box in the patient's axes that holds a volume, fitted into tiles.
pub(super) struct Layout {
    centre_mm: DVec3,
    size_mm: DVec3,
    pub mm_per_pixel: f64,
    convention: Convention,
}

/// A plane through the middle: where its columns and rows run to, in RAS.
pub(super) struct View {
    right: DVec3,
    down: DVec3,
    columns: usize,
    rows: usize,
    centre_mm: DVec3,
    mm_per_pixel: f64,
}

impl Layout {
    pub fn new(grid: &Grid, settings: &Settings) -> Self {
        // From edge to edge of the outermost voxels, not from centre to centre.
        let half = DVec3::splat(0.5);
        let last = DVec3::from_array(grid.shape.map(|n| n as f64)) - half;
        let corners = (0..8).map(|corner| {
            let end = |axis: usize| if corner >> axis & 1 == 1 { last[axis] } else { -0.5 };
            grid.world_mm(DVec3::new(end(0), end(1), end(2)))
        });
        let (low, high) = corners.fold((DVec3::INFINITY, DVec3::NEG_INFINITY), |(low, high), p| {
            (low.min(p), high.max(p))
        });
        let size_mm = high - low;
        Self {
            centre_mm: (low + high) / 2.0,
            size_mm,
            mm_per_pixel: size_mm.max_element() / settings.tile as f64,
            convention: settings.convention,
        }
    }

    /// Axial, coronal, sagittal.
    pub fn planes(&self) -> [View; 3] {
        let across = match self.convention {
            Convention::Radiological => DVec3::NEG_X,
            Convention::Neurological => DVec3::X,
        };
        [(across, DVec3::NEG_Y), (across, DVec3::NEG_Z), (DVec3::NEG_Y, DVec3::NEG_Z)].map(
            |(right, down)| {
                let pixels = |axis: DVec3| {
                    let mm = axis.dot(self.size_mm).abs();
                    ((mm / self.mm_per_pixel).round() as usize).max(1)
                };
                View {
                    right,
                    down,
                    columns: pixels(right),
                    rows: pixels(down),
                    centre_mm: self.centre_mm,
                    mm_per_pixel: self.mm_per_pixel,
                }
            },
        )
    }
}

impl View {
    /// The grey of each pixel, `[row, column]`, of a volume without holes.
    pub fn pixels(
        &self,
        voxels: &Array3<f32>,
        grid: &Grid,
        window: &Window,
    ) -> Result<Array2<u8>, ResampleError> {
        let axes = DMat3::from_cols(self.right, self.down, self.right.cross(self.down));
        let matrix = axes * self.mm_per_pixel;
        let middle = DVec3::new(self.columns as f64 - 1.0, self.rows as f64 - 1.0, 0.0) / 2.0;
        let onto = Grid {
            shape: [self.columns, self.rows, 1],
            ras_from_voxel: Affine::from_mat3_translation(matrix, self.centre_mm - matrix * middle),
        };
        let seen = Resampler::linear(NOT_SCANNED).resample(voxels.view(), grid, &onto)?;
        Ok(seen.index_axis_move(Axis(0), 0).mapv(|value| window.grey(value)))
    }

    /// Patient directions at the left, right, top and bottom edge.
    pub fn letters(&self) -> [char; 4] {
        [-self.right, self.right, -self.down, self.down].map(|towards| {
            let letters = [('R', 'L'), ('A', 'P'), ('S', 'I')];
            let axis = if towards.x != 0.0 {
                0
            } else if towards.y != 0.0 {
                1
            } else {
                2
            };
            if towards[axis] > 0.0 { letters[axis].0 } else { letters[axis].1 }
        })
    }
}
