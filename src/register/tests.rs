//! The metric against differences, and what no thread and no climb may change.

use glam::{DAffine3, DMat3, DVec3};
use ndarray::Array3;

use super::{
    Doubt, Image, Quality, Settings, align,
    climb::climb,
    metric::Metric,
    rigid::{Pose, distance_mm, rotation_of},
    sample::{Neighbourhood, Samples, stream},
    search::Search,
};
use crate::geometry::Grid;

/// A grid around the origin, tilted, with thick slices.
fn grid(side_mm: f64, slice_mm: f64, tilt: f64) -> Grid {
    let axes = rotation_of(DVec3::new(tilt, 0.3 * tilt, -0.2 * tilt));
    let matrix = axes * DMat3::from_diagonal(DVec3::new(-2.0, -2.0, slice_mm));
    let shape = [side_mm / 2.0, side_mm / 2.0, side_mm / slice_mm].map(|n| n as usize);
    let middle = DVec3::from_array(shape.map(|n| (n as f64 - 1.0) / 2.0));
    Grid { shape, ras_from_voxel: DAffine3::from_mat3_translation(matrix, -(matrix * middle)) }
}

/// An egg with some lumps in it, smooth everywhere; in the second contrast the lumps
/// are dark and the egg is bright.
fn body(grid: &Grid, pose: DAffine3, contrast: usize) -> Array3<f32> {
    let lumps = [(20.0, 10.0, 5.0), (-15.0, 22.0, -12.0), (5.0, -30.0, 18.0), (-25.0, -12.0, 14.0)];
    let [ni, nj, nk] = grid.shape;
    let body_from_ras = pose.inverse();
    Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| {
        let ras = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
        let p = body_from_ras.transform_point3(ras);
        let egg = 1.0
            / (1.0
                + (12.0 * ((p / DVec3::new(48.0, 58.0, 42.0 + 0.1 * p.y)).length() - 1.0)).exp());
        let lump =
            |(x, y, z): (f64, f64, f64)| (-p.distance_squared(DVec3::new(x, y, z)) / 120.0).exp();
        let sum: f64 = lumps.into_iter().map(lump).sum();
        (100.0 * egg * if contrast == 0 { 1.0 + 1.5 * sum } else { 2.0 - 1.2 * sum }) as f32
    })
}

fn image(grid: &Grid, pose: DAffine3, contrast: usize) -> Image {
    let voxels = body(grid, pose, contrast);
    Image::of_normalised(voxels.view(), grid, 0.0, 40.0, 2.0).unwrap()
}

fn settings() -> Settings {
    Settings { finest_mm: 2.0, samples: 15_000, seed: 3 }
}

fn moved() -> DAffine3 {
    let turn = rotation_of(DVec3::new(0.15, -0.1, 0.2));
    DAffine3::from_mat3_translation(turn, DVec3::new(14.0, -9.0, 12.0))
}

#[test]
fn the_map_is_found_and_threads_change_no_bit() {
    let (fixed_grid, moving_grid) = (grid(140.0, 4.0, 0.0), grid(150.0, 5.0, 0.1));
    let fixed = image(&fixed_grid, DAffine3::IDENTITY, 0);
    let moving = image(&moving_grid, moved(), 1);
    let with = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| align(&fixed, &moving, &settings())).unwrap()
    };
    let (one, three) = (with(1), with(3));
    let bits = |affine: DAffine3| affine.to_cols_array().map(f64::to_bits);
    assert_eq!(bits(one.moving_from_fixed), bits(three.moving_from_fixed));
    assert_eq!(one.quality, three.quality);
    let places = DVec3::AXES.map(|axis| 50.0 * axis);
    let (_, largest) = distance_mm(&one.moving_from_fixed, &moved(), &places);
    assert!(largest < 0.5, "{largest} mm");
    assert_eq!(one.quality.doubt(), None, "{:?}", one.quality);
}

#[test]
fn the_gradient_of_the_metric_is_that_of_differences() {
    // The moving grid is so large that no place leaves it.
    let (fixed_grid, moving_grid) = (grid(140.0, 4.0, 0.0), grid(240.0, 4.0, 0.1));
    let fixed = image(&fixed_grid, DAffine3::IDENTITY, 0);
    let moving = image(&moving_grid, moved(), 1);
    let centre = DVec3::new(3.0, -5.0, 8.0);
    let near = Neighbourhood::of(&fixed).unwrap();
    let samples = Samples::draw(&fixed.levels[0], &near, centre, 20_000, &mut stream(1, 3));
    let metric = Metric::new(&samples, &moving.levels[0], 0.9);
    let start = Pose {
        rotation: rotation_of(DVec3::new(0.1, -0.05, 0.12)),
        shift: DVec3::new(10.0, -5.0, 9.0),
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
        // Linear interpolation has kinks, and sums are of f32.
        assert!((difference - analytic).abs() < 0.02 * size, "{n}: {difference} {analytic}");
    }
}

#[test]
fn a_climb_does_not_lose_what_it_began_with() {
    let one = image(&grid(140.0, 4.0, 0.0), DAffine3::IDENTITY, 0);
    let settings = settings();
    let search = Search::new(&one, &one, &settings).unwrap();
    let metric = search.metric(0, &search.samples[0]).unwrap();
    let start = Pose::identity(search.centre);
    let best = metric.at(&start).information;
    let (pose, value) = climb(&metric, start, search.radius_mm, 1.0);
    assert!(value.information >= best);
    assert!(search.apart_mm(&pose.affine(), &DAffine3::IDENTITY) < 0.1);
}

#[test]
fn the_first_doubt_is_named_with_its_limit() {
    let good = Quality { explained: 0.2, gain: 3.0, overlap: 0.9, halves_mm: 1.0 };
    assert_eq!(good.doubt(), None);
    let poor = Quality { halves_mm: f64::NAN, ..good };
    assert!(matches!(poor.doubt(), Some(Doubt::Halves(_))));
    let poor = Quality { overlap: 0.123, ..good };
    assert_eq!(
        poor.doubt().unwrap().to_string(),
        "the scans share 12 % of the smaller body, not at least 50 %"
    );
}
