//! The cohort as its readers get it, against what is known about it.

use std::{collections::BTreeMap, path::PathBuf, sync::atomic::AtomicUsize};

use ndarray::Array3;

use super::*;
use crate::{
    geometry::{Affine, DVec3, Grid, affine_from_rows, affine_to_rows},
    io::{dicom, image, series},
};

/// Two subjects, the second as DICOM, in voxels large enough for an unoptimised build.
fn small() -> Settings {
    Settings {
        shape: [32, 32, 16],
        spacing_mm: [6.6, 6.6, 9.6],
        dicom_subjects: 1,
        ..Settings::with_subjects(2)
    }
}

fn made(settings: &Settings) -> (tempfile::TempDir, Truth) {
    let root = tempfile::tempdir().unwrap();
    generate(root.path(), settings, &|| ()).unwrap();
    let truth = Truth::open(root.path()).unwrap();
    (root, truth)
}

/// Every file below a folder with its bytes, under its path relative to it.
fn files_below(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut folders = vec![root.to_owned()];
    let mut files = BTreeMap::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                files.insert(name, fs::read(path).unwrap());
            }
        }
    }
    files
}

/// The series that the DICOM files of a folder make, and how many images make none.
fn assembled(folder: &Path) -> (Vec<series::Series>, usize) {
    let instances = fs::read_dir(folder)
        .unwrap()
        .map(|entry| dicom::open_header(&entry.unwrap().path()).unwrap())
        .collect();
    let assembly = series::assemble(instances);
    let refused = assembly.refused.iter().map(|r| r.files.len()).sum::<usize>();
    (assembly.series, refused + assembly.others.iter().map(|o| o.files.len()).sum::<usize>())
}

fn read(root: &Path, scan: &ScanTruth) -> (Array3<f32>, Grid) {
    let path = root.join(&scan.path);
    let Some(uid) = &scan.series_uid else {
        let (voxels, head) = image::open_volume(&path, 0).unwrap();
        return (voxels, head.grid);
    };
    let (all, _) = assembled(&path);
    let found = all.iter().find(|s| s.identity.series == *uid).unwrap();
    assert_eq!(found.modality.as_str(), scan.modality);
    (series::read_series(&found.slices, &found.grid).unwrap(), found.grid)
}

fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let product = |x: &[f64], y: &[f64], mx: f64, my: f64| -> f64 {
        x.iter().zip(y).map(|(p, q)| (p - mx) * (q - my)).sum()
    };
    product(a, b, mean_a, mean_b)
        / (product(a, a, mean_a, mean_a) * product(b, b, mean_b, mean_b)).sqrt()
}

#[test]
fn the_same_settings_give_the_same_bytes_on_any_number_of_threads() {
    let settings = Settings { corrupt: true, sessions: 1, ..small() };
    let files = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let (root, _) = pool.install(|| made(&settings));
        files_below(root.path())
    });
    assert!(files[0] == files[1]);
    let (other, _) = made(&Settings { seed: 1, ..settings });
    assert!(files[0] != files_below(other.path()));
}

#[test]
fn the_files_show_what_the_truth_says() {
    let settings =
        Settings { modalities: vec![Modality::T1, Modality::Ct, Modality::Pd], ..small() };
    let (root, truth) = made(&settings);
    assert_eq!(truth.subjects.len(), 2);
    assert_eq!(truth.subjects[1].patient_id.as_deref(), Some("PHANTOM^02"));
    for subject in &truth.subjects {
        let anatomy = Anatomy::of_subject(truth.seed, &subject.label);
        for (session, visit) in subject.sessions.iter().enumerate() {
            let elsewhere = subject.sessions[1 - session].pose();
            for scan in &visit.scans {
                let (voxels, grid) = read(root.path(), scan);
                assert_eq!(grid.shape, scan.shape);
                let written = affine_from_rows(&scan.ras_from_voxel);
                assert!(grid.ras_from_voxel.abs_diff_eq(written, 1e-4));
                let contrast = Contrast::of(scan.modality.parse().unwrap()).unwrap();
                let agreement = |ras_from_head: Affine| {
                    let scene = Scene { anatomy: &anatomy, session, ras_from_head };
                    let (mut known, mut seen) = (Vec::new(), Vec::new());
                    for ((k, j, i), &value) in voxels.indexed_iter() {
                        let mm = grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
                        known.push(f64::from(intensity_at(&scene, &contrast, mm)));
                        seen.push(f64::from(value));
                    }
                    correlation(&known, &seen)
                };
                let (right, wrong) = (agreement(visit.pose()), agreement(elsewhere));
                assert!(right > 0.97 && wrong < right - 0.01, "{} {right} {wrong}", scan.modality);
            }
        }
    }
}

#[test]
fn the_modalities_of_a_session_have_their_edges_in_the_same_places() {
    let anatomy = Anatomy::of_subject(3, "01");
    let scene = Scene { anatomy: &anatomy, session: 0, ras_from_head: Affine::IDENTITY };
    let scans = [Modality::T1, Modality::T2].map(|modality| {
        let name = scan::ScanName { seed: 3, subject: "01", session: "1", modality };
        let settings = Settings { shape: [64, 64, 32], spacing_mm: [3.3, 3.3, 4.8], ..small() };
        let grid = scan::grid_of(&name, &settings, false);
        scan::scan(&scene, &Contrast::of(modality).unwrap(), grid, &name).volume
    });
    // The nearest voxel is what a nearest neighbour needs no resampler for.
    let at = |volume: &crate::volume::Volume, mm: DVec3| {
        let voxel = volume.grid.ras_from_voxel.inverse().transform_point3(mm).round();
        let [i, j, k] = voxel.to_array().map(|v| v.max(0.0) as usize);
        f64::from(volume.voxels.get((k, j, i)).copied().unwrap_or(0.0))
    };
    let edge = |volume: &crate::volume::Volume, mm: DVec3| {
        let along = |step: DVec3| at(volume, mm + step) - at(volume, mm - step);
        [DVec3::X, DVec3::Y].map(|axis| along(axis * 4.0).abs()).iter().sum::<f64>()
    };
    let agreement = |shift: DVec3| {
        let (mut t1, mut t2) = (Vec::new(), Vec::new());
        for n in 0..20_000_usize {
            // An even lattice of the middle of the head.
            let lattice = DVec3::new((n % 40) as f64, (n / 40 % 50) as f64, (n / 2000) as f64);
            let mm = lattice * DVec3::new(3.0, 3.0, 8.0) - DVec3::new(60.0, 75.0, 35.0);
            t1.push(edge(&scans[0], mm));
            t2.push(edge(&scans[1], mm + shift));
        }
        correlation(&t1, &t2)
    };
    let together = agreement(DVec3::ZERO);
    for shift in [DVec3::X, DVec3::NEG_Y, DVec3::Z] {
        let apart = agreement(shift * 14.0);
        assert!(together > 0.3 && apart < 0.6 * together, "{together} {apart}");
    }
}

#[test]
fn only_the_lesion_changes_between_sessions_and_it_grows() {
    let (_root, truth) = made(&small());
    let subject = &truth.subjects[0];
    let anatomy = Anatomy::of_subject(truth.seed, &subject.label);
    let lesion = subject.parts.last().unwrap();
    let radius = |session: usize| subject.sessions[session].lesion_radius_mm;
    assert!(lesion.name == "lesion" && radius(1) > 1.15 * radius(0));
    for n in 0..4000 {
        let head = DVec3::new((n % 20) as f64, (n / 20 % 20) as f64, (n / 400) as f64 * 2.0)
            .mul_add(DVec3::splat(7.0), DVec3::splat(-66.0));
        let away = head.distance(DVec3::from_array(lesion.centre_mm)) - 1.6 * radius(1);
        if away > 2.0 {
            assert_eq!(anatomy.mixture_at(head, 0), anatomy.mixture_at(head, 1));
        }
    }
    // The radius is where tumour passes into oedema.
    let rim = DVec3::from_array(lesion.centre_mm) + DVec3::X * radius(1);
    assert!((anatomy.mixture_at(rim, 1)[Tissue::Tumour as usize] - 0.5).abs() < 0.01);
}

#[test]
fn bad_inputs_are_listed_and_bad() {
    let settings = Settings { corrupt: true, sessions: 1, ..Settings { subjects: 1, ..small() } };
    let (root, truth) = made(&settings);
    assert_eq!(truth.corrupt.len(), 6);
    for fault in &truth.corrupt {
        let paths: Vec<PathBuf> = fault.paths.iter().map(|p| root.path().join(p)).collect();
        let folder = paths[0].parent().unwrap();
        match fault.kind {
            FaultKind::EmptyFile => assert!(fs::read(&paths[0]).unwrap().is_empty()),
            FaultKind::TruncatedFile | FaultKind::HeaderPromisesMore => {
                assert!(image::open_volume(&paths[0], 0).is_err());
            }
            FaultKind::TextNamedDicom => assert!(dicom::open_header(&paths[0]).is_err()),
            FaultKind::MissingSlice | FaultKind::WaveringOrientation => {
                let (series, useless) = assembled(folder);
                assert!(series.is_empty() && useless == paths.len(), "{:?}", fault.kind);
            }
        }
    }
    let listed = truth.corrupt.iter().map(|fault| fault.paths.len()).sum::<usize>();
    let good = truth.subjects[0].sessions[0].scans.iter().map(|scan| scan.files).sum::<usize>();
    let texts = 5;
    assert_eq!(files_below(root.path()).len(), listed + good + texts);
}

#[test]
fn a_folder_in_use_and_bad_settings_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    let huge = Settings { shape: [100_000; 3], ..small() };
    let new = root.path().join("new");
    assert!(matches!(generate(&new, &huge, &|| ()), Err(PhantomError::Limit { .. })));
    assert!(!new.exists());
    fs::write(root.path().join("mine"), "").unwrap();
    assert!(matches!(generate(root.path(), &small(), &|| ()), Err(PhantomError::NotEmpty)));
    let done = AtomicUsize::new(0);
    let count = || {
        done.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    };
    let summary = generate(&new, &Settings { sessions: 1, ..small() }, &count).unwrap();
    assert_eq!((done.into_inner(), summary.subjects, summary.scans), (2, 2, 4));
}

#[test]
fn poses_are_rigid_and_take_the_parts_to_where_the_truth_has_them() {
    let (_root, truth) = made(&small());
    for subject in &truth.subjects {
        for session in &subject.sessions {
            let pose = session.pose();
            assert!((pose.matrix3.determinant() - 1.0).abs() < 1e-9);
            assert_eq!(affine_to_rows(&pose), session.ras_from_head);
            for (part, ras) in subject.parts.iter().zip(&session.centres_ras_mm) {
                let expected = pose.transform_point3(DVec3::from_array(part.centre_mm));
                assert!(expected.distance(DVec3::from_array(*ras)) < 2e-3);
            }
        }
    }
}
