//! A peer of `benches/peers/register.py`: aligns one scan to another.
//!
//!     registration FIXED MOVING RESULT
//!
//! For each line with a count on its input it aligns that often, from the voxels in
//! memory to the transform and its quality, and answers with a line; at its end it
//! writes the transform, RAS+ mm of the moving scan from those of the fixed one, row
//! by row.

#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;

use mivox::{
    geometry::affine_to_flat,
    intensity,
    io::image::open_volume,
    register::{Image, Settings, align},
    study::Family,
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [fixed, moving, result] = &arguments[..] else {
        return eprintln!("run by benches/peers/register.py, with two scans and a file");
    };
    let [fixed, moving] = [fixed, moving].map(|path| open_volume(Path::new(path), 0).unwrap());
    let settings = Settings::new(0);
    let intensity = intensity::Settings {
        ct_window_hu: [-1000.0, 1000.0],
        clip_z: 5.0,
        pet_window_suv: None,
        percentiles: None,
    };
    let image = |(voxels, head): &(ndarray::Array3<f32>, mivox::io::image::ImageHead)| {
        Image::new(voxels.clone(), &head.grid, Family::Mr, &intensity, settings.finest_mm).unwrap()
    };
    let mut last = None;
    for line in std::io::stdin().lines() {
        for _ in 0..line.unwrap().trim().parse::<usize>().unwrap() {
            last = Some(align(&image(&fixed), &image(&moving), &settings).unwrap());
        }
        println!("done");
    }
    let flat = last.map(|alignment| affine_to_flat(&alignment.moving_from_fixed));
    std::fs::write(result, serde_json::to_string(&flat).unwrap()).unwrap();
}
