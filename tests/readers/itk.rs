//! MetaImage and NRRD beside ITK: `fixtures/itk/make.py` wrote the files and
//! what SimpleITK reads of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use mivox::{
    geometry::{Affine, affine_from_flat, ras_from_lps},
    io::{
        Format,
        fields::FieldError,
        image::{Image, ImageError, VoxelType, data_files, open_head, open_volume},
        sniff,
    },
};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    frames: usize,
    interleaved: bool,
    lps_from_voxel: [f64; 16],
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures/itk")
}

fn expected() -> BTreeMap<String, Expected> {
    serde_json::from_slice(&fs::read(fixtures().join("expected.json")).unwrap()).unwrap()
}

fn near(a: &Affine, b: &Affine) -> bool {
    a.matrix3.abs_diff_eq(b.matrix3, 1e-12) && a.translation.abs_diff_eq(b.translation, 1e-12)
}

#[test]
fn affine_and_data_equal_itks() {
    let mut counts = BTreeMap::new();
    for (name, expected) in expected() {
        let file = fixtures().join(&name);
        let is_nrrd = name.ends_with("nrrd") || name.ends_with("nhdr");
        let format = if is_nrrd { Format::Nrrd } else { Format::MetaImage };
        assert_eq!(sniff(&file).unwrap(), format, "{name}");
        let mut image = Image::open(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        let head = image.head().clone();
        assert_eq!(head.grid.shape, [2, 3, 4], "{name}");
        assert_eq!(head.frames, expected.frames, "{name}");
        let theirs = ras_from_lps() * affine_from_flat(&expected.lps_from_voxel);
        assert!(near(&head.grid.ras_from_voxel, &theirs), "{name}: {:?}", head.grid);
        for frame in (0..head.frames).rev() {
            let voxels = image.volume(frame).unwrap_or_else(|error| panic!("{name}: {error}"));
            for (voxel, &value) in voxels.iter().enumerate() {
                let stored =
                    if expected.interleaved { voxel * 2 + frame } else { frame * 24 + voxel };
                assert_eq!(value, 5.0 * stored as f32, "{name} {frame} {voxel}");
            }
        }
        *counts.entry(format.as_str()).or_insert(0) += 1;
    }
    for (format, count) in &counts {
        println!("SimpleITK | {format} | {count} files: affine and data equal");
    }
    assert_eq!(counts.values().sum::<i32>(), 59);
}

/// A header of one of the two formats with voxels behind it.
struct Text {
    folder: tempfile::TempDir,
}

const NRRD: &str = "NRRD0004\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n\
                    space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n";
const META: &str = "ObjectType = Image\nNDims = 3\nDimSize = 2 3 4\nElementSpacing = 1 1 1\n\
                    ElementType = MET_UCHAR\nOffset = 0 0 0\n";

impl Text {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn save(&self, name: &str, text: &str, voxels: &[u8]) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, [text.as_bytes(), voxels].concat()).unwrap();
        file
    }

    fn nrrd(&self, from: &str, to: &str) -> Result<Vec<f32>, ImageError> {
        let text = match from {
            "" => format!("{NRRD}{to}\n"),
            _ => format!("{}\n", NRRD.replace(from, to)),
        };
        let file = self.save("a.nrrd", &text, &[7; 4096]);
        open_volume(&file, 0).map(|(voxels, _)| voxels.into_raw_vec_and_offset().0)
    }

    fn meta(&self, more: &str) -> Result<Vec<f32>, ImageError> {
        let text = format!("{META}{more}ElementDataFile = LOCAL\n");
        let file = self.save("a.mha", &text, &[7; 4096]);
        open_volume(&file, 0).map(|(voxels, _)| voxels.into_raw_vec_and_offset().0)
    }
}

#[test]
fn headers_that_cannot_be_trusted_are_refused_with_the_field() {
    let text = Text::new();
    assert_eq!(text.nrrd("", "").unwrap(), [7.0; 24]);
    for (from, to, field) in [
        ("sizes: 2 3 4", "sizes: 2 3", "sizes"),
        ("sizes: 2 3 4", "sizes: 2 -3 4", "sizes"),
        ("dimension: 3", "dimension: 99999999", "dimension"),
        ("(0,1,0)", "(0,1)", "space directions"),
        ("(0,1,0)", "(0,1,0", "space directions"),
        ("(0,1,0)", "(0,1,0,1)", "space directions"),
        ("(0,0,0)", "none", "space origin"),
        ("uchar", "short", "endian"),
        ("uchar", "block", "type"),
        ("raw", "base64", "encoding"),
        ("RAS", "3D-left-handed", "space"),
        ("RAS", "left-right-left", "space"),
        ("(0,1,0)", "none", "axes"),
        ("", "byte skip: -2\n", "byte skip"),
        ("", "line skip: 1\n", "line skip"),
        ("", "data file: LIST\n", "data file"),
        ("", "data file: a%03d.raw 1 9\n", "data file"),
    ] {
        let Err(ImageError::Field(error)) = text.nrrd(from, to) else { panic!("{from} {to}") };
        let (FieldError::Missing { field: found }
        | FieldError::Malformed { field: found }
        | FieldError::Unsupported { field: found, .. }) = error
        else {
            panic!("{from} {to}: {error}")
        };
        assert_eq!(found, field, "{from} {to}");
    }
    // Bytes of 7 are no digits.
    assert!(matches!(text.nrrd("raw", "hex"), Err(ImageError::Io(_))));
    assert!(matches!(text.nrrd("(0,1,0)", "(1,0,0)"), Err(ImageError::Affine { .. })));
    assert!(matches!(text.nrrd("2 3 4", "2000000 3000 4"), Err(ImageError::TooLarge { .. })));
    assert!(matches!(text.nrrd("2 3 4", "200 300 4"), Err(ImageError::Short { .. })));
    assert!(matches!(text.nrrd("2 3 4", "2 0 4"), Err(ImageError::Side { axis: 1, .. })));
    let far = "byte skip: 9223372036854775807\n";
    assert!(matches!(text.nrrd("", far), Err(ImageError::Short { .. })));

    assert_eq!(text.meta("").unwrap(), [7.0; 24]);
    for more in [
        "NDims = 2\n",
        "NDims = 9999999999\n",
        "DimSize = 2 3\n",
        "DimSize = 2 3 x\n",
        "ElementType = MET_OTHER\n",
        "ElementNumberOfChannels = 2\n",
        "HeaderSize = -2\n",
        "ObjectType = Mesh\n",
        "TransformMatrix = 1 0 0 1\n",
        "ElementToIntensityFunctionSlope = 0\n",
    ] {
        assert!(matches!(text.meta(more), Err(ImageError::Field(_))), "{more}");
    }
    assert!(matches!(text.meta("CompressedData = True\n"), Err(ImageError::Io(_))));
    let stored = "CompressedData = True\nCompressedDataSize = 99999999999\n";
    assert!(matches!(text.meta(stored), Err(ImageError::Short { .. })));
    let end = text.save("end.mha", META, b"");
    assert!(matches!(open_head(&end), Err(ImageError::Field(FieldError::Missing { .. }))));
    let endless = text.save("endless.nrrd", &NRRD.replace("type", "#"), &[b'x'; 2 << 20]);
    assert!(matches!(open_head(&endless), Err(ImageError::Field(FieldError::NoEnd { .. }))));
}

#[test]
fn a_space_or_spacing_that_is_not_known_is_said_or_refused() {
    let text = Text::new();
    let remarks = |nrrd: &str| {
        let file = text.save("r.nrrd", &format!("{nrrd}\n"), &[7; 24]);
        open_head(&file).map(|head| head.remarks.join("; "))
    };
    assert_eq!(remarks(NRRD).unwrap(), "");
    let unnamed = NRRD.replace("space: RAS", "space dimension: 3");
    assert!(remarks(&unnamed).unwrap().contains("taken as LPS"));
    assert!(remarks(&NRRD.replace("RAS", "scanner-xyz")).unwrap().contains("taken as LPS"));
    let metres = remarks(&format!("{NRRD}space units: \"m\" \"m\" \"m\"\n")).unwrap();
    assert!(metres.contains("metres are read as millimetres"), "{metres}");
    // Units of the axes in space count, and must be one.
    let space = "space: RAS\nspace directions: (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n";
    let spaced = NRRD.replace(space, "spacings: 1 1 0.5\n");
    let mixed = remarks(&format!("{spaced}units: \"mm\" \"mm\" \"cm\"\n"));
    let unsupported =
        |error| matches!(error, ImageError::Field(FieldError::Unsupported { field: "units", .. }));
    assert!(mixed.is_err_and(unsupported));
    let frames = spaced.replace("dimension: 3", "dimension: 4").replace("2 3 4", "1 2 3 4");
    let frames = frames.replace("1 1 0.5", "nan 1 1 0.5");
    let spacing = |unit: &str| {
        let units = format!("units: \"{unit}\" \"cm\" \"cm\" \"cm\"\n\n");
        let file = text.save("u.nrrd", &format!("{frames}{units}"), &[7; 24]);
        open_head(&file).unwrap().grid.spacing_mm()
    };
    assert_eq!((spacing("s"), spacing("m")), ([10.0, 10.0, 5.0], [10.0, 10.0, 5.0]));
    let bare = "NRRD0001\ntype: uchar\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n";
    let missing = FieldError::Missing { field: "spacings" };
    assert!(matches!(remarks(bare), Err(ImageError::Field(error)) if error == missing));
    let file = text.save(
        "r.mha",
        &META.replace("ElementSpacing = 1 1 1\n", "ElementDataFile = LOCAL\n"),
        &[7; 24],
    );
    assert!(matches!(open_head(&file), Err(ImageError::Field(FieldError::Missing { .. }))));
}

#[test]
fn colours_and_complex_numbers_are_told_from_frames() {
    let text = Text::new();
    let of = |sizes: &str, kind: &str, number: &str| {
        let header = format!(
            "NRRD0004\ntype: {number}\ndimension: 4\nsizes: {sizes} 2 3 4\nendian: little\n\
             encoding: raw\nkinds: {kind} domain domain domain\nspace: RAS\n\
             space directions: none (1,0,0) (0,1,0) (0,0,1)\nspace origin: (0,0,0)\n\n"
        );
        let file = text.save("c.nrrd", &header, &[64; 24 * 16]);
        open_volume(&file, 0).map(|(voxels, head)| (head.voxel_type, head.frames, voxels[[0; 3]]))
    };
    assert_eq!(of("3", "RGB-color", "uchar").unwrap(), (VoxelType::Rgb24, 1, 64.0));
    assert_eq!(of("4", "RGBA-color", "uchar").unwrap(), (VoxelType::Rgba32, 1, 64.0));
    let part = f32::from_le_bytes([64; 4]);
    assert_eq!(
        of("2", "complex", "float").unwrap(),
        (VoxelType::Complex64, 1, part * std::f32::consts::SQRT_2)
    );
    assert_eq!(of("5", "list", "uchar").unwrap(), (VoxelType::U8, 5, 64.0));
    for (sizes, kind, number) in [
        ("3", "vector", "float"),
        ("7", "3D-masked-symmetric-matrix", "uchar"),
        ("3", "HSV-color", "uchar"),
        ("3", "RGB-color", "short"),
        ("3", "complex", "float"),
    ] {
        let error = of(sizes, kind, number);
        assert!(matches!(error, Err(ImageError::Field(FieldError::Unsupported { .. }))), "{kind}");
    }
    let segments = format!("{NRRD}Segment0_ID:=tumour\n\n");
    let file = text.save("s.seg.nrrd", &segments, &[1; 24]);
    assert_eq!(open_head(&file).unwrap().kind, Some("label map"));
    let rgb = "ElementNumberOfChannels = 3\n";
    assert_eq!(text.meta(rgb).unwrap(), [7.0; 24]);
}

/// Each of several files has its own end, and its own checksum.
#[test]
fn several_data_files_are_all_needed_whole() {
    let text = Text::new();
    let folder = text.folder.path();
    let header = NRRD.replace("raw", "gzip") + "data file: LIST\n1.gz\n2.gz\n";
    let file = text.save("h.nhdr", &header, b"");
    let write = |name: &str, values: &[u8], cut: usize| {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut gzip, values).unwrap();
        let mut bytes = gzip.finish().unwrap();
        bytes.truncate(bytes.len() - cut);
        fs::write(folder.join(name), bytes).unwrap();
    };
    let expected: Vec<u8> = (0..24).collect();
    write("2.gz", &expected[12..], 0);
    for (length, cut, good) in [(12, 0, true), (13, 0, true), (11, 0, false), (12, 5, false)] {
        write("1.gz", &[&expected[..12], &[9]].concat()[..length], cut);
        let voxels = open_volume(&file, 0).map(|(voxels, _)| voxels.into_raw_vec_and_offset().0);
        assert_eq!(voxels.is_ok(), good, "{length} bytes, {cut} cut");
        if let Ok(voxels) = voxels {
            assert_eq!(voxels, expected.iter().map(|&n| f32::from(n)).collect::<Vec<_>>());
        }
    }
    assert_eq!(data_files(&file), ["1.gz", "2.gz"].map(|name| folder.join(name)));
    fs::remove_file(folder.join("2.gz")).unwrap();
    assert!(matches!(open_head(&file), Err(ImageError::DataFile { .. })));
    // 24 voxels are not to be parted among five.
    (3..8).for_each(|n| write(&format!("{n}.gz"), &expected, 0));
    let names: String = (3..8).map(|n| format!("{n}.gz\n")).collect();
    let header = NRRD.replace("raw", "gzip") + &format!("data file: LIST\n{names}");
    let file = text.save("five.nhdr", &header, b"");
    assert!(matches!(open_head(&file), Err(ImageError::DataFile { .. })));
}

#[test]
fn a_data_file_lies_in_the_folder_of_its_header() {
    let text = Text::new();
    let folder = text.folder.path();
    fs::create_dir(folder.join("below")).unwrap();
    fs::write(folder.join("below/data.raw"), [7; 24]).unwrap();
    let outside = tempfile::tempdir().unwrap();
    fs::write(outside.path().join("data.raw"), [7; 24]).unwrap();
    let name = |name: &str| {
        let file = text.save("h.nhdr", &format!("{NRRD}data file: {name}\n"), b"");
        let mhd = text.save("h.mhd", &format!("{META}ElementDataFile = {name}\n"), b"");
        let (nrrd, meta) = (open_volume(&file, 0), open_volume(&mhd, 0));
        assert_eq!(nrrd.is_ok(), meta.is_ok(), "{name}");
        assert_eq!(nrrd.is_ok(), !data_files(&file).is_empty() && !data_files(&mhd).is_empty());
        nrrd
    };
    assert!(name("below/data.raw").is_ok());
    assert!(name("./below/data.raw").is_ok());
    let absolute = outside.path().join("data.raw");
    let escape = format!("../{}/data.raw", outside.path().file_name().unwrap().to_string_lossy());
    for bad in [
        absolute.to_str().unwrap(),
        &escape,
        "below/../below/data.raw",
        "below\\data.raw",
        "below",
        ".",
        "absent.raw",
    ] {
        let error = name(bad).unwrap_err();
        assert!(matches!(error, ImageError::DataFile { .. }), "{bad}: {error}");
        assert!(!format!("{error} {error:?}").contains("raw"), "the message repeats the name");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        symlink(&absolute, folder.join("link.raw")).unwrap();
        symlink(outside.path(), folder.join("linked")).unwrap();
        for bad in ["link.raw", "linked/data.raw"] {
            assert!(matches!(name(bad), Err(ImageError::DataFile { .. })), "{bad}");
        }
        symlink("/dev/zero", folder.join("zero.raw")).unwrap();
        assert!(name("zero.raw").is_err());
    }
}
