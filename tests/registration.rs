//! Real patients' scans beside the transforms that their publishers computed.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use glam::{DAffine3, DMat3, DVec3};
use mivox::{
    geometry::{Grid, ras_from_lps},
    intensity,
    io::image::open_volume,
    phantom::{Anatomy, Contrast, Scene, intensity_at},
    register::{Alignment, Doubt, Image, Settings, align},
    resample::Resampler,
    study::{Family, Modality},
};
use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// The rigid or affine map of an ITK text file, in RAS+ mm: from the places of the
/// image that was held fixed to those of the one that was moved.
///
/// # Source
/// ITK Software Guide 2, 3.9.17 *MatrixOffsetTransformBase*: y = A (x − c) + c + t.
fn itk_transform(path: &Path) -> DAffine3 {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains("MatrixOffsetTransformBase_double_3_3"));
    let numbers = |key: &str| -> Vec<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.split_whitespace().map(|word| word.parse().unwrap()).collect()
    };
    let p = numbers("Parameters:");
    let centre = DVec3::from_slice(&numbers("FixedParameters:"));
    let matrix = DMat3::from_cols_slice(&p[..9]).transpose();
    let shift = DVec3::from_slice(&p[9..]) + centre - matrix * centre;
    let lps = DAffine3::from_mat3_translation(matrix, shift);
    ras_from_lps() * lps * ras_from_lps().inverse()
}

fn open(path: &Path) -> (Array3<f32>, Grid) {
    let (voxels, head) = open_volume(path, 0).unwrap();
    (voxels, head.grid)
}

fn image(voxels: Array3<f32>, grid: &Grid) -> Image {
    let intensity = intensity::Settings {
        ct_window_hu: [-1000.0, 1000.0],
        clip_z: 5.0,
        pet_window_suv: None,
        percentiles: None,
    };
    Image::new(voxels, grid, Family::Mr, &intensity, Settings::new(0).finest_mm).unwrap()
}

/// A ball of 80 mm around a place: half of its places on its surface, half inside.
fn brain_sized(centre: DVec3) -> Vec<DVec3> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
    (0..1000)
        .map(|n| {
            let mut normal = || StandardNormal.sample(&mut rng);
            let direction = DVec3::new(normal(), normal(), normal()).normalize_or(DVec3::X);
            let inside = if n % 2 == 0 { 1.0 } else { rng.random::<f64>().cbrt() };
            centre + 80.0 * inside * direction
        })
        .collect()
}

/// Median and largest distance in mm between where two maps take some places.
fn error_mm(a: &DAffine3, b: &DAffine3, places: &[DVec3]) -> [f64; 2] {
    let mut apart: Vec<f64> =
        places.iter().map(|&p| a.transform_point3(p).distance(b.transform_point3(p))).collect();
    apart.sort_by(f64::total_cmp);
    [apart[apart.len() / 2], apart[apart.len() - 1]]
}

/// The rigid map that takes some places nearest to where another map takes them.
///
/// # Source
/// Arun, Huang and Blostein 1987, *Least-squares fitting of two 3-D point sets*.
fn nearest_rigid(map: &DAffine3, places: &[DVec3]) -> DAffine3 {
    let count = places.len() as f64;
    let from: DVec3 = places.iter().sum::<DVec3>() / count;
    let to = map.transform_point3(from);
    let moment = places.iter().fold(DMat3::ZERO, |sum, &p| {
        let (a, b) = (p - from, map.transform_point3(p) - to);
        sum + DMat3::from_cols(b * a.x, b * a.y, b * a.z)
    });
    let svd = nalgebra::Matrix3::from_column_slice(&moment.to_cols_array()).svd(true, true);
    let turn = svd.u.unwrap() * svd.v_t.unwrap();
    assert!(turn.determinant() > 0.0);
    let turn = DMat3::from_cols_slice(turn.as_slice());
    DAffine3::from_mat3_translation(turn, to - turn * from)
}

/// An alignment that the publishers give.
struct Pair {
    name: String,
    fixed: PathBuf,
    moving: PathBuf,
    moving_from_fixed: DAffine3,
}

/// The pairs of which both images are there, and how many are not.
fn published(folder: &Path) -> (Vec<Pair>, usize) {
    let (mut pairs, mut absent) = (Vec::new(), 0);
    let mut patients: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    patients.retain(|path| path.is_dir());
    patients.sort();
    for patient in patients {
        let name = patient.file_name().unwrap().to_string_lossy().into_owned();
        let file = |name: String| patient.join(name);
        let mut add = |name: String, fixed: String, moving: String, map: &dyn Fn() -> DAffine3| {
            let (fixed, moving) = (file(fixed), file(moving));
            if fixed.exists() && moving.exists() {
                pairs.push(Pair { name, fixed, moving, moving_from_fixed: map() });
            } else {
                absent += 1;
            }
        };
        for study in 1..=2 {
            for modality in ["T1W", "T2W"] {
                add(
                    format!("{name} study{study} {modality}"),
                    format!("study{study}_FLAIR.nii.gz"),
                    format!("study{study}_{modality}.nii.gz"),
                    &|| {
                        itk_transform(&file(format!(
                            "study{study}_{modality}_intrastudy_to_FLAIR.txt"
                        )))
                    },
                );
            }
        }
        add(
            format!("{name} study2 FLAIR"),
            "study1_FLAIR.nii.gz".to_owned(),
            "study2_FLAIR.nii.gz".to_owned(),
            &|| {
                let flair_from_common = |study: usize| {
                    itk_transform(&file(format!("study{study}_FLAIR_to_common_space.txt")))
                };
                flair_from_common(2) * flair_from_common(1).inverse()
            },
        );
    }
    (pairs, absent)
}

/// What one alignment was off by.
struct Outcome {
    name: String,
    median: f64,
    largest: f64,
    doubt: Option<Doubt>,
}

/// Aligns every pair of which both scans are there, and prints a table of it;
/// `None` without the scans. `prepare` is what each scan is brought to before.
fn align_all(prepare: impl Fn(Array3<f32>, Grid) -> (Array3<f32>, Grid)) -> Option<Vec<Outcome>> {
    let folder = Path::new("../shared/scans/ms/longitudinal");
    if !folder.is_dir() {
        println!("skipped: ../shared/scans/ms/longitudinal is absent");
        return None;
    }
    let (pairs, absent) = published(folder);
    assert!(pairs.len() >= 10, "only {} pairs", pairs.len());
    println!(
        "| moving scan | apart before: median, largest, mm | error: median, largest, mm | of the nearest rigid map | halves, mm | gain | explained | s |\n\
         |---|---|---|---|---|---|---|---|"
    );
    let mut outcomes = Vec::new();
    for Pair { name, fixed, moving, moving_from_fixed } in pairs {
        let (fixed, moving) = (open(&fixed), open(&moving));
        let places = brain_sized(fixed.1.centre_mm());
        let begin = Instant::now();
        let [fixed, moving] = [fixed, moving].map(|(voxels, grid)| {
            let (voxels, grid) = prepare(voxels, grid);
            image(voxels, &grid)
        });
        let Alignment { moving_from_fixed: found, quality, .. } =
            align(&fixed, &moving, &Settings::new(0)).unwrap();
        let seconds = begin.elapsed().as_secs_f64();
        let before = error_mm(&DAffine3::IDENTITY, &moving_from_fixed, &places);
        let [median, largest] = error_mm(&found, &moving_from_fixed, &places);
        let nearest = nearest_rigid(&moving_from_fixed, &places);
        let least = error_mm(&nearest, &moving_from_fixed, &places);
        println!(
            "| {name} | {:.1}, {:.1} | {median:.2}, {largest:.2} | {:.2}, {:.2} | {:.2} | {:.1} | {:.2} | {seconds:.1} |",
            before[0],
            before[1],
            least[0],
            least[1],
            quality.halves_mm,
            quality.gain,
            quality.explained
        );
        outcomes.push(Outcome { name, median, largest, doubt: quality.doubt() });
    }
    let worst = |of: fn(&Outcome) -> f64| outcomes.iter().map(of).fold(0.0, f64::max);
    println!(
        "{} pairs: largest median {:.2} mm, largest error {:.2} mm; {absent} transforms have no image",
        outcomes.len(),
        worst(|outcome| outcome.median),
        worst(|outcome| outcome.largest)
    );
    Some(outcomes)
}

#[test]
fn the_publishers_transforms_are_found() {
    for Outcome { name, median, largest, doubt } in
        align_all(|voxels, grid| (voxels, grid)).unwrap_or_default()
    {
        assert!(median <= 1.0 && largest <= 3.0, "{name}: median {median}, largest {largest} mm");
        assert_eq!(doubt, None, "{name}");
    }
}

#[test]
#[ignore = "prints what is lost where prepared volumes are aligned in place of scans"]
fn prepared_volumes_in_place_of_scans() {
    for spacing_mm in [2.0, 4.0] {
        println!("\nprepared at {spacing_mm} mm");
        align_all(|voxels, grid| {
            let onto = grid.covering_ras([spacing_mm; 3]).unwrap();
            (Resampler::linear(0.0).resample(voxels.view(), &grid, &onto).unwrap(), onto)
        });
    }
}

#[test]
fn what_shows_other_anatomy_is_refused() {
    let scans = Path::new("../shared/scans");
    if !scans.is_dir() {
        println!("skipped: ../shared/scans is absent");
        return;
    }
    let ms = scans.join("ms/longitudinal");
    let (flair, grid) = open(&ms.join("patient01/study1_FLAIR.nii.gz"));
    let upside_down = flair.slice(ndarray::s![..;-1, .., ..]).to_owned();
    let back_to_front = flair.slice(ndarray::s![.., ..;-1, ..]).to_owned();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(2);
    let noise = flair.mapv(|_| 100.0 * rng.random::<f32>());
    let head = image(flair, &grid);
    let leg = |patient: &str| {
        open(&scans.join(format!("sarcoma/cropped/{patient}/MR_T1/nifti/image.nii.gz")))
    };
    let others = [
        ("noise", (noise, grid)),
        ("itself upside down", (upside_down, grid)),
        ("itself back to front", (back_to_front, grid)),
        ("a leg", leg("STS_001")),
        ("another leg", leg("STS_002")),
        ("a phantom's head", (phantom(Modality::T1, DAffine3::IDENTITY, &grid), grid)),
    ];
    for (name, (voxels, grid)) in others {
        let moving = image(voxels, &grid);
        let doubt = align(&head, &moving, &Settings::new(0))
            .map(|found| (found.quality.doubt(), found.quality));
        println!("a head and {name}: {doubt:?}");
        assert!(!matches!(doubt, Ok((None, _))), "a head and {name} are taken to show the same");
    }
}

/// A phantom's head in a pose, with noise.
fn phantom(modality: Modality, pose: DAffine3, grid: &Grid) -> Array3<f32> {
    let anatomy = Anatomy::of_subject(7, "01");
    let scene = Scene { anatomy: &anatomy, session: 0, ras_from_head: pose };
    let contrast = Contrast::of(modality).unwrap();
    let mut noise = rand_chacha::ChaCha8Rng::seed_from_u64(modality as u64);
    let [ni, nj, nk] = grid.shape;
    Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| {
        let place = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
        let normal: f32 = StandardNormal.sample(&mut noise);
        100.0 * (intensity_at(&scene, &contrast, place) + 0.03 * normal).abs()
    })
}

/// Thick slices, tilted, as clinical protocols have them.
fn thick(slice_mm: f64, tilt: f64) -> Grid {
    let axes = DMat3::from_rotation_x(tilt) * DMat3::from_rotation_y(-0.5 * tilt);
    let matrix = axes * DMat3::from_diagonal(DVec3::new(-1.6, -1.6, slice_mm));
    let shape = [120, 130, (150.0 / slice_mm) as usize];
    let middle = DVec3::from_array(shape.map(|n| (n as f64 - 1.0) / 2.0));
    Grid { shape, ras_from_voxel: DAffine3::from_mat3_translation(matrix, -(matrix * middle)) }
}

#[test]
fn a_phantom_that_moved_is_found_in_another_contrast_and_other_slices() {
    let turn = DMat3::from_rotation_z(0.2) * DMat3::from_rotation_x(0.15);
    let moved = DAffine3::from_mat3_translation(turn, DVec3::new(14.0, -9.0, 22.0));
    let (fixed_grid, moving_grid) = (thick(3.0, 0.05), thick(4.0, -0.12));
    let fixed = image(phantom(Modality::Flair, DAffine3::IDENTITY, &fixed_grid), &fixed_grid);
    let moving = image(phantom(Modality::T1, moved, &moving_grid), &moving_grid);
    let places = brain_sized(DVec3::ZERO);
    let found = align(&fixed, &moving, &Settings::new(0)).unwrap();
    let [median, largest] = error_mm(&found.moving_from_fixed, &moved, &places);
    println!("a phantom: median {median:.2}, largest {largest:.2} mm, {:?}", found.quality);
    assert!(largest < 0.5, "{largest} mm");
    assert_eq!(found.quality.doubt(), None);
    // The other way round the map is the inverse one.
    let back = align(&moving, &fixed, &Settings::new(0)).unwrap();
    let [_, largest] = error_mm(&back.moving_from_fixed.inverse(), &moved, &places);
    assert!(largest < 0.5, "{largest} mm");
}

#[test]
fn what_is_no_fit_to_a_phantom_is_refused() {
    let grid = thick(4.0, 0.0);
    let head = phantom(Modality::T2, DAffine3::IDENTITY, &grid);
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(5);
    let noise = head.mapv(|_| rng.random::<f32>());
    let [ni, nj, nk] = grid.shape;
    // A limb: two bones in muscle in fat.
    let limb = Array3::from_shape_fn((nk, nj, ni), |(k, j, i)| {
        let place = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
        let from = |x: f64, y: f64| (place.x - x).hypot(place.y - y);
        let value = match (from(0.0, 0.0), from(-15.0, 8.0).min(from(12.0, -4.0))) {
            (axis, _) if axis > 70.0 => 0.0,
            (axis, _) if axis > 60.0 => 3.0,
            (_, bone) if bone < 9.0 => 0.5,
            _ => 1.5,
        };
        100.0 * (value + 0.05 * rng.random::<f32>())
    });
    let upside_down = phantom(Modality::Flair, DAffine3::IDENTITY, &grid);
    let upside_down = upside_down.slice(ndarray::s![..;-1, .., ..]).to_owned();
    let far = DAffine3::from_translation(DVec3::new(0.0, 0.0, 125.0));
    let head = image(head, &grid);
    for (name, voxels) in [
        ("noise", noise),
        ("a limb", limb),
        ("a head upside down", upside_down),
        ("little overlap", phantom(Modality::Flair, far, &grid)),
    ] {
        let doubt = align(&head, &image(voxels, &grid), &Settings::new(0))
            .map(|found| (found.quality.doubt(), found.quality));
        println!("a phantom and {name}: {doubt:?}");
        assert!(!matches!(doubt, Ok((None, _))), "{name} is taken to show the same");
    }
}
