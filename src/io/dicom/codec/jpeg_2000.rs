//! JPEG 2000 and High-Throughput JPEG 2000, by OpenJPEG.

use jpeg2k::{DecodeParameters, Image};

use super::Codec;
use crate::io::dicom::{DicomError, PixelLayout, cells::Cells};

/// # Source
/// ITU-T T.800, T.814.
pub(super) fn decode(bytes: &[u8], layout: &PixelLayout) -> Result<Cells, DicomError> {
    let parameters = DecodeParameters::new().strict(true);
    let image = Image::from_bytes_with(bytes, parameters)
        .map_err(|error| Codec::Jpeg2000.refused(error))?;
    let planes: Vec<&[i32]> = image.components().iter().map(|plane| plane.data()).collect();
    let pixels = layout.rows * layout.columns;
    if planes.len() != usize::from(layout.samples) || planes.iter().any(|p| p.len() != pixels) {
        return Err(Codec::Jpeg2000.refused("components that are smaller than the image"));
    }
    // A negative number keeps its lowest bits, from which it is unpacked again.
    let samples = (0..pixels).flat_map(|pixel| planes.iter().map(move |plane| plane[pixel]));
    Ok(match layout.bits_allocated {
        ..=8 => Cells::U8(samples.map(|sample| sample as u8).collect()),
        9..=16 => Cells::U16(samples.map(|sample| sample as u16).collect()),
        _ => Cells::U32(samples.map(|sample| sample as u32).collect()),
    })
}
