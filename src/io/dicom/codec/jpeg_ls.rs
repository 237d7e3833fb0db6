//! JPEG-LS, lossless and near-lossless, of grey images.
//!
//! CharLS, behind the feature `charls`, takes half the time of the decoder in Rust; it is
//! no default, as it needs CMake to be built.

use super::{Codec, Codestream};
use crate::io::dicom::{DicomError, cells::Cells};

/// # Source
/// ITU-T T.87.
pub(super) fn decode(bytes: &[u8], stream: &Codestream) -> Result<Cells, DicomError> {
    if stream.components != 1 {
        return Err(Codec::JpegLs.refused("colours are not supported"));
    }
    cells(bytes, stream.columns as usize * stream.rows as usize)
}

#[cfg(not(feature = "charls"))]
fn cells(bytes: &[u8], samples: usize) -> Result<Cells, DicomError> {
    let image = openreadout_codecs::jpegls_decode_limited(bytes, samples * 2)
        .map_err(|error| Codec::JpegLs.refused(error))?;
    Ok(of_bytes(image.data, image.bits_per_sample, u16::from_le_bytes))
}

#[cfg(feature = "charls")]
fn cells(bytes: &[u8], samples: usize) -> Result<Cells, DicomError> {
    let refused = |error: charls::Error| Codec::JpegLs.refused(error);
    // CharLS takes the memory that it finds to be needed: the size that was compared
    // with the header's must be what it finds.
    let found = charls::CharLS::default().get_frame_info(bytes).map_err(refused)?;
    if found.width as usize * found.height as usize != samples || found.component_count != 1 {
        return Err(Codec::JpegLs.refused("two sizes in the compressed image"));
    }
    let data = charls::CharLS::default().decode(bytes).map_err(refused)?;
    Ok(of_bytes(data, found.bits_per_sample.unsigned_abs(), u16::from_ne_bytes))
}

fn of_bytes(data: Vec<u8>, bits: u32, word: impl Fn([u8; 2]) -> u16) -> Cells {
    if bits <= 8 {
        Cells::U8(data)
    } else {
        Cells::U16(data.as_chunks::<2>().0.iter().map(|&pair| word(pair)).collect())
    }
}
