//! Stopped and resumed, a run gives the bits that it gives in one go.

use std::{
    fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use mivox::{table, train::MetricRow};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

/// The rows of a run without what a clock says.
fn metrics(place: &Workplace) -> Vec<MetricRow> {
    let rows: Vec<MetricRow> = table::read(&place.results().join("metrics.parquet")).unwrap();
    let timeless =
        |row| MetricRow { pairs_per_second: 0.0, wait_share: 0.0, look_seconds: None, ..row };
    rows.into_iter().map(timeless).collect()
}

fn workplace(steps: usize) -> Workplace {
    let rest = SMALL
        .replace("steps = 6", &format!("steps = {steps}"))
        .replace("checkpoint_every = 2", "checkpoint_every = 5\n[monitor]\nevery = 7\nprobe = 16");
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest: &rest });
    phantom(place.folder.path(), &["--subjects", "4", "--sessions", "1", "--seed", "5"]);
    for stage in ["index", "prepare", "pairs"] {
        place.run(&[stage], 0);
    }
    place
}

#[test]
fn the_same_seed_gives_the_same_bits_stopped_killed_or_not() {
    let place = workplace(60);
    let encoder = place.results().join("encoder.onnx");
    place.run(&["train"], 0);
    let in_one_go = fs::read(&encoder).unwrap();
    let metrics_in_one_go = metrics(&place);
    assert_eq!(metrics_in_one_go.iter().filter(|row| row.rank_me.is_some()).count(), 9);

    // Asked to stop: 75, the state saved.
    fs::remove_file(&encoder).unwrap();
    let mut running = place.command(&["train"]).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = place.results().join("train/checkpoint.safetensors");
    let started = Instant::now();
    while !checkpoint.exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let interrupt = Command::new("kill").args(["-INT", &running.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    assert_eq!(running.wait().unwrap().code(), Some(75));
    assert!(!encoder.exists());

    // Killed: the last checkpoint is whole.
    let mut running = place.command(&["train", "--resume"]).stderr(Stdio::null()).spawn().unwrap();
    let before = fs::read(&checkpoint).unwrap();
    let started = Instant::now();
    while fs::read(&checkpoint).is_ok_and(|now| now == before)
        && running.try_wait().unwrap().is_none()
        && started.elapsed() < Duration::from_secs(120)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.kill().unwrap();
    running.wait().unwrap();

    place.run(&["train", "--resume"], 0);
    assert!(fs::read(&encoder).unwrap() == in_one_go, "the resumed encoder has other bits");
    assert_eq!(metrics(&place), metrics_in_one_go);
    assert!(!checkpoint.exists(), "the checkpoint outlived its run");
}

#[test]
fn one_run_at_a_time() {
    let place = workplace(2000);
    let mut running = place.command(&["train"]).stderr(Stdio::null()).spawn().unwrap();
    let checkpoint = place.results().join("train/checkpoint.safetensors");
    let started = Instant::now();
    while !checkpoint.exists() && started.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let refused = place.run(&["pairs"], 1);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another mivox"));
    running.kill().unwrap();
    running.wait().unwrap();
    place.run(&["pairs"], 0);

    // Other settings do not go on from this checkpoint, and it is said.
    let path = place.path("pipeline.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("steps = 2000", "steps = 3")).unwrap();
    let output = place.run(&["train", "--resume"], 0);
    assert!(String::from_utf8_lossy(&output.stderr).contains("made with other settings"));
}
