//! Cohorts of a few subjects: each is left out in turn.

use std::collections::BTreeSet;

use mivox::{
    evaluate::EvaluationRow,
    pairing::{HELD_OUT, PairRow},
    table,
    train::MetricRow,
};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom, shared_scans};

#[test]
fn each_subject_is_looked_for_by_encoders_that_never_saw_it() {
    let source = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    // The alignment is of all folds, whatever their seed.
    let rest = SMALL.replace("[pairs]", "[pairs]\nregister = 'rigid'");
    let place = Workplace::new(&Pipeline { sources: source, rest: &rest });
    phantom(place.folder.path(), &["--subjects", "3", "--sessions", "1", "--seed", "5"]);
    let words = ["leave-one-out", "--seeds", "2", "--set", "train.steps=5"];
    let output = place.run(&words, 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();

    let folds = place.results().join("leave-one-out");
    let mut subjects = BTreeSet::new();
    for subject in std::fs::read_dir(&folds).unwrap().map(|entry| entry.unwrap()) {
        let name = subject.file_name().into_string().unwrap();
        for seed in ["seed-1", "seed-2"] {
            let fold = subject.path().join(seed);
            let pairs: Vec<PairRow> = table::read(&fold.join("pairs.parquet")).unwrap();
            // It is held out, and nobody else is.
            let out = |pair: &PairRow| pair.split == HELD_OUT;
            assert!(pairs.iter().all(|pair| out(pair) == (pair.subject == name)));
            assert!(pairs.iter().any(out) && !pairs.iter().all(out));
            let metrics: Vec<MetricRow> = table::read(&fold.join("metrics.parquet")).unwrap();
            assert_eq!(metrics.len(), 5);
            let rows: Vec<EvaluationRow> = table::read(&fold.join("evaluation.parquet")).unwrap();
            for encoder in ["trained", "untrained", "correlation", "histogram MI"] {
                let found = rows.iter().find(|row| row.encoder == encoder && row.pair == "T1→T2");
                let found = found.unwrap();
                let interval = found.low.unwrap()..=found.high.unwrap();
                assert!((0.0..=1.0).contains(&found.value) && interval.contains(&found.value));
                assert!(found.remark.contains("blocks of slices"), "{}", found.remark);
            }
        }
        assert!(said.contains(&format!("| T1→T2 | {name} |")), "{said}");
        subjects.insert(name);
    }
    assert_eq!(subjects.len(), 3);
    let (one, other) =
        (folds.join(subjects.first().unwrap()), folds.join(subjects.last().unwrap()));
    let encoder = |folder: &std::path::Path, seed: &str| {
        std::fs::read(folder.join(seed).join("encoder.onnx")).unwrap()
    };
    assert_ne!(encoder(&one, "seed-1"), encoder(&other, "seed-1"));
    assert_ne!(encoder(&one, "seed-1"), encoder(&one, "seed-2"));
    // What is done is not done again.
    let again = place.run(&words, 0);
    assert!(String::from_utf8_lossy(&again.stdout).contains("train     unchanged"));
}

#[test]
fn one_whose_modalities_nobody_else_has_is_passed_over() {
    let source = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let rest = SMALL.replace("projection = 16", "projection = 16\nper = 'modality'");
    let place = Workplace::new(&Pipeline { sources: source, rest: &rest });
    phantom(place.folder.path(), &["--subjects", "2", "--sessions", "1", "--seed", "5"]);
    let scans = place.path("phantom").join("**/*T2w.nii.gz");
    let mut scans: Vec<_> = glob::glob(scans.to_str().unwrap()).unwrap().flatten().collect();
    assert_eq!(scans.len(), 2);
    std::fs::remove_file(scans.remove(0)).unwrap();
    let output = place.run(&["leave-one-out"], 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("the others lack a modality of what is seen twice"), "{said}");
}

#[test]
fn one_subject_cannot_be_left_out() {
    let source = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources: source, rest: SMALL });
    phantom(place.folder.path(), &["--subjects", "1", "--sessions", "1", "--seed", "5"]);
    let output = place.run(&["leave-one-out"], 1);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("two subjects or more; there is 1"), "{said}");
}

#[test]
fn the_pipelines_on_patients_run() {
    for (pipeline, scans, pattern) in [
        ("pipelines/sarcoma-pet-ct-mr.toml", "sarcoma/cropped", None),
        (
            "pipelines/ms-longitudinal.toml",
            "ms/longitudinal",
            Some("{subject}/study{session}_{modality}.nii.gz"),
        ),
    ] {
        let Some(scans) = shared_scans(scans) else { continue };
        let out = tempfile::tempdir().unwrap();
        let mut command = crate::workplace::mivox(&["leave-one-out", pipeline]);
        command.arg("--input").arg(&scans).arg("--out").arg(out.path());
        command.args(["--set", "train.steps=3", "--set", "train.warmup=1"]);
        command.args(["--set", "train.batch=8"]);
        command.args(pattern.iter().flat_map(|pattern| ["--pattern", pattern]));
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        // Contours are no scans and are quarantined; maps of lesions stand beside scans.
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 2)), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("h centred above all that needs no learning"), "{said}");
    }
}
