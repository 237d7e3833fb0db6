//! Multi-frame images, byte by byte: which frame has which group.

use std::fs;

use mivox::io::{
    dicom::{DicomError, open_header},
    series::{SeriesError, read_series},
};

use super::{
    files::assemble_files,
    raw::{Coding, Raw},
};

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";

/// How sequences and items are ended.
#[derive(Clone, Copy)]
pub enum Ends {
    Delimiters,
    Lengths,
}

/// A sequence with one item for each content.
pub fn sequence(raw: &mut Raw, tag: (u16, u16), ends: Ends, items: &[Vec<u8>]) {
    let length = |bytes: usize| match ends {
        Ends::Delimiters => u32::MAX,
        Ends::Lengths => bytes as u32,
    };
    let whole: usize = items.iter().map(|item| item.len() + 8).sum();
    raw.head(tag.0, tag.1, b"SQ", length(whole));
    for item in items {
        raw.head(0xFFFE, 0xE000, b"", length(item.len()));
        raw.bytes.extend_from_slice(item);
        if let Ends::Delimiters = ends {
            raw.head(0xFFFE, 0xE00D, b"", 0);
        }
    }
    if let Ends::Delimiters = ends {
        raw.head(0xFFFE, 0xE0DD, b"", 0);
    }
}

/// A group: a sequence with one item of one text.
pub fn group(raw: &mut Raw, ends: Ends, tag: (u16, u16), texts: &[(u16, u16, &str)]) {
    let mut item = Raw::bare(raw.coding);
    for (group, element, text) in texts {
        item.text(*group, *element, b"DS", text);
    }
    sequence(raw, tag, ends, &[item.bytes]);
}

/// A CT of four frames of 3 by 4 pixels at z = 20, 0, 30 and 10 mm. Frame 2 has a
/// rescale of its own; frame `bare` has no item content.
pub fn enhanced(coding: Coding, syntax: &str, ends: Ends, bare: Option<usize>) -> Raw {
    let mut raw = Raw::with_meta(coding, syntax).ct("", 16, 4);
    let mut shared = Raw::bare(coding);
    group(&mut shared, ends, (0x0020, 0x9116), &[(0x0020, 0x0037, "1\\0\\0\\0\\1\\0")]);
    group(&mut shared, ends, (0x0028, 0x9110), &[(0x0028, 0x0030, "0.5\\0.25")]);
    let rescale = [(0x0028, 0x1052, "-1000"), (0x0028, 0x1053, "2")];
    group(&mut shared, ends, (0x0028, 0x9145), &rescale);
    sequence(&mut raw, (0x5200, 0x9229), ends, &[shared.bytes]);
    let frames: Vec<Vec<u8>> = [20, 0, 30, 10]
        .iter()
        .enumerate()
        .map(|(index, z)| {
            let mut frame = Raw::bare(coding);
            if bare != Some(index) {
                let position = format!("0\\0\\{z}");
                group(&mut frame, ends, (0x0020, 0x9113), &[(0x0020, 0x0032, &position)]);
            }
            if index == 2 {
                let rescale = [(0x0028, 0x1052, "7"), (0x0028, 0x1053, "1")];
                group(&mut frame, ends, (0x0028, 0x9145), &rescale);
            }
            frame.bytes
        })
        .collect();
    sequence(&mut raw, (0x5200, 0x9230), ends, &frames);
    raw.head(0x7FE0, 0x0010, b"OW", 96);
    raw.bytes.extend((0..48u16).flat_map(|n| n.to_le_bytes()));
    raw
}

#[test]
fn each_frame_has_its_own_place_and_rescale_however_it_is_written() {
    let folder = tempfile::tempdir().unwrap();
    for (coding, syntax) in [(Coding::Implicit, IMPLICIT), (Coding::Explicit, EXPLICIT)] {
        for ends in [Ends::Delimiters, Ends::Lengths] {
            let file = enhanced(coding, syntax, ends, None).save(&folder, "enhanced.dcm");
            let assembly = assemble_files(&[file]);
            let series = &assembly.series[0];
            assert_eq!(series.grid.shape, [4, 3, 4]);
            assert_eq!(series.grid.spacing_mm(), [0.25, 0.5, 10.0]);
            let frames: Vec<u32> = series.slices.iter().map(|slice| slice.frame).collect();
            assert_eq!(frames, [1, 3, 0, 2]);
            let voxels = read_series(&series.slices, &series.grid).unwrap();
            for ((k, j, i), &value) in voxels.indexed_iter() {
                let stored = (frames[k] as usize * 12 + j * 4 + i) as f32;
                let expected = if frames[k] == 2 { stored + 7.0 } else { stored * 2.0 - 1000.0 };
                assert_eq!(value, expected);
            }
        }
    }
}

#[test]
fn a_frame_without_a_place_takes_none_of_its_neighbours() {
    let folder = tempfile::tempdir().unwrap();
    for bare in 0..4 {
        let raw = enhanced(Coding::Explicit, EXPLICIT, Ends::Lengths, Some(bare));
        let assembly = assemble_files(&[raw.save(&folder, "bare.dcm")]);
        assert!(assembly.series.is_empty());
        assert!(matches!(assembly.refused[0].reason, SeriesError::MultiFrame { frames: 4 }));
    }
}

/// The word of a mosaic in an image of many frames says nothing of its planes.
#[test]
fn an_image_of_many_frames_is_no_mosaic() {
    let folder = tempfile::tempdir().unwrap();
    let mut words = Raw::bare(Coding::Explicit);
    words.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\M\\MOSAIC");
    words.text(0x0019, 0x0010, b"LO", "SIEMENS MR HEADER");
    words.number(0x0019, 0x100A, 1);
    let mut raw = enhanced(Coding::Explicit, EXPLICIT, Ends::Lengths, None);
    let start = Raw::with_meta(Coding::Explicit, EXPLICIT).bytes.len();
    raw.bytes.splice(start..start, words.bytes);
    let assembly = assemble_files(&[raw.save(&folder, "frames.dcm")]);
    let series = &assembly.series[0];
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    assert_eq!(voxels[[0, 0, 1]], (12 + 1) as f32 * 2.0 - 1000.0);
}

/// # Source
/// DICOM PS3.5 7.8.1: each item names its own private blocks.
#[test]
fn a_private_block_is_of_its_item_and_its_last_name() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("", 16, 4);
    let frames: Vec<Vec<u8>> =
        [&["SIEMENS MR HEADER"][..], &[], &["OTHER"], &["SIEMENS MR HEADER", "OTHER"]]
            .iter()
            .map(|names| {
                let mut frame = Raw::bare(Coding::Explicit);
                names.iter().for_each(|name| frame.text(0x0019, 0x0010, b"LO", name));
                frame.text(0x0019, 0x100C, b"IS", "500");
                frame.bytes
            })
            .collect();
    sequence(&mut raw, (0x5200, 0x9230), Ends::Lengths, &frames);
    raw.head(0x7FE0, 0x0010, b"OW", 96);
    raw.bytes.extend([0; 96]);
    let header = open_header(&raw.save(&folder, "private.dcm")).unwrap();
    let found: Vec<_> = header.frames.iter().map(|frame| frame.timing.b_value).collect();
    assert_eq!(found, [Some(500.0), None, None, None]);
}

#[test]
fn a_multi_frame_image_cut_anywhere_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = enhanced(Coding::Explicit, EXPLICIT, Ends::Delimiters, None).bytes;
    let file = folder.path().join("cut.dcm");
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        assert!(open_header(&file).is_err(), "{length} of {}", whole.len());
    }
}

#[test]
fn more_items_than_any_file_has_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("", 16, 4);
    raw.head(0x5200, 0x9230, b"SQ", u32::MAX);
    for _ in 0..300_000 {
        raw.head(0xFFFE, 0xE000, b"", 0);
    }
    let error = open_header(&raw.save(&folder, "items.dcm")).unwrap_err();
    assert!(matches!(error, DicomError::Structure { .. }), "{error}");
    let frames = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("", 16, i32::MAX as u32).pixels();
    let error = open_header(&frames.save(&folder, "frames.dcm")).unwrap_err();
    assert!(matches!(error, DicomError::PixelLength { .. }), "{error}");
}
