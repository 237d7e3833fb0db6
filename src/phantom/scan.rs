//! Scans a head: a modality's own grid, its contrast and its noise.

use ndarray::{Array3, Axis, parallel::prelude::*};
use rand::{Rng, RngExt};
use rand_distr::{Distribution, Normal, Poisson, StandardNormal};

use super::{
    anatomy::Anatomy,
    blur::blur,
    draw::{around_zero, between, small_turn, stream},
    settings::Settings,
    tissue::Contrast,
};
use crate::{
    geometry::{Affine, DMat3, DVec3, Grid, Orientation},
    study::{Family, Modality},
    volume::Volume,
};

/// One subject in one session: a head, and where it lies.
#[derive(Debug, Clone, Copy)]
pub struct Scene<'a> {
    /// The head.
    pub anatomy: &'a Anatomy,
    /// The session, counted from 0: the lesion grows with it.
    pub session: usize,
    /// The head's own frame to the patient's world, rigid, mm.
    pub ras_from_head: Affine,
}

/// The intensity of a modality at a point of the patient's world (RAS+ mm),
/// without noise, blur and coil shading: units as in [`Contrast`].
pub fn intensity_at(scene: &Scene<'_>, contrast: &Contrast, point_mm: DVec3) -> f32 {
    let own = scene.ras_from_head.inverse().transform_point3(point_mm);
    contrast.mean(&scene.anatomy.mixture_at(own, scene.session))
}

/// What names a scan's streams of randomness.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanName<'a> {
    pub seed: u64,
    pub subject: &'a str,
    pub session: &'a str,
    pub modality: Modality,
}

impl ScanName<'_> {
    fn stream(&self, purpose: &str) -> rand_chacha::ChaCha8Rng {
        stream(self.seed, &[self.subject, self.session, self.modality.as_str(), purpose])
    }
}

/// Spacing along (i, j, k) of an axial scan, as a multiple of the settings',
/// and the way the axes run in a NIfTI file.
fn protocol(modality: Modality) -> ([f64; 3], Orientation) {
    let axial = |flipped| Orientation { world_axis: [0, 1, 2], flipped };
    match modality {
        Modality::T1 => ([1.0, 1.0, 1.0], axial([false; 3])),
        Modality::T2 => ([0.95, 0.95, 1.12], axial([true, true, false])),
        Modality::Flair => ([1.05, 1.05, 1.3], axial([true, false, false])),
        // Sagittal: columns run to posterior, rows to inferior, slices to the right.
        Modality::Pd => {
            ([1.1, 0.9, 1.2], Orientation { world_axis: [1, 2, 0], flipped: [true, true, false] })
        }
        Modality::Ct => ([0.9, 0.9, 0.9], axial([true, true, false])),
        _ => ([1.3, 1.3, 1.1], axial([true, true, true])),
    }
}

/// The grid of a scan: the modality's spacing over about the field of view of
/// the settings, tilted by up to 4° and shifted by up to 5 mm.
///
/// A DICOM series has LPS axes, as nearly all scanners write them.
pub(super) fn grid_of(name: &ScanName<'_>, settings: &Settings, dicom: bool) -> Grid {
    let (finer, mut orientation) = protocol(name.modality);
    if dicom {
        orientation = Orientation { world_axis: [0, 1, 2], flipped: [true, true, false] };
    }
    let (mut shape, mut steps) = ([1; 3], [DVec3::ZERO; 3]);
    let mut middle = DVec3::ZERO;
    for voxel_axis in 0..3 {
        let world = orientation.world_axis[voxel_axis];
        let spacing = settings.spacing_mm[world] * finer[world];
        shape[voxel_axis] = (settings.shape[world] as f64 / finer[world]).round().max(1.0) as usize;
        steps[voxel_axis][world] = if orientation.flipped[voxel_axis] { -spacing } else { spacing };
        middle[voxel_axis] = 0.5 * (shape[voxel_axis] - 1) as f64;
    }
    let rng = &mut name.stream("grid");
    let [i, j, k] = steps;
    let matrix = small_turn(rng, 4.0) * DMat3::from_cols(i, j, k);
    let centre_mm = around_zero(rng, DVec3::splat(5.0));
    Grid {
        shape,
        ras_from_voxel: Affine::from_mat3_translation(matrix, centre_mm - matrix * middle),
    }
}

/// A scan as it comes from the scanner, and what one unit of [`Contrast`] became.
pub(super) struct Scan {
    pub volume: Volume,
    pub scale: f64,
}

/// The scan of a scene on a grid: arbitrary units for MR, HU for CT, Bq/ml for PET.
pub(super) fn scan(
    scene: &Scene<'_>,
    contrast: &Contrast,
    grid: Grid,
    name: &ScanName<'_>,
) -> Scan {
    let [ni, nj, nk] = grid.shape;
    let mut voxels = Array3::<f32>::zeros((nk, nj, ni));
    let head_from_voxel = scene.ras_from_head.inverse() * grid.ras_from_voxel;
    let detector = Detector::draw(name, &grid);
    let noise = name.stream("noise");
    voxels.axis_iter_mut(Axis(0)).into_par_iter().enumerate().for_each(|(k, mut slice)| {
        // A stream a slice, so that threads share nothing.
        let mut noise = noise.clone();
        noise.set_stream(k as u64);
        for ((j, i), value) in slice.indexed_iter_mut() {
            let voxel = DVec3::new(i as f64, j as f64, k as f64);
            let own = head_from_voxel.transform_point3(voxel);
            let signal = contrast.mean(&scene.anatomy.mixture_at(own, scene.session));
            *value = detector.measure(signal, grid.world_mm(voxel), &mut noise);
        }
    });
    if name.modality.family() == Family::Nuclear {
        blur(&mut voxels, grid.spacing_mm(), Detector::PET_FWHM_MM);
    }
    Scan { scale: detector.scale, volume: Volume { voxels, grid, modality: name.modality } }
}

/// What a scanner makes of a signal.
struct Detector {
    family: Family,
    scale: f64,
    /// Standard deviation of the noise, in the unit of the signal.
    noise: f64,
    /// Logarithm of the coil's shading as a polynomial of [`Self::shading`]'s terms.
    shading: [DVec3; 2],
    centre_mm: DVec3,
}

impl Detector {
    /// Full width at half maximum of a PET scanner's point spread.
    const PET_FWHM_MM: f64 = 6.0;
    /// Detected counts per voxel and unit of PET signal.
    const PET_COUNTS: f64 = 3.0;

    fn draw(name: &ScanName<'_>, grid: &Grid) -> Self {
        let rng = &mut name.stream("detector");
        let family = name.modality.family();
        let (scale, noise) = match family {
            Family::Mr => (200.0 * 4.0_f64.powf(rng.random()), between(rng, 0.015, 0.03)),
            Family::Ct => (1.0, 10.0),
            Family::Nuclear => (1000.0 * between(rng, 0.7, 1.4), 0.0),
        };
        let shading = [0.2, 0.12].map(|most| around_zero(rng, DVec3::splat(most)));
        Self { family, scale, noise, shading, centre_mm: grid.centre_mm() }
    }

    fn measure(&self, signal: f32, point_mm: DVec3, rng: &mut impl Rng) -> f32 {
        let signal = f64::from(signal);
        let value = match self.family {
            Family::Mr => {
                // Rician: the magnitude of a complex signal with normal noise.
                let shaded = signal * self.shade(point_mm);
                let real = shaded + self.noise * rng.sample::<f64, _>(StandardNormal);
                real.hypot(self.noise * rng.sample::<f64, _>(StandardNormal))
            }
            Family::Ct => {
                // Scanners clip at the lowest number that twelve bits hold.
                let noisy = Normal::new(signal, self.noise).map_or(signal, |n| n.sample(rng));
                noisy.max(-1024.0)
            }
            Family::Nuclear => {
                let counts = signal * Self::PET_COUNTS;
                // Refused for no activity, where nothing is counted.
                Poisson::new(counts).map_or(0.0, |p| p.sample(rng)) / Self::PET_COUNTS
            }
        };
        (value * self.scale) as f32
    }

    /// The sensitivity of the coils, 1 in the middle of the grid.
    fn shade(&self, point_mm: DVec3) -> f64 {
        let u = (point_mm - self.centre_mm) / 100.0;
        let [linear, square] = self.shading;
        (linear.dot(u) + square.dot(u * u)).exp()
    }
}
