//! 300 instances there and back, by each way.

use std::{fs, os::unix::fs::PermissionsExt, process::Command};

use crate::{
    archives::{Orthanc, Qrscp},
    workplace::{CONTENT, Workplace, checked, said},
};

#[test]
fn orthanc_gives_back_what_it_was_given() {
    let Some(orthanc) = Orthanc::start("") else { return };
    orthanc.store(&CONTENT.manifest.files);
    let to = orthanc.to.to_string();
    let ways: [(&str, String, &[&str], &str); 3] = [
        ("DICOMweb", orthanc.web(), &[], "bytes"),
        ("C-GET", orthanc.dimse(), &[], "data"),
        ("C-MOVE", orthanc.dimse(), &["--method", "move", "--move-port", &to], "data"),
    ];
    for (way, address, words, how) in ways {
        let place = Workplace::new();
        let all = [&["--all", "--retries", "1"], words].concat();
        let said = place.pull(&address, &all, 0);
        assert!(said.contains("300 received"), "{way}: {said}");
        assert_eq!(place.sums(), [300, 0, 300, 0], "{way}");
        assert_eq!(place.compare(how), 300, "{way}");
        assert!(place.rows().iter().all(|row| row.status == "complete"));
        // What is there is not fetched again.
        let said = place.pull(&address, &all, 0);
        assert!(said.contains("0 received, 300 there before"), "{way}: {said}");
        assert_private(&place);
        if way == "DICOMweb" {
            one_is_damaged_on_the_disk(&place, &address, &all);
            is_found_by_index(&place);
        }
    }
}

fn assert_private(place: &Workplace) {
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.path("out")), 0o700);
    assert_eq!(mode(&place.path("out/dicom")), 0o700);
    assert!(place.files().iter().all(|path| mode(path) == 0o600));
    assert!(!place.path("out/.incoming").exists(), "litter");
}

/// A file that was cut on the disk is fetched again, alone.
fn one_is_damaged_on_the_disk(place: &Workplace, address: &str, words: &[&str]) {
    let victim = place.files().swap_remove(17);
    let file = fs::OpenOptions::new().write(true).open(&victim).unwrap();
    file.set_len(fs::metadata(&victim).unwrap().len() / 2).unwrap();
    let said = place.pull(address, words, 0);
    assert!(said.contains("1 received, 299 there before"), "{said}");
    assert_eq!(place.compare("bytes"), 300);
}

/// The series of MR, CT and PET are volumes; most of the copies are none.
fn is_found_by_index(place: &Workplace) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mivox"));
    command.args(["index", "pipelines/default.toml", "--input"]).arg(place.path("out/dicom"));
    let output = command.arg("--out").arg(place.path("results")).output().unwrap();
    let rows: Vec<mivox::cohort::CohortRow> =
        mivox::table::read(&place.path("results/cohort.parquet")).unwrap();
    let mut shapes: Vec<[u32; 3]> = rows.iter().filter_map(|row| row.shape).collect();
    shapes.retain(|shape| shape[0] == 96 && shape[2] > 1);
    shapes.sort();
    let expected = [40, 60, 80, 110].map(|slices| [96, 96, slices]);
    assert_eq!(shapes, expected, "{}", said(&output));
}

#[test]
fn only_what_was_asked_for_is_pulled() {
    let Some(orthanc) = Orthanc::start("") else { return };
    // Of each series a few.
    let files = &CONTENT.manifest.files;
    orthanc.store(files.iter().step_by(20).chain(&files[290..]));
    let count = |modality: &str| {
        let some = files.iter().step_by(20).chain(&files[290..]).collect::<Vec<_>>();
        let mut uids: Vec<_> =
            some.iter().filter(|f| f.modality == modality).map(|f| &f.uid).collect();
        uids.sort();
        uids.dedup();
        uids.len()
    };
    for address in [orthanc.web(), orthanc.dimse()] {
        let place = Workplace::new();
        let ids = place.path("ids.txt");
        fs::write(&ids, "PID-HEIMLICH-2\nnobody\n").unwrap();
        let ids = ids.to_str().unwrap();
        let said = place.pull(&address, &["--patient-id-file", ids, "--modality", "PT"], 0);
        assert_eq!(place.sums()[2] as usize, count("PT"), "{said}");
        assert!(place.rows().iter().all(|row| row.modality.as_deref() == Some("PET")));

        let place = Workplace::new();
        place.pull(&address, &["--study-date", "20240201-", "--modality", "CT,MR"], 0);
        assert_eq!(place.sums()[2] as usize, count("CT"));

        let place = Workplace::new();
        let said = place.pull(&address, &["--study-date", "19990101"], 0);
        assert!(said.contains("0 instances of 0 series and 0 studies"), "{said}");
        let said = place.pull(&address, &[], 1);
        assert!(said.contains("--all"), "{said}");
        let place = Workplace::new();
        let said = place.pull(&address, &["--all", "--dry-run"], 0);
        assert!(said.contains("0 received"), "{said}");
        assert!(place.files().is_empty());
        for table in ["pull.parquet", "quarantine.parquet"] {
            assert!(place.path("out").exists() && !place.path("out").join(table).exists());
        }
    }
}

#[test]
fn dcmtk_gives_back_what_it_was_given() {
    let Some(archive) = Qrscp::start() else { return };
    let sent: Vec<_> = CONTENT.manifest.files[..290].iter().step_by(7).collect();
    archive.store(sent.iter().copied());
    let address = format!("dicom://QRSCP@127.0.0.1:{}", archive.port);
    let to = archive.to.to_string();
    for words in [&[][..], &["--method", "move", "--move-port", &to]] {
        let place = Workplace::new();
        let all = [&["--all", "--retries", "1", "--parallel", "2"], words].concat();
        place.pull(&address, &all, 0);
        assert_eq!(place.sums(), [sent.len() as u32, 0, sent.len() as u32, 0]);
        assert_eq!(place.compare("data"), sent.len());
        // Some of a series: a list of instances, and not the series.
        for path in place.files().iter().step_by(3) {
            fs::remove_file(path).unwrap();
        }
        place.pull(&address, &all, 0);
        assert_eq!(place.sums()[1] + place.sums()[2], sent.len() as u32);
        assert_eq!(place.compare("data"), sent.len());
    }
}

#[test]
fn the_help_shows_how() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mivox"));
    let help = said(&checked(command.args(["pull", "--help"]), 0));
    assert!(help.contains("mivox pull https://") && help.contains("mivox pull dicom://"), "{help}");
}
