//! Processor time of one view of 96 × 96 pixels: one voxel after another, as it is
//! sampled, and as training sees it.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{hint::black_box, time::Instant};

use mivox::{
    geometry::{Affine, DVec3, Grid, affine_to_flat},
    io::nifti,
    prepare::VolumeRow,
    resample::linear,
    view::{Augment, Form, Plane, Settings, Slices, Volumes},
};
use ndarray::Array3;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const SIDE: usize = 128;

/// A volume of 2 mm voxels in a temporary folder.
fn volumes(folder: &std::path::Path) -> (Volumes, Array3<i16>, Grid) {
    let grid = Grid { shape: [SIDE; 3], ras_from_voxel: Affine::from_scale(DVec3::splat(2.0)) };
    let voxels = Array3::from_shape_fn((SIDE, SIDE, SIDE), |(k, j, i)| {
        ((k * 31 + j * 17 + i * 7) % 4000) as i16 - 2000
    });
    let mut out = std::fs::File::create(folder.join("volume.nii")).unwrap();
    nifti::write_i16(&mut out, voxels.view(), &grid, 0.001, 0.0, "bench").unwrap();
    let word = |text: &str| text.to_owned();
    let row = VolumeRow {
        source: word("bench"),
        subject: word("sub"),
        session: word("ses"),
        study: word("std"),
        series: word("ser"),
        modality: word("T1"),
        frame_of_reference: None,
        file: word("volume.nii"),
        shape: [SIDE as u32; 3],
        spacing_mm: [2.0; 3],
        affine: affine_to_flat(&grid.ras_from_voxel),
        centre_mm: [127.0; 3],
        foreground_above: 0.0,
        background: -2.0,
        intensity_centre: 0.0,
        intensity_scale: 1.0,
    };
    (Volumes::open(folder, vec![row]).unwrap(), voxels, grid)
}

/// Seconds of processor time that each case is given, about.
const SECONDS: f64 = 1.0;

/// Nanoseconds that this thread has run on a processor; on the wall where the system
/// does not say. What else runs on the machine costs the one less than the other.
fn nanoseconds(started: Instant) -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let running = text.split_whitespace().next().and_then(|word| word.parse().ok());
    running.unwrap_or(started.elapsed().as_nanos() as f64)
}

fn time(name: &str, mut one: impl FnMut()) {
    let started = Instant::now();
    let (before, mut views) = (nanoseconds(started), 0);
    let mut spent = 0.0;
    while spent < SECONDS * 1e9 {
        (0..100).for_each(|_| one());
        views += 100;
        spent = nanoseconds(started) - before;
    }
    println!("{name:34} {:8.1} µs a view, mean of {views}", spent / 1e3 / f64::from(views));
}

fn main() {
    let folder = tempfile::tempdir().unwrap();
    let (volumes, voxels, volume_grid) = volumes(folder.path());
    let volume = volumes.get("ser").unwrap();
    let plane = Settings { size: 96, pixel_mm: 2.5, plane: Plane::Axial, slices: None };
    let slices = Slices { depth: 7, slice_mm: 2.5, form: Form::Slab };
    let slab = Settings { slices: Some(slices), ..plane };
    let still = Augment::default();
    let defaults = Augment {
        shift_mm: 8.0,
        rotate_deg: 10.0,
        scale: 0.1,
        contrast: 0.2,
        brightness: 0.2,
        noise: 0.1,
        ..still
    };
    let all = Augment {
        crop: 0.3,
        elastic_mm: 4.0,
        elastic_spacing_mm: 40.0,
        thickness_mm: 4.0,
        blur_mm: 2.0,
        bias_field: 0.3,
        gamma: 0.3,
        rician: true,
        cut_out: 0.2,
        ..defaults
    };
    let centre = DVec3::new(127.0, 127.0, 128.0);
    let mut values = vec![0.0; plane.voxels()];
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let mut grid = || defaults.draw(&plane, false, &mut rng).apply_to_grid(&plane.grid(centre));
    time("plane moved, voxel by voxel", || {
        let to_voxel = volume_grid.ras_from_voxel.inverse() * grid().ras_from_voxel;
        for (n, value) in values.iter_mut().enumerate() {
            let place = DVec3::new((n % 96) as f64, (n / 96) as f64, 0.0);
            *value = linear(&voxels.view(), to_voxel.transform_point3(place), -2000.0) * 0.001;
        }
        black_box(&values);
    });
    time("plane moved, line by line", || {
        volume.sample(&grid(), &mut values);
        black_box(&values);
    });
    let cases = [
        ("plane, as it is", plane, still),
        ("plane, default augmentation", plane, defaults),
        ("plane, every augmentation", plane, all),
        ("slab of 7, default augmentation", slab, defaults),
        ("slab of 7, every augmentation", slab, all),
    ];
    for (name, view, augment) in cases {
        let mut values = vec![0.0; view.voxels()];
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        time(name, || {
            let change = augment.draw(&view, false, &mut rng);
            change.see(volume, &view, centre, &mut rng, &mut values);
            black_box(&values);
        });
    }
}
