//! A slice as a classic single-frame DICOM file, for phantoms and tests.

mod attributes;

use std::io::Write;

use dicom::{
    core::VR,
    dictionary_std::{tags, uids},
    object::{FileMetaTableBuilder, InMemDicomObject},
};
use ndarray::ArrayView2;
use sha2::{Digest, Sha256};

use attributes::{DataSet, describe_ct, describe_mr, describe_pet, identify, place, store};

use super::MrTiming;
use crate::{
    geometry::Grid,
    study::{Family, Modality},
};

/// A slice to be written.
#[derive(Debug, Clone, Copy)]
pub struct NewSlice<'a> {
    /// *Patient ID*.
    pub patient_id: &'a str,
    /// *Study Instance UID*.
    pub study_uid: &'a str,
    /// *Series Instance UID*.
    pub series_uid: &'a str,
    /// *SOP Instance UID*, another one for every slice.
    pub sop_uid: &'a str,
    /// *Frame of Reference UID*.
    pub frame_of_reference: &'a str,
    /// What it shows: CT, PET or any MR. Its word becomes the *Series
    /// Description*.
    pub modality: Modality,
    /// Times of an MR sequence; what is `None` is left out.
    pub timing: MrTiming,
    /// *Body Part Examined*.
    pub body_part: Option<&'a str>,
    /// Grid of the whole series, RAS+.
    pub grid: &'a Grid,
    /// Which of its slices this is.
    pub k: usize,
    /// *Instance Number*.
    pub instance_number: u32,
    /// Value per stored unit.
    pub slope: f64,
    /// Value of a stored zero.
    pub intercept: f64,
    /// *Bits Stored*, 2 to 16, of a two's complement number.
    pub bits_stored: u16,
    /// Stored number that stands for "nothing here".
    pub padding: Option<i16>,
    /// Stored numbers `[j, i]` (row, column).
    pub pixels: ArrayView2<'a, i16>,
}

/// Why a slice cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The pixels are not a slice of the grid.
    #[error("{pixels:?} pixels (rows, columns) are no slice {k} of a grid of {grid:?}")]
    Shape {
        /// Rows and columns of the pixels.
        pixels: (usize, usize),
        /// The slice asked for.
        k: usize,
        /// Voxels of the grid along (i, j, k).
        grid: [usize; 3],
    },
    /// A pixel does not fit into the bits.
    #[error("a stored number of {value} does not fit into {bits} bits")]
    Bits {
        /// The number.
        value: i16,
        /// *Bits Stored*.
        bits: u16,
    },
    /// There is no class for the modality.
    #[error("no single-frame DICOM class for {0}")]
    Modality(Modality),
    /// The writer of data sets refuses, or the output does.
    #[error("the DICOM file cannot be written")]
    Dicom(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A UID that is always the same for the same words.
///
/// # Source
/// DICOM PS3.5 B.2: `2.25.` and a 128-bit number; here the first half of a
/// SHA-256 in place of a UUID, so that what is generated twice is equal.
pub fn uid_of(words: &[&str]) -> String {
    let mut hash = Sha256::new();
    for word in words {
        hash.update((word.len() as u64).to_le_bytes());
        hash.update(word);
    }
    let number = hash.finalize().iter().take(16).fold(0u128, |n, &byte| n << 8 | u128::from(byte));
    format!("2.25.{number}")
}

/// Writes a slice as a DICOM file in Explicit VR Little Endian.
///
/// CT, MR and PET Image Storage, one frame, 16 bits allocated, signed. The same
/// slice gives the same bytes: no date or time is written.
///
/// # Errors
/// [`WriteError`] where pixels and grid do not fit, a number does not fit into
/// the bits, the modality has no class, or the output refuses.
///
/// # Source
/// DICOM PS3.3 A.3, A.4, A.21 (CT, MR and PET image), C.7.6.2 (plane).
pub fn write_slice(out: impl Write, slice: &NewSlice<'_>) -> Result<(), WriteError> {
    let class = match slice.modality.family() {
        Family::Ct => uids::CT_IMAGE_STORAGE,
        Family::Mr => uids::MR_IMAGE_STORAGE,
        _ if slice.modality == Modality::Pet => uids::POSITRON_EMISSION_TOMOGRAPHY_IMAGE_STORAGE,
        _ => return Err(WriteError::Modality(slice.modality)),
    };
    let words = words(slice)?;
    let mut file = DataSet(InMemDicomObject::new_empty());
    file.text(tags::SOP_CLASS_UID, VR::UI, class);
    identify(&mut file, slice);
    place(&mut file, slice);
    match slice.modality.family() {
        Family::Ct => describe_ct(&mut file),
        Family::Mr => describe_mr(&mut file, slice),
        _ => describe_pet(&mut file, slice),
    }
    store(&mut file, slice, words);
    let meta = FileMetaTableBuilder::new().transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN);
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| WriteError::Dicom(error);
    let object = file.0.with_meta(meta).map_err(|error| refused(Box::new(error)))?;
    object.write_all(out).map_err(|error| refused(Box::new(error)))
}

/// Writes what stands before the data set of a DICOM file: preamble and file meta
/// information.
///
/// # Errors
/// [`WriteError`] where the output refuses.
///
/// # Source
/// DICOM PS3.10 7.1.
pub fn write_meta(
    mut out: impl Write,
    sop_class: &str,
    sop_uid: &str,
    transfer_syntax: &str,
) -> Result<(), WriteError> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| WriteError::Dicom(error);
    let meta = FileMetaTableBuilder::new()
        .media_storage_sop_class_uid(sop_class)
        .media_storage_sop_instance_uid(sop_uid)
        .transfer_syntax(transfer_syntax)
        .build()
        .map_err(|error| refused(Box::new(error)))?;
    let preamble = [[0; 128].as_slice(), b"DICM"].concat();
    out.write_all(&preamble).map_err(|error| refused(Box::new(error)))?;
    meta.write(out).map_err(|error| refused(Box::new(error)))
}

/// The pixels as unsigned words without the bits above *Bits Stored*.
fn words(slice: &NewSlice<'_>) -> Result<Vec<u16>, WriteError> {
    let [ni, nj, nk] = slice.grid.shape;
    let fits = slice.pixels.dim() == (nj, ni) && slice.k < nk && ni.max(nj) <= 0xFFFF;
    if !fits {
        let (pixels, k, grid) = (slice.pixels.dim(), slice.k, slice.grid.shape);
        return Err(WriteError::Shape { pixels, k, grid });
    }
    let bits = slice.bits_stored.clamp(2, 16);
    let unused = 16 - bits;
    let word = |&value: &i16| {
        let kept = ((value as u16) << unused) >> unused;
        let back = ((kept << unused) as i16) >> unused;
        if back == value { Ok(kept) } else { Err(WriteError::Bits { value, bits }) }
    };
    slice.pixels.iter().map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_valid_and_repeats() {
        let uid = uid_of(&["series", "1"]);
        assert_eq!(uid, uid_of(&["series", "1"]));
        assert_ne!(uid, uid_of(&["series1", ""]));
        assert!(uid.len() <= 64 && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    }
}
