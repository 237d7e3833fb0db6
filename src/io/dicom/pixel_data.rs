//! Where the pixels of each frame lie in a file, and their bytes.

use super::{
    DicomError, PixelLayout,
    cells::{Cells, Packing},
    codec::Codec,
    encapsulated::Frames,
    source::Source,
    tags,
    walk::Walked,
};
use crate::io::bomb::is_bomb;

/// Most frames: as many as a walk keeps functional groups of.
const MAX_FRAMES: u32 = 1 << 18;

/// The pixel data of a file, found to be there.
#[derive(Debug)]
pub(super) enum PixelData {
    /// Frames one behind the other.
    Native {
        /// Where the first byte lies.
        at: u64,
        length: u64,
        packing: Packing,
        /// Whether single bytes were swapped as if they were words.
        swapped: bool,
    },
    /// Frames in fragments.
    Encapsulated { codec: Codec, frames: Frames },
}

impl PixelData {
    /// Finds the pixels where a walk ended, and makes the source one that jumps.
    ///
    /// # Errors
    /// [`DicomError`] where there are fewer than rows, columns, bits and frames
    /// make, they are compressed more than any image is, or the transfer syntax is none that is read.
    ///
    /// # Source
    /// DICOM PS3.5 8 and A.4, PS3.3 C.7.6.24 and 25 (float pixel data).
    pub(super) fn find(
        walked: &mut Walked,
        layout: &PixelLayout,
        frames: u32,
    ) -> Result<Self, DicomError> {
        let start = walked.pixels.ok_or(DicomError::NoPixels)?;
        let codec = Codec::of(&walked.transfer_syntax)?;
        let (Some(length), codec) = (start.length, codec) else {
            let codec = codec.ok_or(DicomError::Unsupported {
                what: "encapsulated pixels under a native transfer syntax",
            })?;
            if frames > MAX_FRAMES {
                return Err(DicomError::Unsupported { what: "an image of more than 2^18 frames" });
            }
            let promised = layout.bits_of_frame().saturating_mul(u64::from(frames)) / 8;
            let frames = Frames::read(&mut walked.source, frames)?;
            let coded = frames.coded();
            if is_bomb(promised, coded) {
                return Err(DicomError::Bomb { promised, coded });
            }
            return Ok(Self::Encapsulated { codec, frames });
        };
        if codec.is_some() {
            let what = "native pixels under a compressed transfer syntax";
            return Err(DicomError::Unsupported { what });
        }
        let bits = layout.bits_of_frame().saturating_mul(u64::from(frames));
        let promised = bits.div_ceil(8);
        if promised > length {
            return Err(DicomError::PixelLength { promised, found: length });
        }
        if frames > MAX_FRAMES {
            return Err(DicomError::Unsupported { what: "an image of more than 2^18 frames" });
        }
        let float = start.tag != tags::PIXEL_DATA;
        let big_endian = walked.values.own.encoding().big_endian;
        let swapped = big_endian && layout.bits_allocated <= 8 && &start.vr == b"OW";
        let packing = Packing { big_endian, float, first_bit: 0 };
        Ok(Self::Native { at: walked.source.at(), length, packing, swapped })
    }

    /// Makes a source able to jump to every frame.
    pub(super) fn seekable(&self, source: Source) -> Result<Source, DicomError> {
        match self {
            Self::Native { length, .. } => source.seekable(*length),
            // The walk over the fragments of a deflated data set has passed them.
            Self::Encapsulated { .. } => Ok(source),
        }
    }

    /// The bytes of a frame, as they are in the file.
    pub(super) fn bytes(
        &self,
        source: &mut Source,
        layout: &PixelLayout,
        frame: u32,
    ) -> Result<Coded, DicomError> {
        match self {
            Self::Encapsulated { codec, frames } => {
                Ok(Coded::Compressed(*codec, frames.bytes(source, frame)?))
            }
            &Self::Native { at, length, packing, swapped } => {
                let bits = layout.bits_of_frame();
                let first = bits * u64::from(frame);
                let (mut from, mut to) = (first / 8, (first + bits).div_ceil(8));
                let mut first_bit = (first % 8) as u32;
                if swapped {
                    first_bit += (from % 2 * 8) as u32;
                    (from, to) = (from & !1, to.next_multiple_of(2).min(length));
                }
                source.jump(at + from)?;
                let mut bytes = source.take(to - from)?;
                if swapped {
                    bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.reverse());
                }
                Ok(Coded::Native(Packing { first_bit, ..packing }, bytes))
            }
        }
    }

    /// Where a frame begins that is nothing but words of 16 bits, the lower byte first.
    pub(super) fn plain_words(&self, layout: &PixelLayout, frame: u32) -> Option<u64> {
        match self {
            Self::Native { at, packing, swapped: false, .. }
                if !packing.big_endian
                    && !packing.float
                    && layout.bits_allocated == 16
                    && layout.samples == 1 =>
            {
                Some(at + layout.bits_of_frame() / 8 * u64::from(frame))
            }
            _ => None,
        }
    }

    /// The bit of a cell that is the highest one stored.
    pub(super) fn high_bit(&self, layout: &PixelLayout) -> u16 {
        match self.code_stream() {
            Some(_) => layout.bits_stored - 1,
            None => layout.high_bit,
        }
    }

    /// The codec, where it has a number of bits of its own.
    pub(super) fn code_stream(&self) -> Option<Codec> {
        match self {
            Self::Encapsulated { codec, .. } if !codec.keeps_high_bit() => Some(*codec),
            _ => None,
        }
    }
}

/// A frame before it is decoded.
pub(super) enum Coded {
    Native(Packing, Vec<u8>),
    Compressed(Codec, Vec<u8>),
}

impl Coded {
    pub(super) fn decode(self, layout: &PixelLayout) -> Result<Cells, DicomError> {
        match self {
            Self::Native(packing, bytes) => Cells::of_native(bytes, packing, layout),
            Self::Compressed(codec, bytes) => codec.decode(bytes, layout),
        }
    }
}
