//! `mivox show`: sheets of folders, files and results.

use std::{fs, io::BufReader, path::Path, process::Output};

use crate::workplace::{Pipeline, SMALL, Workplace, checked, mivox, phantom};

fn show(input: &Path, out: &Path, words: &[&str], code: i32) -> Output {
    let mut command = mivox(&["show"]);
    command.arg(input).arg("--out").arg(out).args(words);
    checked(command, code)
}

/// Grey pixels of a sheet, with its width.
fn pixels(path: &Path) -> (Vec<u8>, usize) {
    let file = BufReader::new(fs::File::open(path).unwrap());
    let mut reader = png::Decoder::new(file).read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!(frame.color_type, png::ColorType::Grayscale);
    (pixels, frame.width as usize)
}

#[test]
fn a_folder_with_bad_inputs_is_shown_whole_and_names_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--subjects", "3", "--sessions", "1", "--dicom-subjects", "1", "--corrupt"];
    let cohort = phantom(folder.path(), &words);
    let sheet = folder.path().join("sheet.png");
    let run = show(&cohort, &sheet, &["--columns", "1", "--rows", "2", "--tile", "64"], 2);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(said.contains("on 4 pages; 1 cannot be shown"), "{said}");
    for page in ["sheet.png", "sheet-2.png", "sheet-3.png", "sheet-4.png"] {
        assert!(pixels(&folder.path().join(page)).0.contains(&255), "{page}");
    }
    assert!(!folder.path().join("sheet-5.png").exists());
    let said = String::from_utf8_lossy(&[run.stdout, run.stderr].concat()).into_owned();
    assert!(!said.contains("phantom") && !said.contains("sub-0"), "{said}");
}

#[test]
fn a_file_whose_name_says_nothing_is_shown_in_either_convention() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--subjects", "1", "--sessions", "1", "--dicom-subjects", "0"];
    let cohort = phantom(folder.path(), &words);
    let mut scans: Vec<_> = walk(&cohort);
    scans.retain(|path| path.to_string_lossy().ends_with(".nii.gz"));
    let file = folder.path().join("Jane Doe.nii.gz");
    fs::copy(&scans[0], &file).unwrap();
    let key = folder.path().join("key");
    let key = ["--key-file", key.to_str().unwrap()];
    let sheets = ["radiological.png", "neurological.png"].map(|name| folder.path().join(name));
    show(&file, &sheets[0], &key, 0);
    show(&file, &sheets[1], &[&key[..], &["--neurological"]].concat(), 0);
    let [one, other] = sheets.each_ref().map(|sheet| pixels(sheet));
    assert_eq!(one.1, other.1);
    assert_ne!(one.0, other.0);
    // The same file under the same key: the same sheet.
    show(&file, &sheets[1], &key, 0);
    assert_eq!(pixels(&sheets[1]), one);
    show(&file, &sheets[0], &["--ct-window", "-1000,400"], 0);
    show(&file, &sheets[0], &["--ct-window", "5,1"], 1);
    show(&file, &sheets[0], &["--memory", "0"], 1);
}

#[test]
fn a_results_folder_shows_what_was_prepared_or_else_the_scans() {
    let sources = "[[source]]\nname = 'phantom'\npath = 'phantom'\n";
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    phantom(place.folder.path(), &["--subjects", "2", "--sessions", "1"]);
    place.run(&["index"], 0);
    let sheet = place.path("sheet.png");
    show(&place.results(), &sheet, &[], 0);
    let scans = pixels(&sheet);
    place.run(&["prepare"], 0);
    show(&place.results(), &sheet, &[], 0);
    assert_ne!(pixels(&sheet), scans);
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { found.extend(walk(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
