//! JPEG-LS, lossless and near-lossless, of grey images.

use openreadout_codecs::jpegls_decode_limited;

use super::{Codec, Codestream};
use crate::io::dicom::{DicomError, cells::Cells};

/// # Source
/// ITU-T T.87.
pub(super) fn decode(bytes: &[u8], stream: &Codestream) -> Result<Cells, DicomError> {
    if stream.components != 1 {
        return Err(Codec::JpegLs.refused("colours are not supported"));
    }
    let samples = stream.columns as usize * stream.rows as usize;
    let image = jpegls_decode_limited(bytes, samples * 2).map_err(|e| Codec::JpegLs.refused(e))?;
    Ok(if image.bits_per_sample <= 8 {
        Cells::U8(image.data)
    } else {
        let pairs = image.data.as_chunks::<2>().0.iter();
        Cells::U16(pairs.map(|&pair| u16::from_le_bytes(pair)).collect())
    })
}
