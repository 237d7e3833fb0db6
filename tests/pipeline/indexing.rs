//! An index reads what is new, goes on where it was killed, and looks into archives.

use std::{
    fs::{self, File},
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use mivox::{
    cohort::{CohortRow, Link, Quarantined, scans},
    geometry::Grid,
    io::dicom::{MrTiming, NewSlice, uid_of, write_slice},
    study::Modality,
    table,
};
use ndarray::Array2;
use zip::{ZipWriter, write::SimpleFileOptions};

use crate::{
    hostile::nifti,
    workplace::{Pipeline, SMALL, Workplace, checked, mivox, phantom},
};

fn place(source: &str) -> Workplace {
    let sources = format!("[[source]]\nname = 'scans'\npath = '{source}'\n");
    Workplace::new(&Pipeline { sources: &sources, rest: SMALL })
}

fn cohort(place: &Workplace) -> Vec<CohortRow> {
    table::read(&place.results().join("cohort.parquet")).unwrap()
}

fn quarantine(place: &Workplace) -> Vec<Quarantined> {
    table::read(&place.results().join("quarantine.parquet")).unwrap()
}

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// `slices` small CT files a series, in folders of their own.
fn write_series(folder: &Path, series: usize, slices: usize) {
    for number in 0..series {
        let name = format!("series{number:05}");
        fs::create_dir_all(folder.join(&name)).unwrap();
        for k in 0..slices {
            let grid = Grid {
                shape: [4, 4, slices],
                ras_from_voxel: mivox::geometry::affine_from_rows(&[
                    [-1.0, 0.0, 0.0, 0.0],
                    [0.0, -1.0, 0.0, 0.0],
                    [0.0, 0.0, 2.0, 0.0],
                    [0.0; 4],
                ]),
            };
            let pixels = Array2::from_elem((4, 4), k as i16);
            let mut bytes = Vec::new();
            let slice = NewSlice {
                patient_id: &format!("patient {}", number / 2),
                study_uid: &uid_of(&["study", &name]),
                series_uid: &uid_of(&["series", &name]),
                sop_uid: &uid_of(&["slice", &name, &k.to_string()]),
                frame_of_reference: &uid_of(&["frame", &name]),
                modality: Modality::Ct,
                timing: MrTiming::default(),
                body_part: None,
                grid: &grid,
                k,
                instance_number: k as u32,
                slope: 1.0,
                intercept: -1024.0,
                bits_stored: 16,
                padding: None,
                pixels: pixels.view(),
            };
            write_slice(&mut bytes, &slice).unwrap();
            fs::write(folder.join(&name).join(format!("{k:04}")), bytes).unwrap();
        }
    }
}

/// Overwrites bytes in the middle of a file, and gives it its time back.
fn overwrite_unseen(path: &Path) {
    let modified = path.metadata().unwrap().modified().unwrap();
    let mut bytes = fs::read(path).unwrap();
    bytes[200..400].fill(0xAA);
    fs::write(path, bytes).unwrap();
    File::options().write(true).open(path).unwrap().set_modified(modified).unwrap();
}

#[test]
fn only_what_changed_is_read_again() {
    let place = place("scans");
    let scans = place.path("scans");
    write_series(&scans, 6, 5);
    let first = said(&place.run(&["index"], 0));
    assert!(first.contains("30 files, 30 read: 6 volumes of 3 subjects"), "{first}");
    let rows = cohort(&place);
    assert!(said(&place.run(&["index"], 0)).contains("unchanged"));

    write_series(&scans.join("more"), 7, 5);
    fs::remove_dir_all(scans.join("more/series00000")).unwrap();
    fs::remove_dir_all(scans.join("series00005")).unwrap();
    // The copies of series 1 to 5 are the same instances in other files.
    let second = said(&place.run(&["index"], 0));
    assert!(second.contains("55 files, 30 read: 7 volumes of 4 subjects"), "{second}");
    let incremental = (cohort(&place), quarantine(&place));
    fs::remove_dir_all(place.results()).unwrap();
    place.run(&["index"], 0);
    assert_eq!((cohort(&place), quarantine(&place)), incremental);
    fs::remove_dir_all(scans.join("more")).unwrap();
    write_series(&scans, 6, 5);
    place.run(&["index"], 0);
    let series: Vec<_> = rows.iter().map(|row| (&row.series, row.affine)).collect();
    let again = cohort(&place);
    assert_eq!(again.iter().map(|row| (&row.series, row.affine)).collect::<Vec<_>>(), series);
}

#[test]
fn what_changed_unseen_is_found_by_its_content() {
    let place = place("scans");
    let scans = place.path("scans");
    write_series(&scans, 4, 5);
    place.run(&["index"], 0);
    let before = cohort(&place);
    // What the content was before is not known yet.
    let first = said(&place.run(&["index", "--rehash"], 0));
    assert!(first.contains("unchanged; of 20 files the headers alone"), "{first}");
    assert!(said(&place.run(&["index", "--rehash"], 0)).contains("unchanged, also in content"));

    overwrite_unseen(&scans.join("series00001/0002"));
    assert!(said(&place.run(&["index"], 0)).contains("unchanged"));
    let rehashed = said(&place.run(&["index", "--rehash"], 2));
    assert!(rehashed.contains("3 volumes"), "{rehashed}");
    assert!(quarantine(&place).len() == 5, "the file and what lacks it");
    // The others are what they were: nothing after the index does them again.
    for row in cohort(&place) {
        assert!(before.contains(&row));
    }
}

#[test]
fn the_first_look_into_the_content_finds_what_the_headers_say() {
    let place = place("scans");
    let scans = place.path("scans");
    write_series(&scans, 4, 5);
    let image = scans.join("sub-1_T1w.nii");
    fs::write(&image, nifti([4, 4, 4])).unwrap();
    place.run(&["index"], 0);
    let before = cohort(&place);
    overwrite_unseen(&scans.join("series00001/0002"));
    // Another spacing.
    let modified = image.metadata().unwrap().modified().unwrap();
    let mut bytes = fs::read(&image).unwrap();
    bytes[88..92].copy_from_slice(&3f32.to_le_bytes());
    fs::write(&image, bytes).unwrap();
    File::options().write(true).open(&image).unwrap().set_modified(modified).unwrap();

    assert!(said(&place.run(&["index"], 0)).contains("unchanged"));
    let rehashed = said(&place.run(&["index", "--rehash"], 2));
    assert!(rehashed.contains("4 volumes"), "{rehashed}");
    let of_image = |rows: &[CohortRow]| rows.iter().find(|row| row.format == "nifti").cloned();
    let (old, new) = (of_image(&before).unwrap(), of_image(&cohort(&place)).unwrap());
    assert_eq!(new.spacing_mm, Some([1.0, 1.0, 3.0]));
    assert_ne!(old.fingerprint, new.fingerprint);
    assert_eq!(quarantine(&place).len(), 5);
    place.run(&["index", "--rehash"], 2);
    assert_eq!(of_image(&cohort(&place)), Some(new));
}

#[test]
fn what_could_not_be_read_is_tried_again() {
    let place = place("scans");
    let scans = place.path("scans");
    write_series(&scans, 1, 5);
    let archive = scans.join("export.zip");
    let mut zip = ZipWriter::new(File::create(&archive).unwrap());
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let folder = scans.join("series00000");
    let last = fs::read(folder.join("0004")).unwrap();
    for k in 0..5 {
        let name = format!("{k:04}");
        zip.start_file(&name, stored).unwrap();
        zip.write_all(&fs::read(folder.join(name)).unwrap()).unwrap();
    }
    zip.finish().unwrap();
    fs::remove_dir_all(folder).unwrap();
    let whole = fs::read(&archive).unwrap();
    let modified = archive.metadata().unwrap().modified().unwrap();
    let write = |bytes: &[u8]| {
        fs::write(&archive, bytes).unwrap();
        File::options().write(true).open(&archive).unwrap().set_modified(modified).unwrap();
    };
    let at = whole.windows(last.len()).position(|window| window == last).unwrap();
    let mut broken = whole.clone();
    broken[at + last.len() - 1] ^= 1;
    write(&broken);
    // The last slice is lost, and four would be a volume as well.
    let output = said(&place.run(&["index"], 2));
    assert!(output.contains("0 volumes"), "{output}");
    assert_eq!(quarantine(&place).len(), 5);
    assert!(said(&place.run(&["index"], 2)).contains("unchanged"));
    write(&whole);
    let output = said(&place.run(&["index"], 0));
    assert!(output.contains("5 files, 1 read: 1 volume"), "{output}");
    assert!(said(&place.run(&["index"], 0)).contains("unchanged"));
}

#[test]
fn a_series_of_two_sources_is_listed_twice_and_used_once() {
    let sources = ["a", "b"].map(|name| format!("[[source]]\nname = '{name}'\npath = '{name}'\n"));
    let place = Workplace::new(&Pipeline { sources: &sources.concat(), rest: SMALL });
    write_series(&place.path("a"), 2, 5);
    write_series(&place.path("b"), 3, 5);
    place.run(&["index"], 0);
    let rows = cohort(&place);
    let count = |status: &str, source: &str| {
        rows.iter().filter(|row| row.status == status && row.source == source).count()
    };
    let counts = [("volume", "a"), ("volume", "b"), ("other", "b")];
    assert_eq!(counts.map(|(status, source)| count(status, source)), [2, 1, 2], "{rows:?}");
    let reasons = rows.iter().filter_map(|row| row.reason.as_deref());
    assert_eq!(reasons.filter(|reason| reason.contains("source \"a\"")).count(), 2);
    let links: Vec<Link> = table::read(&place.results().join("linkage.parquet")).unwrap();
    let scans = scans(rows, &links);
    assert_eq!(scans.iter().map(|scan| scan.files().len()).collect::<Vec<_>>(), [5; 3]);
}

#[test]
fn an_index_that_was_killed_goes_on() {
    let place = place("scans");
    write_series(&place.path("scans"), 240, 100);
    let mut child = place
        .command(&["index"])
        .env("RAYON_NUM_THREADS", "1")
        .stderr(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // It keeps what it read every 8192 files: when the store has grown past what a
    // walk alone makes of it, something is kept.
    let store = place.results().join("linkage.sqlite");
    let len = || store.metadata().map_or(0, |data| data.len());
    while child.try_wait().unwrap().is_none() && len() < 8 << 20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let output = said(&place.run(&["index"], 0));
    let read: usize = output
        .split("24000 files, ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("{output}"));
    println!("{read} of 24000 files were read after the kill");
    assert!(output.contains("240 volumes of 120 subjects"), "{output}");
    assert!(read <= 24_000 - 8192, "{read} files were read again");
    assert_eq!(cohort(&place).len(), 240);
}

#[test]
fn a_store_that_is_damaged_is_made_anew_or_named() {
    let place = place("scans");
    write_series(&place.path("scans"), 2, 5);
    fs::create_dir_all(place.results()).unwrap();
    fs::write(place.results().join("linkage.sqlite"), b"no database".repeat(1000)).unwrap();
    let output = said(&place.run(&["index"], 0));
    assert!(output.contains("10 files, 10 read: 2 volumes"), "{output}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = place.results().join("linkage.sqlite").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

/// The files below a folder, relative to it.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn an_archive_is_read_like_the_folder_it_was_made_of() {
    let work = tempfile::tempdir().unwrap();
    let made = phantom(work.path(), &["--subjects", "2", "--sessions", "1"]);
    let archive = work.path().join("export.zip");
    let mut zip = ZipWriter::new(File::create(&archive).unwrap());
    for name in files_below(&made) {
        zip.start_file_from_path(&name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&fs::read(made.join(&name)).unwrap()).unwrap();
    }
    zip.start_file("../sub-escape_T1w.nii", SimpleFileOptions::default()).unwrap();
    zip.write_all(b"no scan").unwrap();
    zip.finish().unwrap();
    fs::write(work.path().join("key"), "1".repeat(64)).unwrap();
    let convert = |input: &Path, out: &str, code| {
        let out = work.path().join(out);
        let mut command = mivox(&["convert"]);
        let names = ["--name", "{subject}/{modality}/{series}", "--uncompressed"];
        command.arg(input).arg(&out).args(names).arg("--key-file").arg(work.path().join("key"));
        checked(command, code);
        out
    };
    let of_folder = convert(&made, "folder", 0);
    let of_archive = convert(&archive, "archive", 2);
    let (whole, packed) =
        (files_below(&of_folder.join("nifti")), files_below(&of_archive.join("nifti")));
    assert_eq!(whole.len(), packed.len());
    let bytes = |folder: &Path, names: &[PathBuf]| {
        let images = names.iter().filter(|name| name.extension().is_some_and(|e| e == "nii"));
        let mut bytes: Vec<_> =
            images.map(|name| fs::read(folder.join("nifti").join(name)).unwrap()).collect();
        bytes.sort();
        bytes
    };
    let images = bytes(&of_folder, &whole);
    assert_eq!(images.len(), 4);
    assert!(images == bytes(&of_archive, &packed), "an image differs");
    let quarantined: Vec<Quarantined> =
        table::read(&of_archive.join("quarantine.parquet")).unwrap();
    assert_eq!(quarantined.len(), 1, "{quarantined:?}");
    assert!(quarantined[0].reason.contains("leads out of it"), "{}", quarantined[0].reason);
    assert!(!work.path().join("sub-escape_T1w.nii").exists());
}

#[test]
fn a_media_directory_names_the_files() {
    let folder = Path::new(".venv/lib");
    let python = fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let real = python.join("site-packages/pydicom/data/test_files/dicomdirtests");
    let work = tempfile::tempdir().unwrap();
    let media = work.path().join("media");
    for name in files_below(&real) {
        fs::create_dir_all(media.join(&name).parent().unwrap()).unwrap();
        fs::copy(real.join(&name), media.join(&name)).unwrap();
    }
    // Beside the media's own files, and named by no record.
    write_series(&media.join("other"), 1, 3);
    let mut bytes = Vec::new();
    File::open(media.join("DICOMDIR")).unwrap().read_to_end(&mut bytes).unwrap();
    let one = b"77654033\\CR1\\6154";
    let at = bytes.windows(one.len()).position(|window| window == one).unwrap();
    bytes[at..at + one.len()].copy_from_slice(b"..\\..\\etc\\\\passwd");
    fs::write(media.join("DICOMDIR"), &bytes).unwrap();

    let place = place(&media.join("DICOMDIR").to_string_lossy());
    let output = said(&place.run(&["index"], 2));
    assert!(output.contains("31 files, 31 read"), "{output}");
    let quarantined = quarantine(&place);
    let outside = quarantined.iter().filter(|row| row.reason.contains("outside its folder"));
    assert_eq!(outside.count(), 1, "{quarantined:?}");
    assert!(cohort(&place).iter().all(|row| row.subject.starts_with("sub-")));
}
