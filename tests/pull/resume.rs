//! Ends in the middle, of the archive and of mivox, and what the next run does.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crate::{
    archives::Orthanc,
    workplace::{CONTENT, Workplace},
};

/// Instances of these tests.
const COUNT: usize = 150;

/// The files that are there, with what changes when one is written again.
fn marks(place: &Workplace) -> BTreeMap<PathBuf, (u64, i64, i64)> {
    let mark = |path: PathBuf| {
        let data = fs::metadata(&path).unwrap();
        (path, (data.ino(), data.mtime(), data.mtime_nsec()))
    };
    place.files().into_iter().map(mark).collect()
}

/// Begins a pull and waits until it has some files, and not all.
fn begun(place: &Workplace, address: &str, words: &[&str]) -> Child {
    let mut command = place.command(address, &[&["--all", "--retries", "1"], words].concat());
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut there = 0;
    while there < 25 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was stopped");
        thread::sleep(Duration::from_millis(2));
        there = place.files().len();
    }
    child
}

/// What was whole stays as it is, and the rest comes.
fn goes_on(place: &Workplace, address: &str, words: &[&str], how: &str) {
    let before = marks(place);
    assert!(!before.is_empty() && before.len() < COUNT, "{} files", before.len());
    place.pull(address, &[&["--all", "--retries", "1"], words].concat(), 0);
    assert_eq!(place.sums(), [COUNT, before.len(), COUNT - before.len(), 0].map(|n| n as u32));
    let after = marks(place);
    assert!(before.iter().all(|(path, mark)| after[path] == *mark), "fetched again");
    assert_eq!(place.compare(how), COUNT);
    assert!(!place.path("out/.incoming").exists(), "litter");
}

#[test]
fn nothing_is_lost_when_the_archive_is_killed() {
    let Some(mut orthanc) = Orthanc::start("") else { return };
    orthanc.store(CONTENT.manifest.files.iter().step_by(2));
    let to = orthanc.to.to_string();
    let ways: [(String, &[&str], &str); 3] = [
        (orthanc.web(), &[], "bytes"),
        (orthanc.dimse(), &["--parallel", "1"], "data"),
        (orthanc.dimse(), &["--parallel", "1", "--method", "move", "--move-port", &to], "data"),
    ];
    for (address, words, how) in ways {
        let place = Workplace::new();
        let child = begun(&place, &address, words);
        orthanc.kill();
        let output = child.wait_with_output().unwrap();
        let said = crate::workplace::said(&output);
        assert_eq!(output.status.code(), Some(75), "{said}");
        assert!(said.contains("went away") && said.contains("missing"), "{said}");
        place.check_secrets(&said);
        let [expected, present, received, failed] = place.sums();
        assert_eq!((expected, present, failed), (COUNT as u32, 0, 0), "{said}");
        assert_eq!(received as usize, place.files().len());
        assert!(place.rows().iter().any(|row| row.status == "incomplete"));
        orthanc.restart();
        goes_on(&place, &address, words, how);
    }
}

#[test]
fn nothing_is_lost_when_mivox_is_stopped_or_killed() {
    let Some(orthanc) = Orthanc::start("") else { return };
    orthanc.store(CONTENT.manifest.files.iter().step_by(2));
    let address = orthanc.web();

    let place = Workplace::new();
    let child = begun(&place, &address, &[]);
    let mut stop = Command::new("kill");
    assert!(stop.args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", crate::workplace::said(&output));
    goes_on(&place, &address, &[], "bytes");

    let place = Workplace::new();
    let mut child = begun(&place, &address, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    goes_on(&place, &address, &[], "bytes");
}
