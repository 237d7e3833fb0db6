//! DICOM files byte by byte, so that they can be wrong.

use std::{fs, path::PathBuf};

/// How a data set is written down.
#[derive(Clone, Copy, PartialEq)]
pub enum Coding {
    Implicit,
    Explicit,
    Big,
}

pub struct Raw {
    pub coding: Coding,
    pub bytes: Vec<u8>,
}

impl Raw {
    /// A data set without preamble and meta information.
    pub fn bare(coding: Coding) -> Self {
        Self { coding, bytes: Vec::new() }
    }

    /// Preamble and meta information with a transfer syntax.
    pub fn with_meta(coding: Coding, transfer_syntax: &str) -> Self {
        let mut meta = Self::bare(Coding::Explicit);
        meta.bytes = vec![0; 128];
        meta.bytes.extend_from_slice(b"DICM");
        meta.text(0x0002, 0x0010, b"UI", transfer_syntax);
        meta.coding = coding;
        meta
    }

    fn u16(&mut self, n: u16) {
        let bytes = if self.coding == Coding::Big { n.to_be_bytes() } else { n.to_le_bytes() };
        self.bytes.extend_from_slice(&bytes);
    }

    pub fn u32(&mut self, n: u32) {
        let bytes = if self.coding == Coding::Big { n.to_be_bytes() } else { n.to_le_bytes() };
        self.bytes.extend_from_slice(&bytes);
    }

    /// Tag, representation and length of an element.
    pub fn head(&mut self, group: u16, element: u16, vr: &[u8], length: u32) {
        self.u16(group);
        self.u16(element);
        if self.coding == Coding::Implicit || group == 0xFFFE {
            return self.u32(length);
        }
        self.bytes.extend_from_slice(vr);
        if matches!(vr, b"OB" | b"OD" | b"OF" | b"OV" | b"OW" | b"SQ" | b"UN" | b"UT") {
            self.u16(0);
            self.u32(length);
        } else {
            self.u16(length as u16);
        }
    }

    pub fn text(&mut self, group: u16, element: u16, vr: &[u8], text: &str) {
        let padding = text.len() % 2;
        self.head(group, element, vr, (text.len() + padding) as u32);
        self.bytes.extend_from_slice(text.as_bytes());
        self.bytes.extend_from_slice(&b" "[..padding]);
    }

    pub fn number(&mut self, group: u16, element: u16, n: u16) {
        self.head(group, element, b"US", 2);
        self.u16(n);
    }

    /// Everything of a CT slice before its pixels: 3 rows, 4 columns.
    pub fn ct(mut self, position: &str, bits_allocated: u16, frames: u32) -> Self {
        self.text(0x0008, 0x0016, b"UI", "1.2.840.10008.5.1.4.1.1.2");
        self.text(0x0008, 0x0018, b"UI", &format!("1.2.{}", position.len()));
        self.text(0x0008, 0x0060, b"CS", "CT");
        self.text(0x0010, 0x0020, b"LO", "phantom");
        self.text(0x0020, 0x000D, b"UI", "1.2.3");
        self.text(0x0020, 0x000E, b"UI", "1.2.3.4");
        self.text(0x0020, 0x0032, b"DS", position);
        self.text(0x0020, 0x0037, b"DS", "1\\0\\0\\0\\1\\0");
        self.number(0x0028, 0x0002, 1);
        self.text(0x0028, 0x0004, b"CS", "MONOCHROME2");
        self.text(0x0028, 0x0008, b"IS", &frames.to_string());
        self.number(0x0028, 0x0010, 3);
        self.number(0x0028, 0x0011, 4);
        self.text(0x0028, 0x0030, b"DS", "0.5\\0.5");
        self.number(0x0028, 0x0100, bits_allocated);
        self.number(0x0028, 0x0101, bits_allocated);
        self.number(0x0028, 0x0102, bits_allocated - 1);
        self.number(0x0028, 0x0103, 0);
        self
    }

    /// Native pixels 0, 100, 200, … in 16 bits.
    pub fn pixels(mut self) -> Self {
        self.head(0x7FE0, 0x0010, b"OW", 24);
        (0..12).for_each(|n| self.u16(n * 100));
        self
    }

    /// Encapsulated pixels: an empty offset table and the fragments.
    pub fn fragments(mut self, fragments: &[&[u8]]) -> Self {
        self.head(0x7FE0, 0x0010, b"OB", u32::MAX);
        self.head(0xFFFE, 0xE000, b"", 0);
        for fragment in fragments {
            self.head(0xFFFE, 0xE000, b"", fragment.len() as u32);
            self.bytes.extend_from_slice(fragment);
        }
        self.head(0xFFFE, 0xE0DD, b"", 0);
        self
    }

    pub fn save(&self, folder: &tempfile::TempDir, name: &str) -> PathBuf {
        let file = folder.path().join(name);
        fs::write(&file, &self.bytes).unwrap();
        file
    }
}
