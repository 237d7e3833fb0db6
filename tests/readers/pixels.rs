//! Pixels as no file at hand has them: floats, tables, odd bits, frames in parts.

use std::{
    io::Write,
    path::{Path, PathBuf},
};

use flate2::{Compression, write::DeflateEncoder};
use mivox::io::dicom::{DicomError, FrameReader, Kind, open_header};
use tempfile::TempDir;

use super::raw::{Coding, Raw};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const RLE: &str = "1.2.840.10008.1.2.5";
const UNCOMPRESSED: &str = "1.2.840.10008.1.2.1.98";
const DEFLATED_FRAME: &str = "1.2.840.10008.1.2.8.1";

fn native(bits: u16) -> Raw {
    Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", bits, 1)
}

/// The values of one frame of a file of 3 rows and 4 columns.
fn frame(file: &Path, frame: u32) -> Result<Vec<f32>, DicomError> {
    let mut values = vec![0.0; 12];
    FrameReader::open(file)?.read(frame, &mut values)?;
    Ok(values)
}

fn saved(raw: &Raw) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = raw.save(&folder, "file.dcm");
    (folder, file)
}

fn values(raw: &Raw) -> Vec<f32> {
    let (_folder, file) = saved(raw);
    frame(&file, 0).unwrap()
}

fn with_pixels(mut raw: Raw, element: u16, vr: &[u8], bytes: &[u8]) -> Raw {
    raw.head(0x7FE0, element, vr, bytes.len() as u32);
    raw.bytes.extend_from_slice(bytes);
    raw
}

#[test]
fn floats_doubles_and_long_integers_are_values() {
    let numbers: Vec<f64> = (0..12).map(|n| f64::from(n) * 0.75 - 3.0).collect();
    let expected: Vec<f32> = numbers.iter().map(|&n| n as f32).collect();
    let floats: Vec<u8> = expected.iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(values(&with_pixels(native(32), 0x0008, b"OF", &floats)), expected);
    let doubles: Vec<u8> = numbers.iter().flat_map(|n| n.to_le_bytes()).collect();
    assert_eq!(values(&with_pixels(native(64), 0x0009, b"OD", &doubles)), expected);
    let long: Vec<u8> = (0..12u32).flat_map(|n| (n * 1_000_000).to_le_bytes()).collect();
    let expected: Vec<f32> = (0..12).map(|n| (n * 1_000_000) as f32).collect();
    assert_eq!(values(&with_pixels(native(32), 0x0010, b"OW", &long)), expected);
    // Integers of 64 bits are in no class of image.
    let (_folder, file) = saved(&with_pixels(native(64), 0x0010, b"OV", &doubles));
    assert!(matches!(frame(&file, 0), Err(DicomError::Unsupported { .. })));
}

#[test]
fn single_bits_of_a_later_frame_begin_inside_a_byte() {
    let raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 1, 3);
    let (_folder, file) =
        saved(&with_pixels(raw, 0x0010, b"OB", &[0xFF, 0x0F, 0b1010_0101, 0, 0xF0, 0]));
    let reader = FrameReader::open(&file).unwrap();
    let bits = |frame| reader.stored(frame).unwrap().into_raw_vec_and_offset().0;
    assert_eq!(bits(0), [1.0; 12]);
    let second = [0, 0, 0, 0, 1, 0, 1, 0, 0, 1, 0, 1].map(f64::from);
    assert_eq!(bits(1), second);
    assert!(reader.stored(3).is_err());
}

#[test]
fn a_modality_table_a_real_world_line_and_padding() {
    let mut raw = native(16);
    raw.head(0x0028, 0x3000, b"SQ", u32::MAX);
    raw.head(0xFFFE, 0xE000, b"", u32::MAX);
    raw.head(0x0028, 0x3002, b"US", 6);
    raw.bytes.extend([3u16, 200, 16].iter().flat_map(|n| n.to_le_bytes()));
    raw.head(0x0028, 0x3006, b"OW", 6);
    raw.bytes.extend([7u16, 8, 9].iter().flat_map(|n| n.to_le_bytes()));
    raw.head(0xFFFE, 0xE00D, b"", 0);
    raw.head(0xFFFE, 0xE0DD, b"", 0);
    // Below the first entry and above the last their values count.
    let found = values(&raw.pixels());
    assert_eq!(found, [vec![7.0; 3], vec![9.0; 9]].concat());

    let mut raw = native(16);
    raw.number(0x0028, 0x0120, 1100);
    raw.number(0x0028, 0x0121, 1000);
    raw.head(0x0040, 0x9096, b"SQ", u32::MAX);
    raw.head(0xFFFE, 0xE000, b"", u32::MAX);
    raw.number(0x0040, 0x9211, 900);
    raw.number(0x0040, 0x9216, 100);
    for (element, number) in [(0x9224, -5.0f64), (0x9225, 0.5)] {
        raw.head(0x0040, element, b"FD", 8);
        raw.bytes.extend(number.to_le_bytes());
    }
    raw.head(0xFFFE, 0xE00D, b"", 0);
    raw.head(0xFFFE, 0xE0DD, b"", 0);
    let found = values(&raw.pixels());
    assert!(found[0].is_nan(), "not mapped");
    assert!(found[10].is_nan() && found[11].is_nan(), "padding from 1000 to 1100");
    let mapped: Vec<f32> = (1..10).map(|n| n as f32 * 50.0 - 5.0).collect();
    assert_eq!(found[1..10], mapped);
}

#[test]
fn the_high_bit_says_where_bits_lie_in_cells_and_not_in_a_code_stream() {
    let mut raw = native(16);
    for (tag, value) in [(0x0101, 12), (0x0102, 15)] {
        let at = raw.bytes.windows(4).position(|w| w == [0x28, 0, tag as u8, 1]).unwrap();
        raw.bytes[at + 8] = value;
    }
    let found = values(&raw.pixels());
    assert_eq!(found, (0..12).map(|n| ((n * 100) >> 4) as f32).collect::<Vec<_>>());
}

#[test]
fn frames_that_are_deflated_or_plain_lie_in_fragments() {
    let plain: Vec<u8> = (0..12u16).flat_map(|n| (n * 100).to_le_bytes()).collect();
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&plain).unwrap();
    let mut deflated = encoder.finish().unwrap();
    deflated.resize(deflated.len().next_multiple_of(2), 0);
    let expected: Vec<f32> = (0..12).map(|n| (n * 100) as f32).collect();
    for (syntax, code) in [(UNCOMPRESSED, plain), (DEFLATED_FRAME, deflated)] {
        let raw = Raw::with_meta(Coding::Explicit, syntax).ct("0\\0\\0", 16, 2);
        let (_folder, file) = saved(&raw.fragments(&[&code, &code]));
        assert_eq!(frame(&file, 0).unwrap(), expected);
        assert_eq!(frame(&file, 1).unwrap(), expected);
        let raw = Raw::with_meta(Coding::Explicit, syntax).ct("0\\0\\0", 16, 1);
        let (_folder, file) = saved(&raw.fragments(&[&code[..6]]));
        assert!(frame(&file, 0).is_err());
    }
}

#[test]
fn a_frame_of_several_fragments_is_found_by_its_offset() {
    let plain: Vec<u8> = (0..12u16).flat_map(|n| (n * 100).to_le_bytes()).collect();
    let (one, two) = plain.split_at(10);
    let mut raw = Raw::with_meta(Coding::Explicit, UNCOMPRESSED).ct("0\\0\\0", 16, 2);
    raw.head(0x7FE0, 0x0010, b"OB", u32::MAX);
    raw.head(0xFFFE, 0xE000, b"", 8);
    raw.u32(0);
    raw.u32((8 + one.len() + 8 + two.len()) as u32);
    for part in [one, two, &plain] {
        raw.head(0xFFFE, 0xE000, b"", part.len() as u32);
        raw.bytes.extend_from_slice(part);
    }
    raw.head(0xFFFE, 0xE0DD, b"", 0);
    let (_folder, file) = saved(&raw);
    assert_eq!(frame(&file, 0).unwrap(), frame(&file, 1).unwrap());
    // Without the table nothing says where the second frame begins.
    let without = Raw::with_meta(Coding::Explicit, UNCOMPRESSED).ct("0\\0\\0", 16, 2);
    let (_folder, file) = saved(&without.fragments(&[one, two, &plain]));
    assert!(matches!(frame(&file, 0), Err(DicomError::Fragments { promised: 2, found: 3 })));
}

#[test]
fn colours_and_palettes_are_told_apart() {
    let kind = |raw: Raw| {
        let (_folder, file) = saved(&raw);
        open_header(&file).unwrap().kind
    };
    let mut palette = native(16);
    let at = palette.bytes.windows(11).position(|w| w == b"MONOCHROME2").unwrap();
    palette.bytes[at - 2] = 14;
    palette.bytes.splice(at..at + 12, *b"PALETTE COLOR ");
    assert_eq!(kind(palette.pixels()), Kind::NotAVolume("palette image"));
    let run_lengths = Raw::with_meta(Coding::Explicit, RLE).ct("0\\0\\0", 16, 1);
    let (_folder, file) = saved(&run_lengths.fragments(&[&[0; 64]]));
    assert!(matches!(frame(&file, 0), Err(DicomError::Codec { codec: "RLE", .. })));
}
