//! The tables, the volumes, the encoder and the notebook, by other tools.

use std::{fs, path::Path};

use mivox::{
    cohort::{CohortRow, Link},
    pairing::{HELD_OUT, PairRow},
    table,
};

use crate::workplace::{Pipeline, SMALL, Workplace, checked, phantom, python};

fn workplace() -> Workplace {
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    phantom(place.folder.path(), &["--subjects", "8", "--seed", "3"]);
    place.run(&["run"], 0);
    place
}

/// Every file below a folder.
fn files(folder: &Path, into: &mut Vec<std::path::PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, into) } else { into.push(path) }
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    bytes.windows(word.len()).any(|window| window == word)
}

#[test]
fn other_tools_read_what_was_written() {
    let place = workplace();
    for module in ["test_tables.py", "test_notebook.py"] {
        let mut command = python();
        command
            .args(["-m", "unittest", &format!("tests/python/{module}")])
            .env("MIVOX_OUT", place.results());
        checked(command, 0);
    }

    // A second run does nothing.
    let again = place.run(&["run"], 0);
    let said = String::from_utf8_lossy(&again.stdout).into_owned();
    for stage in ["index", "prepare", "pairs", "train", "embed"] {
        assert!(said.contains(&format!("{stage:9} unchanged")), "{said}");
    }

    // An encoder embeds nothing that was made by another recipe.
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("pixel_mm = 4.5", "pixel_mm = 5.0")).unwrap();
    let refused = place.run(&["embed"], 1);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("another recipe") && said.contains("of 5 mm"), "{said}");

    // No real identifier anywhere but in the linkage.
    let links: Vec<Link> = table::read(&place.results().join("linkage.parquet")).unwrap();
    let mut real: Vec<String> = links
        .iter()
        .filter(|link| link.kind != "session" && link.kind != "study")
        .map(|link| link.real.clone())
        .filter(|real| real.len() > 3)
        .collect();
    real.push(place.path("phantom").to_string_lossy().into_owned());
    assert!(real.len() > 30, "{}", real.len());
    let mut written = Vec::new();
    files(&place.results(), &mut written);
    for path in written {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("linkage.") {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
            continue;
        }
        // The voxels hold no text; their headers do.
        let mut bytes = fs::read(&path).unwrap();
        if name.ends_with(".nii") {
            bytes.truncate(352);
        }
        for word in &real {
            assert!(!contains(&bytes, word.as_bytes()), "{name} names {word}");
        }
    }

    // Subjects are on one side only, and pairs stay within a subject.
    let cohort: Vec<CohortRow> = table::read(&place.results().join("cohort.parquet")).unwrap();
    let pairs: Vec<PairRow> = table::read(&place.results().join("pairs.parquet")).unwrap();
    let subject = |series: &str| &cohort.iter().find(|row| row.series == series).unwrap().subject;
    let mut sides = std::collections::BTreeMap::new();
    for pair in &pairs {
        assert_eq!(subject(&pair.anchor_series), subject(&pair.positive_series));
        let side = sides.entry(&pair.subject).or_insert(&pair.split);
        assert_eq!(*side, &pair.split, "a subject is trained on and held out");
        assert!(!pair.reason.is_empty());
    }
    assert_eq!(sides.values().filter(|side| **side == HELD_OUT).count(), 2);
    for kind in ["augmented", "cross-slice", "cross-modality"] {
        assert!(pairs.iter().any(|pair| pair.kind == kind), "no {kind} pair");
    }
}
