//! Pixels of one frame as they are stored: unpacked from bytes or a decoder,
//! not yet values.

use super::{DicomError, Photometric, PixelLayout};

/// The cells of a frame `[row, column, sample]`.
#[derive(Debug)]
pub(super) enum Cells {
    /// Up to 8 bits.
    U8(Vec<u8>),
    /// Up to 16 bits.
    U16(Vec<u16>),
    /// Up to 32 bits.
    U32(Vec<u32>),
    /// Float pixel data.
    F32(Vec<f32>),
    /// Double float pixel data.
    F64(Vec<f64>),
}

/// How cells that are not compressed lie in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    pub(super) big_endian: bool,
    /// *Float* or *Double Float Pixel Data*.
    pub(super) float: bool,
    /// Bits of the first byte that belong to the frame before.
    pub(super) first_bit: u32,
}

impl Packing {
    pub(super) const PLAIN: Self = Self { big_endian: false, float: false, first_bit: 0 };
}

impl Cells {
    /// The cells of a frame that is not compressed.
    ///
    /// # Source
    /// DICOM PS3.5 8.1.1 and D (single bits: the lowest of a byte is the first),
    /// 8.2 (byte order), PS3.3 C.7.6.3.1.3 (planar configuration).
    pub(super) fn of_native(
        bytes: Vec<u8>,
        packing: Packing,
        layout: &PixelLayout,
    ) -> Result<Self, DicomError> {
        let bits = layout.bits_of_frame() + u64::from(packing.first_bit);
        let (promised, found) = (bits.div_ceil(8), bytes.len() as u64);
        if found < promised {
            return Err(DicomError::PixelLength { promised, found });
        }
        let count = (layout.bits_of_frame() / u64::from(layout.bits_allocated)) as usize;
        let big = packing.big_endian;
        let mut cells = match (layout.bits_allocated, packing.float) {
            (1, false) => Self::U8(single_bits(&bytes, packing.first_bit, count)),
            (8, false) => Self::U8(bytes),
            (16, false) => Self::U16(of_two(&bytes, |b| {
                if big { u16::from_be_bytes(b) } else { u16::from_le_bytes(b) }
            })),
            (32, false) => Self::U32(of_four(&bytes, |b| {
                if big { u32::from_be_bytes(b) } else { u32::from_le_bytes(b) }
            })),
            (32, true) => Self::F32(of_four(&bytes, |b| {
                if big { f32::from_be_bytes(b) } else { f32::from_le_bytes(b) }
            })),
            (64, true) => Self::F64(of_eight(&bytes, |b| {
                if big { f64::from_be_bytes(b) } else { f64::from_le_bytes(b) }
            })),
            _ => return Err(DicomError::Unsupported { what: "this number of bits a pixel" }),
        };
        cells.truncate(count);
        if layout.photometric == Photometric::SharedChroma {
            cells.share_chroma(layout);
        } else if layout.planar {
            cells.interleave(usize::from(layout.samples));
        }
        Ok(cells)
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::U8(cells) => cells.len(),
            Self::U16(cells) => cells.len(),
            Self::U32(cells) => cells.len(),
            Self::F32(cells) => cells.len(),
            Self::F64(cells) => cells.len(),
        }
    }

    fn truncate(&mut self, count: usize) {
        match self {
            Self::U8(cells) => cells.truncate(count),
            Self::U16(cells) => cells.truncate(count),
            Self::U32(cells) => cells.truncate(count),
            Self::F32(cells) => cells.truncate(count),
            Self::F64(cells) => cells.truncate(count),
        }
    }

    /// Planes of samples to samples of a pixel side by side.
    pub(super) fn interleave(&mut self, samples: usize) {
        match self {
            Self::U8(cells) => interleave(cells, samples),
            Self::U16(cells) => interleave(cells, samples),
            Self::U32(cells) => interleave(cells, samples),
            Self::F32(cells) => interleave(cells, samples),
            Self::F64(cells) => interleave(cells, samples),
        }
    }

    /// From luma, luma, blue, red of two pixels to three samples of each.
    ///
    /// # Source
    /// DICOM PS3.3 C.7.6.3.1.2 (YBR_FULL_422).
    fn share_chroma(&mut self, layout: &PixelLayout) {
        if let Self::U8(cells) = self {
            let pairs = cells.as_chunks::<4>().0.iter();
            let mut whole: Vec<u8> =
                pairs.flat_map(|&[y0, y1, blue, red]| [y0, blue, red, y1, blue, red]).collect();
            whole.truncate(layout.samples_of_frame());
            *cells = whole;
        }
    }
}

fn of_two<T>(bytes: &[u8], make: impl Fn([u8; 2]) -> T) -> Vec<T> {
    bytes.as_chunks::<2>().0.iter().map(|&pair| make(pair)).collect()
}

fn of_four<T>(bytes: &[u8], make: impl Fn([u8; 4]) -> T) -> Vec<T> {
    bytes.as_chunks::<4>().0.iter().map(|&four| make(four)).collect()
}

fn of_eight<T>(bytes: &[u8], make: impl Fn([u8; 8]) -> T) -> Vec<T> {
    bytes.as_chunks::<8>().0.iter().map(|&eight| make(eight)).collect()
}

fn single_bits(bytes: &[u8], first: u32, count: usize) -> Vec<u8> {
    let bits = bytes.iter().flat_map(|&byte| (0..8).map(move |bit| byte >> bit & 1));
    bits.skip(first as usize).take(count).collect()
}

fn interleave<T: Copy>(cells: &mut Vec<T>, samples: usize) {
    let pixels = cells.len() / samples.max(1);
    let mixed = (0..pixels).flat_map(|p| (0..samples).map(move |s| s * pixels + p));
    *cells = mixed.map(|index| cells[index]).collect();
}
