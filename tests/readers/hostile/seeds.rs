//! Sound files of every format and coding, from which hostile ones are made.

use std::{fs, io::Write, path::Path, process::Command};

use flate2::{Compression, write::DeflateEncoder, write::GzEncoder};

use crate::readers::{
    enhanced::{Ends, enhanced},
    made::{Made, axial},
    raw::{Coding, Raw},
};

/// A scan of one or several files.
pub struct Seed {
    pub name: String,
    /// Name and bytes of each file.
    pub files: Vec<(String, Vec<u8>)>,
    /// The files that are damaged, each by itself.
    pub damaged: Vec<usize>,
    /// Whether the files are slices, or the first one names the others.
    pub dicom: bool,
    /// How the damaged bytes are compressed as a whole: they are damaged before it
    /// too.
    pub packed: Option<Packed>,
}

/// What is compressed: all behind so many bytes.
#[derive(Clone, Copy)]
pub enum Packed {
    Gzip,
    DeflatedFrom(usize),
}

impl Packed {
    pub fn open(self, bytes: &[u8]) -> Vec<u8> {
        use std::io::Read;
        let mut out = Vec::new();
        match self {
            Self::Gzip => flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut out),
            Self::DeflatedFrom(at) => {
                out.extend_from_slice(&bytes[..at]);
                flate2::read::DeflateDecoder::new(&bytes[at..]).read_to_end(&mut out)
            }
        }
        .unwrap();
        out
    }

    pub fn close(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Gzip => gzip(bytes),
            Self::DeflatedFrom(at) => {
                let (plain, rest) = bytes.split_at(at.min(bytes.len()));
                [plain, &deflate(rest)].concat()
            }
        }
    }
}

pub fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// All of them, each checked to be read by who uses them.
pub fn seeds() -> Vec<Seed> {
    let mut seeds = dicom();
    seeds.extend(itk());
    seeds.extend(nifti());
    seeds
}

/// Two slices written by `slice` from their positions.
fn pair(name: &str, slice: impl Fn(&str) -> Vec<u8>) -> Seed {
    let file = |k: usize, position| (format!("{k}.dcm"), slice(position));
    Seed {
        name: name.to_owned(),
        files: vec![file(0, "0\\0\\0"), file(1, "0\\0\\10")],
        damaged: vec![0],
        dicom: true,
        packed: None,
    }
}

fn one(name: &str, bytes: Vec<u8>) -> Seed {
    let files = vec![("0.dcm".to_owned(), bytes)];
    Seed { name: name.to_owned(), files, damaged: vec![0], dicom: true, packed: None }
}

pub fn dicom() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (name, coding, syntax) in [
        ("explicit", Coding::Explicit, "1.2.840.10008.1.2.1"),
        ("implicit", Coding::Implicit, "1.2.840.10008.1.2"),
        ("big endian", Coding::Big, "1.2.840.10008.1.2.2"),
    ] {
        seeds.push(pair(name, |p| Raw::with_meta(coding, syntax).ct(p, 16, 1).pixels().bytes));
        let bare = format!("{name}, no preamble");
        seeds.push(pair(&bare, |p| Raw::bare(coding).ct(p, 16, 1).pixels().bytes));
    }
    let meta = Raw::with_meta(Coding::Explicit, "1.2.840.10008.1.2.1.99").bytes;
    let mut deflated = pair("deflated", |p| {
        let data = Raw::bare(Coding::Explicit).ct(p, 16, 1).pixels().bytes;
        [&meta[..], &deflate(&data)].concat()
    });
    deflated.packed = Some(Packed::DeflatedFrom(meta.len()));
    seeds.push(deflated);

    let plain: Vec<u8> = (0..12u16).flat_map(|n| (n * 100).to_le_bytes()).collect();
    for (name, syntax, code) in [
        ("RLE", "1.2.840.10008.1.2.5", run_lengths()),
        ("deflated frame", "1.2.840.10008.1.2.8.1", even(deflate(&plain))),
        ("encapsulated uncompressed", "1.2.840.10008.1.2.1.98", plain.clone()),
    ] {
        let code = &code[..];
        seeds.push(pair(name, |p| {
            Raw::with_meta(Coding::Explicit, syntax).ct(p, 16, 1).fragments(&[code]).bytes
        }));
    }
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures");
    for name in ["jpeg", "jpeg_12", "jpeg_lossless", "jpeg_ls", "jpeg_2000", "htj2k", "jpeg_xl"] {
        let read = |k| fs::read(fixtures.join(format!("{name}_{k}.dcm"))).unwrap();
        seeds.push(pair(name, |position| read(usize::from(position.ends_with("10")))));
    }

    let explicit = "1.2.840.10008.1.2.1";
    for (name, ends) in
        [("enhanced, delimiters", Ends::Delimiters), ("enhanced, lengths", Ends::Lengths)]
    {
        seeds.push(one(name, enhanced(Coding::Explicit, explicit, ends, None).bytes));
    }
    let implicit = enhanced(Coding::Implicit, "1.2.840.10008.1.2", Ends::Delimiters, None);
    seeds.push(one("enhanced, implicit", implicit.bytes));
    seeds.push(one("mosaic", mosaic()));
    let mut series = Made::new(axial(), 5);
    series.padding = Some(-60);
    let files = series.write_all();
    let named = |path: &std::path::PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap())
    };
    seeds.push(Seed {
        name: "CT series".to_owned(),
        files: files.iter().map(named).collect(),
        damaged: vec![0, 4],
        dicom: true,
        packed: None,
    });
    seeds
}

fn even(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.resize(bytes.len().next_multiple_of(2), 0);
    bytes
}

/// Run-length code of the numbers 0, 100, 200, …: two segments, high bytes first.
pub fn run_lengths() -> Vec<u8> {
    let words: Vec<u16> = (0..12).map(|n| n * 100).collect();
    let mut out = vec![0; 64];
    let mut segment = |index: usize, bytes: Vec<u8>| {
        let at = out.len() as u32;
        out[4 + 4 * index..8 + 4 * index].copy_from_slice(&at.to_le_bytes());
        out.push(11);
        out.extend(bytes);
        if out.len() % 2 == 1 {
            out.push(0x80);
        }
    };
    segment(0, words.iter().map(|w| (w >> 8) as u8).collect());
    segment(1, words.iter().map(|w| *w as u8).collect());
    out[0] = 2;
    out
}

/// A Siemens mosaic of 4 by 4 pixels: four slices of 2 by 2, three of them used.
fn mosaic() -> Vec<u8> {
    let mut raw = Raw::with_meta(Coding::Explicit, "1.2.840.10008.1.2.1");
    raw.text(0x0008, 0x0008, b"CS", "ORIGINAL\\PRIMARY\\M\\MOSAIC");
    raw.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.4");
    raw.text(0x0008, 0x0018, b"UI", "1.2.9");
    raw.text(0x0008, 0x0060, b"CS", "MR");
    raw.text(0x0010, 0x0020, b"LO", "phantom");
    raw.text(0x0018, 0x0080, b"DS", "2000");
    raw.text(0x0018, 0x0081, b"DS", "30");
    raw.text(0x0018, 0x0088, b"DS", "3");
    raw.text(0x0019, 0x0010, b"LO", "SIEMENS MR HEADER");
    raw.number(0x0019, 0x100A, 3);
    raw.text(0x0020, 0x000D, b"UI", "1.2.3");
    raw.text(0x0020, 0x000E, b"UI", "1.2.3.4");
    raw.text(0x0020, 0x0032, b"DS", "0\\0\\0");
    raw.text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0");
    raw.number(0x0028, 0x0002, 1);
    raw.text(0x0028, 0x0004, b"CS", "MONOCHROME2");
    raw.number(0x0028, 0x0010, 4);
    raw.number(0x0028, 0x0011, 4);
    raw.text(0x0028, 0x0030, b"DS", "2\\2");
    for (element, n) in [(0x0100, 16), (0x0101, 16), (0x0102, 15), (0x0103, 0)] {
        raw.number(0x0028, element, n);
    }
    raw.text(0x0029, 0x0010, b"LO", "SIEMENS CSA HEADER");
    let csa = csa_header();
    raw.head(0x0029, 0x1010, b"OB", csa.len() as u32);
    raw.bytes.extend(csa);
    raw.head(0x7FE0, 0x0010, b"OW", 32);
    raw.bytes.extend((0..16u16).flat_map(|n| (n * 100).to_le_bytes()));
    raw.bytes
}

/// A CSA header of the second kind with the normal of the slices.
fn csa_header() -> Vec<u8> {
    let mut csa = b"SV10\x04\x03\x02\x01".to_vec();
    csa.extend(1u32.to_le_bytes());
    csa.extend(77u32.to_le_bytes());
    let mut name = b"SliceNormalVector".to_vec();
    name.resize(64, 0);
    csa.extend(name);
    csa.extend(3u32.to_le_bytes());
    csa.extend(b"FD\0\0");
    for n in [0u32, 3, 77] {
        csa.extend(n.to_le_bytes());
    }
    for number in ["0.0", "0.0", "1.0"] {
        for n in [4u32, 4, 77, 4] {
            csa.extend(n.to_le_bytes());
        }
        csa.extend(number.as_bytes());
        csa.push(0);
    }
    csa
}

fn files(folder: &Path, names: &[&str], damaged: Vec<usize>) -> Seed {
    let read = |name: &&str| ((*name).to_owned(), fs::read(folder.join(name)).unwrap());
    let files: Vec<_> = names.iter().map(read).collect();
    let gzip = damaged.iter().all(|&at| files[at].1.starts_with(&[0x1F, 0x8B]));
    let packed = gzip.then_some(Packed::Gzip);
    Seed { name: names[0].to_owned(), files, damaged, dicom: false, packed }
}

fn itk() -> Vec<Seed> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures/itk");
    let alone = ["i2.nrrd", "packed.nrrd", "bzip2.nrrd", "ascii.nrrd", "frames.nrrd"];
    let more = ["list_first.nrrd", "i2.mha", "packed.mha", "frames.mha", "text.mha"];
    let mut seeds: Vec<Seed> =
        alone.into_iter().chain(more).map(|name| files(&folder, &[name], vec![0])).collect();
    for names in [
        ["beside_nhdr.nhdr", "beside_nhdr.raw"],
        ["packed_nhdr.nhdr", "packed_nhdr.raw.gz"],
        ["beside_mhd.mhd", "beside_mhd.raw"],
        ["packed_mhd.mhd", "packed_mhd.zraw"],
    ] {
        seeds.push(files(&folder, &names, vec![0, 1]));
    }
    seeds
}

fn nifti() -> Vec<Seed> {
    let folder = tempfile::tempdir().unwrap();
    let python = Path::new(".venv/bin/python");
    assert!(python.exists(), "there is no .venv: run `make setup` first, or `make test`");
    let script = "tests/readers/nibabel_seeds.py";
    assert!(Command::new(python).arg(script).arg(folder.path()).status().unwrap().success());
    let mut seeds = Vec::new();
    for name in ["one.nii", "frames.nii", "second.nii", "one.nii.gz", "frames.nii.gz"] {
        seeds.push(files(folder.path(), &[name], vec![0]));
    }
    for name in ["members.nii.gz", "second.nii.gz"] {
        seeds.push(files(folder.path(), &[name], vec![0]));
    }
    for names in [
        ["pair.hdr", "pair.img"],
        ["analyze.hdr", "analyze.img"],
        ["packed.hdr.gz", "packed.img.gz"],
    ] {
        seeds.push(files(folder.path(), &names, vec![0, 1]));
    }
    seeds
}
