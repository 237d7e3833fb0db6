//! Arbitrary bytes as an image file that holds a volume: NIfTI, Analyze, NRRD or
//! MetaImage; its header and its first frame.
//!
//!     make fuzz

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mivox_fuzz::{
    MemoryFile,
    io::{image::Image, sniff},
};

thread_local!(static FILE: RefCell<MemoryFile> = RefCell::default());

/// Above this a volume is long to read and tells nothing new.
const VOXELS: usize = 1 << 16;

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.write(bytes);
        let _ = sniff(&file.path);
        let Ok(mut image) = Image::open(&file.path) else { return };
        let voxels: usize = image.head().grid.shape.iter().product();
        if voxels <= VOXELS
            && let Ok(volume) = image.volume(0)
        {
            assert_eq!(volume.len(), voxels);
        }
    });
});
