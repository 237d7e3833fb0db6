//! A peer of `benches/peers/load.py`: reads one file the way dicom-rs does.
//!
//!     dicom-rs-peer header|slice FILE OUT
//!
//! For each line with a count on its input it does so that often and answers with a
//! line. At the end the values of a slice are in `OUT/dicom-rs.f32`.

use std::{env::args, error::Error, fs, hint::black_box, io::stdin, path::Path};

use dicom_core::Tag;
use dicom_object::OpenFileOptions;
use dicom_pixeldata::PixelDecoder;

const PIXEL_DATA: Tag = Tag(0x7FE0, 0x0010);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = args().skip(1).collect();
    let [case, path, out] = &arguments[..] else {
        return Err("run by benches/peers/load.py, with a case, a file and a folder".into());
    };
    let mut values: Vec<f32> = Vec::new();
    for line in stdin().lines() {
        for _ in 0..line?.trim().parse()? {
            if case == "header" {
                black_box(OpenFileOptions::new().read_until(PIXEL_DATA).open_file(path)?);
            } else {
                values = dicom_object::open_file(path)?.decode_pixel_data()?.to_vec()?;
            }
        }
        println!("done");
    }
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Ok(fs::write(Path::new(out).join("dicom-rs.f32"), bytes)?)
}
