//! Arbitrary bytes as the code stream of a frame, each of the compressions by its
//! first byte, decoded in this process.
//!
//!     make fuzz

#![no_main]

use std::cell::RefCell;

use libfuzzer_sys::fuzz_target;
use mivox_fuzz::{MemoryFile, io::dicom::FrameReader};

thread_local!(static FILE: RefCell<MemoryFile> = RefCell::default());

const SYNTAXES: [&str; 8] = [
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.8.1",
];

fn element(out: &mut Vec<u8>, tag: [u8; 4], vr: &[u8; 2], value: &[u8]) {
    out.extend(tag);
    out.extend(vr);
    out.extend((value.len().next_multiple_of(2) as u16).to_le_bytes());
    out.extend(value);
    out.resize(out.len().next_multiple_of(2), 0);
}

/// A secondary capture of 20 by 24 pixels of 16 bits, as the fixtures are.
fn file(syntax: &str, code: &[u8]) -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, [2, 0, 0x10, 0], b"UI", syntax.as_bytes());
    element(&mut out, [8, 0, 0x16, 0], b"UI", b"1.2.840.10008.5.1.4.1.1.2");
    element(&mut out, [8, 0, 0x60, 0], b"CS", b"CT");
    for (number, value) in
        [(2, 1u16), (0x10, 24), (0x11, 20), (0x100, 16), (0x101, 16), (0x102, 15), (0x103, 0)]
    {
        let [low, high] = u16::to_le_bytes(number);
        element(&mut out, [0x28, 0, low, high], b"US", &value.to_le_bytes());
    }
    out.extend([0xE0, 0x7F, 0x10, 0, b'O', b'B', 0, 0, 0xFF, 0xFF, 0xFF, 0xFF]);
    out.extend([0xFE, 0xFF, 0, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0, 0xE0]);
    out.extend((code.len() as u32).to_le_bytes());
    out.extend(code);
    out.extend([0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0]);
    out
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&which, code)) = bytes.split_first() else { return };
    FILE.with_borrow_mut(|memory| {
        memory.write(&file(SYNTAXES[usize::from(which) % SYNTAXES.len()], code));
        if let Ok(reader) = FrameReader::open(&memory.path) {
            let _ = reader.stored(0);
        }
    });
});
