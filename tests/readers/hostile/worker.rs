//! Decoders in processes of their own: what they cost, and that they end.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use mivox::io::dicom::{DECODER_COMMAND, DECODER_MEMORY, FrameReader};

use crate::readers::files::decode_apart;

fn start() -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mivox"));
    command.arg(DECODER_COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().unwrap()
}

/// Waits for the end of a process, and fails where there is none.
fn ended(child: &mut Child) -> bool {
    for _ in 0..600 {
        if child.try_wait().unwrap().is_some() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    child.kill().unwrap();
    false
}

#[test]
fn a_worker_ends_with_its_input_and_on_rubbish() {
    let mut worker = start();
    drop(worker.stdin.take());
    assert!(ended(&mut worker), "its input was closed");
    let mut worker = start();
    worker.stdin.as_mut().unwrap().write_all(&[0xFF; 64]).unwrap();
    assert!(ended(&mut worker), "it was told no task");
    let mut answer = Vec::new();
    worker.stdout.take().unwrap().read_to_end(&mut answer).unwrap();
    assert!(answer.is_empty());
}

#[test]
#[cfg(target_os = "linux")]
fn a_worker_has_no_more_memory_than_it_may_have_and_leaves_no_core() {
    let mut worker = start();
    let limits = Path::new("/proc").join(worker.id().to_string()).join("limits");
    let limit = |name: &str| {
        let text = fs::read_to_string(&limits).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
        line.split_whitespace().rev().nth(1).unwrap().to_owned()
    };
    // It is a program that has just begun.
    let set = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        limit("Max core file size") == "0"
    });
    assert!(set);
    assert_eq!(limit("Max data size"), DECODER_MEMORY.to_string());
    drop(worker.stdin.take());
    assert!(ended(&mut worker));
}

/// Processes of a command line that end with the worker's word, by their parent.
#[cfg(target_os = "linux")]
fn workers_of(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap();
    let ids = entries.filter_map(|e| e.unwrap().file_name().to_str()?.parse::<u32>().ok());
    ids.filter(|id| {
        let read = |what: &str| fs::read(format!("/proc/{id}/{what}")).unwrap_or_default();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        let word = format!("{DECODER_COMMAND}\0").into_bytes();
        status.lines().any(|line| line == format!("PPid:\t{parent}"))
            && read("cmdline").ends_with(&word)
    })
    .collect()
}

/// A batch system that ends one worker ends those that wait too.
#[test]
#[cfg(target_os = "linux")]
fn workers_that_were_ended_while_they_waited_cost_no_frame() {
    decode_apart();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures/jpeg_2000_0.dcm");
    let read = || {
        let reader = FrameReader::open(&file).unwrap();
        let layout = reader.instance().pixels.unwrap();
        reader.read(0, &mut vec![0.0; layout.rows * layout.columns])
    };
    let workers = || workers_of(std::process::id());
    while workers().len() < 3 {
        std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(read))));
    }
    let kill =
        Command::new("kill").arg("-KILL").args(workers().iter().map(u32::to_string)).status();
    assert!(kill.unwrap().success());
    read().unwrap();
}

/// The program is killed, as nothing can be done against, while it decodes.
#[test]
#[cfg(target_os = "linux")]
fn no_worker_outlives_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::create_dir(&input).unwrap();
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures");
    let slice: [Vec<u8>; 2] =
        [0, 1].map(|k| fs::read(fixtures.join(format!("jpeg_2000_{k}.dcm"))).unwrap());
    for number in 0..2000 {
        for (k, slice) in slice.iter().enumerate() {
            let mut bytes = slice.clone();
            let at = bytes.windows(8).position(|w| w == [0x20, 0, 0x0E, 0, b'U', b'I', 6, 0]);
            let at = at.unwrap() + 8;
            bytes[at..at + 6].copy_from_slice(format!("2.{number:04}").as_bytes());
            fs::write(input.join(format!("{number}-{k}.dcm")), bytes).unwrap();
        }
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_mivox"));
    command.arg("convert").arg(&input).arg(folder.path().join("out"));
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut program = command.spawn().unwrap();
    let mut workers = Vec::new();
    while workers.is_empty() {
        assert!(program.try_wait().unwrap().is_none(), "it ended before it was seen to decode");
        workers = workers_of(program.id());
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let gone = (0..600).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        workers.iter().all(|id| !Path::new("/proc").join(id.to_string()).join("exe").exists())
    });
    assert!(gone, "{workers:?} are left");
}

/// What the way to a worker and back costs a frame: the file by `MIVOX_FRAME`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_worker() {
    let file = PathBuf::from(std::env::var("MIVOX_FRAME").expect("MIVOX_FRAME"));
    let measure = |place: &str| {
        let reader = FrameReader::open(&file).unwrap();
        let layout = reader.instance().pixels.unwrap();
        let mut values = vec![0.0; layout.rows * layout.columns];
        let mut times: Vec<f64> = (0..100)
            .map(|_| {
                let start = Instant::now();
                reader.read(0, &mut values).unwrap();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{place}: least {:.3} ms, median {:.3} ms of 100", times[0], times[50]);
    };
    measure("in this process");
    decode_apart();
    measure("in a worker");
    measure("in a worker again");
}
