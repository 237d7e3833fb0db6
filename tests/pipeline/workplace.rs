//! A temporary folder with a pipeline, scans and results, and the binary.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

pub struct Workplace {
    pub folder: TempDir,
}

/// What a pipeline of the tests is made of.
pub struct Pipeline<'a> {
    /// `[[source]]` tables.
    pub sources: &'a str,
    /// Further tables, in place of the small defaults below.
    pub rest: &'a str,
}

/// Small enough for a test: views of 48 pixels, an encoder of two blocks.
pub const SMALL: &str = r#"
[prepare]
spacing_mm = [4.0, 4.0, 4.0]
[view]
size = 48
pixel_mm = 4.5
[pairs]
augmented = 0.5
cross_slice = 0.5
cross_modality = 3.0
[encoder]
patch = 8
dim = 32
depth = 1
heads = 2
projection = 16
[train]
steps = 6
batch = 16
warmup = 2
learning_rate = 1e-3
checkpoint_every = 2
"#;

impl Workplace {
    pub fn new(pipeline: &Pipeline) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("test.key"), "0".repeat(64)).unwrap();
        let text = format!(
            "out = 'results'\nkey_file = 'test.key'\nseed = 1\n{}\n{}",
            pipeline.sources, pipeline.rest
        );
        fs::write(folder.path().join("pipeline.toml"), text).unwrap();
        Self { folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn results(&self) -> PathBuf {
        self.path("results")
    }

    /// A command on this workplace's pipeline.
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = mivox(&words[..1]);
        command.arg(self.path("pipeline.toml")).args(&words[1..]);
        command
    }

    /// Runs a command and checks its exit code.
    pub fn run(&self, words: &[&str], code: i32) -> Output {
        checked(self.command(words), code)
    }
}

/// The binary, in the root of the project, where `.venv` is.
pub fn mivox(words: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mivox"));
    command.args(words);
    command
}

/// Runs a command and checks its exit code.
pub fn checked(mut command: Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(code),
        "{command:?}\n{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Writes a phantom cohort and returns its folder.
pub fn phantom(folder: &Path, words: &[&str]) -> PathBuf {
    let cohort = folder.join("phantom");
    let mut command = mivox(&["phantom"]);
    command.arg(&cohort).args(words);
    checked(command, 0);
    cohort
}

/// The Python of the project's environment; it is there after `make setup`.
pub fn python() -> Command {
    let path = Path::new(".venv/bin/python");
    assert!(path.exists(), "there is no .venv: run `make setup` first, or `make test`");
    Command::new(path)
}

/// A folder of `../shared/scans`, or `None` with a printed word where there is
/// no such folder, as in a clone.
pub fn shared_scans(name: &str) -> Option<PathBuf> {
    let path = Path::new("../shared/scans").join(name);
    if path.is_dir() {
        return Some(path.canonicalize().unwrap());
    }
    eprintln!("skipped: ../shared/scans/{name} is absent");
    None
}
