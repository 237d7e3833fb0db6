//! Seeded changes of a view that leave its anatomy what it is.

use glam::{DAffine3, DVec2, DVec3};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, StandardNormal};
use serde::Serialize;

use super::Plane;

/// How strong augmentations are, as a pipeline sets it. Left and right are
/// never exchanged: the body is not symmetric.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Augment {
    /// Largest shift in the plane, mm.
    pub shift_mm: f64,
    /// Largest rotation in the plane, degrees.
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
    shift_mm: DVec2,
    rotate: f64,
    scale: f64,
    contrast: f32,
    brightness: f32,
    noise: f32,
}

impl Augment {
    /// A draw from the uniform laws that the settings bound.
    pub fn draw(&self, rng: &mut impl Rng) -> Augmentation {
        let mut within = |most: f64| rng.random_range(-1.0..=1.0) * most;
        Augmentation {
            shift_mm: DVec2::new(within(self.shift_mm), within(self.shift_mm)),
            rotate: within(self.rotate_deg).to_radians(),
            scale: 1.0 + within(self.scale),
            contrast: 1.0 + within(f64::from(self.contrast)) as f32,
            brightness: within(f64::from(self.brightness)) as f32,
            noise: within(f64::from(self.noise)).abs() as f32,
        }
    }
}

impl Augmentation {
    /// The plane moved, turned and scaled about its centre. The grid moves, not
    /// the image, so that one interpolation does all.
    pub fn apply_to_plane(&self, plane: &Plane) -> Plane {
        let half = (plane.size as f64 - 1.0) / 2.0;
        let centre = plane.ras_from_pixel.transform_point3(DVec3::new(half, half, 0.0));
        let shift = DVec3::new(self.shift_mm.x, self.shift_mm.y, 0.0);
        let about_centre = DAffine3::from_translation(centre + shift)
            * DAffine3::from_rotation_z(self.rotate)
            * DAffine3::from_scale(DVec3::new(self.scale, self.scale, 1.0))
            * DAffine3::from_translation(-centre);
        Plane { ras_from_pixel: about_centre * plane.ras_from_pixel, ..*plane }
    }

    /// Changes contrast and brightness of normalised pixels, and adds noise.
    pub fn apply_to_pixels(&self, pixels: &mut [f32], rng: &mut impl Rng) {
        for pixel in pixels {
            let noise: f32 = StandardNormal.sample(rng);
            *pixel = *pixel * self.contrast + self.brightness + self.noise * noise;
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::view::Settings;

    const STRONG: Augment = Augment {
        shift_mm: 10.0,
        rotate_deg: 30.0,
        scale: 0.2,
        contrast: 0.5,
        brightness: 0.5,
        noise: 0.3,
    };

    #[test]
    fn the_plane_stays_axial_and_its_centre_moves_by_the_shift() {
        let plane = Plane::axial(DVec3::new(5.0, -7.0, 30.0), &Settings { size: 9, pixel_mm: 2.0 });
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        for _ in 0..50 {
            let drawn = STRONG.draw(&mut rng);
            let moved = drawn.apply_to_plane(&plane);
            let centre = moved.ras_from_pixel.transform_point3(DVec3::new(4.0, 4.0, 0.0));
            assert!((centre.z - 30.0).abs() < 1e-9);
            assert!((centre.x - 5.0).abs() <= 10.0 && (centre.y + 7.0).abs() <= 10.0);
            let corner = moved.ras_from_pixel.transform_point3(DVec3::ZERO);
            let reach = corner.distance(centre) / (8.0 * 2.0_f64.sqrt());
            assert!((0.799..=1.201).contains(&reach), "{reach}");
            // Left and right are not exchanged.
            assert!(moved.ras_from_pixel.matrix3.determinant() > 0.0);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_view() {
        let draw = || {
            let mut rng = ChaCha8Rng::seed_from_u64(9);
            let drawn = STRONG.draw(&mut rng);
            let mut pixels = vec![0.5; 16];
            drawn.apply_to_pixels(&mut pixels, &mut rng);
            (drawn, pixels)
        };
        assert_eq!(draw(), draw());
    }
}
