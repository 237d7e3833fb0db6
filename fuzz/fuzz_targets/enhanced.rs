//! Arbitrary bytes as a multi-frame image or a mosaic: its header, its volumes, its
//! voxels.
//!
//!     make fuzz

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mivox_fuzz::{
    MemoryFile,
    io::{
        dicom::open_header,
        series::{assemble, read_series},
    },
};

thread_local!(static FILE: RefCell<MemoryFile> = RefCell::default());

/// Above this a volume is long to read and tells nothing new.
const VOXELS: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.write(bytes);
        let Ok(instance) = open_header(&file.path) else { return };
        for series in assemble(vec![instance]).series {
            if series.grid.shape.iter().product::<usize>() <= VOXELS {
                let _ = read_series(&series.slices, &series.grid);
            }
        }
    });
});
