//! The bytes of the voxels, decoded, from one file or from several that follow one
//! another.

use std::{
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::PathBuf,
};

use flate2::bufread::{MultiGzDecoder, ZlibDecoder};

use super::{Coding, hex::HexBytes, text::TextNumbers};
use crate::io::{archive, bomb};

/// A file, and where in it the coded voxels lie.
#[derive(Clone)]
pub(super) struct Part {
    pub(super) file: PathBuf,
    pub(super) start: u64,
    pub(super) coded: u64,
}

/// Files that hold as much of the voxels each.
#[derive(Clone)]
pub(super) struct Files {
    pub(super) parts: Vec<Part>,
    pub(super) coding: Coding,
    /// Decoded bytes of a file before its voxels.
    pub(super) skip: u64,
    /// Decoded bytes of the voxels of a file.
    pub(super) part_len: u64,
}

impl Files {
    /// Everything from the first voxel on.
    pub(super) fn reader(&self) -> Reader {
        Reader { files: self.clone(), next: 0, open: None, left: 0 }
    }

    /// Voxels that are not coded, from a byte on.
    pub(super) fn from(&self, at: u64) -> io::Result<Reader> {
        let (part, offset) = (at / self.part_len.max(1), at % self.part_len.max(1));
        let mut reader = Reader { next: part as usize, ..self.reader() };
        if offset > 0 {
            reader.open(offset)?;
        }
        Ok(reader)
    }

    /// Whether every file says at its end that it holds what it should: gzip does in
    /// its last four bytes.
    pub(super) fn gzip_sizes_fit(&self) -> io::Result<bool> {
        for part in &self.parts {
            let mut file = archive::open(&part.file)?;
            file.seek(SeekFrom::Start((part.start + part.coded).saturating_sub(4)))?;
            let mut size = [0; 4];
            file.read_exact(&mut size)?;
            if u32::from_le_bytes(size) != (self.skip + self.part_len) as u32 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Reads files one behind the other. Where one is too short, the end is reached.
pub(super) struct Reader {
    files: Files,
    next: usize,
    open: Option<Box<dyn Read + Send>>,
    /// Bytes of the open file's voxels that were not read yet.
    left: u64,
}

impl Reader {
    /// Opens the next file at a byte of its voxels.
    fn open(&mut self, offset: u64) -> io::Result<()> {
        let Some(part) = self.files.parts.get(self.next) else { return Ok(()) };
        self.next += 1;
        let mut file = archive::open(&part.file)?;
        let raw = self.files.coding == Coding::Raw;
        let at = if raw { part.start + self.files.skip + offset } else { part.start };
        file.seek(SeekFrom::Start(at))?;
        self.left = self.files.part_len - offset;
        if raw {
            self.open = Some(Box::new(file));
            return Ok(());
        }
        let coded = BufReader::with_capacity(1 << 16, file.take(part.coded));
        let mut decoder: Box<dyn Read + Send> = match self.files.coding {
            Coding::Raw => Box::new(coded),
            Coding::Gzip => Box::new(MultiGzDecoder::new(coded)),
            Coding::Zlib => Box::new(ZlibDecoder::new(coded)),
            Coding::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(coded)),
            Coding::Text => Box::new(TextNumbers::new(coded)),
            Coding::Hex => Box::new(HexBytes::new(coded)),
        };
        let passed = io::copy(&mut decoder.by_ref().take(self.files.skip), &mut io::sink())?;
        if passed < self.files.skip {
            self.left = 0;
            self.next = self.files.parts.len();
            return Ok(());
        }
        self.open = Some(decoder);
        Ok(())
    }
}

/// Reads what lies behind the voxels, so that a decoder comes to the checksum of their
/// stream; no more of it than [`bomb::LEN`].
pub(super) fn pass_to_end(reader: &mut dyn Read) -> io::Result<()> {
    io::copy(&mut reader.take(bomb::LEN), &mut io::sink()).map(|_| ())
}

impl Read for Reader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            if let Some(mut done) = self.open.take()
                && self.files.coding != Coding::Raw
            {
                pass_to_end(&mut done)?;
            }
            self.open(0)?;
        }
        let Some(open) = &mut self.open else { return Ok(0) };
        let most = (out.len() as u64).min(self.left) as usize;
        let read = open.read(&mut out[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}
