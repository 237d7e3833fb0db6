//! Headers of a few kilobytes that ask for more time or memory than any scan takes.

use std::{error::Error, fs, time::Instant};

use mivox::io::{
    dicom::{DicomError, FrameReader, open_header},
    image::open_head,
};

use super::{EXPLICIT, RLE, seeds};
use crate::readers::raw::{Coding, Raw};

/// Far above what any of them takes, and far below what they took.
fn in_time<T>(action: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = action();
    assert!(began.elapsed().as_secs() < 20, "{:?}", began.elapsed());
    done
}

#[test]
fn a_mosaic_of_more_slices_than_there_are_is_none() {
    let folder = tempfile::tempdir().unwrap();
    let mosaic = seeds::dicom().into_iter().find(|seed| seed.name == "mosaic").unwrap();
    let mut bytes = mosaic.files[0].1.clone();
    let at = |bytes: &[u8], some: &[u8]| bytes.windows(some.len()).position(|w| w == some).unwrap();
    let file = folder.path().join("mosaic.dcm");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(open_header(&file).unwrap().frames.len(), 3);
    let number = b"\x19\0\x0A\x10US\x02\0\x03\0";
    let start = at(&bytes, number);
    bytes.splice(start..start + number.len(), *b"\x19\0\x0A\x10DS\x06\x001e300 ");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(in_time(|| open_header(&file)).unwrap().frames.len(), 1);
}

#[test]
fn items_are_counted_of_all_sequences_with_one_tag() {
    let folder = tempfile::tempdir().unwrap();
    let with = |times: usize| {
        let mut raw = Raw::with_meta(Coding::Explicit, EXPLICIT).ct("0\\0\\0", 16, 1);
        for _ in 0..times {
            raw.head(0x0020, 0x9222, b"SQ", 8 * 100_000);
            (0..100_000).for_each(|_| raw.head(0xFFFE, 0xE000, b"", 0));
        }
        open_header(&raw.pixels().save(&folder, "items.dcm"))
    };
    assert!(with(2).is_ok());
    assert!(matches!(with(3), Err(DicomError::Structure { .. })));
}

#[test]
fn a_header_of_many_fields_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("many.nrrd");
    fs::write(&file, format!("NRRD0004\n{}", "a:\n".repeat(349_000))).unwrap();
    assert!(in_time(|| open_head(&file)).is_err());
}

#[test]
fn numbers_that_no_cell_holds_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    // Eight segments of run lengths, the first of 64 bits.
    let mut code = vec![0; 64];
    code[0] = 8;
    for segment in 0..8 {
        let at = code.len() as u32;
        code[4 + 4 * segment..8 + 4 * segment].copy_from_slice(&at.to_le_bytes());
        code.push(11);
        code.extend([1; 12]);
        code.push(0x80);
    }
    let raw = Raw::with_meta(Coding::Explicit, RLE).ct("0\\0\\0", 64, 1).fragments(&[&code]);
    let reader = FrameReader::open(&raw.save(&folder, "wide.dcm")).unwrap();
    let error = reader.read(0, &mut [0.0; 12]).unwrap_err();
    assert!(matches!(error, DicomError::Codec { .. }), "{error}");

    // Code streams whose numbers have more bits than the header says.
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures");
    for name in ["jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k", "jpeg_xl", "jpeg_12"] {
        let mut bytes = fs::read(fixtures.join(format!("{name}_1.dcm"))).unwrap();
        for (element, number) in [(1, 5), (2, 4)] {
            let head = [0x28, 0, element, 1, b'U', b'S', 2, 0];
            let at = bytes.windows(8).position(|window| window == head).unwrap();
            bytes[at + 8] = number;
        }
        let file = folder.path().join("narrow.dcm");
        fs::write(&file, bytes).unwrap();
        let reader = FrameReader::open(&file).unwrap();
        let layout = reader.instance().pixels.unwrap();
        assert_eq!(layout.bits_stored, 5);
        let mut values = vec![0.0; layout.rows * layout.columns];
        let error = reader.read(0, &mut values).unwrap_err();
        assert!(error.source().is_some_and(|why| why.to_string().contains("more bits")), "{name}");
    }
}
