//! Files made to do harm, given to the program under limits that the system enforces:
//! it says of each what is wrong with it and goes on.

use std::{fs, io::Write, path::Path, process::Command};

use flate2::{Compression, write::DeflateEncoder, write::GzEncoder};
use mivox::{
    cohort::{CohortRow, Quarantined},
    table,
};

use crate::{
    raw::{Coding, Raw},
    workplace::checked,
};

/// What a bomb may take: seconds of a processor, and memory.
const SECONDS: u32 = 2;
const MEBIBYTES: u32 = 256;

/// `mivox convert` under limits that end it where it goes above them.
fn limited(mebibytes: u32, seconds: u32) -> Command {
    let mut command = Command::new("sh");
    let limits = format!("ulimit -d {} && ulimit -t {seconds} && exec \"$@\"", mebibytes * 1024);
    command.args(["-c", &limits, "sh", env!("CARGO_BIN_EXE_mivox"), "convert"]);
    // A thread more takes room for its stack and its heap, not for the file.
    command.env("RAYON_NUM_THREADS", "2").env("POLARS_MAX_THREADS", "2");
    // Where there is no memory a backtrace waits for itself.
    command.env("RUST_BACKTRACE", "0");
    command
}

/// Converts a folder within both limits.
fn convert(input: &Path, out: &Path, seconds: u32, code: i32) -> Vec<Quarantined> {
    let mut command = limited(MEBIBYTES, seconds);
    command.arg(input).arg(out);
    checked(command, code);
    table::read(&out.join("quarantine.parquet")).unwrap()
}

/// Converts a bomb beside a sound image; gives back why the bomb was refused.
fn refused(files: &[(&str, Vec<u8>)], seconds: u32) -> String {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::create_dir(&input).unwrap();
    for (name, bytes) in files {
        fs::write(input.join(name), bytes).unwrap();
    }
    fs::write(input.join("sub-good_T1w.nii"), nifti([4, 4, 4])).unwrap();
    let out = folder.path().join("out");
    let quarantined = convert(&input, &out, seconds, 2);
    let converted = fs::read_dir(out.join("nifti")).unwrap().count();
    assert!(converted > 0, "the sound image is lost");
    let rows: Vec<CohortRow> = table::read(&out.join("cohort.parquet")).unwrap();
    let read = rows.iter().filter(|row| row.status == "volume").count();
    let of_series: Vec<_> = quarantined.iter().filter(|row| row.stage == "convert").collect();
    assert!(read - of_series.len().min(1) == 1, "{rows:?}");
    quarantined.first().expect("the bomb is told").reason.clone()
}

/// A NIfTI-1 image of 16 bits; one that is large without its voxels.
pub fn nifti(shape: [u16; 3]) -> Vec<u8> {
    let mut bytes = vec![0; 352];
    bytes[..4].copy_from_slice(&348i32.to_le_bytes());
    bytes[40..42].copy_from_slice(&3i16.to_le_bytes());
    for (axis, n) in shape.iter().enumerate() {
        bytes[42 + 2 * axis..44 + 2 * axis].copy_from_slice(&n.to_le_bytes());
    }
    for at in [48, 50, 52, 54] {
        bytes[at] = 1;
    }
    bytes[70] = 4;
    bytes[72] = 16;
    for at in 0..4 {
        bytes[76 + 4 * at..80 + 4 * at].copy_from_slice(&1f32.to_le_bytes());
    }
    bytes[108..112].copy_from_slice(&352f32.to_le_bytes());
    bytes[344..348].copy_from_slice(b"n+1\0");
    let voxels = shape.iter().map(|&n| u64::from(n)).product::<u64>();
    if voxels < 1 << 20 {
        bytes.extend((0..voxels as u16).flat_map(|n| n.to_le_bytes()));
    }
    bytes
}

const EXPLICIT: &str = "1.2.840.10008.1.2.1";
const IMPLICIT: &str = "1.2.840.10008.1.2";
const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
const RLE: &str = "1.2.840.10008.1.2.5";

/// Deflated zeros behind some bytes, in copies of one block: 16 MiB are 16 kB.
fn deflated(head: &[u8], mebibytes: usize) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(head).unwrap();
    let block = vec![0; 16 << 20];
    (0..mebibytes / 16).for_each(|_| encoder.write_all(&block).unwrap());
    encoder.finish().unwrap()
}

fn with_size(mut raw: Raw, rows: u16, columns: u16) -> Raw {
    for (element, size) in [(0x10, rows), (0x11, columns)] {
        let at = raw.bytes.windows(4).position(|w| w == [0x28, 0, element, 0]).unwrap();
        raw.bytes[at + 8..at + 10].copy_from_slice(&size.to_le_bytes());
    }
    raw
}

fn meta(coding: Coding, syntax: &str) -> Raw {
    Raw::with_meta(coding, syntax)
}

/// Two slices, so that a volume would be made of them.
fn slices(slice: impl Fn(&str) -> Vec<u8>) -> Vec<(&'static str, Vec<u8>)> {
    vec![("0.dcm", slice("0\\0\\0")), ("1.dcm", slice("0\\0\\10"))]
}

fn tells(bomb: &str, files: &[(&str, Vec<u8>)], word: &str) {
    tells_within(SECONDS, bomb, files, word);
}

fn tells_within(seconds: u32, bomb: &str, files: &[(&str, Vec<u8>)], word: &str) {
    let reason = refused(files, seconds);
    println!("{bomb} | {reason}");
    assert!(reason.contains(word), "{bomb}: {reason}");
}

#[test]
fn lengths_and_depths_are_not_believed() {
    let mut raw = meta(Coding::Explicit, EXPLICIT);
    raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
    raw.head(0x0029, 0x1010, b"OB", 0xF000_0000);
    raw.bytes.resize(674, 0);
    tells("an element of 3.75 GiB in 674 bytes", &[("0.dcm", raw.bytes)], "4026531840 bytes");
    for (coding, syntax) in [(Coding::Implicit, IMPLICIT), (Coding::Explicit, EXPLICIT)] {
        for defined in [false, true] {
            let mut raw = meta(coding, syntax);
            raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
            for level in (0..100_000u32).rev() {
                let each = if coding == Coding::Implicit { 16 } else { 20 };
                let inside = |head| if defined { level * each + head } else { u32::MAX };
                raw.head(0x0008, 0x1140, b"SQ", inside(8));
                raw.head(0xFFFE, 0xE000, b"", inside(0));
            }
            // Sequences of defined length that no attribute is wanted of are passed over.
            let word = if defined { "Rows is missing" } else { "deeper than 32" };
            tells("100,000 nested sequences", &[("0.dcm", raw.bytes)], word);
        }
    }
}

#[test]
fn sizes_without_pixels_are_not_believed() {
    let native = |p: &str| {
        let raw = with_size(meta(Coding::Explicit, EXPLICIT).ct(p, 16, 1000), 65535, 65535);
        raw.pixels().bytes
    };
    tells("65535 x 65535 x 1000 of 24 bytes", &slices(native), "promises");
    let packed = |p: &str| {
        let raw = with_size(meta(Coding::Explicit, RLE).ct(p, 16, 1000), 65535, 65535);
        raw.fragments(&vec![&b"0123"[..]; 1000]).bytes
    };
    tells("65535 x 65535 x 1000 in run lengths", &slices(packed), "promises");
    let mut many = meta(Coding::Explicit, EXPLICIT);
    many.text(0x0008, 0x0008, b"CS", &"A\\".repeat(30_000));
    many = many.ct("", 1, 1 << 18);
    let mut many = with_size(many, 1, 1);
    many.head(0x7FE0, 0x0010, b"OB", 1 << 15);
    many.bytes.resize(many.bytes.len() + (1 << 15), 0);
    tells("262,144 frames of a bit", &[("0.dcm", many.bytes)], "do not say where they lie");
}

#[test]
fn what_is_deflated_does_not_grow_without_end() {
    let mut head = Raw::bare(Coding::Explicit).ct("0\\0\\0", 16, 1);
    head.head(0x0029, 0x1010, b"OB", 0x8000_0000);
    let file = |data: &[u8]| [&meta(Coding::Explicit, DEFLATED).bytes, data].concat();
    let bomb = file(&deflated(&head.bytes, 2048));
    tells("an element of 2 GiB in 2 MB of deflate", &[("0.dcm", bomb)], "announces");
    // In elements that are passed over, until what is read is more than what is there.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let mut raw = Raw::bare(Coding::Explicit);
    raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
    encoder.write_all(&raw.bytes).unwrap();
    let mut element = Raw::bare(Coding::Explicit);
    element.head(0x0029, 0x1010, b"OB", 64 << 20);
    element.bytes.resize(12 + (64 << 20), 0);
    (0..32).for_each(|_| encoder.write_all(&element.bytes).unwrap());
    let bomb = file(&encoder.finish().unwrap());
    tells("32 elements of 64 MiB in 2 MB of deflate", &[("0.dcm", bomb)], "announces");
    // In one that is kept, again and again.
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&raw.bytes).unwrap();
    let mut element = Raw::bare(Coding::Implicit);
    element.coding = Coding::Explicit;
    element.text(0x0010, 0x0020, b"LO", &" ".repeat(0xFFFE));
    (0..16_384).for_each(|_| encoder.write_all(&element.bytes).unwrap());
    let bomb = file(&encoder.finish().unwrap());
    tells("16,384 identifiers of 64 KiB in deflate", &[("0.dcm", bomb)], "");
    let pixels = |p: &str| {
        let mut raw = with_size(Raw::bare(Coding::Explicit).ct(p, 16, 1), 32768, 32767);
        raw.head(0x7FE0, 0x0010, b"OW", 32768 * 32767 * 2);
        file(&deflated(&raw.bytes, 2048))
    };
    tells("an image of 2 GiB in 2 MB of deflate", &slices(pixels), "announces");
    let frame = |p: &str| {
        let raw = meta(Coding::Explicit, "1.2.840.10008.1.2.8.1").ct(p, 16, 1);
        with_size(raw, 32768, 32767).fragments(&[&deflated(&[], 2048)]).bytes
    };
    tells("a frame of 2 GiB in 2 MB of deflate", &slices(frame), "promises");
}

#[test]
fn code_streams_of_nothing_are_refused() {
    let jpeg = |process: u8, precision: u8| {
        let mut code = vec![0xFF, 0xD8, 0xFF, process, 0, 11, precision, 0x0F, 0xA0, 0x0F, 0xA0];
        code.extend([1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 0, 0, 0xFF, 0xD9]);
        code
    };
    let jpeg_2000 = || {
        let mut siz = vec![0xFF, 0x4F, 0xFF, 0x51, 0, 41, 0, 0];
        for n in [4000u32, 4000, 0, 0, 4000, 4000, 0, 0] {
            siz.extend(n.to_be_bytes());
        }
        siz.extend([0, 1, 15, 1, 1]);
        // COD, QCD, a tile part without a packet.
        siz.extend([0xFF, 0x52, 0, 12, 0, 0, 0, 1, 0, 5, 4, 4, 0, 1]);
        siz.extend([0xFF, 0x5C, 0, 19, 0x40]);
        siz.extend([0x40; 16]);
        siz.extend([0xFF, 0x90, 0, 10, 0, 0, 0, 0, 0, 14, 0, 1, 0xFF, 0x93, 0xFF, 0xD9]);
        siz
    };
    // The first bytes of 4000 x 4000 zeros by libjxl.
    let jpeg_xl = || {
        let start = 0xFF0A_FA7C_8141_D122_0802_0118_60F0_0C14_u128.to_be_bytes();
        let more = 0x5039_C6A8_9AF8_7018_6330_C218_3CA8_8AC1_u128.to_be_bytes();
        [start, more].concat()
    };
    for (name, syntax, code) in [
        ("JPEG", "1.2.840.10008.1.2.4.50", jpeg(0xC0, 8)),
        ("JPEG extended of 12 bits", "1.2.840.10008.1.2.4.51", jpeg(0xC1, 12)),
        ("JPEG lossless", "1.2.840.10008.1.2.4.70", jpeg(0xC3, 16)),
        ("JPEG-LS", "1.2.840.10008.1.2.4.80", jpeg(0xF7, 16)),
        ("JPEG 2000", "1.2.840.10008.1.2.4.90", jpeg_2000()),
        ("HTJ2K", "1.2.840.10008.1.2.4.201", jpeg_2000()),
        ("JPEG XL", "1.2.840.10008.1.2.4.110", jpeg_xl()),
        (
            "RLE",
            RLE,
            [&[2u8, 0, 0, 0, 64, 0, 0, 0, 66][..], &[0; 55], &[0x81, 7, 0x81, 7]].concat(),
        ),
    ] {
        let file = |p: &str| {
            let raw = with_size(meta(Coding::Explicit, syntax).ct(p, 16, 1), 4000, 4000);
            raw.fragments(&[&code]).bytes
        };
        // Below the size at which the little that is there is looked at.
        tells(name, &slices(file), "");
        let large = |p: &str| {
            let raw = with_size(meta(Coding::Explicit, syntax).ct(p, 16, 1), 65535, 65535);
            raw.fragments(&[&code]).bytes
        };
        tells(name, &slices(large), "promises");
    }
}

/// A progressive JPEG of 4000 by 4000 pixels in 640 kB: 20,000 scans, each of which says
/// of every block that there is nothing in it.
fn scans_without_end() -> Vec<u8> {
    let mut code = vec![0xFF, 0xD8, 0xFF, 0xDB, 0, 67, 0];
    code.extend([1; 64]);
    code.extend([0xFF, 0xC2, 0, 11, 8, 0x0F, 0xA0, 0x0F, 0xA0, 1, 1, 0x11, 0]);
    for (class, symbol) in [(0x00, 0x00), (0x10, 0xE0)] {
        code.extend([0xFF, 0xC4, 0, 20, class, 1]);
        code.extend([0; 15]);
        code.push(symbol);
    }
    // Eight runs of 32,767 blocks, of 15 bits each: a zero and fourteen ones.
    let run = "011111111111111".repeat(8);
    let byte = |bits: &[u8]| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0'));
    let mut scan = vec![0xFF, 0xDA, 0, 8, 1, 1, 0, 1, 63, 1];
    for byte in run.as_bytes().chunks(8).map(byte) {
        scan.push(byte);
        if byte == 0xFF {
            scan.push(0);
        }
    }
    (0..20_000).for_each(|_| code.extend(&scan));
    code.extend([0xFF, 0xD9]);
    code
}

#[test]
fn a_frame_that_takes_too_long_costs_its_series_alone() {
    let code = scans_without_end();
    let file = |p: &str| {
        let raw = meta(Coding::Explicit, "1.2.840.10008.1.2.4.51").ct(p, 8, 1);
        with_size(raw, 4000, 4000).fragments(&[&code]).bytes
    };
    let word = "the JPEG decoder took more than 10 s";
    // The worker is to be ended by its time, not by the system.
    tells_within(1000, "a JPEG of 20,000 scans", &slices(file), word);
}

/// The limits of these tests are real: under less than it needs the program ends.
#[test]
fn the_limits_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("sub-good_T1w.nii"), nifti([4, 4, 4])).unwrap();
    let mut command = limited(2, SECONDS);
    command.arg(folder.path()).arg(folder.path().join("out"));
    assert!(!command.output().unwrap().status.success());
}

#[test]
fn image_files_of_nothing_are_refused() {
    let gzip = |bytes: &[u8], mebibytes: usize| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        let block = vec![0; 16 << 20];
        (0..mebibytes / 16).for_each(|_| encoder.write_all(&block).unwrap());
        encoder.finish().unwrap()
    };
    let mut seven = nifti([32767, 32767, 32767]);
    seven[40] = 7;
    for at in 0..7 {
        seven[42 + 2 * at..44 + 2 * at].copy_from_slice(&32767i16.to_le_bytes());
    }
    let one = |name: &'static str, bytes: Vec<u8>| vec![(name, bytes)];
    tells("NIfTI of 32767^7", &one("sub-b_T1w.nii", seven.clone()), "");
    tells("the same, gzip", &one("sub-b_T1w.nii.gz", gzip(&seven, 0)), "");
    let large = nifti([1024, 1024, 1024]);
    tells(
        "NIfTI of 2 GiB in 2 MB of gzip",
        &one("sub-b_T1w.nii.gz", gzip(&large, 2048)),
        "no scan is that empty",
    );
    let huge = nifti([32767, 32767, 1]);
    tells("NIfTI of 2 GiB without voxels", &one("sub-b_T1w.nii", huge), "");
    for (encoding, data) in
        [("raw", vec![0; 64]), ("gzip", gzip(&[], 16)), ("ascii", b"1 2 3".to_vec())]
    {
        let nrrd = format!(
            "NRRD0004\ntype: short\ndimension: 3\nsizes: 60000 60000 500\nspace: \
             left-posterior-superior\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: \
             (0,0,0)\nendian: little\nencoding: {encoding}\n\n"
        );
        let file = [nrrd.as_bytes(), &data].concat();
        tells("NRRD of 3 TiB", &one("sub-b_T1w.nrrd", file), "");
    }
    let meta_image = "ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = \
        False\nCompressedData = False\nTransformMatrix = 1 0 0 0 1 0 0 0 1\nOffset = 0 0 0\n\
        ElementSpacing = 1 1 1\nDimSize = 60000 30000 1\nElementType = MET_SHORT\n\
        ElementDataFile = LOCAL\n1234";
    tells("MetaImage of 3.4 GiB", &one("sub-b_T1w.mha", meta_image.into()), "");
}

#[test]
fn a_sidecar_of_a_gibibyte_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::create_dir(&input).unwrap();
    fs::write(input.join("sub-good_T1w.nii"), nifti([4, 4, 4])).unwrap();
    let sidecar = fs::File::create(input.join("sub-good_T1w.json")).unwrap();
    sidecar.set_len(1 << 30).unwrap();
    let deep = fs::write(input.join("sub-deep_T1w.json"), "[".repeat(1 << 19));
    deep.unwrap();
    fs::write(input.join("sub-deep_T1w.nii"), nifti([4, 4, 4])).unwrap();
    let out = folder.path().join("out");
    let quarantined = convert(&input, &out, SECONDS, 0);
    assert!(quarantined.is_empty());
    let rows: Vec<CohortRow> = table::read(&out.join("cohort.parquet")).unwrap();
    let told = |row: &CohortRow| row.reason.as_ref().is_some_and(|r| r.contains("JSON"));
    assert_eq!(rows.iter().filter(|row| told(row)).count(), 2, "{rows:?}");
}
