//! Encoders of every kind, trained from the pipeline file: mivox's own, and
//! those that PyTorch exported.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use mivox::{table, train::MetricRow};
use onnx_grad::{Forward, ImportOptions, Layout};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

const SOURCES: &str = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";

/// Views that are seen twice as they are: what 20 steps can learn.
const UNCHANGED: &str = "[augment]\nshift_mm = 0.0\nrotate_deg = 0.0\nscale = 0.0\n\
                         contrast = 0.0\nbrightness = 0.0\nnoise = 0.0\n";

/// A pipeline of 20 steps with other views, encoder and training.
pub fn workplace(view: &str, encoder: &str, train: &str) -> Workplace {
    let (before, _) = SMALL.split_once("[view]").unwrap();
    let rest = format!(
        "{before}[view]\n{view}\n[pairs]\naugmented = 1.0\ncross_slice = 0.0\n\
         cross_modality = 0.0\n{UNCHANGED}[encoder]\n{encoder}\n\
         [train]\nsteps = 20\nwarmup = 3\n{train}\n"
    );
    let place = Workplace::new(&Pipeline { sources: SOURCES, rest: &rest });
    let phantom = cohort();
    std::os::unix::fs::symlink(phantom, place.path("phantom")).unwrap();
    place
}

/// One phantom cohort for all tests here.
fn cohort() -> PathBuf {
    static COHORT: OnceLock<tempfile::TempDir> = OnceLock::new();
    let folder = COHORT.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        phantom(folder.path(), &["--subjects", "4", "--sessions", "1", "--seed", "5"]);
        folder
    });
    folder.path().join("phantom")
}

/// Runs a pipeline to its end, and asserts that the loss falls by this share of
/// it and that the encoder's file embeds.
fn learns(place: &Workplace, what: &str, by: f32) {
    place.run(&["run"], 0);
    let metrics: Vec<MetricRow> = table::read(&place.results().join("metrics.parquet")).unwrap();
    assert_eq!(metrics.len(), 20, "{what}");
    let mean =
        |rows: &[MetricRow]| rows.iter().map(|row| row.loss).sum::<f32>() / rows.len() as f32;
    let (first, last) = (mean(&metrics[..4]), mean(&metrics[16..]));
    println!("{what}: loss {first:.3} to {last:.3}");
    assert!(last < (1.0 - by) * first, "{what}: loss {first} to {last}");
    assert!(place.results().join("embeddings/part-00000.parquet").exists(), "{what}");
}

#[test]
fn own_architectures_learn() {
    let plane = "size = 32\npixel_mm = 6.0";
    let train = "batch = 8\nlearning_rate = 1e-3";
    for architecture in ["resnet-18", "convnext-tiny"] {
        let encoder = format!("architecture = '{architecture}'\nprojection = 16");
        learns(&workplace(plane, &encoder, train), architecture, 0.02);
    }
    let encoder = "architecture = 'conv-local'";
    learns(&workplace(plane, encoder, "batch = 8\nlearning_rate = 1e-3"), "conv-local", 0.2);
    let volume = "size = 16\npixel_mm = 10.0\ndepth = 8\nslice_mm = 10.0";
    let encoder = "architecture = 'resnet-18-3d'\nprojection = 16";
    // Four boxes are told apart by chance features already: at a temperature of 1
    // there is still something to learn.
    let train = "batch = 4\nlearning_rate = 1e-3\n[objective]\ntemperature = 1.0";
    learns(&workplace(volume, encoder, train), "resnet-18-3d", 0.03);
}

#[test]
fn optimizers_accumulation_and_precision_learn() {
    let plane = "size = 48\npixel_mm = 4.5";
    let encoder = "dim = 32\ndepth = 1\nheads = 2\nprojection = 16";
    for (what, train) in [
        ("sgd", "batch = 16\noptimizer = 'sgd'\nlearning_rate = 0.1\nweight_decay = 1e-4"),
        ("lars", "batch = 16\noptimizer = 'lars'\nlearning_rate = 10.0\nweight_decay = 1e-4"),
        ("accumulate", "batch = 8\naccumulate = 3\nlearning_rate = 3e-3"),
        ("f16", "batch = 16\nprecision = 'f16'\nlearning_rate = 3e-3"),
        // the scale begins where f16 overflows: the first sums must not be applied
        ("both", "batch = 8\naccumulate = 3\nprecision = 'f16'\nlearning_rate = 3e-3"),
    ] {
        learns(&workplace(plane, encoder, train), what, 0.02);
    }
}

#[test]
fn the_last_blocks_of_earlier_weights_are_trained() {
    let plane = "size = 48\npixel_mm = 4.5";
    let encoder = "dim = 32\ndepth = 3\nheads = 2\nprojection = 16";
    let train = "batch = 16\nlearning_rate = 3e-3";
    let first = workplace(plane, encoder, train);
    learns(&first, "first", 0.01);
    let earlier = first.results().join("encoder.onnx");
    let encoder = format!("{encoder}\nweights = '{}'\ntrain_last = 1", earlier.display());
    let second = workplace(plane, &encoder, train);
    let said = second.run(&["run"], 0);
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("begin with the weights of the file"), "{said}");
    let after = second.results().join("encoder.onnx");
    let [before, after] = [earlier, after].map(|path| {
        let file = Forward::open(path, &ImportOptions::default()).unwrap();
        (file.layout().clone(), file.parameters())
    });
    let values = |(layout, flat): &(Layout, Vec<f32>), name: &str| {
        let index = layout.find(name).unwrap();
        let start = layout.offset(index).unwrap();
        let count = layout.parameters()[index].shape.iter().product::<usize>();
        flat[start..start + count].to_vec()
    };
    // the fixed positions are a constant of the file
    let named = |name: &&String| !name.starts_with("constant_");
    for name in before.0.parameters().iter().map(|p| &p.name).filter(named) {
        let frozen = ["patch", "block0", "block1"].iter().any(|part| name.starts_with(part));
        assert_eq!(values(&before, name) == values(&after, name), frozen, "{name}");
    }
}

/// Runs every exported encoder of a folder for which there is a file, and
/// returns their names.
fn exported(folder: &Path, learning_rate: f64, by: f32) -> Vec<String> {
    let mut names = Vec::new();
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    for path in files.iter().filter(|path| path.extension().is_some_and(|end| end == "onnx")) {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let shape =
            Forward::open(path, &ImportOptions::default()).unwrap().inputs()[0].shape.clone();
        let size = |axis: usize| shape[axis].unwrap();
        let view = match shape.len() {
            4 => format!("size = {}\npixel_mm = {}", size(3), 200.0 / size(3) as f64),
            _ => {
                let step = 200.0 / size(4) as f64;
                let depth = size(2);
                format!("size = {}\npixel_mm = {step}\ndepth = {depth}\nslice_mm = {step}", size(4))
            }
        };
        let encoder =
            format!("onnx = '{}'\nprojection = 16", path.canonicalize().unwrap().display());
        // files without a dynamic batch were exported for 8 views
        let train = format!("batch = 4\nlearning_rate = {learning_rate}");
        let place = workplace(&view, &encoder, &train);
        if name.ends_with("_folded") {
            // without its norms it hardly learns, and the user is told why
            let said = place.run(&["run"], 0);
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            assert!(said.contains("BatchNormalization"), "{name}: {said}");
        } else {
            learns(&place, &name, by);
        }
        names.push(name);
    }
    names
}

#[test]
fn small_exports_of_pytorch_learn() {
    let names = exported(Path::new("crates/onnx-grad/tests/exports/small"), 1e-2, 0.0);
    assert!(names.len() >= 9, "{names:?}");
}

#[test]
fn the_nine_exports_of_pytorch_learn() {
    let names = exported(Path::new("data/exports"), 3e-4, 0.02);
    if names.is_empty() {
        println!("skipped: data/exports is empty; `make exports` fills it (5 GB of PyTorch)");
        return;
    }
    println!("trained: {names:?}");
}
