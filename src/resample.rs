//! A volume onto another grid.
//!
//! Where every axis of the result runs along an axis of the source, in any
//! order and direction, each axis is a table of weights and the three are applied
//! one after another. A gantry tilt, an oblique grid or any other affine is
//! computed voxel by voxel. Both give the same numbers up to rounding.

mod affine;
mod separable;
mod spline;
mod taps;

use glam::{DAffine3, DVec3};
use ndarray::{Array3, ArrayView3, CowArray};

use crate::geometry::{Grid, Orientation, OrientationError};
use taps::{Line, Taps, is_narrow};

/// How a value between voxel centres comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interpolation {
    /// The value of the nearest centre, half-way the one with the higher index:
    /// for labels, which no mean may mix.
    Nearest,
    /// Linear along each axis.
    Linear,
    /// A cubic spline through all samples, the volume mirrored about the centres
    /// of its outermost voxels: the boundary of SimpleITK's `sitkBSpline` and of
    /// scipy's `mirror`. It overshoots beside edges.
    Cubic,
}

/// Brings volumes onto grids.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampler {
    /// How values between centres come about.
    pub interpolation: Interpolation,
    /// Whether the source is smoothed where the result is coarser, so that what
    /// is finer than the new spacing does not alias. Never with
    /// [`Interpolation::Nearest`].
    pub antialias: bool,
    /// The value of all that lies beyond half a voxel outside the outermost
    /// centres, and of what was not measured.
    pub outside: f32,
}

/// Why a volume cannot be brought onto a grid.
#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum ResampleError {
    /// One of the two affines spans no volume.
    #[error("the affine of the {which} spans no volume")]
    Affine {
        /// `source` or `result`.
        which: &'static str,
        /// Why.
        source: OrientationError,
    },
    /// The voxels are not as many as the grid has.
    #[error("{found:?} voxels on a grid of {expected:?}")]
    Shape {
        /// Voxels along (i, j, k).
        found: [usize; 3],
        /// Voxels of the grid along (i, j, k).
        expected: [usize; 3],
    },
    /// More voxels than a volume may have, or than there is memory for.
    #[error("no room for {shape:?} voxels; the limit is {}", Grid::MAX_VOXELS)]
    Room {
        /// Voxels of the result along (i, j, k).
        shape: [usize; 3],
    },
    /// Each voxel of the result is made of too many of the source.
    #[error(
        "the source's voxels are too thin for the result's: it would be smoothed over {sigma:.0} \
         of them (standard deviation), the limit is {limit:.0}"
    )]
    Coarse {
        /// Standard deviation in voxels of the source.
        sigma: f64,
        /// The widest for as many voxels.
        limit: f64,
    },
}

/// Rounding of affines, in source voxels: it must neither turn an index into a
/// mixture nor decide what lies on the edge.
const NOISE: f64 = 1e-6;

/// Furthest that any voxel of the result may be moved, in source voxels, for its
/// axes to count as those of the source. Direction cosines of DICOM files are
/// rounded to six digits, which is as much at the far end of 512 voxels.
const ALIGNED: f64 = 1e-3;

/// Standard deviation of a normal distribution whose width at half its height is 1.
const SIGMA_OF_WIDTH: f64 = 0.424_660_900_144_009_5;

impl Resampler {
    /// The nearest voxel, for labels.
    pub fn nearest(outside: f32) -> Self {
        Self { interpolation: Interpolation::Nearest, antialias: false, outside }
    }

    /// Linear, smoothed where the result is coarser.
    pub fn linear(outside: f32) -> Self {
        Self { interpolation: Interpolation::Linear, antialias: true, outside }
    }

    /// Cubic B-spline, smoothed where the result is coarser.
    pub fn cubic(outside: f32) -> Self {
        Self { interpolation: Interpolation::Cubic, antialias: true, outside }
    }

    /// The voxels `[k, j, i]` of `source`, which lie on `from`, seen on `onto`.
    ///
    /// Up to half a voxel outside the outermost centres the volume goes on
    /// (nearest and linear: with its edge value); beyond is `outside`. A voxel
    /// that is not finite was not measured and counts as `outside`, so it mixes
    /// with its neighbours as the edge of a hole.
    ///
    /// Where the result is coarser than the source, the source is smoothed first
    /// by a Gaussian along each of its axes, cut at 4 standard deviations, its
    /// edge values going on outside. Of a standard deviation below 1/8 voxel (4 %
    /// coarser) nothing remains and nothing is done.
    ///
    /// Where every voxel of the result is a voxel of the source (the same grid,
    /// or one turned, flipped or cropped) its value comes back exactly. The
    /// result does not depend on the number of threads.
    ///
    /// # Errors
    /// [`ResampleError`].
    ///
    /// # Source
    /// Gaussian: Cardoso et al. 2015, *Scale factor point spread function
    /// matching: beyond aliasing in image resampling*, for each source axis
    /// apart. Spline: Unser, Aldroubi and Eden 1993, *B-spline signal processing*
    /// parts I and II.
    pub fn resample(
        &self,
        source: ArrayView3<f32>,
        from: &Grid,
        onto: &Grid,
    ) -> Result<Array3<f32>, ResampleError> {
        let (nk, nj, ni) = source.dim();
        if from.shape != [ni, nj, nk] {
            return Err(ResampleError::Shape { found: [ni, nj, nk], expected: from.shape });
        }
        for (grid, which) in [(from, "source"), (onto, "result")] {
            Orientation::from_affine(&grid.ras_from_voxel)
                .map_err(|source| ResampleError::Affine { which, source })?;
        }
        if source.is_empty() {
            return separable::filled(onto.shape, self.outside);
        }
        let from_onto = from.ras_from_voxel.inverse() * onto.ras_from_voxel;
        let sigmas = self.sigmas(&from_onto);
        match aligned(&from_onto, onto.shape) {
            Some(axes) => self.along_axes(source, axes, sigmas, onto.shape),
            None => self.by_affine(source, &from_onto, sigmas, onto.shape),
        }
    }

    /// Standard deviations along the source's axes, in its voxels, of what takes
    /// a source voxel's width to that of a voxel of the result.
    fn sigmas(&self, from_onto: &DAffine3) -> [f64; 3] {
        if !self.antialias || self.interpolation == Interpolation::Nearest {
            return [0.0; 3];
        }
        // The covariance of the result's voxel in source voxels, on its diagonal.
        let squares = |row: DVec3| row.length_squared();
        let rows = from_onto.matrix3.transpose();
        [rows.x_axis, rows.y_axis, rows.z_axis]
            .map(|row| SIGMA_OF_WIDTH * (squares(row) - 1.0).max(0.0).sqrt())
    }

    fn along_axes(
        &self,
        source: ArrayView3<f32>,
        axes: [Aligned; 3],
        sigmas: [f64; 3],
        onto: [usize; 3],
    ) -> Result<Array3<f32>, ResampleError> {
        // The source with its axes in the order of the result's.
        let [x, y, z] = axes.map(|axis| axis.source);
        let mut source = CowArray::from(source.permuted_axes([2 - z, 2 - y, 2 - x]));
        let (nk, nj, ni) = source.dim();
        let from = [ni, nj, nk];
        let sigmas = [x, y, z].map(|axis| sigmas[axis]);
        let lines: [Line; 3] = std::array::from_fn(|axis| {
            let Aligned { start, step, .. } = axes[axis];
            Line { start, step, from: from[axis], onto: onto[axis] }
        });
        let taps = match self.interpolation {
            Interpolation::Nearest => lines.map(Taps::nearest),
            Interpolation::Linear => smoothing(lines, sigmas)?,
            Interpolation::Cubic => {
                let mut coefficients = self.smoothed(source.view(), sigmas)?;
                // At the samples themselves the spline is the samples.
                for axis in (0..3).filter(|&axis| !lines[axis].is_exact()) {
                    spline::prefilter(&mut coefficients, axis);
                }
                source = CowArray::from(coefficients);
                lines.map(
                    |line| {
                        if line.is_exact() { Taps::nearest(line) } else { Taps::cubic(line) }
                    },
                )
            }
        };
        separable::apply(source.view(), &taps, onto, self.outside)
    }

    fn by_affine(
        &self,
        source: ArrayView3<f32>,
        from_onto: &DAffine3,
        sigmas: [f64; 3],
        onto: [usize; 3],
    ) -> Result<Array3<f32>, ResampleError> {
        let source = if self.interpolation == Interpolation::Cubic {
            let mut coefficients = self.smoothed(source, sigmas)?;
            (0..3).for_each(|axis| spline::prefilter(&mut coefficients, axis));
            CowArray::from(coefficients)
        } else if sigmas.iter().all(|&sigma| is_narrow(sigma))
            && source.is_standard_layout()
            && source.iter().all(|value| value.is_finite())
        {
            CowArray::from(source)
        } else {
            CowArray::from(self.smoothed(source, sigmas)?)
        };
        affine::apply(source.view(), from_onto, onto, self.interpolation, self.outside)
    }

    /// The source smoothed along its axes, `outside` where it was not measured.
    fn smoothed(
        &self,
        source: ArrayView3<f32>,
        sigmas: [f64; 3],
    ) -> Result<Array3<f32>, ResampleError> {
        let (nk, nj, ni) = source.dim();
        let sides = [ni, nj, nk];
        let lines = sides.map(|side| Line { start: 0.0, step: 1.0, from: side, onto: side });
        separable::apply(source, &smoothing(lines, sigmas)?, sides, self.outside)
    }
}

/// Three tables of a source that is smoothed along its axes.
fn smoothing(lines: [Line; 3], sigmas: [f64; 3]) -> Result<[Taps; 3], ResampleError> {
    let ([x, y, z], [of_x, of_y, of_z]) = (lines, sigmas);
    Ok([Taps::linear(x, of_x)?, Taps::linear(y, of_y)?, Taps::linear(z, of_z)?])
}

/// One axis of the result that runs along one of the source's.
#[derive(Clone, Copy)]
struct Aligned {
    /// The source's axis: 0, 1, 2 for i, j, k.
    source: usize,
    /// Where on it the first voxel of the result lies, in source voxels.
    start: f64,
    /// From one voxel of the result to the next, in source voxels.
    step: f64,
}

/// Where the axes i, j, k of the result lie on those of the source; `None`
/// where they do not run along them.
fn aligned(from_onto: &DAffine3, onto: [usize; 3]) -> Option<[Aligned; 3]> {
    let columns = from_onto.matrix3.to_cols_array_2d();
    let middle = DVec3::from_array(onto.map(|n| n.saturating_sub(1) as f64 / 2.0));
    let main = columns.map(|column| {
        (0..3).max_by(|&a, &b| column[a].abs().total_cmp(&column[b].abs())).unwrap_or(0)
    });
    if main[0] == main[1] || main[1] == main[2] || main[2] == main[0] {
        return None;
    }
    let mut axes = [Aligned { source: 0, start: 0.0, step: 0.0 }; 3];
    for axis in 0..3 {
        let (source, step) = (main[axis], columns[axis][main[axis]]);
        // What the other axes add is nothing but rounding, and taken as it is in the middle.
        let others = (0..3).filter(|&other| other != axis);
        let (mut moved, mut start) = (0.0, from_onto.translation[source]);
        for other in others {
            moved += columns[other][source].abs() * middle[other];
            start += columns[other][source] * middle[other];
        }
        if moved > ALIGNED {
            return None;
        }
        axes[axis] = Aligned { source, start, step };
    }
    Some(axes)
}

/// The linear interpolation of `[k, j, i]` voxels at a voxel index (i, j, k);
/// within half a voxel outside the edge value, beyond it `outside`. `NaN` counts
/// as `outside`.
pub fn linear<T: Copy + Into<f32>>(voxels: &ArrayView3<T>, at: DVec3, outside: f32) -> f32 {
    let (nk, nj, ni) = voxels.dim();
    let (Some(x), Some(y), Some(z)) =
        (neighbours(at.x, ni), neighbours(at.y, nj), neighbours(at.z, nk))
    else {
        return outside;
    };
    let value = |k: usize, j: usize, i: usize| {
        let v: f32 = voxels[[k, j, i]].into();
        if v.is_nan() { outside } else { v }
    };
    let along_x = |k: usize, j: usize| mix(value(k, j, x.0), || value(k, j, x.1), x.2);
    let along_y = |k: usize| mix(along_x(k, y.0), || along_x(k, y.1), y.2);
    mix(along_y(z.0), || along_y(z.1), z.2)
}

/// `a` towards `b` by a fraction; `b` is not read where it weighs nothing.
fn mix(a: f32, b: impl FnOnce() -> f32, fraction: f32) -> f32 {
    if fraction == 0.0 { a } else { a + (b() - a) * fraction }
}

/// The two samples around a position on an axis of `n`, and the second's weight.
fn neighbours(at: f64, n: usize) -> Option<(usize, usize, f32)> {
    let at = within(at, n)?.clamp(0.0, n.checked_sub(1)? as f64);
    let low = at.floor();
    Some((low as usize, (low as usize + 1).min(n - 1), (at - low) as f32))
}

/// A position on an axis of `n` samples, on the sample where it is no further
/// than rounding; `None` beyond half a sample outside.
fn within(at: f64, n: usize) -> Option<f64> {
    let nearest = at.round();
    let at = if (at - nearest).abs() < NOISE { nearest } else { at };
    let last = n.checked_sub(1)? as f64;
    (at >= -0.5 - NOISE && at <= last + 0.5 + NOISE).then_some(at)
}

#[cfg(test)]
mod tests;
