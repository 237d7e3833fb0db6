//! Seeded changes of a view that leave its anatomy what it is.

use std::collections::BTreeMap;

use glam::{DAffine3, DMat3, DVec3};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use super::{Prepared, Settings};
use crate::geometry::Grid;

/// How views are changed, by modality.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Augments {
    /// Where a modality has none of its own.
    pub all: Augment,
    /// By the word of the modality.
    // Left out where there is none, so that results made before there were still match.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub of: BTreeMap<String, Augment>,
}

impl Augments {
    /// Those of a modality.
    pub fn of(&self, modality: &str) -> &Augment {
        self.of.get(modality).unwrap_or(&self.all)
    }
}

/// How strong augmentations are, as a pipeline sets it. Left and right are
/// never exchanged: the body is not symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Augment {
    /// Largest shift along each axis of the view, mm.
    pub shift_mm: f64,
    /// Largest rotation in the axial plane, degrees.
    pub rotate_deg: f64,
    /// Largest change of size, as a fraction.
    pub scale: f64,
    /// Largest change of contrast, as a fraction.
    pub contrast: f32,
    /// Largest shift of brightness, in normalised units.
    pub brightness: f32,
    /// Largest standard deviation of the noise, in normalised units.
    pub noise: f32,
}

/// One draw of an augmentation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Augmentation {
    shift_mm: DVec3,
    rotate: f64,
    scale: DVec3,
    /// Columns, rows and slices of the view, which the changes are along.
    axes: DMat3,
    contrast: f32,
    brightness: f32,
    noise: f32,
}

impl Augment {
    /// A draw from the uniform laws that the settings bound. A plane stays in
    /// its plane; what may move along its normal too is shifted and scaled along
    /// all three axes.
    pub fn draw(&self, view: &Settings, along_normal: bool, rng: &mut impl Rng) -> Augmentation {
        let is_box = along_normal && view.depth() > 1;
        let mut within = |most: f64| rng.random_range(-1.0..=1.0) * most;
        let (x, y) = (within(self.shift_mm), within(self.shift_mm));
        let z = if is_box { within(self.shift_mm) } else { 0.0 };
        let rotate = within(self.rotate_deg).to_radians();
        let scale = 1.0 + within(self.scale);
        Augmentation {
            shift_mm: DVec3::new(x, y, z),
            rotate,
            scale: DVec3::new(scale, scale, if is_box { scale } else { 1.0 }),
            axes: view.plane.axes(),
            contrast: 1.0 + within(f64::from(self.contrast)) as f32,
            brightness: within(f64::from(self.brightness)) as f32,
            noise: within(f64::from(self.noise)).abs() as f32,
        }
    }
}

impl Augmentation {
    /// The view moved, turned and scaled about its centre. The grid moves, not
    /// the image, so that one interpolation does all.
    pub fn apply_to_grid(&self, view: &Grid) -> Grid {
        let centre = view.centre_mm();
        let about_centre = DAffine3::from_translation(centre + self.axes * self.shift_mm)
            * DAffine3::from_mat3(self.axes)
            * DAffine3::from_rotation_z(self.rotate)
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
        volume.sample(&self.apply_to_grid(&view.grid(centre_mm)), values);
        self.apply_to_values(values, rng);
    }

    /// Changes contrast and brightness of normalised intensities, and adds noise.
    pub fn apply_to_values(&self, values: &mut [f32], rng: &mut impl Rng) {
        for value in values {
            let noise: f32 = StandardNormal.sample(rng);
            *value = *value * self.contrast + self.brightness + self.noise * noise;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::view::{Form, Plane, Slices};

    const STRONG: Augment = Augment {
        shift_mm: 10.0,
        rotate_deg: 30.0,
        scale: 0.2,
        contrast: 0.5,
        brightness: 0.5,
        noise: 0.3,
    };

    const CENTRE: DVec3 = DVec3::new(5.0, -7.0, 30.0);
    const PLANE: Settings = Settings { size: 9, pixel_mm: 2.0, plane: Plane::Axial, slices: None };
    const BOX: Settings =
        Settings { slices: Some(Slices { depth: 6, slice_mm: 3.0, form: Form::Box }), ..PLANE };

    /// The view of 50 draws.
    fn moved(augment: &Augment, view: &Settings) -> Vec<Grid> {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let grid = view.grid(CENTRE);
        (0..50).map(|_| augment.draw(view, view.is_box(), &mut rng).apply_to_grid(&grid)).collect()
    }

    #[test]
    fn the_plane_stays_axial_and_its_centre_moves_by_the_shift() {
        for moved in moved(&STRONG, &PLANE) {
            let centre = moved.centre_mm();
            assert!((centre.z - 30.0).abs() < 1e-9);
            assert!((centre.x - 5.0).abs() <= 10.0 && (centre.y + 7.0).abs() <= 10.0);
            let corner = moved.world_mm(DVec3::ZERO);
            let reach = corner.distance(centre) / (8.0 * 2.0_f64.sqrt());
            assert!((0.799..=1.201).contains(&reach), "{reach}");
            // Left and right are not exchanged.
            assert!(moved.ras_from_voxel.matrix3.determinant() > 0.0);
        }
    }

    #[test]
    fn a_box_moves_rigidly_but_for_one_scale() {
        let mut heights = Vec::new();
        for moved in moved(&STRONG, &BOX) {
            assert_eq!(moved.shape, [9, 9, 6]);
            let shift = moved.centre_mm() - CENTRE;
            assert!(shift.abs().max_element() <= 10.0, "{shift}");
            heights.push(shift.z);
            let [x, y, z] = moved.spacing_mm();
            let scale = x / 2.0;
            assert!((0.799..=1.201).contains(&scale), "{scale}");
            assert!((y - 2.0 * scale).abs() < 1e-9 && (z - 3.0 * scale).abs() < 1e-9);
            // It turns about the axial axis only, and is never sheared or mirrored.
            let axes = moved.ras_from_voxel.matrix3;
            assert!(axes.z_axis.truncate().length() < 1e-9 && axes.z_axis.z > 0.0);
            assert!(axes.x_axis.z.abs() < 1e-9 && axes.x_axis.dot(axes.y_axis).abs() < 1e-9);
            assert!(axes.determinant() > 0.0);
        }
        assert!(heights.iter().any(|&z| z > 5.0) && heights.iter().any(|&z| z < -5.0));
        for moved in moved(&Augment { scale: 0.0, ..STRONG }, &BOX) {
            let [x, y, z] = moved.spacing_mm();
            assert!((x - 2.0).abs() < 1e-9 && (y - 2.0).abs() < 1e-9 && (z - 3.0).abs() < 1e-9);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_view() {
        let draw = || {
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            let drawn = STRONG.draw(&BOX, true, &mut rng);
            let mut values = vec![0.5; 16];
            drawn.apply_to_values(&mut values, &mut rng);
            (drawn, values)
        };
        assert_eq!(draw(), draw());
    }
}
