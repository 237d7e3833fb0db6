//! Arbitrary bytes as the header of a DICOM file.
//!
//!     cargo +nightly fuzz run dicom_header fuzz/corpus/dicom_header fuzz/seeds/dicom

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mivox_fuzz::{
    MemoryFile,
    io::{dicom::open_header, sniff},
};

thread_local!(static FILE: RefCell<MemoryFile> = RefCell::default());

fuzz_target!(|bytes: &[u8]| {
    FILE.with_borrow_mut(|file| {
        file.write(bytes);
        let _ = sniff(&file.path);
        let _ = open_header(&file.path);
    });
});
