//! A peer of `benches/peers/load.py`: reads one thing the way mivox does.
//!
//!     loading header|bytes|slice|volume FILE
//!     loading series FOLDER OUT
//!
//! For each line with a count on its input it does so that often and answers with a
//! line. `bytes` takes a header's 16 KB from the system and does not look at them: what no
//! reader can be faster than. `series` makes every series below a folder a volume of 1 mm, normalised,
//! and writes the grids and means it came to into `OUT/mivox.json`.

#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

use std::{
    fs,
    hint::black_box,
    io::Read,
    path::{Path, PathBuf},
};

use mivox::{
    intensity::{self, Normalisation},
    io::{
        dicom::{FrameReader, open_header},
        image::open_volume,
        series::{assemble, read_series},
    },
    resample::Resampler,
    volume::keep_freed_memory,
};
use rayon::prelude::*;

/// A prepared volume in a few numbers: shape, affine, mean of every 101st voxel.
type Summary = ([usize; 3], [f64; 16], f64);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [case, path, rest @ ..] = &arguments[..] else {
        return eprintln!("run by benches/peers/load.py, with a case and a path");
    };
    let path = Path::new(path);
    // as the program does
    keep_freed_memory();
    let mut last = Vec::new();
    for line in std::io::stdin().lines() {
        for _ in 0..line.unwrap().trim().parse::<usize>().unwrap() {
            match case.as_str() {
                "header" => drop(black_box(open_header(path).unwrap())),
                "bytes" => drop(black_box(bytes(path))),
                "slice" => drop(black_box(slice(path))),
                "volume" => drop(black_box(open_volume(path, 0).unwrap())),
                "series" => last = series(path),
                _ => panic!("no such case"),
            }
        }
        println!("done");
    }
    if let [out] = rest {
        let text = serde_json::to_vec(&last).unwrap();
        fs::write(Path::new(out).join("mivox.json"), text).unwrap();
    }
}

/// The length of a file, and its first bytes.
fn bytes(path: &Path) -> (u64, [u8; 1 << 14]) {
    let mut file = fs::File::open(path).unwrap();
    let (length, mut first) = (file.metadata().unwrap().len(), [0; 1 << 14]);
    file.read_exact(&mut first).unwrap();
    (length, first)
}

/// The values of the one slice of a file.
fn slice(path: &Path) -> Vec<f32> {
    let reader = FrameReader::open(path).unwrap();
    let layout = reader.instance().pixels.unwrap();
    let mut values = vec![0.0; layout.rows * layout.columns];
    reader.read(0, &mut values).unwrap();
    values
}

/// Every series below a folder, from its files to normalised voxels of 1 mm.
fn series(folder: &Path) -> Vec<Summary> {
    let mut files: Vec<PathBuf> = Vec::new();
    for series in fs::read_dir(folder).unwrap() {
        let slices = fs::read_dir(series.unwrap().path()).unwrap();
        files.extend(slices.map(|slice| slice.unwrap().path()));
    }
    let instances = files.par_iter().map(|file| open_header(file).unwrap()).collect();
    let assembly = assemble(instances);
    assert!(assembly.refused.is_empty());
    assembly
        .series
        .par_iter()
        .map(|found| {
            let voxels = read_series(&found.slices, &found.grid).unwrap();
            let settings = intensity::Settings {
                ct_window_hu: [-1000.0, 1000.0],
                clip_z: 5.0,
                pet_window_suv: None,
                percentiles: None,
            };
            let normalisation =
                Normalisation::fit(&voxels, found.modality.family(), None, &settings).unwrap();
            let onto = found.grid.covering_ras([1.0; 3]).unwrap();
            let resampler = Resampler::linear(normalisation.outside());
            let mut prepared = resampler.resample(voxels.view(), &found.grid, &onto).unwrap();
            prepared.mapv_inplace(|value| normalisation.apply(value));
            let sample = prepared.as_slice().unwrap().iter().step_by(101);
            let mean = sample.clone().map(|&value| f64::from(value)).sum::<f64>();
            let mean = mean / sample.len() as f64;
            (onto.shape, mivox::geometry::affine_to_flat(&onto.ras_from_voxel), mean)
        })
        .collect()
}
