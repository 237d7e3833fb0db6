//! Files that are odd, damaged or made to do harm: those written by hand here, those
//! made at random and by rule in the modules below.

mod cuts;
mod excess;
mod mutate;
mod mutations;
mod seeds;
mod verdict;
mod worker;

use std::{fs, path::PathBuf};

use mivox::io::{
    Format,
    dicom::{DicomError, Kind, open_header},
    series::{SeriesError, read_series},
    sniff,
};

use seeds::{deflate, run_lengths};

use super::{
    files::{assemble_files, decode_apart},
    made::{Change, Made, axial},
    raw::{Coding, Raw},
};

const IMPLICIT: &str = "1.2.840.10008.1.2";
const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const BIG: &str = "1.2.840.10008.1.2.2";
const RLE: &str = "1.2.840.10008.1.2.5";
const JPEG_LOSSLESS: &str = "1.2.840.10008.1.2.4.70";
const JPEG_LS: &str = "1.2.840.10008.1.2.4.80";
const JPEG_2000: &str = "1.2.840.10008.1.2.4.90";

/// The values of two slices made by `slice` from their positions.
fn read_two(slice: impl Fn(&str) -> Vec<u8>) -> Result<Vec<f32>, SeriesError> {
    decode_apart();
    let folder = tempfile::tempdir().unwrap();
    let files: Vec<PathBuf> = ["0\\0\\0", "0\\0\\10"]
        .iter()
        .map(|position| {
            let file = folder.path().join(format!("{}.dcm", position.len()));
            fs::write(&file, slice(position)).unwrap();
            assert_eq!(sniff(&file).unwrap(), Format::Dicom);
            file
        })
        .collect();
    let series = assemble_files(&files).series.remove(0);
    read_series(&series.slices, &series.grid).map(|voxels| voxels.into_raw_vec_and_offset().0)
}

fn expected() -> Vec<f32> {
    (0..24).map(|n| ((n % 12) * 100) as f32).collect()
}

#[test]
fn every_encoding_gives_the_same_values() {
    for (coding, syntax) in
        [(Coding::Implicit, IMPLICIT), (Coding::Explicit, EXPLICIT), (Coding::Big, BIG)]
    {
        let whole = |p: &str| Raw::with_meta(coding, syntax).ct(p, 16, 1).pixels().bytes;
        assert_eq!(read_two(whole).unwrap(), expected());
        let bare = |p: &str| Raw::bare(coding).ct(p, 16, 1).pixels().bytes;
        assert_eq!(read_two(bare).unwrap(), expected());
    }
    // The meta information says explicit, the data set is implicit.
    let mixed = |p: &str| Raw::with_meta(Coding::Implicit, EXPLICIT).ct(p, 16, 1).pixels().bytes;
    assert_eq!(read_two(mixed).unwrap(), expected());
    let deflated = |p: &str| {
        let mut file = Raw::with_meta(Coding::Explicit, DEFLATED).bytes;
        file.extend(deflate(&Raw::bare(Coding::Explicit).ct(p, 16, 1).pixels().bytes));
        file
    };
    assert_eq!(read_two(deflated).unwrap(), expected());
}

#[test]
fn run_lengths_and_their_damage() {
    let code = run_lengths();
    let file = |code: &[u8]| {
        let code = code.to_vec();
        move |p: &str| Raw::with_meta(Coding::Explicit, RLE).ct(p, 16, 1).fragments(&[&code]).bytes
    };
    assert_eq!(read_two(file(&code)).unwrap(), expected());
    for len in 0..code.len() - 1 {
        let read = read_two(file(&code[..len]));
        assert!(matches!(read, Err(SeriesError::Slice { .. })), "{len}");
    }
    let mut many = code.clone();
    many[..4].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(read_two(file(&many)).is_err());
}

#[test]
fn codecs_refuse_what_is_not_theirs() {
    for (syntax, code) in [
        (JPEG_LOSSLESS, &b"\xFF\xD8\xFF\xC3\x00\x0B\x08\xFF\xFF\xFF\xFF\x01\x01\x11\x00"[..]),
        (JPEG_LOSSLESS, b"\xFF\xD8\xFF\xC3\x00\x0B\x10\x00\x03\x00\x04\x01\x01\x11\x00"),
        (JPEG_LOSSLESS, b"nothing of the kind"),
        (JPEG_2000, b"\xFF\x4F\xFF\x51\x00\x29"),
        (JPEG_2000, b""),
        (JPEG_LS, b"\xFF\xD8\xFF\xF7"),
    ] {
        let read = read_two(|p| {
            Raw::with_meta(Coding::Explicit, syntax).ct(p, 16, 1).fragments(&[code]).bytes
        });
        let Err(SeriesError::Slice { slice: 0, source }) = read else {
            panic!("{syntax} was read")
        };
        assert!(!source.to_string().contains("1.2."), "{source}");
    }
    let folder = tempfile::tempdir().unwrap();
    let private = Raw::with_meta(Coding::Explicit, "1.2.3.4.5").ct("0\\0\\0", 16, 1);
    let file = private.fragments(&[b"private"]).save(&folder, "private.dcm");
    let error = open_header(&file).unwrap_err();
    assert_eq!(error.to_string(), "this transfer syntax: not supported");
}

#[test]
fn ten_thousand_nested_sequences_end_at_the_limit() {
    let folder = tempfile::tempdir().unwrap();
    for (coding, syntax) in [(Coding::Implicit, IMPLICIT), (Coding::Explicit, EXPLICIT)] {
        let mut raw = Raw::with_meta(coding, syntax);
        raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
        for _ in 0..10_000 {
            raw.head(0x0008, 0x1140, b"SQ", u32::MAX);
            raw.head(0xFFFE, 0xE000, b"", u32::MAX);
        }
        let error = open_header(&raw.save(&folder, "deep.dcm")).unwrap_err();
        assert!(matches!(error, DicomError::Depth { limit: 32, .. }), "{error}");
    }
}

#[test]
fn thirty_two_levels_are_the_deepest() {
    let folder = tempfile::tempdir().unwrap();
    let nested = |levels: usize| {
        let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1);
        for _ in 0..levels {
            raw.head(0x0040, 0x0260, b"SQ", u32::MAX);
            raw.head(0xFFFE, 0xE000, b"", u32::MAX);
        }
        for _ in 0..levels {
            raw.head(0xFFFE, 0xE00D, b"", 0);
            raw.head(0xFFFE, 0xE0DD, b"", 0);
        }
        open_header(&raw.pixels().save(&folder, "nested.dcm"))
    };
    assert!(nested(32).is_ok());
    assert!(matches!(nested(33), Err(DicomError::Depth { .. })));
}

#[test]
fn a_code_stream_of_another_size_is_not_decoded() {
    let code = b"\xFF\xD8\xFF\xC3\x00\x0B\x08\xFF\xFF\xFF\xFF\x01\x01\x11\x00";
    let file = |p: &str| {
        let raw = Raw::with_meta(Coding::Explicit, JPEG_LOSSLESS).ct(p, 16, 1);
        raw.fragments(&[code]).bytes
    };
    let Err(SeriesError::Slice { source, .. }) = read_two(file) else { panic!("it was decoded") };
    let sizes = "the compressed image is (65535, 65535) and its header says (4, 3) (columns, rows)";
    assert_eq!(source.to_string(), sizes);
}

#[test]
fn sequences_are_passed_over_whatever_their_lengths() {
    let slice = |p: &str| {
        let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct(p, 16, 1);
        // Undefined: a sequence with an item that holds a Patient ID and a
        // sequence; an icon with fragments; UN in implicit coding.
        raw.head(0x0028, 0x9000, b"SQ", u32::MAX);
        raw.head(0xFFFE, 0xE000, b"", u32::MAX);
        raw.text(0x0010, 0x0020, b"LO", "another");
        raw.head(0x0040, 0x0260, b"SQ", 8);
        raw.head(0xFFFE, 0xE000, b"", 0);
        raw.head(0xFFFE, 0xE00D, b"", 0);
        raw.head(0xFFFE, 0xE000, b"", 10);
        raw.number(0x0028, 0x0010, 9);
        raw.head(0xFFFE, 0xE0DD, b"", 0);
        raw.head(0x0088, 0x0200, b"SQ", u32::MAX);
        raw.head(0xFFFE, 0xE000, b"", u32::MAX);
        raw = raw.fragments(&[b"icon"]);
        raw.head(0xFFFE, 0xE00D, b"", 0);
        raw.head(0xFFFE, 0xE0DD, b"", 0);
        raw.head(0x2001, 0x1001, b"UN", u32::MAX);
        raw.coding = Coding::Implicit;
        raw.head(0xFFFE, 0xE000, b"", u32::MAX);
        raw.number(0x0028, 0x0010, 9);
        raw.head(0xFFFE, 0xE00D, b"", 0);
        raw.head(0xFFFE, 0xE0DD, b"", 0);
        raw.coding = Coding::Explicit;
        raw.pixels().bytes
    };
    assert_eq!(read_two(slice).unwrap(), expected());
}

#[test]
fn an_item_longer_than_its_sequence_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT);
    raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
    raw.head(0x0008, 0x1140, b"SQ", u32::MAX);
    raw.head(0xFFFE, 0xE000, b"", 12);
    raw.head(0x0008, 0x1150, b"UI", 400);
    raw.bytes.resize(raw.bytes.len() + 1000, 0);
    let error = open_header(&raw.save(&folder, "over.dcm")).unwrap_err();
    assert!(matches!(error, DicomError::Truncated { announced: 400, left: 4, .. }), "{error}");
}

#[test]
fn pixels_that_are_promised_must_be_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1000).pixels();
    let error = open_header(&file.save(&folder, "frames.dcm")).unwrap_err();
    assert!(matches!(error, DicomError::PixelLength { promised: 24_000, found: 24 }), "{error}");
    let mut large = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1000);
    large.number(0x0028, 0x0010, 65535);
    let file = large.pixels().save(&folder, "large.dcm");
    assert!(open_header(&file).is_err());
    let none = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1);
    assert!(matches!(open_header(&none.save(&folder, "none.dcm")), Err(DicomError::NoPixels)));
}

#[test]
fn a_slice_cut_anywhere_is_refused_at_the_header() {
    let made = Made::new(axial(), 2);
    let whole = fs::read(made.write(0, Change::default())).unwrap();
    let file = made.folder.path().join("cut.dcm");
    for len in 0..whole.len() {
        fs::write(&file, &whole[..len]).unwrap();
        assert!(open_header(&file).is_err(), "{len} of {}", whole.len());
    }
    let packed =
        Raw::with_meta(Coding::Explicit, RLE).ct("0\\0\\0", 16, 1).fragments(&[&run_lengths()]);
    for len in 0..packed.bytes.len() {
        fs::write(&file, &packed.bytes[..len]).unwrap();
        assert!(open_header(&file).is_err(), "{len} of {}", packed.bytes.len());
    }
}

#[test]
fn objects_that_are_no_volume_have_a_kind() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = Raw::with_meta(Coding::Explicit, EXPLICIT);
    report.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.88.22");
    report.text(0x0008, 0x0018, b"UI", "1.2.3.4.5");
    report.text(0x0008, 0x0060, b"CS", "SR");
    report.text(0x0010, 0x0020, b"LO", "phantom");
    report.text(0x0020, 0x000D, b"UI", "1.2.3");
    report.text(0x0020, 0x000E, b"UI", "1.2.3.9");
    let file = report.save(&folder, "report.dcm");
    assert_eq!(open_header(&file).unwrap().kind, Kind::NotAVolume("structured report"));
    let mut colour = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1);
    let at = colour.bytes.windows(4).position(|w| w == [0x28, 0, 2, 0]).unwrap();
    colour.bytes[at + 8] = 3;
    colour.head(0x7FE0, 0x0010, b"OW", 72);
    colour.bytes.resize(colour.bytes.len() + 72, 0);
    let file = colour.save(&folder, "colour.dcm");
    assert_eq!(open_header(&file).unwrap().kind, Kind::NotAVolume("colour image"));
    let frames = Raw::with_meta(Coding::Explicit, RLE).ct("0\\0\\0", 16, 7);
    let short = frames.fragments(&[b"0123"]).save(&folder, "short.dcm");
    let error = open_header(&short).unwrap_err();
    assert!(matches!(error, DicomError::Fragments { promised: 7, found: 1 }), "{error}");
    let frames = Raw::with_meta(Coding::Explicit, RLE).ct("0\\0\\0", 16, 7);
    let frames = frames.fragments(&[b"0123"; 7].map(|fragment| &fragment[..]));
    let assembly = assemble_files(&[frames.save(&folder, "frames.dcm")]);
    assert!(matches!(assembly.refused[0].reason, SeriesError::MultiFrame { frames: 7 }));
}

#[test]
fn identifiers_that_were_emptied_are_filled_in_or_missed() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1).pixels();
    let at = raw.bytes.windows(7).position(|w| w == b"phantom").unwrap();
    raw.bytes[at..at + 7].copy_from_slice(b"       ");
    let file = raw.save(&folder, "nobody.dcm");
    let mut instance = open_header(&file).unwrap();
    assert_eq!(instance.clone().complete(None).unwrap_err().to_string(), "Patient ID is missing");
    instance.complete(Some("subject".into())).unwrap();
    assert_eq!((instance.patient_id.as_str(), instance.study_uid.as_str()), ("subject", "1.2.3"));
}
