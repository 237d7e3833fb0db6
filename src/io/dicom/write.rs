//! A slice as a classic single-frame DICOM file, for phantoms and tests.

use std::io::Write;

use dicom::{
    core::{DataElement, PrimitiveValue, Tag, VR, value::C},
    dictionary_std::{tags, uids},
    object::{FileMetaTableBuilder, InMemDicomObject},
};
use glam::DVec3;
use ndarray::ArrayView2;
use sha2::{Digest, Sha256};

use super::MrTiming;
use crate::{
    geometry::{Grid, ras_from_lps},
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

struct DataSet(InMemDicomObject);

impl DataSet {
    fn text(&mut self, tag: Tag, vr: VR, text: &str) {
        self.0.put(DataElement::new(tag, vr, text));
    }

    fn empty(&mut self, tag: Tag, vr: VR) {
        self.0.put(DataElement::new(tag, vr, PrimitiveValue::Empty));
    }

    fn decimals(&mut self, tag: Tag, numbers: &[f64]) {
        let texts: Vec<String> = numbers.iter().map(|&number| decimal_string(number)).collect();
        self.text(tag, VR::DS, &texts.join("\\"));
    }

    fn u16(&mut self, tag: Tag, number: u16) {
        self.0.put(DataElement::new(tag, VR::US, PrimitiveValue::from(number)));
    }
}

/// A number in the 16 characters of a decimal string, as near as they allow.
fn decimal_string(number: f64) -> String {
    let fixed = (0..=15).map(|digits| format!("{number:.digits$}"));
    let scientific = (0..=15).map(|digits| format!("{number:.digits$e}"));
    let error = |text: &String| (text.parse().unwrap_or(f64::INFINITY) - number).abs();
    fixed
        .chain(scientific)
        .filter(|text| text.len() <= 16)
        // The first of equals is the shortest.
        .min_by(|a, b| error(a).total_cmp(&error(b)))
        .unwrap_or_else(|| "0".to_owned())
}

fn identify(file: &mut DataSet, slice: &NewSlice<'_>) {
    file.text(tags::SPECIFIC_CHARACTER_SET, VR::CS, "ISO_IR 192");
    file.text(tags::SOP_INSTANCE_UID, VR::UI, slice.sop_uid);
    file.text(tags::STUDY_INSTANCE_UID, VR::UI, slice.study_uid);
    file.text(tags::SERIES_INSTANCE_UID, VR::UI, slice.series_uid);
    file.text(tags::FRAME_OF_REFERENCE_UID, VR::UI, slice.frame_of_reference);
    file.text(tags::PATIENT_ID, VR::LO, slice.patient_id);
    file.text(tags::SERIES_DESCRIPTION, VR::LO, slice.modality.as_str());
    file.text(tags::INSTANCE_NUMBER, VR::IS, &slice.instance_number.to_string());
    file.text(tags::MANUFACTURER, VR::LO, "mivox");
    if let Some(part) = slice.body_part {
        file.text(tags::BODY_PART_EXAMINED, VR::CS, part);
    }
    // Demanded by the standard, allowed to be empty.
    for (tag, vr) in [
        (tags::PATIENT_NAME, VR::PN),
        (tags::PATIENT_BIRTH_DATE, VR::DA),
        (tags::PATIENT_SEX, VR::CS),
        (tags::STUDY_DATE, VR::DA),
        (tags::STUDY_TIME, VR::TM),
        (tags::STUDY_ID, VR::SH),
        (tags::ACCESSION_NUMBER, VR::SH),
        (tags::REFERRING_PHYSICIAN_NAME, VR::PN),
        (tags::SERIES_NUMBER, VR::IS),
        (tags::PATIENT_POSITION, VR::CS),
        (tags::POSITION_REFERENCE_INDICATOR, VR::LO),
    ] {
        file.empty(tag, vr);
    }
}

fn place(file: &mut DataSet, slice: &NewSlice<'_>) {
    let lps_from_voxel = ras_from_lps().inverse() * slice.grid.ras_from_voxel;
    let position = lps_from_voxel.transform_point3(DVec3::new(0.0, 0.0, slice.k as f64));
    let [i_mm, j_mm, _] = slice.grid.spacing_mm();
    let along_row = lps_from_voxel.matrix3.x_axis / i_mm;
    let along_column = lps_from_voxel.matrix3.y_axis / j_mm;
    let gap_mm = along_row.cross(along_column).dot(lps_from_voxel.matrix3.z_axis).abs();
    let cosines = [along_row.to_array(), along_column.to_array()].concat();
    file.decimals(tags::IMAGE_POSITION_PATIENT, &position.to_array());
    file.decimals(tags::IMAGE_ORIENTATION_PATIENT, &cosines);
    file.decimals(tags::PIXEL_SPACING, &[j_mm, i_mm]);
    file.decimals(tags::SLICE_THICKNESS, &[gap_mm]);
}

fn describe_ct(file: &mut DataSet) {
    file.text(tags::MODALITY, VR::CS, "CT");
    file.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
    file.text(tags::RESCALE_TYPE, VR::LO, "HU");
    file.empty(tags::KVP, VR::DS);
    file.empty(tags::ACQUISITION_NUMBER, VR::IS);
}

fn describe_mr(file: &mut DataSet, slice: &NewSlice<'_>) {
    let timing = slice.timing;
    file.text(tags::MODALITY, VR::CS, "MR");
    file.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\OTHER");
    let sequence = match (slice.modality, timing.echo_ms, timing.inversion_ms) {
        (Modality::Epi, ..) => "EP\\GR",
        (Modality::T2Star, ..) => "GR",
        (_, None, _) => "RM",
        (_, Some(_), None) => "SE",
        (_, Some(_), Some(_)) => "SE\\IR",
    };
    file.text(tags::SCANNING_SEQUENCE, VR::CS, sequence);
    file.text(tags::SEQUENCE_VARIANT, VR::CS, "NONE");
    file.empty(tags::SCAN_OPTIONS, VR::CS);
    file.text(tags::MR_ACQUISITION_TYPE, VR::CS, "2D");
    file.empty(tags::ECHO_TRAIN_LENGTH, VR::IS);
    for (tag, number) in [
        (tags::REPETITION_TIME, timing.repetition_ms),
        (tags::ECHO_TIME, timing.echo_ms),
        (tags::INVERSION_TIME, timing.inversion_ms),
        (tags::FLIP_ANGLE, timing.flip_degrees),
        (tags::TRIGGER_TIME, timing.trigger_ms),
    ] {
        if let Some(number) = number {
            file.decimals(tag, &[number]);
        }
    }
    if let Some(number) = timing.echo_number {
        file.text(tags::ECHO_NUMBERS, VR::IS, &number.to_string());
    }
    if let Some(number) = timing.b_value {
        let value = PrimitiveValue::from(number);
        file.0.put(DataElement::new(tags::DIFFUSION_B_VALUE, VR::FD, value));
    }
}

fn describe_pet(file: &mut DataSet, slice: &NewSlice<'_>) {
    file.text(tags::MODALITY, VR::CS, "PT");
    file.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY");
    file.text(tags::UNITS, VR::CS, "BQML");
    file.text(tags::SERIES_TYPE, VR::CS, "STATIC\\IMAGE");
    file.text(tags::COUNTS_SOURCE, VR::CS, "EMISSION");
    file.text(tags::DECAY_CORRECTION, VR::CS, "NONE");
    file.empty(tags::CORRECTED_IMAGE, VR::CS);
    file.empty(tags::COLLIMATOR_TYPE, VR::CS);
    file.u16(tags::NUMBER_OF_SLICES, slice.grid.shape[2].min(0xFFFF) as u16);
    file.u16(tags::IMAGE_INDEX, (slice.k + 1).min(0xFFFF) as u16);
    file.text(tags::FRAME_REFERENCE_TIME, VR::DS, "0");
}

fn store(file: &mut DataSet, slice: &NewSlice<'_>, words: Vec<u16>) {
    let bits = slice.bits_stored.clamp(2, 16);
    let [ni, nj, _] = slice.grid.shape;
    for (tag, number) in [
        (tags::SAMPLES_PER_PIXEL, 1),
        (tags::ROWS, nj as u16),
        (tags::COLUMNS, ni as u16),
        (tags::BITS_ALLOCATED, 16),
        (tags::BITS_STORED, bits),
        (tags::HIGH_BIT, bits - 1),
        (tags::PIXEL_REPRESENTATION, 1),
    ] {
        file.u16(tag, number);
    }
    file.text(tags::PHOTOMETRIC_INTERPRETATION, VR::CS, "MONOCHROME2");
    if let Some(padding) = slice.padding {
        let value = PrimitiveValue::from(padding);
        file.0.put(DataElement::new(tags::PIXEL_PADDING_VALUE, VR::SS, value));
    }
    file.decimals(tags::RESCALE_INTERCEPT, &[slice.intercept]);
    file.decimals(tags::RESCALE_SLOPE, &[slice.slope]);
    let words: C<u16> = words.into();
    file.0.put(DataElement::new(tags::PIXEL_DATA, VR::OW, PrimitiveValue::U16(words)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimal_strings_are_short_and_near() {
        for number in [0.0, -1.5, 1.0 / 3.0, -123.456_789_012_345, 7.351_088_662e-5, 1e12 / 7.0] {
            let text = decimal_string(number);
            assert!(text.len() <= 16, "{text}");
            let back: f64 = text.parse().unwrap();
            assert!((back - number).abs() <= number.abs() * 1e-8, "{text}");
        }
        assert_eq!(decimal_string(2.0), "2");
    }

    #[test]
    fn a_uid_is_valid_and_repeats() {
        let uid = uid_of(&["series", "1"]);
        assert_eq!(uid, uid_of(&["series", "1"]));
        assert_ne!(uid, uid_of(&["series1", ""]));
        assert!(uid.len() <= 64 && uid.bytes().all(|b| b.is_ascii_digit() || b == b'.'));
    }
}
