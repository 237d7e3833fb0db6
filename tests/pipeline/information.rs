//! `mivox mi`: how much two tables know of each other.

use std::path::Path;

use mivox::{embed::EmbeddingRow, mi::MiRow, table};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::workplace::{checked, mivox};

const SUBJECTS: usize = 60;
const ROWS: usize = 3;

const SHORT: [&str; 6] = ["--key", "subject", "--folds", "3", "--steps", "300"];

fn row(subject: usize, number: f64, word: &str) -> EmbeddingRow {
    EmbeddingRow {
        level: "slice".to_owned(),
        source: "made".to_owned(),
        subject: format!("sub-{subject:02}"),
        session: String::new(),
        study: String::new(),
        series: String::new(),
        modality: word.to_owned(),
        split: String::new(),
        slice_index: None,
        x_mm: number,
        y_mm: 1.0,
        z_mm: if subject.is_multiple_of(20) { f64::NAN } else { number },
        foreground: 1.0,
    }
}

/// Embeddings that tell a number of their subject and not its word, in two parts; and a
/// table with a row a subject.
fn tables(folder: &Path) {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let numbers: Vec<f64> = (0..SUBJECTS).map(|_| rng.random_range(-1.0..1.0)).collect();
    std::fs::create_dir(folder.join("parts")).unwrap();
    for part in 0..2 {
        let subjects = part * SUBJECTS / 2..(part + 1) * SUBJECTS / 2;
        let (mut rows, mut vectors) = (Vec::new(), Vec::new());
        for subject in subjects.flat_map(|subject| [subject; ROWS]) {
            rows.push(row(subject, 0.0, "MR"));
            let number = numbers[subject] as f32;
            vectors.extend([number, -number, 0.0].map(|v| v + rng.random_range(-0.2..0.2)));
        }
        let path = folder.join(format!("parts/part-0000{part}.parquet"));
        table::write_with_vectors(&path, rows, ("embedding", vectors, 3), &[]).unwrap();
    }
    let clinical = (0..SUBJECTS).map(|n| row(n, numbers[n], ["f", "m"][rng.random_range(0..2)]));
    table::write(&folder.join("clinical.parquet"), clinical.collect(), &[]).unwrap();
}

fn run(folder: &Path, words: &[&str], code: i32) -> (String, String) {
    let parts = folder.join("parts").to_string_lossy().into_owned();
    let clinical = folder.join("clinical.parquet").to_string_lossy().into_owned();
    let small = ["mi", &parts, &clinical, "--batch", "8", "--hidden", "32"];
    let all = [&small[..], words].concat();
    let output = checked(mivox(&all), code);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn embeddings_know_what_they_were_made_of_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    tables(folder.path());
    let out = folder.path().join("mi.parquet");
    let out_path = out.to_string_lossy();
    let with_out =
        [&["--column-b", "x_mm", "--lr", "2e-3", "--out", &out_path], &SHORT[..]].concat();
    let (said, _) = run(folder.path(), &with_out, 0);
    for part in ["180 pairs of rows from 60 subjects", "ceiling ln 8 = 2.079", "shuffled control"] {
        assert!(said.contains(part), "{said}");
    }
    let rows: Vec<MiRow> = table::read(&out).unwrap();
    assert_eq!(rows.len(), 2 * (1 + 3));
    let all = |kind: &str| rows.iter().find(|r| r.kind == kind && r.fold.is_none()).unwrap();
    assert!(all("pairs").low_nats.unwrap() > 0.4, "{:?}", all("pairs"));
    assert!(all("pairs").estimate_nats < 8f64.ln());
    assert!(all("shuffled").estimate_nats.abs() < 0.1, "{:?}", all("shuffled"));
    assert_eq!(said, run(folder.path(), &with_out, 0).0);

    let (said, _) = run(folder.path(), &[&["--column-b", "modality"], &SHORT[..]].concat(), 0);
    assert!(said.contains("entropy of B: 0.6"), "{said}");
}

#[test]
fn what_is_wrong_is_told_before_the_work() {
    let folder = tempfile::tempdir().unwrap();
    tables(folder.path());
    let told = |words: &[&str], code: i32, part: &str| {
        let (_, stderr) = run(folder.path(), words, code);
        assert!(stderr.contains(part), "{words:?}: {stderr}");
    };
    told(&["--column-b", "x_mm"], 1, "A has 180 rows and B has 60");
    told(&["--key", "subject"], 1, "no column embedding: name one or more by --column-b");
    told(&["--key", "subject", "--column-b", "age"], 1, "no column age; it has: level, source");
    told(&["--key", "subject", "--column-b", "y_mm"], 1, "the same in all 180 rows");
    told(&["--key", "subject", "--column-b", "subject"], 1, "60 different words; at most 32");
    told(&["--key", "modality", "--column-b", "x_mm"], 1, "unique in");
    told(
        &["--key", "subject", "--column-b", "x_mm", "--group", "site"],
        1,
        "neither table has a column site",
    );
    let fewer = ["--key", "subject", "--column-b", "x_mm", "--folds", "12", "--steps", "1"];
    told(&fewer, 0, "cannot exceed ln 5 = 1.609");
    let gaps = [&["--column-b", "z_mm"], &SHORT[..]].concat();
    told(&gaps, 2, "9 of 180 pairs have an empty cell");
    let parts = folder.path().join("parts/*.parquet").to_string_lossy().into_owned();
    let output = checked(mivox(&["mi", &parts, &parts, "--key", "subject", "--batch", "512"]), 1);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("not unique in either"), "{stderr}");
    let output = checked(mivox(&["mi", &parts, &parts, "--batch", "512"]), 1);
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(stderr.contains("are fewer than a batch of 512"), "{stderr}");
}
