//! JPEG XL.

use jxl_oxide::{AllocTracker, JxlImage};

use super::Codec;
use crate::io::dicom::{DicomError, PixelLayout, cells::Cells};

/// Memory that a decoder may take for each sample, in bytes, and at least.
const PER_SAMPLE: usize = 64;
const AT_LEAST: usize = 16 << 20;

/// # Source
/// ISO/IEC 18181-1. The decoder gives samples as parts of the highest; as f32
/// they hold 24 bits, more than the 16 that are read.
pub(super) fn decode(bytes: &[u8], layout: &PixelLayout) -> Result<Cells, DicomError> {
    let limit = layout.samples_of_frame() * PER_SAMPLE + AT_LEAST;
    let image = JxlImage::builder()
        .alloc_tracker(AllocTracker::with_limit(limit))
        .read(bytes)
        .map_err(|error| Codec::JpegXl.refused(error))?;
    let expected = (layout.columns as u32, layout.rows as u32);
    let found = (image.width(), image.height());
    if found != expected {
        return Err(DicomError::CodestreamSize { found, expected });
    }
    let bits = image.image_header().metadata.bit_depth.bits_per_sample();
    if bits > 16 {
        return Err(Codec::JpegXl.refused("more than 16 bits are not supported"));
    }
    let frame = image.render_frame(0).map_err(|error| Codec::JpegXl.refused(error))?;
    let mut stream = frame.stream_no_alpha();
    let (found, expected) = (stream.channels(), u32::from(layout.samples));
    if found != expected {
        return Err(DicomError::Components { found, expected });
    }
    let mut samples = vec![0.0f32; layout.samples_of_frame()];
    let written = stream.write_to_buffer(&mut samples);
    samples.truncate(written);
    let highest = ((1u32 << bits) - 1) as f32;
    let sample = |part: &f32| (part * highest).round().clamp(0.0, highest);
    Ok(if bits <= 8 {
        Cells::U8(samples.iter().map(|part| sample(part) as u8).collect())
    } else {
        Cells::U16(samples.iter().map(|part| sample(part) as u16).collect())
    })
}
