//! What nibabel does not read or does not say of NIfTI and Analyze.

use std::{fs, io::Write, path::PathBuf};

use flate2::{Compression, write::GzEncoder};
use mivox::{
    geometry::{Grid, affine_from_rows},
    io::{
        Format,
        image::{ImageError, ImageHead, Mapped, VoxelType, open_head, open_volume},
        nifti::{NiftiError, write_f32, write_i16},
        sniff,
    },
};
use ndarray::Array3;
use zip::{ZipWriter, write::SimpleFileOptions};

/// A written image of 2 × 3 × 4 voxels, and a folder for what is made of it.
struct Image {
    folder: tempfile::TempDir,
    bytes: Vec<u8>,
}

impl Image {
    fn new() -> Self {
        let axes = [[-2.0, 0.0, 0.0, 9.0], [0.0, 2.0, 0.0, 8.0], [0.0, 0.0, 3.0, 7.0], [0.0; 4]];
        let grid = Grid { shape: [2, 3, 4], ras_from_voxel: affine_from_rows(&axes) };
        let voxels = Array3::from_shape_fn((4, 3, 2), |(k, j, i)| (6 * k + 2 * j + i) as i16);
        let mut bytes = Vec::new();
        write_i16(&mut bytes, voxels.view(), &grid, 1.0, 0.0, "").unwrap();
        Self { folder: tempfile::tempdir().unwrap(), bytes }
    }

    fn save(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    }

    /// The image with some of its bytes replaced, and others in place of its voxels.
    fn with(&self, changes: &[(usize, &[u8])], voxels: Option<&[u8]>) -> PathBuf {
        let mut bytes = self.bytes.clone();
        for (at, new) in changes {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        if let Some(voxels) = voxels {
            bytes.truncate(352);
            bytes.extend_from_slice(voxels);
        }
        self.save("changed.nii", &bytes)
    }

    fn remarks(&self, changes: &[(usize, &[u8])]) -> (ImageHead, String) {
        let head = open_head(&self.with(changes, None)).unwrap();
        let remarks = head.remarks.join("; ");
        (head, remarks)
    }
}

const DATATYPE: usize = 70;
const PIXDIM: usize = 76;
const UNITS: usize = 123;
const QFORM_CODE: usize = 252;
const SFORM_CODE: usize = 254;
const QOFFSET_X: usize = 268;

#[test]
fn bits_and_wide_floats_have_their_values() {
    let image = Image::new();
    let of = |code: i16, voxels: &[u8]| {
        let file = image.with(&[(DATATYPE, &code.to_le_bytes())], Some(voxels));
        open_volume(&file, 0).map(|(voxels, head)| {
            (voxels.into_raw_vec_and_offset().0, head.voxel_type, head.remarks.join("; "))
        })
    };
    let (bits, voxel_type, remark) = of(1, &[0b1010_0001, 0xFF, 0]).unwrap();
    let lowest_first = [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0];
    assert_eq!(bits, [lowest_first, [1.0; 8], [0.0; 8]].concat());
    assert!(voxel_type == VoxelType::Bit && remark.contains("lowest"));
    // 1.0 and −3.0 as binary128.
    let wide = |top: u16| {
        let mut number = [0; 16];
        number[14..].copy_from_slice(&top.to_le_bytes());
        if top == 0xC000 {
            number[13] = 0x80;
        }
        number
    };
    let pair = [wide(0x3FFF), wide(0xC000)].concat();
    let (floats, ..) = of(1536, &pair.repeat(12)).unwrap();
    assert_eq!(floats, [1.0, -3.0].repeat(12));
    let (lengths, _, remark) = of(2048, &pair.repeat(24)).unwrap();
    assert_eq!(lengths, [10f32.sqrt(); 24]);
    assert!(remark.contains("magnitude"));
    assert!(matches!(
        of(1536, &[&[0; 7][..], &[0x80, 0xFF, 0x3F, 0, 0, 0, 0, 0, 0]].concat().repeat(24)),
        Err(ImageError::Voxels { .. })
    ));
    let (_, _, remark) = of(128, &[9; 72]).unwrap();
    assert!(remark.contains("luma"));
}

#[test]
fn what_was_decided_about_the_place_is_remarked() {
    let image = Image::new();
    assert_eq!(image.remarks(&[]).1, "");
    let (head, remarks) = image.remarks(&[(QOFFSET_X, &19f32.to_le_bytes())]);
    assert_eq!(head.affine_source, "sform");
    assert_eq!(
        remarks,
        "sform (code 1) and qform (code 1) differ by up to 10.00 mm; the sform is taken"
    );
    // Too little to matter: a tenth of a voxel.
    assert_eq!(image.remarks(&[(QOFFSET_X, &9.1f32.to_le_bytes())]).1, "");
    let (head, remarks) = image.remarks(&[(QFORM_CODE, &[0; 4])]);
    assert!(head.affine_source == "pixdim" && remarks.contains("run to the left"), "{remarks}");
    let (head, remarks) = image.remarks(&[(UNITS, &[1])]);
    assert!(head.grid.spacing_mm() == [2000.0, 2000.0, 3000.0] && remarks.contains("metres"));
    // A slice that has no thickness: one voxel along k, of size 0.
    let flat: [(usize, &[u8]); 3] =
        [(40, &[3, 0, 2, 0, 3, 0, 1, 0]), (PIXDIM + 12, &[0; 4]), (SFORM_CODE, &[0, 0])];
    let (head, remarks) = image.remarks(&flat);
    assert_eq!(head.grid.spacing_mm(), [2.0, 2.0, 1.0]);
    assert!(remarks.contains("no size"), "{remarks}");
    let thick = image.with(&flat[1..], None);
    assert!(matches!(open_head(&thick), Err(ImageError::Affine { source_name: "qform", .. })));
}

#[test]
fn a_negative_size_turns_no_axis() {
    let image = Image::new();
    let negative = (PIXDIM + 4, &(-2f32).to_le_bytes()[..]);
    for codes in [[0; 4], [1, 0, 0, 0]] {
        let codes = (QFORM_CODE, &codes[..]);
        let (plain, _) = image.remarks(&[codes]);
        let (head, remarks) = image.remarks(&[codes, negative]);
        assert_eq!(head.grid, plain.grid, "{}", head.affine_source);
        assert!(remarks.contains("negative voxel sizes"), "{remarks}");
    }
    let (hdr, _) = pair(&image, &[0; 4]);
    let plain = open_head(&hdr).unwrap();
    let mut header = fs::read(&hdr).unwrap();
    header[PIXDIM + 4..PIXDIM + 8].copy_from_slice(&(-2f32).to_le_bytes());
    fs::write(&hdr, header).unwrap();
    assert_eq!(open_head(&hdr).unwrap().grid, plain.grid);
}

#[test]
fn an_intent_tells_what_is_no_scan() {
    let image = Image::new();
    let kind = |intent: i16| image.remarks(&[(68, &intent.to_le_bytes())]).0.kind;
    assert_eq!([0, 1001, 2001].map(kind), [None; 3]);
    assert_eq!(kind(3), Some("statistical map"));
    assert_eq!(kind(1002), Some("label map"));
    assert_eq!(kind(1007), Some("vector field"));
}

#[test]
fn frames_are_counted_from_zero() {
    let image = Image::new();
    let mut bytes = image.bytes.clone();
    bytes[40..50].copy_from_slice(&[4, 0, 2, 0, 3, 0, 2, 0, 2, 0]);
    let file = image.save("frames.nii", &bytes);
    let (second, head) = open_volume(&file, 1).unwrap();
    assert_eq!((second[[0; 3]], head.frames), (12.0, 2));
    let error = open_volume(&file, 2).unwrap_err();
    assert!(matches!(error, ImageError::Frame { frame: 2, frames: 2 }));
    assert!(matches!(Mapped::<i16>::open(&file), Err(ImageError::NotMappable { .. })));
}

#[test]
fn raw_volumes_of_any_plain_type_are_mapped() {
    let folder = tempfile::tempdir().unwrap();
    let axes = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0; 4]];
    let grid = Grid { shape: [4, 3, 2], ras_from_voxel: affine_from_rows(&axes) };
    let voxels = Array3::from_shape_fn((2, 3, 4), |(k, j, i)| k as f32 - 0.1 * j as f32 + i as f32);
    let file = folder.path().join("f.nii");
    write_f32(fs::File::create(&file).unwrap(), voxels.view(), &grid, "").unwrap();
    let mapped = Mapped::<f32>::open(&file).unwrap();
    assert_eq!(mapped.voxels(), voxels);
    assert_eq!(mapped.voxels(), open_volume(&file, 0).unwrap().0);
    assert!(matches!(Mapped::<u8>::open(&file), Err(ImageError::NotMappable { .. })));
    let itk = std::path::Path::new("tests/readers/fixtures/itk/beside_mhd.mhd");
    let mapped = Mapped::<i16>::open(itk).unwrap();
    assert_eq!(mapped.voxels().mapv(f32::from), open_volume(itk, 0).unwrap().0);
}

/// A pair of the image: its header, and its voxels beside it.
fn pair(image: &Image, magic: &[u8; 4]) -> (PathBuf, PathBuf) {
    let mut header = image.bytes[..348].to_vec();
    header[344..].copy_from_slice(magic);
    header[108..112].copy_from_slice(&[0; 4]);
    header[QFORM_CODE..SFORM_CODE + 2].copy_from_slice(&[0; 4]);
    header[256..344].fill(0);
    let img = image.save("a.img", &image.bytes[352..]);
    (image.save("a.hdr", &header), img)
}

#[test]
fn a_pair_needs_its_image_beside_it() {
    let image = Image::new();
    let (hdr, img) = pair(&image, b"ni1\0");
    assert_eq!(sniff(&hdr).unwrap(), Format::Nifti);
    let (voxels, head) = open_volume(&hdr, 0).unwrap();
    assert_eq!((voxels[[3, 2, 1]], head.data_files()), (23.0, &[img.clone()][..]));
    let upper = [image.folder.path().join("B.HDR"), image.folder.path().join("B.IMG")];
    fs::copy(&hdr, &upper[0]).unwrap();
    fs::copy(&img, &upper[1]).unwrap();
    assert!(open_head(&upper[0]).is_ok());
    fs::write(&img, [0; 47]).unwrap();
    assert!(matches!(open_head(&hdr), Err(ImageError::Short { promised: 48, found: 47 })));
    fs::remove_file(&img).unwrap();
    let missing = open_head(&hdr).unwrap_err();
    assert_eq!(missing.to_string(), "the file of the voxels, beside the header, is missing");
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&upper[1], &img).unwrap();
        assert!(matches!(open_head(&hdr), Err(ImageError::DataFile { .. })));
        fs::remove_file(&img).unwrap();
    }
    fs::create_dir(&img).unwrap();
    assert!(matches!(open_head(&hdr), Err(ImageError::DataFile { .. })));
}

#[test]
fn analyze_is_read_where_its_axes_are_known() {
    let image = Image::new();
    let (hdr, _) = pair(&image, &[0; 4]);
    assert_eq!(sniff(&hdr).unwrap(), Format::Analyze);
    let (voxels, head) = open_volume(&hdr, 0).unwrap();
    assert_eq!((voxels[[3, 2, 1]], head.affine_source), (23.0, "pixdim"));
    assert!(head.remarks[0].contains("no left and right"));
    let mut header = fs::read(&hdr).unwrap();
    header[112..116].fill(0);
    header[124..128].copy_from_slice(&0.8f32.to_le_bytes());
    header[140..144].copy_from_slice(&110i32.to_le_bytes());
    fs::write(&hdr, &header).unwrap();
    let (voxels, head) = open_volume(&hdr, 0).unwrap();
    assert_eq!((voxels[[3, 2, 1]], head.scale), (23.0, (1.0, 0.0)));
    assert!(head.remarks[1].contains("ranges"), "{:?}", head.remarks);
    header[252] = 2;
    fs::write(&hdr, &header).unwrap();
    let error = open_head(&hdr).unwrap_err();
    assert!(matches!(error, ImageError::Nifti(NiftiError::Orient { orient: 2 })));
    header[252] = 0;
    fs::write(&hdr, &header).unwrap();
    image.save("a.mat", b"MATLAB 5.0 MAT-file");
    assert!(matches!(open_head(&hdr), Err(ImageError::Nifti(NiftiError::MatFile))));
}

#[test]
fn the_affine_beside_a_pair_is_seen_wherever_the_pair_lies() {
    let image = Image::new();
    let (hdr, img) = pair(&image, &[0; 4]);
    let gzip = |path: &PathBuf| {
        let mut out = GzEncoder::new(Vec::new(), Compression::fast());
        out.write_all(&fs::read(path).unwrap()).unwrap();
        out.finish().unwrap()
    };
    let packed = image.save("brain.hdr.gz", &gzip(&hdr));
    image.save("brain.img.gz", &gzip(&img));
    assert!(open_head(&packed).is_ok());
    image.save("brain.mat", b"MATLAB 5.0 MAT-file");
    assert!(matches!(open_head(&packed), Err(ImageError::Nifti(NiftiError::MatFile))));
    for with in [false, true] {
        let archive = image.folder.path().join(format!("{with}.zip"));
        let mut zip = ZipWriter::new(fs::File::create(&archive).unwrap());
        let mut add = |name: &str, bytes: &[u8]| {
            zip.start_file(name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        };
        add("a.hdr", &fs::read(&hdr).unwrap());
        add("a.img", &fs::read(&img).unwrap());
        if with {
            add("a.mat", b"MATLAB 5.0 MAT-file");
        }
        zip.finish().unwrap();
        let found = open_head(&archive.join("a.hdr"));
        let seen = matches!(found, Err(ImageError::Nifti(NiftiError::MatFile)));
        assert_eq!((found.is_ok(), seen), (!with, with));
    }
}

#[test]
fn a_nifti_2_header_that_went_through_text_mode_is_told() {
    let image = Image::new();
    let mut header = vec![0; 544];
    header[..4].copy_from_slice(&540i32.to_le_bytes());
    header[4..12].copy_from_slice(b"n+2\0\n\x1a\n\0");
    let error = open_head(&image.save("text.nii", &header)).unwrap_err();
    assert!(matches!(error, ImageError::Nifti(NiftiError::TextMode)));
}
