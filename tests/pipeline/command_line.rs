//! What a user types, and what comes back.

use std::{fs, process::Command};

use crate::workplace::{Pipeline, SMALL, Workplace, checked, mivox};

#[test]
fn every_command_has_help_with_an_example() {
    let commands = [
        "run", "index", "prepare", "pairs", "train", "embed", "evaluate", "doctor", "phantom", "mi",
    ];
    for command in commands {
        let output = checked(mivox(&[command, "--help"]), 0);
        let help = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(help.contains(&format!("Example:\n  mivox {command}")), "{help}");
    }
    let output = checked(mivox(&["--help"]), 0);
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    for command in commands {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
    }
}

#[test]
fn what_cannot_be_understood_has_failed() {
    for words in [&["--no-such"][..], &["index"], &["run", "p.toml", "--out"], &[]] {
        checked(mivox(words), 1);
    }
    for words in [["--version"], ["--help"]] {
        assert!(!checked(mivox(&words), 0).stdout.is_empty());
    }
}

#[test]
fn doctor_finds_onnx_runtime() {
    let output = checked(mivox(&["doctor"]), 0);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    for word in ["threads", "memory", "libonnxruntime", "version", "CPU"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn doctor_says_what_to_type_where_onnx_runtime_is_missing() {
    let elsewhere = tempfile::tempdir().unwrap();
    let binary = elsewhere.path().join("mivox");
    fs::copy(env!("CARGO_BIN_EXE_mivox"), &binary).unwrap();
    let mut command = Command::new(binary);
    command.arg("doctor").current_dir(elsewhere.path()).env_clear();
    let output = checked(command, 1);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("pip install onnxruntime=="), "{said}");
}

#[test]
fn mistakes_are_named() {
    let sources = "[[source]]\nname = 'scans'\npath = 'nowhere'\n";
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    let stderr = |words: &[&str]| String::from_utf8_lossy(&place.run(words, 1).stderr).into_owned();
    assert!(stderr(&["index"]).contains("source \"scans\" cannot be read"));
    assert!(stderr(&["train"]).contains("mivox pairs"));
    fs::create_dir(place.path("nowhere")).unwrap();
    assert!(stderr(&["index"]).contains("no file was found"));
    fs::write(place.path("pipeline.toml"), "out = 'results'\nsteps = 3\n").unwrap();
    assert!(stderr(&["run"]).contains("unknown field `steps`"));
}
