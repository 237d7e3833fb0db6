//! Arbitrary bytes as the header of a DICOM file.
//!
//!     make fuzz

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mivox_fuzz::{
    MemoryFile,
    io::{
        dicom::{open_header, series_of_damaged},
        sniff,
    },
};

thread_local!(static FILE: RefCell<MemoryFile> = RefCell::default());

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.write(bytes);
        let _ = sniff(&file.path);
        if open_header(&file.path).is_err() {
            let _ = series_of_damaged(&file.path);
        }
    });
});
