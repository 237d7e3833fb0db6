//! How pixels are stored.

use serde::{Deserialize, Serialize};

use super::{DicomError, tags, values::Attributes};

/// How the pixels of an instance are stored.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PixelLayout {
    /// *Rows*.
    pub rows: usize,
    /// *Columns*.
    pub columns: usize,
    /// 1, 8, 16, 32 or 64 in what can be read.
    pub bits_allocated: u16,
    /// Bits that carry the value.
    pub bits_stored: u16,
    /// The highest of them, counted from 0.
    pub high_bit: u16,
    /// Whether the stored number is two's complement.
    pub signed: bool,
    /// 1 for grey, 3 for colour.
    pub samples: u16,
    /// Whether samples lie plane by plane and not pixel by pixel.
    pub planar: bool,
    /// What the samples mean.
    pub photometric: Photometric,
}

/// What the samples of a pixel mean, as far as it matters to read them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Photometric {
    /// MONOCHROME1 and MONOCHROME2. The former is inverted for eyes only.
    Grey,
    /// Numbers of colours in a palette.
    Palette,
    /// Red, green and blue, or luma and chroma.
    Colour,
    /// YBR_FULL_422: where it is not compressed, two pixels share their chroma.
    SharedChroma,
}

impl PixelLayout {
    /// # Source
    /// DICOM PS3.3 C.7.6.3.1.
    pub(super) fn of(values: &Attributes) -> Result<Self, DicomError> {
        let size = |tag| match values.required_u16(tag)? {
            0 => Err(DicomError::Malformed { attribute: tags::name(tag) }),
            size => Ok(usize::from(size)),
        };
        let (rows, columns) = (size(tags::ROWS)?, size(tags::COLUMNS)?);
        let bits_allocated = values.required_u16(tags::BITS_ALLOCATED)?;
        let bits_stored = values.u16(tags::BITS_STORED)?.unwrap_or(bits_allocated);
        let high_bit = values.u16(tags::HIGH_BIT)?.unwrap_or(bits_stored.saturating_sub(1));
        if bits_stored == 0 || bits_stored > bits_allocated {
            return Err(DicomError::Malformed { attribute: tags::name(tags::BITS_STORED) });
        }
        if high_bit >= bits_allocated || high_bit + 1 < bits_stored {
            return Err(DicomError::Malformed { attribute: tags::name(tags::HIGH_BIT) });
        }
        let samples = values.u16(tags::SAMPLES_PER_PIXEL)?.unwrap_or(1);
        if !(1..=4).contains(&samples) {
            return Err(DicomError::Malformed { attribute: tags::name(tags::SAMPLES_PER_PIXEL) });
        }
        let photometric = match values.text(tags::PHOTOMETRIC).as_deref() {
            Some("PALETTE COLOR") => Photometric::Palette,
            Some("YBR_FULL_422") if samples == 3 => Photometric::SharedChroma,
            _ if samples > 1 => Photometric::Colour,
            _ => Photometric::Grey,
        };
        Ok(Self {
            rows,
            columns,
            bits_allocated,
            bits_stored,
            high_bit,
            signed: values.u16(tags::PIXEL_REPRESENTATION)?.unwrap_or(0) == 1,
            samples,
            planar: samples > 1 && values.u16(tags::PLANAR_CONFIGURATION)?.unwrap_or(0) == 1,
            photometric,
        })
    }

    /// Samples of a frame: at most 2³⁴, as rows and columns have 16 bits.
    pub(super) fn samples_of_frame(&self) -> usize {
        self.rows * self.columns * usize::from(self.samples)
    }

    /// Bits of a frame that is not compressed.
    ///
    /// # Source
    /// DICOM PS3.5 8.1.1, and PS3.3 C.7.6.3.1.2 for YBR_FULL_422: two of three
    /// samples are there.
    pub(super) fn bits_of_frame(&self) -> u64 {
        let samples = if self.photometric == Photometric::SharedChroma {
            self.rows * self.columns * 2
        } else {
            self.samples_of_frame()
        };
        samples as u64 * u64::from(self.bits_allocated)
    }
}
