//! What is corrected between two runs reaches every table, and no table tells of another
//! cohort than the one beside it.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use mivox::{
    cohort::{CohortRow, Link, Quarantined},
    prepare::VolumeRow,
    table,
};

use crate::{
    hostile::nifti,
    workplace::{Pipeline, SMALL, Workplace, checked, mivox},
};

const SOURCE: &str = "[[source]]\nname = 'scans'\npath = 'scans'\n";

/// A pipeline on two volumes, whose names are `first-second_T1.nii`.
fn place(more: &str) -> Workplace {
    let place = Workplace::new(&Pipeline { sources: &format!("{SOURCE}{more}"), rest: SMALL });
    fs::create_dir(place.path("scans")).unwrap();
    for name in ["ann-bob_T1.nii", "cy-bob_T1.nii"] {
        fs::write(place.path("scans").join(name), nifti([12, 12, 12])).unwrap();
    }
    place
}

/// Replaces words of the pipeline.
fn correct(place: &Workplace, wrong: &str, right: &str) {
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.contains(wrong));
    fs::write(path, text.replace(wrong, right)).unwrap();
}

fn read<R: table::Record>(place: &Workplace, name: &str) -> Vec<R> {
    table::read(&place.results().join(name)).unwrap()
}

#[test]
fn another_key_renames_every_table() {
    let place = place("pattern = '{subject}-{session}_T1.nii'\nmodality = 'T1'\n");
    let subjects = || -> [BTreeSet<String>; 2] {
        place.run(&["index"], 0);
        place.run(&["prepare"], 0);
        [
            read(&place, "cohort.parquet").into_iter().map(|row: CohortRow| row.subject).collect(),
            read(&place, "volumes.parquet").into_iter().map(|row: VolumeRow| row.subject).collect(),
        ]
    };
    let [before, prepared] = subjects();
    assert_eq!(before, prepared);
    correct(&place, "test.key", "other.key");
    let [after, prepared] = subjects();
    assert_eq!(after, prepared);
    assert!(before.is_disjoint(&after));
}

#[test]
fn another_subject_or_modality_is_that_of_the_prepared_volume_too() {
    let place = place("pattern = '{subject}-{session}_T1.nii'\nmodality = 'T1'\n");
    let run = || {
        place.run(&["index"], 0);
        place.run(&["prepare"], 0);
        let cohort: Vec<CohortRow> = read(&place, "cohort.parquet");
        let volumes: Vec<VolumeRow> = read(&place, "volumes.parquet");
        for row in &volumes {
            let own = cohort.iter().find(|own| own.series == row.series).unwrap();
            assert_eq!(
                (&row.subject, &row.session, &row.study, &row.modality),
                (&own.subject, &own.session, &own.study, &own.modality)
            );
        }
        volumes
    };
    let wrong = run();
    correct(&place, "{subject}-{session}_T1", "{session}-{subject}_T1");
    let right = run();
    let subjects = |rows: &[VolumeRow]| {
        rows.iter().map(|row| row.subject.clone()).collect::<BTreeSet<String>>().len()
    };
    assert_eq!((subjects(&wrong), subjects(&right)), (2, 1));
    // The voxels did not change, and are not made again; of CT others come.
    let scale = |rows: &[VolumeRow]| rows[0].intensity_scale;
    assert_eq!(scale(&wrong), scale(&right));
    correct(&place, "modality = 'T1'", "modality = 'CT'");
    let ct = run();
    assert_ne!(scale(&right), scale(&ct));
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

#[test]
fn a_converted_scan_of_another_subject_is_there_once() {
    let place = place("");
    let (scans, out) = (place.path("scans"), place.path("converted"));
    let convert = |pattern: &str, code| {
        let mut command = mivox(&["convert", "--modality", "T1", "--pattern", pattern]);
        command.arg(&scans).arg(&out);
        String::from_utf8_lossy(&checked(command, code).stderr).into_owned()
    };
    convert("{subject}-{session}_T1.nii", 0);
    let note = out.join("nifti/note.json");
    fs::write(&note, "{}").unwrap();
    let said = convert("{session}-{subject}_T1.nii", 0);
    assert!(said.contains("removed: 2 images"), "{said}");
    let rows: Vec<CohortRow> = table::read(&out.join("cohort.parquet")).unwrap();
    let images = files(&out.join("nifti"), ".nii.gz");
    assert_eq!(images.len(), 2);
    for path in &images {
        assert!(path.to_string_lossy().contains(&rows[0].subject), "{path:?}");
        let sidecar = path.to_string_lossy().replace(".nii.gz", ".json");
        assert!(fs::read_to_string(sidecar).unwrap().contains(&rows[0].subject));
    }
    assert!(note.exists());
    // What is not there any more stays, and that is said.
    fs::remove_file(scans.join("cy-bob_T1.nii")).unwrap();
    let said = convert("{session}-{subject}_T1.nii", 0);
    assert!(said.contains("1 image of an earlier run stay"), "{said}");
    assert_eq!(files(&out.join("nifti"), ".nii.gz").len(), 2);
}

#[test]
fn the_tables_of_a_pipeline_are_of_its_cohort() {
    let place = place("pattern = '{subject}-{session}_T1.nii'\nmodality = 'T1'\n");
    place.run(&["index"], 0);
    let before: Vec<Link> = read(&place, "linkage.parquet");
    let mut command = mivox(&["convert"]);
    command.arg(place.path("scans")).arg(place.results());
    let refused = checked(command, 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("results of a pipeline"), "{said}");
    assert_eq!(before, read::<Link>(&place, "linkage.parquet"));

    // What a pull says there stays, and what prepare said is said again.
    fs::write(place.path("scans/eve-bob_T1.nii"), thin()).unwrap();
    place.run(&["index"], 0);
    place.run(&["prepare"], 2);
    let quarantine = place.results().join("quarantine.parquet");
    let mut rows: Vec<Quarantined> = table::read(&quarantine).unwrap();
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows.push(Quarantined {
        file: "file-0".into(),
        series: None,
        stage: "pull".into(),
        reason: "the archive did not send it".into(),
    });
    table::write(&quarantine, rows.clone(), &[]).unwrap();
    fs::write(place.path("scans/fay-bob_T1.nii"), nifti([12, 12, 12])).unwrap();
    let stages = || {
        let rows: Vec<Quarantined> = table::read(&quarantine).unwrap();
        rows.into_iter().map(|row| row.stage).collect::<BTreeSet<_>>()
    };
    place.run(&["index"], 2);
    assert_eq!(stages(), ["pull".to_owned()].into());
    place.run(&["prepare"], 2);
    assert_eq!(stages(), ["prepare".to_owned(), "pull".to_owned()].into());
    // The table that is gone is written again, and all that stood in it.
    fs::remove_file(&quarantine).unwrap();
    place.run(&["index"], 0);
    place.run(&["prepare"], 2);
    assert_eq!(stages(), ["prepare".to_owned()].into());
}

/// A volume whose slices lie on one another.
fn thin() -> Vec<u8> {
    let mut bytes = nifti([8, 8, 8]);
    bytes[88..92].copy_from_slice(&1e-11f32.to_le_bytes());
    bytes
}

#[test]
fn a_volume_without_thickness_costs_itself_alone() {
    let place = place("pattern = '{subject}-{session}_T1.nii'\nmodality = 'T1'\n");
    fs::write(place.path("scans/aaa-bob_T1.nii"), thin()).unwrap();
    place.run(&["index"], 0);
    // Asked to stop at the first, it prepares nothing behind it.
    let mut first = place.command(&["prepare", "--fail-first"]);
    first.env("RAYON_NUM_THREADS", "1");
    checked(first, 1);
    let prepared = || files(&place.results().join("volumes"), ".nii").len();
    assert!(!place.results().join("volumes").exists() || prepared() == 0);
    for _ in 0..2 {
        place.run(&["prepare"], 2);
        assert_eq!(prepared(), 2);
    }
    let rows: Vec<Quarantined> = read(&place, "quarantine.parquet");
    assert!(rows.len() == 1 && rows[0].reason.contains("too thin"), "{rows:?}");
    let mut show = mivox(&["show"]);
    show.arg(place.path("scans")).arg("--out").arg(place.path("sheet.png"));
    checked(show, 2);
}
