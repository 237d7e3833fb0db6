//! Damaged files among sound ones: one verdict each, and no volume that is cut short.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mivox::{
    cohort::{CohortRow, Link, Quarantined},
    geometry::{Grid, affine_from_rows},
    io::dicom::{MrTiming, NewSlice, uid_of, write_slice},
    study::Modality,
    table,
};
use ndarray::Array2;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    hostile::nifti,
    workplace::{checked, mivox, phantom},
};

/// The tables that `mivox convert` leaves.
fn convert(input: &Path, out: &Path, code: i32) -> (Vec<CohortRow>, Vec<Quarantined>, Vec<Link>) {
    let mut command = mivox(&["convert"]);
    command.arg(input).arg(out);
    checked(command, code);
    let path = |name: &str| out.join(name);
    (
        table::read(&path("cohort.parquet")).unwrap(),
        table::read(&path("quarantine.parquet")).unwrap(),
        table::read(&path("linkage.parquet")).unwrap(),
    )
}

/// Changes a few bytes of the first thousand, or of all.
fn damage(bytes: &mut [u8], random: &mut ChaCha8Rng) {
    let end = if random.random() { bytes.len().min(1000) } else { bytes.len() };
    for _ in 0..random.random_range(1..=4) {
        bytes[random.random_range(0..end)] ^= 1 << random.random_range(0..8);
    }
}

#[test]
fn every_file_of_a_damaged_cohort_has_one_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--subjects", "4", "--sessions", "1", "--dicom-subjects", "2"];
    let cohort = phantom(folder.path(), &words).canonicalize().unwrap();
    // All that is a scan: notes and tables lie beside them.
    let (_, _, links) = convert(&cohort, &folder.path().join("sound"), 0);
    let scans = links.iter().filter(|link| link.kind == "file");
    let all: BTreeSet<PathBuf> = scans.map(|link| link.real.clone().into()).collect();
    let mut random = ChaCha8Rng::seed_from_u64(4);
    for path in &all {
        if random.random_range(0..4) == 0 {
            let mut bytes = fs::read(path).unwrap();
            damage(&mut bytes, &mut random);
            fs::write(path, bytes).unwrap();
        }
    }
    let (rows, quarantined, links) = convert(&cohort, &folder.path().join("out"), 2);
    let at_index: BTreeSet<&str> = quarantined
        .iter()
        .filter(|row| row.stage == "index")
        .map(|row| row.file.as_str())
        .collect();
    let series: BTreeSet<&str> = rows.iter().map(|row| row.series.as_str()).collect();
    for path in &all {
        let real = path.to_string_lossy();
        let links: Vec<&Link> =
            links.iter().filter(|link| link.kind == "file" && link.real == real).collect();
        let refused = links.iter().any(|link| at_index.contains(link.pseudonym.as_str()));
        let used = links
            .iter()
            .any(|link| link.series.as_ref().is_some_and(|s| series.contains(s.as_str())));
        assert!(refused != used, "{path:?}: refused {refused}, used {used}");
    }
    assert!(rows.iter().any(|row| row.status == "volume") && !at_index.is_empty());
}

#[test]
fn a_damaged_sidecar_costs_nothing_but_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::create_dir(&input).unwrap();
    let whole = br#"{"Modality": "MR", "ImageType": ["ORIGINAL", "PRIMARY", "M", "NORM"],
        "ContrastBolusIngredient": "GADOLINIUM", "EchoTime": 0.03, "Deep": {"a": [1, 2.5e3, null]}}"#;
    let mut random = ChaCha8Rng::seed_from_u64(5);
    for number in 0..300 {
        let mut sidecar = whole.to_vec();
        damage(&mut sidecar, &mut random);
        sidecar.truncate(if number < 100 { whole.len() * number / 100 } else { whole.len() });
        let name = |ending: &str| input.join(format!("sub-{number}_T1w.{ending}"));
        fs::write(name("json"), sidecar).unwrap();
        fs::write(name("nii"), nifti([4, 4, 4])).unwrap();
    }
    let (rows, quarantined, _) = convert(&input, &folder.path().join("out"), 0);
    assert!(quarantined.is_empty());
    assert_eq!(rows.len(), 300);
    let told = |row: &&CohortRow| row.reason.as_ref().is_some_and(|r| r.contains("JSON"));
    assert!(rows.iter().filter(told).count() >= 100, "what was cut is told");
}

/// A series of five slices in a folder of its own.
fn series(input: &Path) -> Vec<PathBuf> {
    fs::create_dir_all(input).unwrap();
    let ras_from_voxel = affine_from_rows(&[
        [-0.8, 0.0, 0.0, 80.0],
        [0.0, -0.8, 0.0, 90.0],
        [0.0, 0.0, 3.0, -20.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let grid = Grid { shape: [40, 40, 5], ras_from_voxel };
    let write = |k: usize| {
        let pixels = Array2::from_shape_fn((40, 40), |(j, i)| (100 * k + 10 * j + i) as i16);
        let slice = NewSlice {
            patient_id: "somebody",
            study_uid: &uid_of(&["study"]),
            series_uid: &uid_of(&["series"]),
            sop_uid: &uid_of(&["slice", &k.to_string()]),
            frame_of_reference: &uid_of(&["frame"]),
            modality: Modality::Ct,
            timing: MrTiming::default(),
            body_part: None,
            grid: &grid,
            k,
            instance_number: k as u32 + 1,
            slope: 1.0,
            intercept: -1024.0,
            bits_stored: 16,
            padding: None,
            pixels: pixels.view(),
        };
        let path = input.join(format!("{k}.dcm"));
        write_slice(fs::File::create(&path).unwrap(), &slice).unwrap();
        path
    };
    (0..5).map(write).collect()
}

/// All series in one index: each has its last slice cut at another percent.
#[test]
fn a_series_whose_last_slice_is_cut_is_no_shorter_volume() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    // The last one is whole.
    for percent in 0..=100 {
        let files = series(&input.join(percent.to_string()));
        for (k, file) in files.iter().enumerate() {
            let bytes = of_series(fs::read(file).unwrap(), percent);
            let end = if k == 4 { bytes.len() * percent / 100 } else { bytes.len() };
            fs::write(file, &bytes[..end]).unwrap();
        }
    }
    let (rows, quarantined, links) = convert(&input, &folder.path().join("out"), 2);
    let volumes: Vec<_> = rows.iter().filter(|row| row.status == "volume").collect();
    assert_eq!(volumes.len(), 1, "{} volumes", volumes.len());
    assert_eq!(volumes[0].shape, Some([40, 40, 5]));
    // One verdict a file.
    assert_eq!(quarantined.len(), 500);
    let slices = links.iter().filter(|link| link.series.as_ref() == Some(&volumes[0].series));
    assert_eq!(slices.filter(|link| link.kind == "file").count(), 5);
}

#[test]
fn an_empty_slice_is_one_however_it_is_called() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    for (place, called) in [("im", "IM00012"), ("uid8", "CT.1.2.840.11"), ("dcm", "a.b.")] {
        for (k, file) in series(&input.join(place)).iter().enumerate() {
            let bytes = of_series(fs::read(file).unwrap(), place.len());
            let ending = if place == "dcm" { ".dcm" } else { "" };
            let name = file.with_file_name(format!("{called}{k}{ending}"));
            fs::remove_file(file).unwrap();
            fs::write(name, if k == 4 { &[] } else { &bytes[..] }).unwrap();
        }
    }
    let (rows, quarantined, _) = convert(&input, &folder.path().join("out"), 1);
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!(quarantined.len(), 15);
}

#[cfg(unix)]
#[test]
fn a_slice_that_was_never_fetched_is_missed() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    let last = series(&input).pop().unwrap();
    fs::remove_file(&last).unwrap();
    std::os::unix::fs::symlink("nowhere", &last).unwrap();
    let (rows, quarantined, _) = convert(&input, &folder.path().join("out"), 1);
    assert!(rows.is_empty(), "{rows:?}");
    assert_eq!(quarantined.len(), 5);
}

/// The file with another Series Instance UID for each number.
fn of_series(mut bytes: Vec<u8>, number: usize) -> Vec<u8> {
    let uid = uid_of(&["series"]).into_bytes();
    let at = bytes.windows(uid.len()).position(|window| window == uid).unwrap() + uid.len();
    bytes[at - 3..at].copy_from_slice(format!("{number:03}").as_bytes());
    bytes
}
