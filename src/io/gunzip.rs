//! A file that may be gzip.

use std::io::{self, BufRead, Read};

use flate2::bufread::MultiGzDecoder;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Reads what a file holds: inflated where it is gzip, of one member or
/// several, as it is elsewhere.
pub(super) enum Gunzip<R> {
    Plain(R),
    Gzip(Box<MultiGzDecoder<R>>),
}

impl<R: BufRead> Gunzip<R> {
    pub(super) fn new(mut file: R) -> io::Result<Self> {
        if file.fill_buf()?.starts_with(&GZIP_MAGIC) {
            Ok(Self::Gzip(Box::new(MultiGzDecoder::new(file))))
        } else {
            Ok(Self::Plain(file))
        }
    }

    pub(super) fn is_gzip(&self) -> bool {
        matches!(self, Self::Gzip(_))
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.read(out),
            Self::Gzip(decoder) => decoder.read(out),
        }
    }
}
