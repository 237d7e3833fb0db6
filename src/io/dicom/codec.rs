//! Compressed frames: fragments out of the file, then a codec of the registry.

use std::{
    borrow::Cow,
    io::Read,
    panic::{AssertUnwindSafe, catch_unwind},
};

use dicom::{
    encoding::{
        Codec, TransferSyntaxIndex,
        adapters::{PixelDataObject, RawPixelData},
    },
    transfer_syntax::TransferSyntaxRegistry,
};
use flate2::read::DeflateDecoder;

use super::{
    DicomError, PixelLayout, Plane, codestream::Codestream, pixels::words_of, source::Source, tags,
    walk::Walked,
};

/// Fragments of one frame: a slice has one, rarely a few.
const MAX_FRAGMENTS: usize = 1 << 16;

/// Passes over encapsulated pixel data: that it is there, to its delimiter.
pub(super) fn skip_fragments(mut source: Source) -> Result<(), DicomError> {
    each_fragment(&mut source, |source, _, length| source.skip(length))
}

fn each_fragment(
    source: &mut Source,
    mut fragment: impl FnMut(&mut Source, usize, u64) -> Result<(), DicomError>,
) -> Result<(), DicomError> {
    for index in 0..MAX_FRAGMENTS {
        let at = source.at();
        let mut head = [0; 8];
        source.fill(&mut head)?;
        let [g0, g1, e0, e1, l0, l1, l2, l3] = head;
        let tag = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
        match tag {
            tags::SEQUENCE_END => return Ok(()),
            tags::ITEM => {
                fragment(source, index, u64::from(u32::from_le_bytes([l0, l1, l2, l3])))?;
            }
            _ => return Err(DicomError::Structure { at, what: "no fragment of pixel data" }),
        }
    }
    Err(DicomError::Structure { at: source.at(), what: "too many fragments of pixel data" })
}

/// The words of a compressed single-frame image.
pub(super) fn decode(
    mut walked: Walked,
    plane: &Plane,
    layout: PixelLayout,
) -> Result<Vec<u16>, DicomError> {
    let codec = name(&walked.transfer_syntax)
        .ok_or(DicomError::Unsupported { what: "this transfer syntax" })?;
    let mut bytes = Vec::new();
    each_fragment(&mut walked.source, |source, index, length| {
        // The first item is the offset table, which one frame does not need.
        if index == 0 {
            return source.skip(length);
        }
        bytes.append(&mut source.take(length)?);
        Ok(())
    })?;
    let at = walked.source.at();
    let unreadable = |what| Err(DicomError::Structure { at, what });
    let count = plane.rows * plane.columns;
    let mut bits = layout.bits_allocated;
    let stream = match codec {
        JPEG => Codestream::of_jpeg(&bytes),
        JPEG_2000 => Codestream::of_jpeg_2000(&bytes),
        _ => None,
    };
    if let Some(stream) = stream {
        let expected = (plane.columns as u32, plane.rows as u32);
        let found = (stream.columns, stream.rows);
        if found != expected {
            return Err(DicomError::CodestreamSize { found, expected });
        }
        if stream.components != 1 {
            return Err(DicomError::Unsupported { what: "a colour image" });
        }
        // The JPEG codec writes as many bytes a sample as the code stream has,
        // whatever the header says; JPEG 2000 follows the header.
        if codec == JPEG {
            bits = if stream.precision <= 8 { 8 } else { 16 };
        }
    } else if [JPEG, JPEG_2000].contains(&codec) {
        return unreadable("a compressed image without size");
    }
    // The codec reserves as many segments as the first four bytes say.
    let segments = bytes.first_chunk::<4>().map_or(0, |n| u32::from_le_bytes(*n));
    if codec == RLE && segments != u32::from(bits / 8) {
        return unreadable("a number of run-length segments that its bits do not make");
    }
    let expected = count * usize::from(bits / 8);
    let decoded = if walked.transfer_syntax == tags::DEFLATED_FRAME {
        inflate(&bytes, expected)?
    } else {
        let rows = plane.rows as u16;
        let columns = plane.columns as u16;
        let frame =
            Frame { transfer_syntax: &walked.transfer_syntax, rows, columns, bits, layout, bytes };
        // The codecs index out of range on some damaged data.
        catch_unwind(AssertUnwindSafe(|| frame.decode(codec)))
            .unwrap_or(Err(DicomError::CodecFault { codec }))?
    };
    if decoded.len() < expected {
        let (promised, found) = (expected as u64, decoded.len() as u64);
        return Err(DicomError::PixelLength { promised, found });
    }
    let mut words = words_of(&decoded, bits, false);
    words.truncate(count);
    Ok(words)
}

const JPEG: &str = "JPEG";
const JPEG_2000: &str = "JPEG 2000";
const RLE: &str = "RLE";

/// The compression of a transfer syntax.
///
/// # Source
/// DICOM PS3.6 table A-1.
pub(super) fn name(transfer_syntax: &str) -> Option<&'static str> {
    Some(match transfer_syntax.strip_prefix("1.2.840.10008.1.2.")? {
        "4.50" | "4.51" | "4.57" | "4.70" => JPEG,
        "4.80" | "4.81" => "JPEG-LS",
        "4.90" | "4.91" | "4.92" | "4.93" | "4.201" | "4.202" | "4.203" => JPEG_2000,
        "4.110" | "4.111" | "4.112" => "JPEG XL",
        "5" => RLE,
        "8.1" => "deflate",
        "1.98" => "uncompressed",
        _ => return None,
    })
}

fn inflate(bytes: &[u8], expected: usize) -> Result<Vec<u8>, DicomError> {
    let mut out = Vec::new();
    let mut decoder = DeflateDecoder::new(bytes).take(expected as u64);
    decoder
        .read_to_end(&mut out)
        .map_err(|error| DicomError::Codec { codec: "deflate", source: error.into() })?;
    Ok(out)
}

/// One frame in the shape that the registry's codecs ask for.
struct Frame<'a> {
    transfer_syntax: &'a str,
    rows: u16,
    columns: u16,
    bits: u16,
    layout: PixelLayout,
    bytes: Vec<u8>,
}

impl Frame<'_> {
    fn decode(&self, codec: &'static str) -> Result<Vec<u8>, DicomError> {
        let missing = match codec {
            "JPEG-LS" => "JPEG-LS, which this build has no decoder for",
            "JPEG XL" => "JPEG XL, which this build has no decoder for",
            _ => "this transfer syntax",
        };
        let syntax = TransferSyntaxRegistry.get(self.transfer_syntax);
        let Some(Codec::EncapsulatedPixelData(Some(reader), _)) = syntax.map(|s| s.codec()) else {
            return Err(DicomError::Unsupported { what: missing });
        };
        let mut decoded = Vec::new();
        reader
            .decode_frame(self, 0, &mut decoded)
            .map_err(|error| DicomError::Codec { codec, source: Box::new(error) })?;
        Ok(decoded)
    }
}

impl PixelDataObject for Frame<'_> {
    fn transfer_syntax_uid(&self) -> &str {
        self.transfer_syntax
    }

    fn rows(&self) -> Option<u16> {
        Some(self.rows)
    }

    fn cols(&self) -> Option<u16> {
        Some(self.columns)
    }

    fn samples_per_pixel(&self) -> Option<u16> {
        Some(1)
    }

    fn bits_allocated(&self) -> Option<u16> {
        Some(self.bits)
    }

    fn bits_stored(&self) -> Option<u16> {
        Some(self.layout.bits_stored)
    }

    fn photometric_interpretation(&self) -> Option<&str> {
        Some("MONOCHROME2")
    }

    fn number_of_frames(&self) -> Option<u32> {
        Some(1)
    }

    fn number_of_fragments(&self) -> Option<u32> {
        Some(1)
    }

    fn fragment(&self, fragment: usize) -> Option<Cow<'_, [u8]>> {
        (fragment == 0).then_some(Cow::Borrowed(&self.bytes))
    }

    fn offset_table(&self) -> Option<Cow<'_, [u32]>> {
        None
    }

    fn raw_pixel_data(&self) -> Option<RawPixelData> {
        Some(RawPixelData {
            fragments: std::iter::once(self.bytes.clone()).collect(),
            offset_table: std::iter::empty().collect(),
        })
    }
}
