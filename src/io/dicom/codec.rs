//! Compressed frames: one code stream to cells.
//!
//! The decoders are called here and not through the transfer syntax registry of
//! `dicom`: its adapters refuse 1 and 32 bits, write a code stream of 8 bits
//! into 16 as it comes, scale JPEG XL to the whole of 16 bits, guess frames out of
//! fragments, and have no JPEG of 12 bits.

mod codestream;
mod jpeg;
mod jpeg_2000;
mod jpeg_ls;
mod jpeg_xl;
mod rle;
mod worker;

pub use worker::{DECODER_COMMAND, DECODER_MEMORY, DecoderFault, decode_in, serve_decoder};

use std::{
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
};

use flate2::read::DeflateDecoder;
use serde::{Deserialize, Serialize};

use super::{
    DicomError, PixelLayout,
    cells::{Cells, Packing},
};
use codestream::Codestream;

/// How frames are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Codec {
    /// JPEG baseline, extended and lossless.
    Jpeg,
    /// JPEG-LS, lossless and near-lossless.
    JpegLs,
    /// JPEG 2000 and High-Throughput JPEG 2000.
    Jpeg2000,
    /// JPEG XL.
    JpegXl,
    /// Run lengths.
    Rle,
    /// Each frame deflated.
    Deflate,
    /// Each frame as it is.
    Uncompressed,
}

impl Codec {
    /// The compression of a transfer syntax; none where pixels are native.
    ///
    /// # Errors
    /// [`DicomError::Unsupported`] for a video, a private or an unknown syntax.
    ///
    /// # Source
    /// DICOM PS3.6 table A-1.
    pub(super) fn of(transfer_syntax: &str) -> Result<Option<Self>, DicomError> {
        let unknown = DicomError::Unsupported { what: "this transfer syntax" };
        let Some(rest) = transfer_syntax.strip_prefix("1.2.840.10008.1.2") else {
            return Err(unknown);
        };
        Ok(Some(match rest {
            "" | ".1" | ".2" | ".1.99" => return Ok(None),
            ".4.50" | ".4.51" | ".4.57" | ".4.70" => Self::Jpeg,
            ".4.80" | ".4.81" => Self::JpegLs,
            ".4.90" | ".4.91" | ".4.92" | ".4.93" | ".4.201" | ".4.202" | ".4.203" => {
                Self::Jpeg2000
            }
            ".4.110" | ".4.111" | ".4.112" => Self::JpegXl,
            ".5" => Self::Rle,
            ".8.1" => Self::Deflate,
            ".1.98" => Self::Uncompressed,
            _ => return Err(unknown),
        }))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Jpeg => "JPEG",
            Self::JpegLs => "JPEG-LS",
            Self::Jpeg2000 => "JPEG 2000",
            Self::JpegXl => "JPEG XL",
            Self::Rle => "RLE",
            Self::Deflate => "deflate",
            Self::Uncompressed => "uncompressed",
        }
    }

    /// Whether *High Bit* says where the bits lie: a code stream has them lowest.
    pub(super) fn keeps_high_bit(self) -> bool {
        matches!(self, Self::Rle | Self::Deflate | Self::Uncompressed)
    }

    /// Whether the decoder is large enough to be wrong: it then runs in a worker.
    /// Run lengths, deflate and plain bytes are a few lines of checked Rust each,
    /// whose memory is that of the frame.
    fn is_risky(self) -> bool {
        matches!(self, Self::Jpeg | Self::JpegLs | Self::Jpeg2000 | Self::JpegXl)
    }

    /// The cells of a frame. The size that the code stream declares is compared
    /// with the layout before a decoder sees it.
    pub(super) fn decode(self, bytes: Vec<u8>, layout: &PixelLayout) -> Result<Cells, DicomError> {
        if let Some(stream) = self.declared(&bytes)? {
            stream.check(layout)?;
            if u16::from(stream.precision) > layout.bits_allocated.max(8) {
                return Err(self.refused("more bits in the compressed image than are allocated"));
            }
        }
        if self.is_risky() {
            worker::decode(self, bytes, layout)
        } else {
            self.decode_here(bytes, layout)
        }
    }

    /// What the code stream says of its size, where it says it at its start.
    fn declared(self, bytes: &[u8]) -> Result<Option<Codestream>, DicomError> {
        let stream = match self {
            Self::Jpeg | Self::JpegLs => Codestream::of_jpeg(bytes),
            Self::Jpeg2000 => Codestream::of_jpeg_2000(bytes),
            _ => return Ok(None),
        };
        stream.map(Some).ok_or_else(|| self.refused("no size in the compressed image"))
    }

    /// The cells of a frame, decoded in this process: as many as the layout has.
    fn decode_here(self, mut bytes: Vec<u8>, layout: &PixelLayout) -> Result<Cells, DicomError> {
        let stream = self.declared(&bytes)?;
        let decode = || match (self, stream) {
            (Self::Jpeg, Some(stream)) => jpeg::decode(&bytes, &stream),
            (Self::JpegLs, Some(stream)) => jpeg_ls::decode(&bytes, &stream),
            (Self::Jpeg2000, Some(_)) => jpeg_2000::decode(&bytes, layout),
            (Self::JpegXl, _) => jpeg_xl::decode(&bytes, layout),
            (Self::Rle, _) => rle::decode(&bytes, layout),
            (Self::Deflate, _) => {
                Cells::of_native(inflate(&bytes, layout)?, Packing::PLAIN, layout)
            }
            (Self::Uncompressed, _) => {
                bytes.truncate(layout.bits_of_frame().div_ceil(8) as usize);
                Cells::of_native(bytes, Packing::PLAIN, layout)
            }
            (_, None) => Err(self.refused("no size in the compressed image")),
        };
        // Decoders index out of range on some damaged data.
        let fault = self.fault(DecoderFault::Panicked);
        let cells = catch_unwind(AssertUnwindSafe(decode)).unwrap_or(Err(fault))?;
        let (promised, found) = (layout.samples_of_frame() as u64, cells.len() as u64);
        if found == promised { Ok(cells) } else { Err(DicomError::PixelLength { promised, found }) }
    }

    /// That a number of a code stream has more bits than the header says.
    pub(super) fn too_wide(self) -> DicomError {
        self.refused("a number that has more bits than are stored")
    }

    fn fault(self, fault: DecoderFault) -> DicomError {
        DicomError::DecoderFault { codec: self.name(), fault }
    }

    fn refused(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DicomError {
        DicomError::Codec { codec: self.name(), source: source.into() }
    }
}

fn inflate(bytes: &[u8], layout: &PixelLayout) -> Result<Vec<u8>, DicomError> {
    let mut out = Vec::new();
    let mut decoder = DeflateDecoder::new(bytes).take(layout.bits_of_frame().div_ceil(8));
    decoder.read_to_end(&mut out).map_err(|error| Codec::Deflate.refused(error))?;
    Ok(out)
}
