//! Run lengths: a segment for each byte of each sample, packed by PackBits.

use openreadout_codecs::packbits_decode;

use super::Codec;
use crate::io::dicom::{DicomError, PixelLayout, cells::Cells};

/// # Source
/// DICOM PS3.5 G: sixteen numbers of 32 bits, the segments' count and offsets;
/// the highest byte of a sample comes first.
pub(super) fn decode(bytes: &[u8], layout: &PixelLayout) -> Result<Cells, DicomError> {
    let refused = |what: &'static str| Codec::Rle.refused(what);
    let (head, _) = bytes.split_at_checked(64).ok_or(refused("no header of run lengths"))?;
    let mut head = head.as_chunks::<4>().0.iter().map(|four| u32::from_le_bytes(*four) as usize);
    let (samples, width) = (usize::from(layout.samples), usize::from(layout.bits_allocated / 8));
    if width > 4 {
        return Err(refused("more than 32 bits are not supported"));
    }
    let count = head.next().unwrap_or(0);
    if count != samples * width || count > 15 || count == 0 {
        return Err(refused("a number of run-length segments that its bits do not make"));
    }
    let starts: Vec<usize> = head.take(count).collect();
    let pixels = layout.rows * layout.columns;
    let mut planes = Vec::with_capacity(count);
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(bytes.len());
        let segment = bytes.get(start..end).ok_or(refused("a run-length segment out of place"))?;
        let plane = packbits_decode(segment, pixels).map_err(|e| Codec::Rle.refused(e))?;
        if plane.len() != pixels {
            return Err(refused("a run-length segment that ends early"));
        }
        planes.push(plane);
    }
    // What nearly every image is; by the pair, the compiler makes many at once.
    if let ([high, low], 2) = (&planes[..], width) {
        let pairs = high.iter().zip(low);
        return Ok(Cells::U16(pairs.map(|(&h, &l)| u16::from_be_bytes([h, l])).collect()));
    }
    let cell = |pixel: usize, sample: usize| {
        let bytes = planes[sample * width..][..width].iter().map(|plane| plane[pixel]);
        bytes.fold(0u32, |cell, byte| cell << 8 | u32::from(byte))
    };
    let cells = (0..pixels).flat_map(|p| (0..samples).map(move |s| (p, s)));
    Ok(match width {
        1 => Cells::U8(cells.map(|(p, s)| cell(p, s) as u8).collect()),
        2 => Cells::U16(cells.map(|(p, s)| cell(p, s) as u16).collect()),
        _ => Cells::U32(cells.map(|(p, s)| cell(p, s)).collect()),
    })
}
