//! NIfTI: written, read back, mapped; and headers that lie.

use std::{fs, io::Write, path::PathBuf, time::Instant};

use flate2::{Compression, write::GzEncoder};
use mivox::{
    geometry::{Affine, DMat3, Grid, affine_from_rows},
    io::{
        Format, SniffError,
        image::{ImageError, Mapped, open_head, open_volume},
        nifti::{NiftiError, write_f32, write_i16},
        sniff,
    },
};
use ndarray::Array3;

fn oblique() -> Affine {
    let mut affine = affine_from_rows(&[
        [-0.5, 0.0, 0.0, 90.25],
        [0.0, 0.75, 0.0, -126.0],
        [0.0, 0.0, 3.0, -72.5],
        [0.0; 4],
    ]);
    affine.matrix3 = DMat3::from_rotation_y(0.3) * DMat3::from_rotation_z(2.9) * affine.matrix3;
    affine
}

fn sheared() -> Affine {
    affine_from_rows(&[[1.0, 0.0, 0.0, 5.0], [0.0, 1.0, 0.4, 6.0], [0.0, 0.0, 2.0, 7.0], [0.0; 4]])
}

struct Image {
    folder: tempfile::TempDir,
    grid: Grid,
    voxels: Array3<i16>,
    bytes: Vec<u8>,
}

fn image(affine: Affine) -> Image {
    let voxels =
        Array3::from_shape_fn((3, 5, 7), |(k, j, i)| (k * 35 + j * 7 + i) as i16 * 11 - 500);
    let grid = Grid { shape: [7, 5, 3], ras_from_voxel: affine };
    let mut bytes = Vec::new();
    write_i16(&mut bytes, voxels.view(), &grid, 0.5, -3.0, "made by a test").unwrap();
    Image { folder: tempfile::tempdir().unwrap(), grid, voxels, bytes }
}

impl Image {
    fn save(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.folder.path().join(name);
        fs::write(&file, bytes).unwrap();
        file
    }

    /// The image with some bytes of its header replaced.
    fn with(&self, changes: &[(usize, &[u8])]) -> PathBuf {
        let mut bytes = self.bytes.clone();
        for (at, new) in changes {
            bytes[*at..at + new.len()].copy_from_slice(new);
        }
        self.save("changed.nii", &bytes)
    }

    fn error(&self, changes: &[(usize, &[u8])]) -> ImageError {
        let file = self.with(changes);
        let error = open_head(&file).unwrap_err();
        assert!(open_volume(&file, 0).is_err());
        error
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn same(a: &Grid, b: &Grid) -> bool {
    a.shape == b.shape
        && a.ras_from_voxel.matrix3.abs_diff_eq(b.ras_from_voxel.matrix3, 1e-6)
        && a.ras_from_voxel.translation.abs_diff_eq(b.ras_from_voxel.translation, 1e-4)
}

const QFORM_CODE: usize = 252;
const SFORM_CODE: usize = 254;

#[test]
fn what_is_written_is_read_back() {
    for affine in [oblique(), sheared()] {
        let image = image(affine);
        let scaled = image.voxels.mapv(|v| f32::from(v) * 0.5 - 3.0);
        let plain = image.save("a.nii", &image.bytes);
        let packed = image.save("b.nii.gz", &gzip(&image.bytes));
        // Two gzip members, cut inside the header, and a name that says nothing.
        let (one, two) = image.bytes.split_at(200);
        let parts = image.save("c", &[gzip(one), gzip(two)].concat());
        for file in [plain, packed, parts] {
            assert_eq!(sniff(&file).unwrap(), Format::Nifti);
            let (voxels, head) = open_volume(&file, 0).unwrap();
            assert!(same(&head.grid, &image.grid));
            assert_eq!(head.affine_source, "sform");
            assert_eq!(voxels, scaled);
        }
    }
}

/// The checksum is that of the whole stream, also where it holds more than the voxels.
#[test]
fn what_follows_the_voxels_is_ignored_but_checked() {
    let image = image(oblique());
    let sound = gzip(&[&image.bytes[..], b"more"].concat());
    let mut damaged = sound.clone();
    let at = sound.len() - 8;
    damaged[at] ^= 1;
    assert!(open_volume(&image.save("sound.nii.gz", &sound), 0).is_ok());
    let error = open_volume(&image.save("damaged.nii.gz", &damaged), 0);
    assert!(matches!(error, Err(ImageError::Io(_))), "{error:?}");
}

#[test]
fn the_qform_says_the_same_where_it_can() {
    let file = image(oblique());
    let head = open_head(&file.with(&[(SFORM_CODE, &[0, 0])])).unwrap();
    assert_eq!(head.affine_source, "qform");
    assert!(same(&head.grid, &file.grid));
    // A shear has no quaternion: what is left are the sizes.
    let file = image(sheared());
    assert_eq!(file.bytes[QFORM_CODE], 0);
    let head = open_head(&file.with(&[(SFORM_CODE, &[0, 0])])).unwrap();
    assert_eq!(head.affine_source, "pixdim");
}

#[test]
fn floats_are_written_as_they_are() {
    let voxels = Array3::from_shape_fn((2, 3, 4), |(k, j, i)| k as f32 - 0.1 * j as f32 + i as f32);
    let grid = Grid { shape: [4, 3, 2], ras_from_voxel: oblique() };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("f.nii.gz");
    let out = GzEncoder::new(fs::File::create(&file).unwrap(), Compression::fast());
    write_f32(out, voxels.view(), &grid, "").unwrap();
    assert_eq!(open_volume(&file, 0).unwrap().0, voxels);
    let wrong = Grid { shape: [3, 4, 2], ..grid };
    assert!(write_f32(Vec::new(), voxels.view(), &wrong, "").is_err());
    assert!(write_i16(Vec::new(), voxels.mapv(|v| v as i16).view(), &grid, 0.0, 0.0, "").is_err());
}

#[test]
fn a_prepared_volume_is_mapped() {
    let image = image(oblique());
    let mapped = Mapped::<i16>::open(&image.save("m.nii", &image.bytes)).unwrap();
    assert!(same(mapped.grid(), &image.grid));
    assert_eq!((mapped.slope(), mapped.intercept()), (0.5, -3.0));
    assert_eq!(mapped.voxels(), image.voxels);
    assert_eq!(
        mapped.slice(2).unwrap(),
        image.voxels.index_axis(ndarray::Axis(0), 2).as_slice().unwrap()
    );
    assert!(mapped.slice(3).is_none());
    let refused = |bytes: &[u8]| Mapped::<i16>::open(&image.save("x.nii", bytes)).unwrap_err();
    assert!(matches!(refused(&gzip(&image.bytes)), ImageError::NotMappable { .. }));
    assert!(matches!(refused(&image.bytes[..400]), ImageError::Short { .. }));
    assert!(matches!(refused(&image.bytes[..100]), ImageError::Alien));
    assert!(matches!(refused(&[]), ImageError::Alien));
    let odd = image.with(&[(108, &353f32.to_le_bytes()), (40, &[3, 0, 6, 0])]);
    assert!(matches!(Mapped::<i16>::open(&odd), Err(ImageError::NotMappable { .. })));
    let unsigned = image.with(&[(70, &512i16.to_le_bytes())]);
    assert!(matches!(Mapped::<i16>::open(&unsigned), Err(ImageError::NotMappable { .. })));
}

#[test]
fn slopes_that_mean_nothing_are_ignored() {
    let image = image(oblique());
    for slope in [0f32, f32::NAN, f32::INFINITY] {
        let file = image.with(&[(112, &slope.to_le_bytes())]);
        assert_eq!(open_volume(&file, 0).unwrap().0, image.voxels.mapv(f32::from));
    }
    let nan = f32::NAN.to_le_bytes();
    assert!(matches!(image.error(&[(116, &nan)]), ImageError::Nifti(NiftiError::Intercept { .. })));
}

#[test]
fn big_endian_and_trailing_dimensions_are_read() {
    let image = image(oblique());
    for dim in [[4u8, 0, 7, 0, 5, 0, 3, 0, 1, 0], [5, 0, 7, 0, 5, 0, 3, 0, 0, 0]] {
        assert!(open_volume(&image.with(&[(40, &dim)]), 0).is_ok());
    }
    let mut big = image.bytes.clone();
    let mut swap = |at: usize, size: usize, count: usize| {
        big[at..at + size * count].chunks_mut(size).for_each(<[u8]>::reverse);
    };
    for (at, size, count) in [
        (0, 4, 1),
        (40, 2, 8),
        (70, 2, 2),
        (76, 4, 8),
        (108, 4, 3),
        (252, 2, 2),
        (256, 4, 18),
        (352, 2, 105),
    ] {
        swap(at, size, count);
    }
    let file = image.save("big.nii", &big);
    assert_eq!(sniff(&file).unwrap(), Format::Nifti);
    let (voxels, head) = open_volume(&file, 0).unwrap();
    assert!(same(&head.grid, &image.grid));
    assert_eq!(voxels, image.voxels.mapv(|v| f32::from(v) * 0.5 - 3.0));
}

#[test]
fn headers_that_lie_are_refused_with_the_reason() {
    let image = image(oblique());
    let huge = [3u8, 0, 0xFF, 0x7F, 0xFF, 0x7F, 0xFF, 0x7F];
    assert!(matches!(image.error(&[(40, &huge)]), ImageError::TooLarge { .. }));
    assert!(matches!(image.error(&[(40, &huge[..4])]), ImageError::Short { .. }));
    assert!(matches!(
        image.error(&[(40, &[3, 0, 0, 0])]),
        ImageError::Nifti(NiftiError::Dimension { index: 1, .. })
    ));
    assert!(matches!(
        image.error(&[(40, &[3, 0, 0, 0x80])]),
        ImageError::Nifti(NiftiError::Dimension { value: -32768, .. })
    ));
    let frames = [5u8, 0, 7, 0, 5, 0, 1, 0, 0xFF, 0x7F, 0xFF, 0x7F];
    assert!(matches!(
        image.error(&[(40, &frames)]),
        ImageError::Nifti(NiftiError::Frames { frames: 0x3FFF_0001, limit: 65536 })
    ));
    for offset in [f32::NAN, 1e30, -500.0, 100.0, 352.5] {
        let error = image.error(&[(108, &offset.to_le_bytes())]);
        assert!(matches!(error, ImageError::Nifti(NiftiError::Offset { .. })), "{offset}: {error}");
    }
    assert!(matches!(image.error(&[(108, &1e6f32.to_le_bytes())]), ImageError::Short { .. }));
    for code in [0i16, 255, 9999] {
        let error = image.error(&[(70, &code.to_le_bytes())]);
        assert!(matches!(error, ImageError::Nifti(NiftiError::VoxelType { .. })), "{error}");
    }
    assert!(matches!(
        image.error(&[(280, &[0; 16])]),
        ImageError::Affine { source_name: "sform", .. }
    ));
    let nan = f32::NAN.to_le_bytes();
    assert!(matches!(image.error(&[(284, &nan)]), ImageError::Affine { .. }));
    // The header of a pair has another name, as its voxels are in another file.
    assert!(matches!(image.error(&[(344, b"ni1\0")]), ImageError::DataFile { .. }));
    assert!(matches!(image.error(&[(0, &540i32.to_le_bytes())]), ImageError::Alien));
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let image = image(oblique());
    for bytes in [image.bytes.clone(), gzip(&image.bytes)] {
        for len in 0..bytes.len() {
            let file = image.save("cut", &bytes[..len]);
            assert!(open_volume(&file, 0).is_err(), "{len} of {}", bytes.len());
        }
    }
}

#[test]
fn a_bomb_is_neither_inflated_nor_believed() {
    let image = image(oblique());
    let start = Instant::now();
    // 1 GiB of zeros behind a small image: never looked at.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&image.bytes).unwrap();
    for _ in 0..256 {
        encoder.write_all(&[0; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let written = start.elapsed();
    let file = image.save("bomb", &bomb);
    assert_eq!(open_volume(&file, 0).unwrap().0.dim(), (3, 5, 7));
    assert!(start.elapsed() - written < written, "the bomb was inflated");
    // A header that promises 4 GiB in a few bytes of gzip.
    let mut lie = image.bytes.clone();
    lie[40..48].copy_from_slice(&[3, 0, 0, 4, 0, 4, 0, 4]);
    let file = image.save("lie", &gzip(&lie));
    assert!(matches!(open_volume(&file, 0), Err(ImageError::Short { .. })));
}

#[test]
fn what_is_no_scan_has_a_reason() {
    let image = image(oblique());
    assert!(matches!(sniff(&image.save("0", &[])), Err(SniffError::Empty)));
    assert!(matches!(
        sniff(&image.save("1", b"hello, world, this is text")),
        Err(SniffError::Alien)
    ));
    assert!(matches!(sniff(&image.save("2", &gzip(b"text"))), Err(SniffError::AlienGzip)));
    assert!(matches!(sniff(&image.save("3", &[0x1f, 0x8b, 1, 2])), Err(SniffError::AlienGzip)));
    assert!(matches!(sniff(image.folder.path()), Err(SniffError::NotAFile)));
    let missing = sniff(&image.folder.path().join("DOE_JANE.nii")).unwrap_err();
    assert!(matches!(missing, SniffError::Unreadable(_)));
    let printed = format!("{missing} {missing:?}");
    assert!(!printed.contains("DOE"), "{printed}");
    // A header of text that starts like one, cut short.
    assert!(matches!(sniff(&image.save("4", &image.bytes[..200])), Err(SniffError::Alien)));
}
