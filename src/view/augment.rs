//! Seeded changes of a view that leave its anatomy what it is.

mod blur;
mod intensity;
mod lattice;
mod settings;

use std::ops::Range;

use glam::{DAffine3, DMat3, DVec3};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};

use super::{Prepared, Settings};
use crate::geometry::Grid;

use lattice::Lattice;
pub use settings::{Augment, Augments};

/// Most planes that the thickness of a slice is averaged over.
const MOST_PLANES: usize = 7;

/// Largest displacement of a control point, in distances of control points, that
/// folds nothing.
///
/// # Source
/// Choi and Lee 2000, *Injectivity conditions of 2D and 3D uniform cubic B-spline
/// functions*, theorem 1.
const UNFOLDED: f64 = 0.4;

/// One draw of an augmentation.
#[derive(Debug, Clone, PartialEq)]
pub struct Augmentation {
    shift_mm: DVec3,
    rotate: f64,
    /// About the columns and the rows.
    tilt: [f64; 2],
    /// Negative where an axis is turned round.
    scale: DVec3,
    /// Columns, rows and slices of the view, which the changes are along.
    axes: DMat3,
    contrast: f32,
    brightness: f32,
    noise: f32,
    rician: bool,
    /// Displacement in mm along columns and rows, and slices of a box.
    elastic: Vec<Lattice>,
    thickness_mm: f64,
    /// Standard deviations in voxels along columns, rows and slices.
    blur: [f64; 3],
    bias: Option<Lattice>,
    gamma: f32,
    cut_out: Option<[Range<usize>; 3]>,
    /// How the place itself was moved before, for all views of a batch.
    under: Option<Box<Augmentation>>,
}

impl Augment {
    /// A draw from the uniform laws that the settings bound. A plane stays in
    /// its plane; what may move along its normal too is shifted, scaled and turned
    /// along all three axes.
    pub fn draw(&self, view: &Settings, along_normal: bool, rng: &mut impl Rng) -> Augmentation {
        let is_box = along_normal && view.depth() > 1;
        let mut within = |most: f64| rng.random_range(-1.0..=1.0) * most;
        let (x, y) = (within(self.shift_mm), within(self.shift_mm));
        let z = if is_box { within(self.shift_mm) } else { 0.0 };
        let rotate = within(self.rotate_deg).to_radians();
        let scale = 1.0 + within(self.scale);
        let mut drawn = Augmentation {
            shift_mm: DVec3::new(x, y, z),
            rotate,
            tilt: [0.0; 2],
            scale: DVec3::new(scale, scale, if is_box { scale } else { 1.0 }),
            axes: view.plane.axes(),
            contrast: 1.0 + within(f64::from(self.contrast)) as f32,
            brightness: within(f64::from(self.brightness)) as f32,
            noise: within(f64::from(self.noise)).abs() as f32,
            rician: self.rician,
            elastic: Vec::new(),
            thickness_mm: 0.0,
            blur: [0.0; 3],
            bias: None,
            gamma: 1.0,
            cut_out: None,
            under: None,
        };
        self.draw_geometry(&mut drawn, view, is_box, rng);
        self.draw_values(&mut drawn, view, rng);
        drawn
    }

    // What is off draws nothing, here and below, so that it changes no view of the
    // pipelines that were there before it.
    fn draw_geometry(
        &self,
        drawn: &mut Augmentation,
        view: &Settings,
        is_box: bool,
        rng: &mut impl Rng,
    ) {
        let shape = [view.size, view.size, view.depth()];
        let extent = DVec3::from_array(shape.map(|n| n as f64)) * view.step_mm();
        let moves = DVec3::new(1.0, 1.0, f64::from(u8::from(is_box)));
        if self.tilt_deg > 0.0 && is_box {
            drawn.tilt = [0; 2].map(|_| rng.random_range(-1.0..=1.0) * self.tilt_deg.to_radians());
        }
        if self.crop > 0.0 {
            let kept = 1.0 - rng.random_range(0.0..=1.0) * self.crop;
            drawn.scale *= DVec3::ONE + (kept - 1.0) * moves;
            let place = DVec3::from_array([0; 3].map(|_| rng.random_range(-1.0..=1.0)));
            drawn.shift_mm += place * moves * extent * (1.0 - kept) / 2.0;
        }
        let flips =
            [self.flip_left_right, self.flip_anterior_posterior, self.flip_superior_inferior];
        for (world, chance) in flips.into_iter().enumerate().filter(|(_, chance)| *chance > 0.0) {
            let axis = (0..3).find(|&axis| drawn.axes.col(axis)[world] != 0.0);
            let turned = rng.random_bool(chance);
            if let Some(axis) = axis.filter(|&axis| turned && moves[axis] > 0.0) {
                drawn.scale[axis] *= -1.0;
            }
        }
        if self.elastic_mm > 0.0 {
            let sd = rng.random_range(0.0..=1.0) * self.elastic_mm;
            let most = UNFOLDED * self.elastic_spacing_mm;
            let apart = (DVec3::splat(self.elastic_spacing_mm) / view.step_mm()).to_array();
            let value = |rng: &mut _| {
                let value: f64 = StandardNormal.sample(rng);
                (value * sd).clamp(-most, most) as f32
            };
            let axes = if is_box { 3 } else { 2 };
            drawn.elastic = (0..axes).map(|_| Lattice::draw(shape, apart, rng, value)).collect();
        }
        if self.thickness_mm > 0.0 {
            drawn.thickness_mm = rng.random_range(0.0..=1.0) * self.thickness_mm;
        }
    }

    fn draw_values(&self, drawn: &mut Augmentation, view: &Settings, rng: &mut impl Rng) {
        let shape = [view.size, view.size, view.depth()];
        if self.blur_mm > 0.0 {
            let sigma_mm = rng.random_range(0.0..=1.0) * self.blur_mm;
            let [x, y, z] = (DVec3::splat(sigma_mm) / view.step_mm()).to_array();
            // The slices of a slab are planes of their own.
            drawn.blur = [x, y, if view.is_box() { z } else { 0.0 }];
        }
        if self.bias_field > 0.0 {
            let sd = rng.random_range(0.0..=1.0) * self.bias_field;
            // Smooth: a control point each half of the view.
            let apart = shape.map(|n| n as f64 / 2.0);
            drawn.bias = Some(Lattice::draw(shape, apart, rng, |rng| {
                let value: f32 = StandardNormal.sample(rng);
                value * sd
            }));
        }
        if self.gamma > 0.0 {
            drawn.gamma = (rng.random_range(-1.0..=1.0) * self.gamma).exp();
        }
        if self.cut_out > 0.0 {
            let share = rng.random_range(0.0..=1.0) * self.cut_out;
            let stretch = rng.random_range(-1.0..=1.0_f64).exp2();
            // A box is cut along its slices too, by the same part of each side.
            let deep = if view.is_box() { share.cbrt() } else { 1.0 };
            let (area, side) = (share / deep.max(f64::MIN_POSITIVE), view.size as f64);
            let across = ((area * stretch).sqrt() * side).round().clamp(1.0, side);
            let down = (area * side * side / across).round().clamp(0.0, side);
            let slices = (deep * shape[2] as f64).round().clamp(1.0, shape[2] as f64);
            let mut place = |length: f64, of: usize| {
                let length = length as usize;
                let first = rng.random_range(0..=of - length.min(of));
                first..first + length
            };
            drawn.cut_out =
                Some([place(across, shape[0]), place(down, shape[1]), place(slices, shape[2])]);
        }
    }
}

impl Augmentation {
    /// The same change of a place that is moved, turned, scaled and bent by `batch`
    /// first, whose values are not changed by it.
    #[must_use]
    pub fn on(self, batch: Self) -> Self {
        Self { under: Some(Box::new(batch)), ..self }
    }

    /// The same change within each slice: nothing moves along the normal or mixes slices.
    #[must_use]
    pub fn in_plane(mut self) -> Self {
        (self.shift_mm.z, self.scale.z) = (0.0, 1.0);
        (self.tilt, self.thickness_mm, self.blur[2]) = ([0.0; 2], 0.0, 0.0);
        self.elastic.truncate(2);
        self
    }

    /// The view moved, turned and scaled about its centre. The grid moves, not
    /// the image, so that one interpolation does all.
    pub fn apply_to_grid(&self, view: &Grid) -> Grid {
        let moved = self.under.as_ref().map(|under| under.apply_to_grid(view));
        let view = moved.as_ref().unwrap_or(view);
        let centre = view.centre_mm();
        let [about_columns, about_rows] = self.tilt;
        let about_centre = DAffine3::from_translation(centre + self.axes * self.shift_mm)
            * DAffine3::from_mat3(self.axes)
            * DAffine3::from_rotation_z(self.rotate)
            * DAffine3::from_rotation_y(about_rows)
            * DAffine3::from_rotation_x(about_columns)
            * DAffine3::from_scale(self.scale)
            * DAffine3::from_mat3(self.axes.transpose())
            * DAffine3::from_translation(-centre);
        Grid { ras_from_voxel: about_centre * view.ras_from_voxel, ..*view }
    }

    /// Fills `values` with the view around a centre in RAS+ mm of a volume, changed.
    pub fn see(
        &self,
        volume: &Prepared,
        view: &Settings,
        centre_mm: DVec3,
        rng: &mut impl Rng,
        values: &mut [f32],
    ) {
        let grid = self.apply_to_grid(&view.grid(centre_mm));
        let spacing = volume.grid.spacing_mm().into_iter().fold(f64::INFINITY, f64::min);
        let planes = match self.thickness_mm {
            0.0 => 1,
            thick => ((thick / spacing).ceil() as usize + 1).clamp(2, MOST_PLANES),
        };
        if planes == 1 {
            self.sample(volume, &grid, values);
        } else {
            let normal = (grid.ras_from_voxel.matrix3.z_axis).normalize_or_zero();
            let mut plane = vec![0.0; values.len()];
            values.fill(0.0);
            for n in 0..planes {
                let share = (n as f64 + 0.5) / planes as f64 - 0.5;
                let mut shifted = grid;
                shifted.ras_from_voxel.translation += normal * (share * self.thickness_mm);
                self.sample(volume, &shifted, &mut plane);
                values.iter_mut().zip(&plane).for_each(|(sum, v)| *sum += v / planes as f32);
            }
        }
        self.apply_to_values(view, volume.row.background, values, rng);
    }

    /// The fields of its displacement, and the axis of the view that each is along.
    fn elastic(&self) -> impl Iterator<Item = (usize, &Lattice)> {
        let under = self.under.iter().flat_map(|under| under.elastic.iter().enumerate());
        self.elastic.iter().enumerate().chain(under)
    }

    fn sample(&self, volume: &Prepared, grid: &Grid, values: &mut [f32]) {
        if self.elastic().next().is_none() {
            return volume.sample(grid, values);
        }
        let mut line = vec![0.0; grid.shape[0]];
        let displace = |row: usize, slice: usize, moved: &mut [DVec3]| {
            moved.fill(DVec3::ZERO);
            for (axis, field) in self.elastic() {
                field.line(row, slice, &mut line);
                let towards = self.axes.col(axis);
                moved.iter_mut().zip(&line).for_each(|(sum, &mm)| *sum += towards * f64::from(mm));
            }
        };
        volume.sampler().sample_displaced(grid, displace, values);
    }

    /// Changes normalised intensities `[slice, row, column]`, of which `air` is
    /// background: what the scanner does first, the noise behind it.
    pub fn apply_to_values(
        &self,
        view: &Settings,
        air: f32,
        values: &mut [f32],
        rng: &mut impl Rng,
    ) {
        let shape = [view.size, view.size, view.depth()];
        blur::blur(values, shape, self.blur);
        if let Some(field) = &self.bias {
            intensity::bias(values, shape, field, air);
        }
        if self.gamma != 1.0 {
            intensity::gamma(values, self.gamma);
        }
        let changes = [self.contrast, self.brightness, self.noise];
        if self.rician {
            intensity::rician(values, changes, air, rng);
        } else {
            intensity::gaussian(values, changes, rng);
        }
        if let Some(block) = &self.cut_out {
            intensity::cut_out(values, shape, block, air);
        }
    }
}

#[cfg(test)]
mod tests;
