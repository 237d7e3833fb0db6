//! The bytes of the voxels, decoded, frame after frame.

use std::{
    io::{self, ErrorKind, Read},
    path::Path,
};

use super::{Coding, ImageError, ImageHead, Layout, VoxelType, layout::frame_len, voxel::decode};
use crate::io::bomb::is_bomb;

mod files;
mod hex;
mod text;

use crate::{io::archive, volume::room};
use files::{Files, Part, Reader, pass_to_end};

/// Bytes read at a time: enough to keep the inflater busy, small in a cache.
const CHUNK: usize = 1 << 18;

/// Most that one byte of deflate can become.
///
/// # Source
/// RFC 1951 3.2.5: a length code of 258 bytes in two bits at best; zlib's
/// technical notes give 1032.
const DEFLATE_RATIO: u64 = 1032;

/// More than one byte of bzip2 can become: a block of 900,000 bytes, which are
/// runs of up to 255 in five bytes each, takes no fewer than 32 bytes.
///
/// # Source
/// The format has no standard; bzip2's manual, chapter 2, gives the block size.
const BZIP2_RATIO: u64 = 900_000 / 5 * 255 / 32;

/// Most frames whose voxels may alternate: a chunk holds one voxel of each.
const MAX_INTERLEAVED: usize = 1 << 16;

/// The files of the voxels, and how far they have been decoded.
pub(super) struct Stream {
    files: Files,
    /// Bytes of one frame, and of all.
    frame_len: u64,
    total: u64,
    /// Where decoding stands, counted from the first byte of the first frame.
    reader: Option<(Reader, u64)>,
    /// Whether it is known that no frame is cut off.
    whole: bool,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The path may name a patient.
        f.debug_struct("Stream").field("total", &self.total).finish_non_exhaustive()
    }
}

/// The type of the decoded numbers.
fn decoded_type(head: &ImageHead) -> VoxelType {
    if head.layout.coding == Coding::Text { VoxelType::F64 } else { head.voxel_type }
}

impl Stream {
    /// Checks that the files can hold what the header promises; those of the layout, or
    /// the header's own.
    pub(super) fn open(head: &ImageHead, own: &Path) -> Result<Self, ImageError> {
        let layout = &head.layout;
        if layout.interleaved > MAX_INTERLEAVED {
            return Err(ImageError::Unsupported { what: "more than 65536 alternating frames" });
        }
        let too_large = || ImageError::TooLarge { shape: head.grid.shape };
        let frame_len = frame_len(head.grid.shape, decoded_type(head), head.frames)?;
        let total = frame_len.checked_mul(head.frames as u64).ok_or_else(too_large)?;
        let count = layout.data_files.len().max(1) as u64;
        if !total.is_multiple_of(count) {
            return Err(ImageError::DataFile { reason: "is one of several of unequal size" });
        }
        let part_len = total / count;
        let decoded = part_len.checked_add(layout.skip).ok_or_else(too_large)?;
        let own = [own.to_owned()];
        let names = if layout.data_files.is_empty() { &own[..] } else { &layout.data_files };
        let parts = names.iter().map(|file| part(file, layout, decoded));
        let parts: Vec<Part> = parts.collect::<Result<_, _>>()?;
        let whole = layout.coding == Coding::Raw || layout.stored.is_some();
        let files = Files { parts, coding: layout.coding, skip: layout.skip, part_len };
        Ok(Self { files, frame_len, total, reader: None, whole })
    }

    /// The voxels of a frame, in the order of the grid.
    pub(super) fn frame(&mut self, head: &ImageHead, frame: usize) -> Result<Vec<f32>, ImageError> {
        let layout = &head.layout;
        let block_len = self.frame_len * layout.interleaved as u64;
        let at = (frame / layout.interleaved) as u64 * block_len;
        if !self.whole && at + block_len < self.total {
            self.check_end(layout)?;
        }
        self.go_to(at, layout)?;
        let read = self.block(head, block_len, frame % layout.interleaved);
        if read.is_err() {
            self.reader = None;
        }
        let voxels = read?;
        if at + block_len == self.total
            && let Some((reader, _)) = &mut self.reader
            && layout.coding != Coding::Raw
        {
            pass_to_end(reader)?;
            self.reader = None;
            self.whole = true;
        }
        Ok(voxels)
    }

    /// The next frames that alternate, of which one is kept.
    fn block(&mut self, head: &ImageHead, len: u64, keep: usize) -> Result<Vec<f32>, ImageError> {
        let voxels = head.voxel_count();
        let voxel_type = decoded_type(head);
        // Single bits come by the byte, up to seven too many.
        let mut out = room(voxels + 7)?;
        // Single bits never alternate: their formats have no such axes.
        let size = voxel_type.bits().div_ceil(8) as usize;
        let unit = size * head.layout.interleaved;
        let mut chunk = vec![0; (CHUNK / unit).max(1) * unit];
        let mut kept = Vec::new();
        let mut left = len;
        while left > 0 {
            let part_len = left.min(chunk.len() as u64) as usize;
            let part = &mut chunk[..part_len];
            self.read_exact(part)?;
            let part = if head.layout.interleaved > 1 {
                kept.clear();
                for voxels in part.chunks_exact(unit) {
                    kept.extend_from_slice(&voxels[keep * size..(keep + 1) * size]);
                }
                &mut kept[..]
            } else {
                part
            };
            let big_endian = head.layout.big_endian && head.layout.coding != Coding::Text;
            decode(part, voxel_type, big_endian, head.scale, &mut out)?;
            left -= part_len as u64;
        }
        out.truncate(voxels);
        Ok(out)
    }

    /// Stands at a byte of the voxels, counted from the first of them.
    fn go_to(&mut self, at: u64, layout: &Layout) -> Result<(), ImageError> {
        let position = self.reader.as_ref().map(|(_, position)| *position);
        if position == Some(at) {
            return Ok(());
        }
        if layout.coding == Coding::Raw {
            self.reader = Some((self.files.from(at)?, at));
            return Ok(());
        }
        if position.is_none_or(|position| position > at) {
            self.reader = Some((self.files.reader(), 0));
        }
        let position = self.reader.as_ref().map_or(0, |(_, position)| *position);
        self.pass(at - position)
    }

    /// Decodes to the end once, so that no frame of a file that is cut is used.
    ///
    /// The last four bytes of gzip say how many it holds: where they say what
    /// the header promises, nothing is cut off.
    fn check_end(&mut self, layout: &Layout) -> Result<(), ImageError> {
        if layout.coding == Coding::Gzip && self.files.gzip_sizes_fit()? {
            self.whole = true;
            return Ok(());
        }
        self.go_to(0, layout)?;
        let passed = self.pass(self.total);
        self.reader = None;
        self.whole = passed.is_ok();
        passed
    }

    fn pass(&mut self, bytes: u64) -> Result<(), ImageError> {
        let Some((reader, position)) = &mut self.reader else { return Ok(()) };
        let passed = io::copy(&mut reader.by_ref().take(bytes), &mut io::sink())?;
        *position += passed;
        if passed < bytes {
            return Err(self.short());
        }
        Ok(())
    }

    fn read_exact(&mut self, bytes: &mut [u8]) -> Result<(), ImageError> {
        let Some((reader, position)) = &mut self.reader else { return Err(self.short()) };
        match reader.read_exact(bytes) {
            Ok(()) => {
                *position += bytes.len() as u64;
                Ok(())
            }
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Err(self.short()),
            Err(error) => Err(error.into()),
        }
    }

    fn short(&self) -> ImageError {
        let found = self.reader.as_ref().map_or(0, |(_, position)| *position);
        ImageError::Short { promised: self.total, found }
    }
}

/// Where the coded voxels of a file lie, which must be able to hold so many bytes.
fn part(file: &Path, layout: &Layout, decoded: u64) -> Result<Part, ImageError> {
    let len = archive::len(file).ok_or(ImageError::DataFile { reason: "is no regular file" })?;
    let start = layout.start.unwrap_or(len.saturating_sub(decoded));
    let left = len.saturating_sub(start);
    if let Some(stored) = layout.stored.filter(|&stored| stored > left) {
        return Err(ImageError::Short { promised: start.saturating_add(stored), found: len });
    }
    let coded = layout.stored.unwrap_or(left);
    let most = match layout.coding {
        Coding::Raw => coded,
        Coding::Gzip | Coding::Zlib => coded.saturating_mul(DEFLATE_RATIO),
        Coding::Bzip2 => coded.saturating_mul(BZIP2_RATIO),
        // A digit and a space become eight bytes.
        Coding::Text => coded.saturating_mul(4),
        Coding::Hex => coded / 2,
    };
    if decoded > most || start > len {
        let (promised, found) = (start.saturating_add(decoded), start.saturating_add(most));
        return Err(ImageError::Short { promised, found });
    }
    if layout.coding != Coding::Raw && is_bomb(decoded, coded) {
        return Err(ImageError::Bomb { promised: decoded, coded });
    }
    Ok(Part { file: file.to_owned(), start, coded })
}
