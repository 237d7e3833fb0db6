//! A scan as a pyramid: smoothed and sampled by mm, whatever its voxels.

use std::sync::Arc;

use glam::{DAffine3, DVec3};
use ndarray::{Array3, ArrayView3};

use super::RegisterError;
use crate::{
    geometry::Grid,
    intensity::{self, Normalisation},
    resample::Resampler,
    study::Family,
};

/// A scan made ready to be aligned.
#[derive(Debug, Clone)]
pub struct Image {
    /// Finest first.
    pub(super) levels: Vec<Arc<Level>>,
    /// Normalised value above which a voxel belongs to the body.
    pub(super) foreground_above: f32,
}

/// A scan at one resolution, the same along all its axes.
#[derive(Debug, Clone)]
pub(super) struct Level {
    pub spacing_mm: f64,
    pub grid: Grid,
    pub voxel_from_ras: DAffine3,
    /// Normalised intensities `[k, j, i]`.
    pub voxels: Array3<f32>,
}

/// Fewest voxels of the finest level along an axis.
const LEAST: usize = 4;

/// No level is coarser: of a head some thousand voxels are left.
const COARSEST_MM: f64 = 8.0;

/// Most voxels of a level, 128 MiB: of a whole body the finest ones are left out.
const MOST_VOXELS: f64 = 33_554_432.0;

impl Image {
    /// A pyramid of some voxels `[k, j, i]`: its levels have `finest_mm`, twice
    /// as much, and so on to at most 8 mm between voxels, along the axes of the scan.
    ///
    /// Intensities are normalised first, so that an implant or a hot bladder does
    /// not take all bins of a histogram. What the scan has finer than a level is
    /// smoothed away; between thick slices a cubic spline goes. A scan that is coarser
    /// than a level along all its axes, or very large, gives its own resolution instead.
    ///
    /// # Errors
    /// [`RegisterError::Intensity`] for a scan without content,
    /// [`RegisterError::Thin`] for one of a few slices, and where the grid cannot
    /// be used.
    pub fn new(
        mut voxels: Array3<f32>,
        grid: &Grid,
        family: Family,
        intensity: &intensity::Settings,
        finest_mm: f64,
    ) -> Result<Self, RegisterError> {
        let normalisation = Normalisation::fit(&voxels, family, None, intensity)?;
        voxels.par_mapv_inplace(|value| normalisation.apply(value));
        Self::of_normalised(
            voxels.view(),
            grid,
            normalisation.background,
            normalisation.foreground_above,
            finest_mm,
        )
    }

    /// [`Image::new`] of intensities that are normalised already.
    ///
    /// # Errors
    /// [`RegisterError::Thin`], and where the grid cannot be used.
    pub fn of_normalised(
        voxels: ArrayView3<f32>,
        grid: &Grid,
        background: f32,
        foreground_above: f32,
        finest_mm: f64,
    ) -> Result<Self, RegisterError> {
        let native = grid.spacing_mm();
        let volume_mm3: f64 = (0..3).map(|axis| native[axis] * grid.shape[axis] as f64).product();
        // Nothing is to be seen between voxels of a scan that is coarse along all its axes.
        let own_mm = native.into_iter().fold(f64::INFINITY, f64::min);
        let own_mm = own_mm.max((volume_mm3 / MOST_VOXELS).cbrt()).min(COARSEST_MM);
        let finest_mm_of_scan = finest_mm.max(own_mm);
        let finest = level_grid(grid, finest_mm_of_scan)?;
        if let Some(axis) = (0..3).find(|&axis| finest.shape[axis] < LEAST) {
            let extent_mm = finest.shape[axis] as f64 * finest_mm_of_scan;
            let least_mm = LEAST as f64 * finest_mm_of_scan;
            return Err(RegisterError::Thin { extent_mm, least_mm });
        }
        let voxels = Resampler::cubic(background).resample(voxels, grid, &finest)?;
        let mut levels = vec![Arc::new(Level::new(finest, finest_mm_of_scan, voxels))];
        let mut spacing_mm = 2.0 * finest_mm;
        while spacing_mm <= COARSEST_MM {
            let Some(last) = levels.last() else { break };
            let level = if spacing_mm <= own_mm {
                Arc::clone(last)
            } else {
                let coarser = level_grid(grid, spacing_mm)?;
                let voxels = Resampler::linear(background).resample(
                    last.voxels.view(),
                    &last.grid,
                    &coarser,
                )?;
                Arc::new(Level::new(coarser, spacing_mm, voxels))
            };
            levels.push(level);
            spacing_mm *= 2.0;
        }
        Ok(Self { levels, foreground_above })
    }
}

/// The grid along the same axes with another spacing, in the middle of the old one.
fn level_grid(grid: &Grid, spacing_mm: f64) -> Result<Grid, RegisterError> {
    let (mut shape, mut factors, mut start) = ([1; 3], [1.0; 3], [0.0; 3]);
    let native = grid.spacing_mm();
    for axis in 0..3 {
        let extent = grid.shape[axis].saturating_sub(1) as f64;
        factors[axis] = spacing_mm / native[axis];
        let steps = (extent / factors[axis] + 1e-6).floor();
        if !(steps.is_finite() && steps < 4096.0) {
            let extent_mm = extent * native[axis];
            return Err(RegisterError::Large { extent_mm, most_mm: 4096.0 * spacing_mm });
        }
        shape[axis] = steps as usize + 1;
        start[axis] = (extent - steps * factors[axis]) / 2.0;
    }
    let native_from_level = DAffine3::from_translation(DVec3::from_array(start))
        * DAffine3::from_scale(DVec3::from_array(factors));
    Ok(Grid { shape, ras_from_voxel: grid.ras_from_voxel * native_from_level })
}

impl Level {
    fn new(grid: Grid, spacing_mm: f64, voxels: Array3<f32>) -> Self {
        Self { spacing_mm, grid, voxel_from_ras: grid.ras_from_voxel.inverse(), voxels }
    }

    /// Lowest and highest value.
    pub fn range(&self) -> [f32; 2] {
        let (mut low, mut high) = (f32::INFINITY, f32::NEG_INFINITY);
        for &value in &self.voxels {
            low = low.min(value);
            high = high.max(value);
        }
        [low, high]
    }

    /// RAS+ mm of the middle of mass of the foreground, and its volume in mm³;
    /// of the grid where there is none.
    pub fn foreground(&self, above: f32) -> (DVec3, f64) {
        let (mut sum, mut count) = (DVec3::ZERO, 0_u64);
        for ((k, j, i), &value) in self.voxels.indexed_iter() {
            if value > above {
                sum += DVec3::new(i as f64, j as f64, k as f64);
                count += 1;
            }
        }
        if count == 0 {
            return (self.grid.centre_mm(), 0.0);
        }
        let volume = self.grid.ras_from_voxel.matrix3.determinant().abs() * count as f64;
        (self.grid.world_mm(sum / count as f64), volume)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::affine_from_rows;

    #[test]
    fn levels_lie_in_the_middle_of_the_scan_and_keep_its_axes() {
        let grid = Grid {
            shape: [40, 30, 9],
            ras_from_voxel: affine_from_rows(&[
                [-0.7, 0.0, 0.0, 10.0],
                [0.0, 0.9, -1.0, 5.0],
                [0.0, 0.2, 3.8, -7.0],
                [0.0, 0.0, 0.0, 1.0],
            ]),
        };
        let level = level_grid(&grid, 2.0).unwrap();
        assert!(level.spacing_mm().iter().all(|s| (s - 2.0).abs() < 1e-12));
        assert!(level.centre_mm().distance(grid.centre_mm()) < 1e-9);
        assert_eq!(level.shape, [14, 14, 16]);
    }

    #[test]
    fn a_few_slices_are_no_volume_to_align() {
        let grid = Grid {
            shape: [50, 50, 2],
            ras_from_voxel: affine_from_rows(&[
                [1.0, 0.0, 0.0, 0.0],
                [0.0, 1.0, 0.0, 0.0],
                [0.0, 0.0, 5.0, 0.0],
                [0.0, 0.0, 0.0, 1.0],
            ]),
        };
        let voxels = Array3::zeros((2, 50, 50));
        let error = Image::of_normalised(voxels.view(), &grid, 0.0, 0.5, 2.0).unwrap_err();
        assert_eq!(error.to_string(), "the scan is 6 mm thick, not at least 8 mm");
    }
}
