//! Content to send, a folder to pull to, and what is said about it.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::LazyLock,
};

use mivox::{cohort::Quarantined, pull::PullRow, table};
use serde::Deserialize;
use tempfile::TempDir;

/// 300 instances, made once for all tests.
pub static CONTENT: LazyLock<Content> = LazyLock::new(|| {
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("content");
    let mut command = python();
    checked(command.args(["tests/pull/content.py".as_ref(), folder.as_os_str()]), 0);
    let text = fs::read_to_string(folder.join("manifest.json")).unwrap();
    let manifest: Manifest = serde_json::from_str(&text).unwrap();
    Content { _home: home, folder, manifest }
});

pub struct Content {
    _home: TempDir,
    pub folder: PathBuf,
    pub manifest: Manifest,
}

#[derive(Deserialize)]
pub struct Manifest {
    pub files: Vec<Sent>,
    pub secrets: Vec<String>,
}

#[derive(Deserialize)]
pub struct Sent {
    pub file: String,
    pub uid: String,
    pub modality: String,
}

pub fn python() -> Command {
    let path = Path::new(".venv/bin/python");
    assert!(path.exists(), "there is no .venv: run `make setup` first, or `make test`");
    Command::new(path)
}

/// Runs a command and checks its exit code.
pub fn checked(command: &mut Command, code: i32) -> Output {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}\n{}", said(&output));
    output
}

pub fn said(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

/// A port that nobody listens at.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A folder to pull to.
pub struct Workplace {
    pub folder: TempDir,
}

impl Workplace {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `mivox pull` to OUT; no proxy and no credentials of the one who tests.
    pub fn command(&self, address: &str, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mivox"));
        command.args(["pull", address, "--out"]).arg(self.path("out")).args(words);
        for name in ["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(name);
        }
        for name in mivox::pull::VARIABLES {
            command.env_remove(name);
        }
        command
    }

    /// Pulls, checks the exit code, and that nothing said or written in a table is
    /// secret; gives back what was said.
    pub fn pull(&self, address: &str, words: &[&str], code: i32) -> String {
        let said = said(&checked(&mut self.command(address, words), code));
        self.check_secrets(&said);
        said
    }

    pub fn check_secrets(&self, said: &str) {
        let names: String =
            self.files().iter().map(|path| format!("{}\n", path.display())).collect();
        let tables = if self.path("out/pull.parquet").exists() {
            format!("{:?}{:?}", self.rows(), self.quarantined())
        } else {
            String::new()
        };
        for secret in
            CONTENT.manifest.secrets.iter().map(String::as_str).chain(crate::fake::SECRETS)
        {
            assert!(!said.contains(secret), "said a secret: {said}");
            assert!(!names.contains(secret) && !tables.contains(secret), "a secret in a table");
        }
    }

    pub fn rows(&self) -> Vec<PullRow> {
        table::read(&self.path("out/pull.parquet")).unwrap()
    }

    pub fn quarantined(&self) -> Vec<Quarantined> {
        table::read(&self.path("out/quarantine.parquet")).unwrap()
    }

    /// Sums of the table: expected, present, received, failed.
    pub fn sums(&self) -> [u32; 4] {
        self.rows().iter().fold([0; 4], |[a, b, c, d], row| {
            [a + row.expected, b + row.present, c + row.received, d + row.failed]
        })
    }

    /// Files below OUT/dicom.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut folders = vec![self.path("out/dicom")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { folders.push(path) } else { found.push(path) }
            }
        }
        found.sort();
        found
    }

    /// Compares what is there with what was sent, and counts it.
    pub fn compare(&self, how: &str) -> usize {
        let mut command = python();
        command.arg("tests/pull/compare.py").arg(&CONTENT.folder).arg(self.path("out/dicom"));
        let output = checked(command.arg(how), 0);
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    }
}
