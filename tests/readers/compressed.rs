//! Slices that another encoder compressed; `fixtures/make.py` wrote them.

use std::path::{Path, PathBuf};

use mivox::io::{image::open_head, series::read_series};

use super::files::{assemble_files, decode_apart};

#[test]
fn compressed_slices_have_their_values() {
    decode_apart();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/readers/fixtures");
    for name in ["jpeg_lossless", "jpeg_2000", "jpeg_xl", "htj2k", "jpeg_ls"] {
        let files: Vec<PathBuf> = (0..2).map(|k| folder.join(format!("{name}_{k}.dcm"))).collect();
        let assembly = assemble_files(&files);
        assert!(assembly.refused.is_empty(), "{name}: {:?}", assembly.refused);
        let series = &assembly.series[0];
        assert_eq!(series.grid.shape, [20, 24, 2]);
        assert_eq!(series.grid.spacing_mm(), [0.5, 0.75, 2.5]);
        let voxels = read_series(&series.slices, &series.grid).unwrap();
        for ((slice, row, column), &value) in voxels.indexed_iter() {
            let expected =
                (7 * row * column) as f32 - 40.0 * row as f32 - 1000.0 + 3.0 * slice as f32;
            assert_eq!(value, expected, "{name} {slice} {row} {column}");
        }
        assert!(open_head(&files[0]).is_err());
    }
}
