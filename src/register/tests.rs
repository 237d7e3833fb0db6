//! Scans of phantoms whose poses are known, and what is no fit.

use glam::{DAffine3, DVec3};
use ndarray::Array3;
use rand::RngExt;
use rand_distr::{Distribution, StandardNormal};

use super::{
    Doubt, Image, Settings, align,
    climb::climb,
    metric::Metric,
    rigid::{Pose, rotation_of},
    sample::{Neighbourhood, Samples, stream},
    search::Search,
};
use crate::{
    geometry::Grid,
    phantom::{Anatomy, Contrast, Scene, intensity_at},
    study::{Family, Modality},
};

/// Thick slices, tilted a little, as clinical protocols have them.
fn grid(slice_mm: f64, tilt: f64) -> Grid {
    let pixel_mm = 1.6;
    let shape = [120, 130, (150.0 / slice_mm) as usize];
    let axes = rotation_of(DVec3::new(tilt, 0.3 * tilt, -0.2 * tilt));
    let matrix = axes * glam::DMat3::from_diagonal(DVec3::new(-pixel_mm, -pixel_mm, slice_mm));
    let middle = DVec3::from_array(shape.map(|n| (n as f64 - 1.0) / 2.0));
    Grid { shape, ras_from_voxel: DAffine3::from_mat3_translation(matrix, -(matrix * middle)) }
}

fn scan(subject: &str, modality: Modality, pose: DAffine3, grid: &Grid, seed: u64) -> Array3<f32> {
    let anatomy = Anatomy::of_subject(7, subject);
    let scene = Scene { anatomy: &anatomy, session: 0, ras_from_head: pose };
    let contrast = Contrast::of(modality).unwrap();
    let mut noise = stream(seed, 1);
    let [ni, nj, nk] = grid.shape;
    Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| {
        let place = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
        let signal = intensity_at(&scene, &contrast, place);
        let normal: f32 = StandardNormal.sample(&mut noise);
        100.0 * (signal + 0.03 * normal).abs()
    })
}

fn image(voxels: Array3<f32>, grid: &Grid) -> Image {
    let intensity = crate::intensity::Settings { ct_window_hu: [-1000.0, 1000.0], clip_z: 5.0 };
    Image::new(voxels, grid, Family::Mr, &intensity, 2.0).unwrap()
}

fn settings() -> Settings {
    Settings { finest_mm: 2.0, samples: 20_000, seed: 3 }
}

fn moved() -> DAffine3 {
    DAffine3::from_mat3_translation(
        rotation_of(DVec3::new(0.15, -0.1, 0.2)),
        DVec3::new(14.0, -9.0, 22.0),
    )
}

/// mm, the largest over a ball of 80 mm.
fn error_mm(a: &DAffine3, b: &DAffine3) -> f64 {
    let mut rng = stream(1, 2);
    (0..500)
        .map(|_| {
            let mut normal = || StandardNormal.sample(&mut rng);
            let place = 80.0 * DVec3::new(normal(), normal(), normal()).normalize_or(DVec3::X);
            a.transform_point3(place).distance(b.transform_point3(place))
        })
        .fold(0.0, f64::max)
}

#[test]
fn another_contrast_with_other_slices_is_found_within_a_mm() {
    let (fixed_grid, moving_grid) = (grid(3.0, 0.05), grid(4.0, -0.12));
    let fixed = image(scan("01", Modality::Flair, DAffine3::IDENTITY, &fixed_grid, 1), &fixed_grid);
    let moving = image(scan("01", Modality::T1, moved(), &moving_grid, 2), &moving_grid);
    let found = align(&fixed, &moving, &settings()).unwrap();
    let error = error_mm(&found.moving_from_fixed, &moved());
    println!("largest error {error:.2} mm, {:?}", found.quality);
    assert!(error < 1.0, "{error}");
    assert_eq!(found.quality.doubt(), None);
    // The other way round the map is the inverse one.
    let back = align(&moving, &fixed, &settings()).unwrap();
    let error = error_mm(&back.moving_from_fixed.inverse(), &moved());
    assert!(error < 1.0, "{error}");
}

#[test]
fn threads_change_no_bit() {
    let grid = grid(5.0, 0.0);
    let fixed = image(scan("01", Modality::T2, DAffine3::IDENTITY, &grid, 1), &grid);
    let moving = image(scan("01", Modality::Pd, moved(), &grid, 2), &grid);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool.install(|| align(&fixed, &moving, &settings())).unwrap();
        (found.moving_from_fixed.to_cols_array().map(f64::to_bits), found.quality)
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn the_gradient_of_the_metric_is_that_of_differences() {
    let grid = grid(4.0, 0.1);
    let fixed = image(scan("01", Modality::T2, DAffine3::IDENTITY, &grid, 1), &grid);
    let moving = image(scan("01", Modality::T1, moved(), &grid, 2), &grid);
    let centre = DVec3::new(3.0, -5.0, 8.0);
    let near = Neighbourhood::of(&fixed).unwrap();
    let samples = Samples::draw(&fixed.levels[0], &near, centre, 20_000, &mut stream(1, 3));
    let metric = Metric::new(&samples, &moving.levels[0], 0.1);
    let start = Pose {
        rotation: rotation_of(DVec3::new(0.1, -0.05, 0.12)),
        shift: DVec3::new(10.0, -5.0, 15.0),
        ..Pose::identity(centre)
    };
    let step = [3.0, -2.0, 4.0, 0.5, -1.0, 2.0];
    let value = metric.at(&start.moved(&step, 70.0));
    assert!(value.information > 0.1, "{value:?}");
    let gradient = Pose::gradient(&step, 70.0, value.force, value.torque);
    let size = gradient.iter().map(|slope| slope * slope).sum::<f64>().sqrt();
    for (n, analytic) in gradient.into_iter().enumerate() {
        let (mut more, mut less) = (step, step);
        more[n] += 0.02;
        less[n] -= 0.02;
        let at = |step: &[f64]| metric.at(&start.moved(step, 70.0)).information;
        let difference = (at(&more) - at(&less)) / 0.04;
        // A few samples pass the edge of the volume in between.
        assert!((difference - analytic).abs() < 0.02 * size, "{n}: {difference} {analytic}");
    }
}

#[test]
fn a_climb_does_not_lose_what_it_began_with() {
    let grid = grid(5.0, 0.0);
    let one = image(scan("01", Modality::T2, DAffine3::IDENTITY, &grid, 1), &grid);
    let settings = settings();
    let search = Search::new(&one, &one, &settings).unwrap();
    let metric = search.metric(0, &search.samples[0]).unwrap();
    let start = Pose::identity(search.centre);
    let best = metric.at(&start).information;
    let (pose, value) = climb(&metric, start, search.radius_mm, 1.0);
    assert!(value.information >= best);
    assert!(error_mm(&pose.affine(), &DAffine3::IDENTITY) < 0.1);
}

#[test]
fn what_is_no_fit_is_refused() {
    let grid = grid(4.0, 0.0);
    let [ni, nj, nk] = grid.shape;
    let head = image(scan("01", Modality::T2, DAffine3::IDENTITY, &grid, 1), &grid);
    let mut rng = stream(5, 1);
    let noise = Array3::from_shape_fn((nk, nj, ni), |_| rng.random::<f32>());
    // A limb: two long cylinders in a third one.
    let limb = Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| {
        let place = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
        let from = |x: f64, y: f64| (place.x - x).hypot(place.y - y);
        let value = match (from(0.0, 0.0), from(-15.0, 8.0), from(12.0, -4.0)) {
            (skin, ..) if skin > 70.0 => 0.0,
            (skin, ..) if skin > 60.0 => 3.0,
            (_, bone, other) if bone.min(other) < 9.0 => 0.5,
            _ => 1.5,
        };
        100.0 * (value + 0.05 * rng.random::<f32>())
    });
    let upside_down = scan("01", Modality::Flair, DAffine3::IDENTITY, &grid, 2);
    let upside_down = upside_down.slice(ndarray::s![..;-1, .., ..]).to_owned();
    let far = DAffine3::from_translation(DVec3::new(0.0, 0.0, 125.0));
    for (name, voxels) in [
        ("noise", noise),
        ("a limb", limb),
        ("a head upside down", upside_down),
        ("little overlap", scan("01", Modality::Flair, far, &grid, 3)),
    ] {
        let found = align(&head, &image(voxels, &grid), &settings());
        println!("{name}: {found:?}");
        assert!(
            found.is_err() || found.is_ok_and(|found| found.quality.doubt().is_some()),
            "{name}"
        );
    }
}

#[test]
fn the_first_doubt_is_named_with_its_limit() {
    let good = super::Quality { explained: 0.2, gain: 3.0, overlap: 0.9, halves_mm: 1.0 };
    assert_eq!(good.doubt(), None);
    let poor = super::Quality { halves_mm: f64::NAN, ..good };
    assert!(matches!(poor.doubt(), Some(Doubt::Halves(_))));
    let poor = super::Quality { overlap: 0.123, ..good };
    assert_eq!(
        poor.doubt().unwrap().to_string(),
        "the scans share 12 % of the smaller body, not at least 50 %"
    );
}
