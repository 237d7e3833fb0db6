//! `mivox convert`: volumes as NIfTI on their own grids, as another reader sees them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Output,
};

use mivox::{
    cohort::{CohortRow, Link, Quarantined},
    geometry::{Grid, affine_from_rows},
    io::dicom::{MrTiming, NewSlice, uid_of, write_slice},
    study::Modality,
    table,
};
use ndarray::Array2;

use crate::workplace::{Pipeline, SMALL, Workplace, checked, mivox, phantom, python, shared_scans};

fn convert(input: &Path, out: &Path, words: &[&str], code: i32) -> Output {
    let mut command = mivox(&["convert"]);
    command.arg(input).arg(out).args(words);
    checked(command, code)
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// What tests/python/test_converted.py says of a folder of results.
fn read_by_nibabel(out: &Path) {
    let mut command = python();
    command.args(["-m", "unittest", "tests/python/test_converted.py"]).env("MIVOX_OUT", out);
    checked(command, 0);
}

/// Modality, shape and affine in 1e-3 mm.
type Shown = (String, [u32; 3], Vec<i64>);

/// Every volume by subject and session, in the order of what they hold: what two
/// cohorts of the same scans share.
fn shown(rows: &[CohortRow]) -> Vec<Vec<Shown>> {
    let mut sessions: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.status == "volume") {
        let affine = row.affine.unwrap().map(|number| (number * 1e3).round() as i64).to_vec();
        sessions.entry((&row.subject, &row.session)).or_default().push((
            row.modality.clone(),
            row.shape.unwrap(),
            affine,
        ));
    }
    let mut sessions: Vec<Vec<_>> = sessions.into_values().collect();
    sessions.iter_mut().for_each(|volumes| volumes.sort());
    sessions.sort();
    sessions
}

#[test]
fn a_cohort_with_bad_inputs_becomes_a_bids_tree_that_is_the_same_cohort() {
    let sources = "[[source]]\nname = 'bids'\npath = 'converted/bids'\n";
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    let words = ["--subjects", "3", "--dicom-subjects", "1", "--corrupt"];
    let cohort = phantom(place.folder.path(), &words);
    let out = place.path("converted");
    let run = convert(&cohort, &out, &["--like", "bids"], 2);
    read_by_nibabel(&out);

    let rows: Vec<CohortRow> = table::read(&out.join("cohort.parquet")).unwrap();
    let quarantined: Vec<Quarantined> = table::read(&out.join("quarantine.parquet")).unwrap();
    assert!(quarantined.iter().any(|row| row.stage == "index"));
    assert!(quarantined.iter().any(|row| row.stage == "convert"), "a file ends early");
    // A volume whose file ends early is told when it is read.
    let refused: BTreeSet<&String> = quarantined
        .iter()
        .filter(|row| row.stage == "convert")
        .filter_map(|row| row.series.as_ref())
        .collect();
    let good: Vec<CohortRow> =
        rows.iter().filter(|row| !refused.contains(&row.series)).cloned().collect();
    let images = files(&out.join("bids"), ".nii.gz");
    assert_eq!(images.len(), shown(&good).iter().map(Vec::len).sum::<usize>());
    place.run(&["index"], 0);
    let again: Vec<CohortRow> = table::read(&place.results().join("cohort.parquet")).unwrap();
    assert_eq!(shown(&again), shown(&good));

    // Nothing says who it is but the linkage.
    let links: Vec<Link> = table::read(&out.join("linkage.parquet")).unwrap();
    let mut said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    for path in files(&out.join("bids"), "") {
        said.push_str(&path.strip_prefix(&out).unwrap().to_string_lossy());
        if !path.to_string_lossy().ends_with(".gz") {
            said.push_str(&fs::read_to_string(&path).unwrap());
        }
    }
    for link in links.iter().filter(|link| link.real.len() > 3) {
        assert!(!said.contains(&link.real), "{} is told", link.kind);
    }
}

#[test]
fn what_is_done_is_passed_over_and_what_is_gone_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let cohort = phantom(folder.path(), &["--subjects", "2", "--sessions", "1"]);
    let out = folder.path().join("converted");
    convert(&cohort, &out, &[], 0);
    let images = files(&out.join("nifti"), ".nii.gz");
    assert_eq!(images.len(), 4);
    let bytes = |paths: &[PathBuf]| -> Vec<Vec<u8>> {
        paths.iter().map(|path| fs::read(path).unwrap()).collect()
    };
    let before = bytes(&images);
    // One is gone, one is damaged where nobody looks, one was not finished.
    fs::remove_file(&images[0]).unwrap();
    fs::write(&images[1], b"as it was").unwrap();
    fs::remove_file(images[2].to_string_lossy().replace(".nii.gz", ".json")).unwrap();
    fs::write(&images[2], b"half").unwrap();
    convert(&cohort, &out, &[], 0);
    let after = bytes(&images);
    assert_eq!((&after[0], &after[2], &after[3]), (&before[0], &before[2], &before[3]));
    assert_eq!(after[1], b"as it was", "what is done is not done again");
    // In another way: all of it, and only once.
    convert(&cohort, &out, &["--uncompressed"], 0);
    assert_eq!(files(&out.join("nifti"), ".nii").len(), 4);
    assert_eq!(files(&out.join("nifti"), ".nii.gz").len(), 0);
}

#[test]
fn a_tilted_gantry_stays_in_the_affine() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("scans");
    fs::create_dir(&input).unwrap();
    let ras_from_voxel = affine_from_rows(&[
        [-0.8, 0.0, 0.0, 80.0],
        [0.0, -0.8, 1.1, 90.0],
        [0.0, 0.0, 3.0, -20.0],
        [0.0, 0.0, 0.0, 1.0],
    ]);
    let grid = Grid { shape: [12, 10, 8], ras_from_voxel };
    for k in 0..8 {
        // Slice 5 has padding in its corner.
        let pixels = Array2::from_shape_fn((10, 12), |(j, i)| {
            if k == 5 && i + j == 0 { -2000 } else { (100 * k + 10 * j + i) as i16 }
        });
        let slice = NewSlice {
            patient_id: "Miller^Ann",
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
            padding: Some(-2000),
            pixels: pixels.view(),
        };
        write_slice(fs::File::create(input.join(format!("{k}"))).unwrap(), &slice).unwrap();
    }
    let told = |out: &Path| -> serde_json::Value {
        let sidecar = files(&out.join("nifti"), ".json").remove(0);
        serde_json::from_str(&fs::read_to_string(sidecar).unwrap()).unwrap()
    };
    let out = folder.path().join("float");
    convert(&input, &out, &[], 0);
    read_by_nibabel(&out);
    let float = &told(&out)["Mivox"];
    assert_eq!((&float["sheared"], &float["qform_code"]), (&true.into(), &0.into()));
    assert!(
        (float["tilt_degrees"].as_f64().unwrap() - (1.1f64 / 3.0).atan().to_degrees()).abs() < 1e-6
    );
    assert!((float["gap_mm"].as_f64().unwrap() - 3.0).abs() < 1e-9);
    assert_eq!((&float["stored_as"], &float["unmeasured_voxels"]), (&"float32".into(), &1.into()));
    let out = folder.path().join("integer");
    convert(&input, &out, &["--padding", "-1024", "--name", "{modality}/{series}"], 0);
    read_by_nibabel(&out);
    assert_eq!(told(&out)["Mivox"]["stored_as"], "int16");
    assert_eq!(files(&out.join("nifti/CT"), ".nii.gz").len(), 1);

    // Without one of its slices it is no volume, unless that is wanted.
    fs::remove_file(input.join("3")).unwrap();
    convert(&input, &folder.path().join("refused"), &[], 1);
    let out = folder.path().join("filled");
    convert(&input, &out, &["--missing", "fill"], 0);
    read_by_nibabel(&out);
    let filled = &told(&out)["Mivox"];
    assert_eq!((&filled["missing_slices"], &filled["source_files"]), (&1.into(), &7.into()));
    assert!(filled["remarks"].as_str().unwrap().contains("1 of 8 slices are missing"));
    assert_eq!(filled["tilt_degrees"], float["tilt_degrees"]);
    let rows: Vec<CohortRow> = table::read(&out.join("cohort.parquet")).unwrap();
    assert_eq!((rows[0].missing_slices, rows[0].shape), (1, Some([12, 10, 8])));
    assert_eq!(convert(&input, &out, &["--missing", "guess"], 1).stdout, b"");
    index_again_where_the_policy_changed(&input);
}

/// The stage's digest holds the policy, and its cohort what comes of it.
fn index_again_where_the_policy_changed(input: &Path) {
    let sources = format!("[[source]]\nname = 'ct'\npath = '{}'\n", input.display());
    let place = Workplace::new(&Pipeline { sources: &sources, rest: SMALL });
    let volumes = || {
        let rows: Vec<CohortRow> = table::read(&place.results().join("cohort.parquet")).unwrap();
        rows.iter().filter(|row| row.status == "volume").count()
    };
    place.run(&["index"], 2);
    assert_eq!(volumes(), 0);
    let pipeline = place.path("pipeline.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(&pipeline, text + "[index]\nmissing = 'fill'\n").unwrap();
    place.run(&["index"], 0);
    assert_eq!(volumes(), 1);
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let cohort = phantom(folder.path(), &["--subjects", "1", "--sessions", "2"]);
    let out = folder.path().join("converted");
    for (out, words, said) in [
        (cohort.join("inside"), &[][..], "lies in the input"),
        (out.clone(), &["--name", "../{series}"][..], "may hold"),
        (out.clone(), &["--name", "{subject}_{modality}"][..], "add {series}"),
        (out.clone(), &["--padding", "nan"][..], "finite"),
    ] {
        let run = convert(&cohort, &out, words, 1);
        let message = String::from_utf8_lossy(&run.stderr).into_owned();
        assert!(message.contains(said), "{message}");
    }
    assert!(!cohort.join("inside").exists());
}

#[test]
fn nothing_is_left_of_a_scan_that_became_unreadable() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--subjects", "2", "--sessions", "1", "--dicom-subjects", "0"];
    let cohort = phantom(folder.path(), &words);
    let out = folder.path().join("converted");
    convert(&cohort, &out, &[], 0);
    let source = files(&cohort, ".nii.gz").remove(0);
    let bytes = fs::read(&source).unwrap();
    fs::write(&source, &bytes[..bytes.len() - bytes.len() / 4]).unwrap();
    convert(&cohort, &out, &[], 2);
    assert_eq!(files(&out.join("nifti"), ".nii.gz").len(), 3);
    assert_eq!(files(&out.join("nifti"), ".json").len(), 3);
}

#[test]
fn dicom_and_its_nifti_twin_are_one_volume() {
    let Some(scans) = shared_scans("sarcoma/cropped") else { return };
    let folder = tempfile::tempdir().unwrap();
    // The twins are no BIDS: they are quarantined, and their DICOM is not.
    convert(&scans, folder.path(), &[], 2);
    assert_eq!(files(&folder.path().join("nifti"), ".nii.gz").len(), 6);
    let mut command = python();
    command
        .args(["-m", "unittest", "tests/python/test_converted.py"])
        .env("MIVOX_OUT", folder.path())
        .env("MIVOX_TWINS", scans);
    checked(command, 0);
}
