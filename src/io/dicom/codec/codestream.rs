//! What a compressed image says of its own size, before a decoder believes it.

use crate::io::dicom::{DicomError, PixelLayout};

/// Size and precision that a code stream declares.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codestream {
    pub(super) columns: u32,
    pub(super) rows: u32,
    pub(super) components: u32,
    pub(super) precision: u8,
    /// The mark of the frame header: which process of JPEG it is.
    pub(super) process: u8,
}

impl Codestream {
    /// From the frame header, which stands behind segments with a length.
    ///
    /// # Source
    /// ITU-T T.81 B.1.1.3, B.2.2; T.87 C.1.1 (SOF55 of JPEG-LS).
    pub(super) fn of_jpeg(bytes: &[u8]) -> Option<Self> {
        let is_frame =
            |code| matches!(code, 0xC0..=0xCF | 0xF7) && !matches!(code, 0xC4 | 0xC8 | 0xCC);
        let (process, segment) = segments(bytes).find(|&(code, _)| is_frame(code))?;
        let &[precision, y0, y1, x0, x1, components] = segment.first_chunk::<6>()?;
        Some(Self {
            columns: u32::from(u16::from_be_bytes([x0, x1])),
            rows: u32::from(u16::from_be_bytes([y0, y1])),
            components: u32::from(components),
            precision,
            process,
        })
    }

    /// From the SIZ segment, the second of a code stream. A JP2 file around
    /// the code stream is passed over.
    ///
    /// # Source
    /// ITU-T T.800 A.5.1.
    pub(super) fn of_jpeg_2000(bytes: &[u8]) -> Option<Self> {
        const SOC_SIZ: &[u8] = &[0xFF, 0x4F, 0xFF, 0x51];
        let start = bytes.get(..bytes.len().min(4096))?;
        let at = start.windows(SOC_SIZ.len()).position(|window| window == SOC_SIZ)?;
        let siz = bytes.get(at + 4..at + 43)?;
        let u32_at = |n: usize| siz.get(n..)?.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
        Some(Self {
            columns: u32_at(4)?.checked_sub(u32_at(12)?)?,
            rows: u32_at(8)?.checked_sub(u32_at(16)?)?,
            components: u32::from(u16::from_be_bytes(*siz.get(36..)?.first_chunk::<2>()?)),
            precision: (siz.get(38)? & 0x7F) + 1,
            process: 0x51,
        })
    }

    /// Compares the size with that of the header.
    pub(super) fn check(&self, layout: &PixelLayout) -> Result<(), DicomError> {
        let expected = (layout.columns as u32, layout.rows as u32);
        let found = (self.columns, self.rows);
        if found != expected {
            return Err(DicomError::CodestreamSize { found, expected });
        }
        if self.components != u32::from(layout.samples) {
            let (found, expected) = (self.components, u32::from(layout.samples));
            return Err(DicomError::Components { found, expected });
        }
        Ok(())
    }
}

/// The segments of a JPEG before its first scan is over: code and what follows the length,
/// to the end of the bytes where the last is cut.
///
/// # Source
/// ITU-T T.81 B.1.1.2 (fill bytes), B.1.1.4.
pub(super) fn segments(bytes: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut rest = bytes.strip_prefix(&[0xFF, 0xD8]).unwrap_or(&[]);
    std::iter::from_fn(move || {
        while let [0xFF, 0xFF, ..] = rest {
            rest = &rest[1..];
        }
        let (&[0xFF, code], after) = rest.split_first_chunk::<2>()? else { return None };
        let length = usize::from(u16::from_be_bytes(*after.first_chunk::<2>()?));
        rest = after.get(length.max(2)..).unwrap_or(&[]);
        Some((code, &after[2..length.clamp(2, after.len())]))
    })
}
