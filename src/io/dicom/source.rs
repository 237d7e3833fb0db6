//! Bytes of a data set, read forward: from the file, or inflated from it.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Cursor, ErrorKind, Read},
    path::Path,
};

use flate2::bufread::DeflateDecoder;

use super::DicomError;
use crate::io::{BUFFER, archive, bomb::most_of};

/// Most bytes that a deflated data set may become, however long it is: a bomb ends
/// here.
const MAX_INFLATED: u64 = 1 << 30;

/// A forward reader that knows how many bytes are left.
#[derive(Debug)]
pub(super) struct Source {
    bytes: Bytes,
    /// Peeked at and not yet taken, in reading order.
    peeked: Vec<u8>,
    /// Bytes taken or skipped so far.
    at: u64,
    /// Where the bytes end; for a deflated data set, where reading stops.
    end: u64,
}

#[derive(Debug)]
enum Bytes {
    Plain(BufReader<File>),
    Inflated(Box<BufReader<DeflateDecoder<BufReader<File>>>>),
    Memory(Cursor<Vec<u8>>),
}

impl Bytes {
    fn reader(&mut self) -> &mut dyn BufRead {
        match self {
            Self::Plain(file) => file,
            Self::Inflated(data) => data,
            Self::Memory(data) => data,
        }
    }
}

impl Source {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Self::new(BufReader::with_capacity(BUFFER, archive::open(path)?))
    }

    /// Of a file at its start.
    pub(super) fn new(file: BufReader<File>) -> io::Result<Self> {
        let end = file.get_ref().metadata()?.len();
        Ok(Self { bytes: Bytes::Plain(file), peeked: Vec::new(), at: 0, end })
    }

    /// The rest of the bytes, inflated; positions start again at zero.
    ///
    /// # Source
    /// DICOM PS3.5 A.5: the data set is deflated as a whole, the file meta
    /// information is not.
    pub(super) fn inflate(self) -> Result<Self, DicomError> {
        let Bytes::Plain(mut file) = self.bytes else {
            return Err(DicomError::Unsupported { what: "a data set deflated twice" });
        };
        // What was peeked at belongs to the deflated stream.
        file.seek_relative(-(self.peeked.len() as i64))?;
        let end = most_of(self.end.saturating_sub(self.at)).min(MAX_INFLATED);
        let data = BufReader::with_capacity(BUFFER, DeflateDecoder::new(file));
        let bytes = Bytes::Inflated(Box::new(data));
        Ok(Self { bytes, peeked: Vec::new(), at: 0, end })
    }

    /// The same bytes where [`Source::jump`] can reach any of the next ones: of a
    /// deflated data set as many of them as are asked for, inflated.
    pub(super) fn seekable(mut self, announced: u64) -> Result<Self, DicomError> {
        if !matches!(self.bytes, Bytes::Inflated(_)) {
            return Ok(self);
        }
        let (at, found) = (self.at, self.take(announced)?);
        // What ends early is not whole, even where it holds every pixel.
        let left = self.left();
        io::copy(&mut self.bytes.reader().take(left), &mut io::sink())?;
        let bytes = Bytes::Memory(Cursor::new(found));
        Ok(Self { bytes, peeked: Vec::new(), at, end: at + announced })
    }

    /// Goes to a position, at or behind the one where [`Source::seekable`] began.
    pub(super) fn jump(&mut self, to: u64) -> Result<(), DicomError> {
        if to > self.end {
            let (at, left) = (self.at, self.left());
            return Err(DicomError::Truncated { at, announced: to.saturating_sub(at), left });
        }
        let read = self.at + self.peeked.len() as u64;
        self.peeked.clear();
        match &mut self.bytes {
            Bytes::Plain(file) => file.seek_relative(to as i64 - read as i64)?,
            Bytes::Memory(data) => {
                let start = self.end - data.get_ref().len() as u64;
                data.set_position(to.saturating_sub(start));
            }
            Bytes::Inflated(_) => {
                return Err(DicomError::Unsupported { what: "a jump in a deflated data set" });
            }
        }
        self.at = to;
        Ok(())
    }

    /// Bytes from the start.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Bytes left; for a deflated data set, the most there can be.
    pub(super) fn left(&self) -> u64 {
        self.end.saturating_sub(self.at)
    }

    /// The next bytes without taking them; fewer at the end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        if self.peeked.is_empty()
            && let Bytes::Plain(file) = &mut self.bytes
            && file.fill_buf()?.len() >= count
        {
            return Ok(self.buffered().get(..count).unwrap_or_default());
        }
        if let Some(missing) = count.checked_sub(self.peeked.len()) {
            self.bytes.reader().take(missing as u64).read_to_end(&mut self.peeked)?;
        }
        Ok(self.peeked.get(..count).unwrap_or(&self.peeked))
    }

    /// What was read of a plain file already; nothing where some of it was peeked at.
    fn buffered(&self) -> &[u8] {
        match &self.bytes {
            Bytes::Plain(file) if self.peeked.is_empty() => file.buffer(),
            _ => &[],
        }
    }

    /// Whether the data set ends here.
    pub(super) fn is_at_end(&mut self) -> io::Result<bool> {
        if !self.buffered().is_empty() {
            return Ok(false);
        }
        Ok(self.peeked.is_empty() && self.bytes.reader().fill_buf()?.is_empty())
    }

    /// The next bytes, as many as the array has.
    // Called for every element: a result handed over in memory is waited for.
    #[inline(always)]
    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], DicomError> {
        if let Some(&bytes) = self.buffered().first_chunk::<N>()
            && let Bytes::Plain(file) = &mut self.bytes
            && N as u64 <= self.end.saturating_sub(self.at)
        {
            file.consume(N);
            self.at += N as u64;
            return Ok(bytes);
        }
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Fills the buffer.
    pub(super) fn fill(&mut self, buffer: &mut [u8]) -> Result<(), DicomError> {
        let (at, announced, left) = (self.at, buffer.len() as u64, self.left());
        let short = || DicomError::Truncated { at, announced, left };
        if announced > left {
            return Err(short());
        }
        let known = self.peeked.len().min(buffer.len());
        let (first, rest) = buffer.split_at_mut(known);
        first.copy_from_slice(&self.peeked[..known]);
        self.peeked.drain(..known);
        match self.bytes.reader().read_exact(rest) {
            Ok(()) => self.at += announced,
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(short()),
            Err(error) => return Err(error.into()),
        }
        Ok(())
    }

    /// Adds the next bytes to others; the caller bounds how many.
    pub(super) fn append(&mut self, announced: u64, to: &mut Vec<u8>) -> Result<(), DicomError> {
        // Nearly every element lies in what was read already.
        if let Some(there) = self.buffered().get(..announced as usize) {
            to.extend_from_slice(there);
            return self.skip(announced);
        }
        let start = to.len();
        to.resize(start + announced as usize, 0);
        self.fill(&mut to[start..])
    }

    /// The next bytes. Memory grows with what is there, not with what is
    /// announced.
    pub(super) fn take(&mut self, announced: u64) -> Result<Vec<u8>, DicomError> {
        let (at, left) = (self.at, self.left());
        if announced > left {
            return Err(DicomError::Truncated { at, announced, left });
        }
        let known = self.peeked.len().min(announced as usize);
        let mut bytes: Vec<u8> = self.peeked.drain(..known).collect();
        // The bytes of a plain file are there: reserve them at once.
        if matches!(self.bytes, Bytes::Plain(_)) {
            let no_memory = |_| DicomError::Memory { bytes: announced };
            bytes.try_reserve_exact(announced as usize - known).map_err(no_memory)?;
        }
        self.bytes.reader().take(announced - known as u64).read_to_end(&mut bytes)?;
        let found = bytes.len() as u64;
        self.at += found;
        if found < announced {
            return Err(DicomError::Truncated { at, announced, left: found });
        }
        Ok(bytes)
    }

    /// Passes over bytes.
    pub(super) fn skip(&mut self, announced: u64) -> Result<(), DicomError> {
        let (at, left) = (self.at, self.left());
        if announced > left {
            return Err(DicomError::Truncated { at, announced, left });
        }
        if self.buffered().len() as u64 >= announced
            && let Bytes::Plain(file) = &mut self.bytes
        {
            file.consume(announced as usize);
            self.at += announced;
            return Ok(());
        }
        let known = (self.peeked.len() as u64).min(announced);
        self.peeked.drain(..known as usize);
        let rest = announced - known;
        match &mut self.bytes {
            Bytes::Plain(file) => file.seek_relative(rest as i64)?,
            Bytes::Memory(data) => data.set_position(data.position() + rest),
            Bytes::Inflated(data) => {
                let passed = io::copy(&mut data.take(rest), &mut io::sink())?;
                if passed < rest {
                    return Err(DicomError::Truncated { at, announced, left: known + passed });
                }
            }
        }
        self.at += announced;
        Ok(())
    }
}
