//! Decoders in processes of their own: what they cost, and that they end.

use std::{path::PathBuf, time::Instant};

use mivox::io::dicom::FrameReader;

use crate::readers::files::decode_apart;

/// What the way to a worker and back costs a frame: the file by `MIVOX_FRAME`.
#[test]
#[ignore = "a measurement"]
fn cost_of_a_worker() {
    let file = PathBuf::from(std::env::var("MIVOX_FRAME").expect("MIVOX_FRAME"));
    let measure = |place: &str| {
        let reader = FrameReader::open(&file).unwrap();
        let layout = reader.instance().pixels.unwrap();
        let mut values = vec![0.0; layout.rows * layout.columns];
        let mut times: Vec<f64> = (0..100)
            .map(|_| {
                let start = Instant::now();
                reader.read(0, &mut values).unwrap();
                start.elapsed().as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        println!("{place}: least {:.3} ms, median {:.3} ms of 100", times[0], times[50]);
    };
    measure("in this process");
    decode_apart();
    measure("in a worker");
    measure("in a worker again");
}
