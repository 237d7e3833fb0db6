//! The pixels of one slice: stored bits to values.

use std::{fs::File, path::Path};

use ndarray::Array2;

use super::{
    DicomError, Instance, Kind, PixelLayout, Plane, codec,
    source::Source,
    tags,
    walk::{PixelStart, Walked, walk},
};

/// One slice, read.
#[derive(Debug)]
#[non_exhaustive]
pub struct Slice {
    /// Its header, read with the pixels.
    pub instance: Instance,
    /// Where it lies.
    pub plane: Plane,
    /// Values after rescale `[j, i]` (row, column); `NaN` is padding.
    pub values: Array2<f32>,
}

/// The slice at a path.
///
/// `check` sees header and plane before anything is allocated for pixels, and
/// its error ends the reading.
pub(in crate::io) fn open_slice<E: From<DicomError>>(
    path: &Path,
    check: impl FnOnce(&Instance, &Plane) -> Result<(), E>,
) -> Result<Slice, E> {
    let walked =
        walk(Source::new(File::open(path).map_err(DicomError::Io)?).map_err(DicomError::Io)?)?;
    let instance = Instance::from_walk(path, &walked)?;
    if instance.kind != Kind::Image {
        return Err(DicomError::Unsupported { what: "an object that is no image" }.into());
    }
    let attribute = tags::name(tags::IMAGE_POSITION);
    let plane = instance.plane.ok_or(DicomError::Missing { attribute })?;
    let layout = instance.pixels.ok_or(DicomError::NoPixels)?;
    check(&instance, &plane)?;
    let words = words(walked, &instance, &plane, layout)?;
    let values = values(&words, layout);
    let shape = (plane.rows, plane.columns);
    let promised = (plane.rows * plane.columns) as u64;
    let wrong = DicomError::PixelLength { promised, found: words.len() as u64 };
    let values = Array2::from_shape_vec(shape, values).map_err(|_| wrong)?;
    Ok(Slice { instance, plane, values })
}

/// The stored words of a single-frame grey image, bits not yet unpacked.
fn words(
    walked: Walked,
    instance: &Instance,
    plane: &Plane,
    layout: PixelLayout,
) -> Result<Vec<u16>, DicomError> {
    let start = walked.pixels.ok_or(DicomError::NoPixels)?;
    let unsupported = |what| Err(DicomError::Unsupported { what });
    if start.tag != tags::PIXEL_DATA {
        return unsupported("float pixel data");
    }
    if instance.frames != 1 {
        return unsupported("an image of more than one frame");
    }
    if layout.samples != 1 {
        return unsupported("a colour image");
    }
    if !matches!(layout.bits_allocated, 8 | 16) {
        return unsupported("an image of neither 8 nor 16 bits a pixel");
    }
    let count = plane.rows * plane.columns;
    match start.length {
        Some(_) if codec::name(&walked.transfer_syntax).is_some() => {
            unsupported("native pixels under a compressed transfer syntax")
        }
        Some(found) => native(walked, start, found, count, layout.bits_allocated),
        None => codec::decode(walked, plane, layout),
    }
}

fn native(
    mut walked: Walked,
    start: PixelStart,
    found: u64,
    count: usize,
    bits_allocated: u16,
) -> Result<Vec<u16>, DicomError> {
    let promised = count as u64 * u64::from(bits_allocated / 8);
    if promised > found {
        return Err(DicomError::PixelLength { promised, found });
    }
    let big_endian = walked.values.encoding().big_endian;
    // Single bytes in 16-bit words are swapped too: the even length is there.
    let swapped_bytes = big_endian && bits_allocated == 8 && &start.vr == b"OW";
    let taken = if swapped_bytes { promised.next_multiple_of(2).min(found) } else { promised };
    let mut bytes = walked.source.take(taken)?;
    if swapped_bytes {
        bytes.as_chunks_mut::<2>().0.iter_mut().for_each(|pair| pair.reverse());
    }
    let mut words = words_of(&bytes, bits_allocated, big_endian);
    words.truncate(count);
    Ok(words)
}

/// Bytes or 16-bit words as words.
pub(super) fn words_of(bytes: &[u8], bits_allocated: u16, big_endian: bool) -> Vec<u16> {
    if bits_allocated == 8 {
        return bytes.iter().map(|&byte| u16::from(byte)).collect();
    }
    let pairs = bytes.as_chunks::<2>().0.iter();
    if big_endian {
        pairs.map(|&pair| u16::from_be_bytes(pair)).collect()
    } else {
        pairs.map(|&pair| u16::from_le_bytes(pair)).collect()
    }
}

/// Words to values: the stored bits, their sign, padding, then the rescale.
///
/// # Source
/// DICOM PS3.5 8.1.1 (pixel cells), PS3.3 C.11.1.1.2 (rescale), C.7.5.1.1.2
/// (padding).
fn values(words: &[u16], layout: PixelLayout) -> Vec<f32> {
    let unpack = Unpack::new(layout);
    let (slope, intercept) = (layout.slope, layout.intercept);
    let rescale = |stored: i32| (f64::from(stored) * slope + intercept) as f32;
    match layout.padding {
        None => words.iter().map(|&word| rescale(unpack.stored(word))).collect(),
        Some((lowest, highest)) => {
            let padding = lowest..=highest;
            // Padding may use bits above the stored ones: compare both.
            let whole = |word: u16| {
                if layout.signed { i32::from(word as i16) } else { i32::from(word) }
            };
            let value = |&word: &u16| {
                let stored = unpack.stored(word);
                if padding.contains(&stored) || padding.contains(&whole(word)) {
                    f32::NAN
                } else {
                    rescale(stored)
                }
            };
            words.iter().map(value).collect()
        }
    }
}

/// Takes the stored bits out of a word.
#[derive(Debug, Clone, Copy)]
struct Unpack {
    left: u32,
    right: u32,
    signed: bool,
}

impl Unpack {
    fn new(layout: PixelLayout) -> Self {
        // The highest stored bit goes to bit 31, then down again with the sign.
        let left = 31 - u32::from(layout.high_bit.min(15));
        Self { left, right: 32 - u32::from(layout.bits_stored.clamp(1, 16)), signed: layout.signed }
    }

    fn stored(self, word: u16) -> i32 {
        let top = u32::from(word) << self.left;
        if self.signed { (top as i32) >> self.right } else { (top >> self.right) as i32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(bits_stored: u16, high_bit: u16, signed: bool) -> PixelLayout {
        PixelLayout {
            bits_allocated: 16,
            bits_stored,
            high_bit,
            signed,
            samples: 1,
            slope: 1.0,
            intercept: 0.0,
            padding: None,
        }
    }

    #[test]
    fn unpacks_sign_mask_and_high_bit() {
        let stored = |word, layout| Unpack::new(layout).stored(word);
        assert_eq!(stored(0x0800, layout(12, 11, true)), -2048);
        assert_eq!(stored(0x0800, layout(12, 11, false)), 2048);
        // Overlay bits above the stored ones are dropped.
        assert_eq!(stored(0x8001, layout(12, 11, true)), 1);
        assert_eq!(stored(0x8000, layout(12, 15, true)), -2048);
        assert_eq!(stored(0xABCF, layout(12, 15, false)), 0xABC);
        assert_eq!(stored(0xFFFF, layout(16, 15, true)), -1);
        assert_eq!(stored(0xFFFF, layout(16, 15, false)), 65535);
    }

    #[test]
    fn padding_is_not_a_number() {
        let mut padded = layout(12, 11, true);
        padded.padding = Some((-2000, -2000));
        let found = values(&[(-2000i16) as u16, 5], padded);
        assert!(found[0].is_nan());
        assert_eq!(found[1], 5.0);
    }
}
