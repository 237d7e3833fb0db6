//! Bad inputs are quarantined with a reason, and cost no good data.

use std::collections::{BTreeMap, BTreeSet};

use mivox::{
    cohort::{Link, Quarantined},
    phantom::{FaultKind, Truth},
    prepare::VolumeRow,
    table,
};

use crate::workplace::{Pipeline, SMALL, Workplace, phantom};

#[test]
fn what_is_bad_is_told_and_what_is_good_is_used() {
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    let cohort = phantom(place.folder.path(), &["--subjects", "4", "--sessions", "1", "--corrupt"]);
    let truth = Truth::open(&cohort).unwrap();
    // A link whose target was never fetched, as data managers leave behind.
    let dangling = cohort.join("sub-bad9_T1w.nii.gz");
    std::os::unix::fs::symlink("nowhere", &dangling).unwrap();
    let output = place.run(&["run"], 2);

    let links: Vec<Link> = table::read(&place.results().join("linkage.parquet")).unwrap();
    let paths: BTreeMap<&str, &str> = links
        .iter()
        .filter(|link| link.kind == "file")
        .map(|link| (link.pseudonym.as_str(), link.real.as_str()))
        .collect();
    let rows: Vec<Quarantined> = table::read(&place.results().join("quarantine.parquet")).unwrap();
    let reasons: BTreeMap<&str, &str> =
        rows.iter().map(|row| (paths[row.file.as_str()], row.reason.as_str())).collect();
    let mut expected = BTreeSet::new();
    for fault in &truth.corrupt {
        let word = match fault.kind {
            FaultKind::EmptyFile => "empty",
            FaultKind::TruncatedFile => "holds",
            FaultKind::HeaderPromisesMore => "holds",
            FaultKind::TextNamedDicom => "none of",
            FaultKind::MissingSlice => "missing",
            FaultKind::WaveringOrientation => "2 orientations",
        };
        for path in &fault.paths {
            let path = cohort.canonicalize().unwrap().join(path).to_string_lossy().into_owned();
            let reason =
                reasons.iter().find(|(real, _)| path.ends_with(real.trim_start_matches('.')));
            let (_, reason) = reason.unwrap_or_else(|| panic!("{:?} was used", fault.kind));
            assert!(reason.contains(word), "{:?}: {reason}", fault.kind);
            expected.insert(path);
        }
    }
    let (_, reason) =
        reasons.iter().find(|(real, _)| real.contains("sub-bad9")).expect("the link is told");
    assert!(reason.contains("cannot be read"), "{reason}");
    assert_eq!(rows.len(), expected.len() + 1, "{rows:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains(&format!("{} files were not used", rows.len())), "{said}");

    let scans: usize = truth.subjects.iter().flat_map(|s| &s.sessions).map(|s| s.scans.len()).sum();
    let volumes: Vec<VolumeRow> = table::read(&place.results().join("volumes.parquet")).unwrap();
    assert_eq!(volumes.len(), scans);

    // Asked to stop at the first, it does.
    let output = place.run(&["index"], 2);
    assert!(String::from_utf8_lossy(&output.stdout).contains("unchanged"));
    std::fs::remove_dir_all(place.results()).unwrap();
    let output = place.run(&["index", "--fail-first"], 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("file-"));
}
