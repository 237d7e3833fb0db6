//! JPEG-LS, lossless and near-lossless.
//!
//! CharLS: the decoders in Rust take twice its time, and read no colours.

use charls::CharLS;

use super::{
    Codec,
    codestream::{Codestream, segments},
};
use crate::io::dicom::{DicomError, cells::Cells};

/// Mark of the segment that begins a scan, the number of its components first.
const SCAN: u8 = 0xDA;

/// # Source
/// ITU-T T.87; T.81 B.2.3 (scan header).
pub(super) fn decode(bytes: &[u8], stream: &Codestream) -> Result<Cells, DicomError> {
    let refused = |error: charls::Error| Codec::JpegLs.refused(error);
    // CharLS takes the memory that it finds to be needed: the size that was compared
    // with the header's must be what it finds.
    let found = CharLS::default().get_frame_info(bytes).map_err(refused)?;
    let size = [found.width, found.height, found.component_count.unsigned_abs()];
    if size != [stream.columns, stream.rows, stream.components] {
        return Err(Codec::JpegLs.refused("two sizes in the compressed image"));
    }
    let data = CharLS::default().decode(bytes).map_err(refused)?;
    let mut cells = if found.bits_per_sample <= 8 {
        Cells::U8(data)
    } else {
        Cells::U16(data.as_chunks::<2>().0.iter().map(|&pair| u16::from_ne_bytes(pair)).collect())
    };
    // Where each component has a scan of its own, CharLS gives it as a plane.
    let first_scan = segments(bytes).find(|&(code, _)| code == SCAN);
    if stream.components > 1 && first_scan.is_some_and(|(_, scan)| scan.first() == Some(&1)) {
        cells.interleave(stream.components as usize);
    }
    Ok(cells)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use charls::FrameInfo;

    use super::*;

    #[test]
    fn planes_in_scans_of_their_own_become_pixels() {
        let (width, height) = (5, 3);
        let planes: Vec<u8> = (0..45).collect();
        let frame = FrameInfo { width, height, bits_per_sample: 8, component_count: 3 };
        let bytes = CharLS::default().encode(frame, 0, &planes).unwrap();
        let cells = decode(&bytes, &Codestream::of_jpeg(&bytes).unwrap()).unwrap();
        let Cells::U8(found) = cells else { panic!("{cells:?}") };
        let pixels: Vec<u8> = (0..15).flat_map(|pixel| [pixel, 15 + pixel, 30 + pixel]).collect();
        assert_eq!(found, pixels);
    }
}
