//! A peer of `benches/peers/resample.py`: brings one volume onto one grid.
//!
//!     resampling FOLDER linear|smooth|cubic
//!
//! The folder holds `voxels.f32`, `[256, 256, 256]`, and `grid.json`: the shape of
//! the result and the affine from its voxels to the source's. For each line with
//! a count on its input it resamples that often and answers with a line; at its
//! end it writes `mivox.f32`.

#![allow(clippy::unwrap_used, missing_docs)]

use std::{fs, path::Path};

use mivox::{
    geometry::{Affine, Grid, affine_from_flat},
    resample::{Interpolation, Resampler},
};
use ndarray::Array3;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, case] = &arguments[..] else {
        return eprintln!("run by benches/peers/resample.py, with a folder and a case");
    };
    let folder = Path::new(folder);
    let grid = fs::read_to_string(folder.join("grid.json")).unwrap();
    let (shape, affine): ([usize; 3], Vec<f64>) = serde_json::from_str(&grid).unwrap();
    let from = Grid { shape: [256; 3], ras_from_voxel: Affine::IDENTITY };
    let onto = Grid { shape, ras_from_voxel: affine_from_flat(&affine.try_into().unwrap()) };
    let bytes = fs::read(folder.join("voxels.f32")).unwrap();
    let values = bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    let source = Array3::from_shape_vec((256, 256, 256), values).unwrap();
    drop(bytes);
    let interpolation = match case.as_str() {
        "cubic" => Interpolation::Cubic,
        _ => Interpolation::Linear,
    };
    let resampler = Resampler { interpolation, antialias: case == "smooth", outside: 0.0 };
    let mut last = None;
    for line in std::io::stdin().lines() {
        for _ in 0..line.unwrap().trim().parse::<usize>().unwrap() {
            drop(last.take());
            last = Some(resampler.resample(source.view(), &from, &onto).unwrap());
        }
        println!("done");
    }
    let bytes: Vec<u8> = last.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(folder.join("mivox.f32"), bytes).unwrap();
}
