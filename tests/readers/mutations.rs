//! Image files that were changed at random or cut: no panic, and never a volume
//! of what is not there.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use mivox::{
    geometry::{Grid, affine_from_rows},
    io::{
        image::{Image, ImageError, open_volume},
        nifti::write_i16,
        sniff,
    },
};
use ndarray::Array3;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Mutations of every seed file; `MIVOX_MUTATIONS` asks for more.
fn mutations() -> u64 {
    std::env::var("MIVOX_MUTATIONS").ok().and_then(|text| text.parse().ok()).unwrap_or(400)
}

/// Every frame, or why there is none.
fn read(file: &Path) -> Result<usize, ImageError> {
    let _ = sniff(file);
    let mut image = Image::open(file)?;
    let frames = image.head().frames;
    for frame in [0, frames / 2, frames - 1] {
        let voxels = image.volume(frame)?;
        assert_eq!(Some(voxels.len()), image.head().grid.voxel_count());
    }
    Ok(frames)
}

/// Puts a file in place of another. A file that is truncated and written again
/// is flushed to the disk by ext4; a new one is not.
fn put(file: &Path, bytes: &[u8]) {
    fs::remove_file(file).unwrap();
    fs::write(file, bytes).unwrap();
}

/// Files of every format and coding, each with the file of its voxels where
/// that is another one.
fn seeds(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures/itk");
    let mut seeds = Vec::new();
    for (header, voxels) in [
        ("i2.nrrd", "i2.nrrd"),
        ("packed.nrrd", "packed.nrrd"),
        ("bzip2.nrrd", "bzip2.nrrd"),
        ("ascii.nrrd", "ascii.nrrd"),
        ("frames.nrrd", "frames.nrrd"),
        ("list_first.nrrd", "list_first.nrrd"),
        ("beside_nhdr.nhdr", "beside_nhdr.raw"),
        ("packed_nhdr.nhdr", "packed_nhdr.raw.gz"),
        ("i2.mha", "i2.mha"),
        ("packed.mha", "packed.mha"),
        ("frames.mha", "frames.mha"),
        ("beside_mhd.mhd", "beside_mhd.raw"),
        ("packed_mhd.mhd", "packed_mhd.zraw"),
        ("text.mha", "text.mha"),
    ] {
        for name in [header, voxels] {
            fs::copy(fixtures.join(name), folder.join(name)).unwrap();
        }
        seeds.push((folder.join(header), folder.join(voxels)));
    }
    let made = folder.join("nibabel");
    fs::create_dir(&made).unwrap();
    let python = Path::new(".venv/bin/python");
    assert!(python.exists(), "there is no .venv: run `make setup` first, or `make test`");
    let script = "tests/readers/nibabel_seeds.py";
    assert!(Command::new(python).arg(script).arg(&made).status().unwrap().success());
    for name in ["one.nii", "one.nii.gz", "frames.nii", "frames.nii.gz", "members.nii.gz"] {
        seeds.push((made.join(name), made.join(name)));
    }
    for name in ["second.nii", "second.nii.gz"] {
        seeds.push((made.join(name), made.join(name)));
    }
    for name in ["pair", "analyze"] {
        seeds.push((made.join(name).with_extension("hdr"), made.join(name).with_extension("img")));
    }
    let packed = made.join("packed");
    seeds.push((packed.with_extension("hdr.gz"), packed.with_extension("img.gz")));
    for (header, _) in &seeds {
        read(header).unwrap_or_else(|error| panic!("{}: {error}", header.display()));
    }
    seeds
}

#[test]
fn any_bytes_may_be_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let (mut refused, mut volumes) = (0, 0);
    for (number, (header, voxels)) in seeds(folder.path()).into_iter().enumerate() {
        let mut random = ChaCha8Rng::seed_from_u64(number as u64);
        for changed in [&header, &voxels] {
            let whole = fs::read(changed).unwrap();
            for _ in 0..mutations() {
                let mut bytes = whole.clone();
                for _ in 0..random.random_range(1..=8) {
                    let at = random.random_range(0..bytes.len().min(600));
                    match random.random_range(0..4) {
                        0 => bytes[at] = random.random(),
                        1 => bytes[at] ^= 1 << random.random_range(0..8),
                        2 => {
                            bytes[at] = [0, 0xFF, 0x7F, 0x80, b'9', b' '][random.random_range(0..6)]
                        }
                        _ if bytes.len() > 1 => drop(bytes.remove(at)),
                        _ => {}
                    }
                }
                put(changed, &bytes);
                match read(&header) {
                    Ok(_) => volumes += 1,
                    Err(_) => refused += 1,
                }
            }
            put(changed, &whole);
        }
    }
    println!(
        "mutations | {} files | {refused} refused, {volumes} read, 0 panics",
        refused + volumes
    );
    assert!(refused > 0 && volumes > 0);
}

#[test]
fn a_file_cut_at_any_percent_gives_no_volume() {
    let folder = tempfile::tempdir().unwrap();
    let mut cut = 0;
    for (header, voxels) in seeds(folder.path()) {
        let whole = fs::read(&voxels).unwrap();
        for percent in 0..100 {
            let len = whole.len() * percent / 100;
            put(&voxels, &whole[..len]);
            // Of a file with several frames not even the first, which is whole.
            let read = open_volume(&header, 0);
            assert!(read.is_err(), "{} at {percent} %", header.display());
            cut += 1;
        }
        put(&voxels, &whole);
    }
    println!("cut at each percent | {cut} files | all refused");
}

#[test]
fn an_empty_volume_of_two_gigabytes_is_a_bomb() {
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bomb.nii.gz");
    let axes = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0; 4]];
    let grid = Grid { shape: [1, 1, 1], ras_from_voxel: affine_from_rows(&axes) };
    let mut bytes = Vec::new();
    write_i16(&mut bytes, Array3::zeros((1, 1, 1)).view(), &grid, 1.0, 0.0, "").unwrap();
    bytes[42..48].copy_from_slice(&[0, 4, 0, 4, 0, 4]);
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&bytes).unwrap();
    // A member of 16 MiB, and copies of it: 2 GiB in 2 MiB.
    let mut packed = encoder.finish().unwrap();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; 16 << 20]).unwrap();
    let member = encoder.finish().unwrap();
    (0..128).for_each(|_| packed.extend_from_slice(&member));
    fs::write(&file, packed).unwrap();
    assert!(matches!(
        open_volume(&file, 0),
        Err(ImageError::Bomb { promised: 2_147_483_648.., .. })
    ));
}
