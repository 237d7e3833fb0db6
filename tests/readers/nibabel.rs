//! NIfTI and Analyze beside nibabel: its own test data and odd files made with it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mivox::{
    geometry::affine_to_flat,
    io::{
        Format,
        image::{Image, ImageError, open_head},
        nifti::NiftiError,
        sniff,
    },
};
use serde::Deserialize;

/// A line of `reference.jsonl`.
#[derive(Deserialize)]
struct Reference {
    file: PathBuf,
    kind: Option<String>,
    unread: Option<String>,
    #[serde(default)]
    shape: Vec<usize>,
    #[serde(default)]
    affine: Vec<f64>,
    values: Option<String>,
}

/// What the script beside writes into a folder.
fn references(folder: &Path) -> Vec<Reference> {
    let python = Path::new(".venv/bin/python");
    assert!(python.exists(), "there is no .venv: run `make setup` first, or `make test`");
    let script = "tests/readers/nibabel_reference.py";
    let output = Command::new(python).arg(script).arg(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = fs::read_to_string(folder.join("reference.jsonl")).unwrap();
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn floats(path: &Path) -> Vec<f32> {
    let bytes = fs::read(path).unwrap();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect()
}

/// Values are equal, but for the last bits of a square root (complex voxels).
fn equal(ours: f32, theirs: f32) -> bool {
    ours == theirs
        || ours.is_nan() && theirs.is_nan()
        || (ours - theirs).abs() <= 2.0 * f32::EPSILON * theirs.abs()
}

#[test]
fn affine_and_data_equal_nibabels() {
    let folder = tempfile::tempdir().unwrap();
    let mut equals = BTreeMap::new();
    let mut unread = 0;
    for reference in references(folder.path()) {
        let file = &reference.file;
        let name = file.file_name().unwrap().to_string_lossy();
        if let Some(reason) = &reference.unread {
            let error = open_head(file).unwrap_err();
            assert!(matches!(error, ImageError::Nifti(NiftiError::Cifti)), "{name}: {error}");
            println!("nibabel | {name} | refused | {reason}");
            unread += 1;
            continue;
        }
        let kind = reference.kind.as_deref().unwrap();
        let format = if kind.contains("Analyze") { Format::Analyze } else { Format::Nifti };
        assert_eq!(sniff(file).unwrap(), format, "{name}");
        let mut image = Image::open(file).unwrap_or_else(|e| panic!("{name} {kind}: {e}"));
        let head = image.head().clone();
        let mut shape = reference.shape.clone();
        shape.resize(shape.len().max(3), 1);
        assert_eq!(head.grid.shape[..], shape[..3], "{name} {kind}");
        assert_eq!(head.frames, shape[3..].iter().product::<usize>(), "{name} {kind}");
        let affine = affine_to_flat(&head.grid.ras_from_voxel);
        for (ours, theirs) in affine.iter().zip(&reference.affine) {
            // nibabel computes a quaternion's matrix in f64 from the same f32.
            assert!((ours - theirs).abs() <= 1e-9 * theirs.abs().max(1.0), "{name}: {affine:?}");
        }
        let values = floats(&folder.path().join(reference.values.unwrap()));
        let frame_len = values.len() / head.frames;
        // Backwards: the reader must find its way in compressed files too.
        for frame in (0..head.frames).rev() {
            let ours = image.volume(frame).unwrap();
            let theirs = &values[frame * frame_len..][..frame_len];
            for (n, (&ours, &theirs)) in ours.iter().zip(theirs).enumerate() {
                assert!(equal(ours, theirs), "{name} {kind} voxel {n}: {ours} for {theirs}");
            }
        }
        *equals.entry(kind.split(' ').next().unwrap().to_owned()).or_insert(0) += 1;
    }
    for (kind, count) in &equals {
        println!("nibabel | {kind} | {count} files: affine and data equal");
    }
    assert_eq!(unread, 1, "of nibabel's data only the CIFTI file is no volume");
    assert!(equals.values().sum::<i32>() > 140, "{equals:?}");
}
