//! JPEG: baseline, extended and lossless, as it is coded: colours stay what the
//! components are.

use jpeg_decoder::{ColorTransform, Decoder};
use openreadout_codecs::{JpegColor, jpeg_decode_tiff_limited};

use super::{Codec, Codestream};
use crate::io::dicom::{DicomError, cells::Cells};

/// # Source
/// ITU-T T.81; table B.1 for the process.
pub(super) fn decode(bytes: &[u8], stream: &Codestream) -> Result<Cells, DicomError> {
    let samples = stream.columns as usize * stream.rows as usize * stream.components as usize;
    let lossless = stream.process == 0xC3;
    if stream.precision == 12 && !lossless {
        // `jpeg-decoder` has 8 bits only.
        let image = jpeg_decode_tiff_limited(bytes, None, JpegColor::AsCoded, samples * 2)
            .map_err(|error| Codec::Jpeg.refused(error))?;
        return Ok(words(&image.data, u16::from_le_bytes));
    }
    let mut decoder = Decoder::new(bytes);
    // Of three components this is the one that only interleaves them.
    decoder.set_color_transform(match stream.components {
        3 => ColorTransform::RGB,
        _ => ColorTransform::None,
    });
    decoder.set_max_decoding_buffer_size(samples * 2);
    let decoded = decoder.decode().map_err(|error| Codec::Jpeg.refused(error))?;
    // A sample has two bytes where it has more than 8 bits.
    Ok(if decoded.len() == samples {
        Cells::U8(decoded)
    } else {
        words(&decoded, u16::from_ne_bytes)
    })
}

fn words(bytes: &[u8], word: impl Fn([u8; 2]) -> u16) -> Cells {
    Cells::U16(bytes.as_chunks::<2>().0.iter().map(|&pair| word(pair)).collect())
}
