//! The attributes of a slice that is written.

use dicom::{
    core::{DataElement, PrimitiveValue, Tag, VR, value::C},
    dictionary_std::tags,
    object::InMemDicomObject,
};
use glam::DVec3;

use super::NewSlice;
use crate::{geometry::ras_from_lps, study::Modality};

/// A data set that is being written.
pub(super) struct DataSet(pub(super) InMemDicomObject);

impl DataSet {
    pub(super) fn text(&mut self, tag: Tag, vr: VR, text: &str) {
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

pub(super) fn identify(file: &mut DataSet, slice: &NewSlice<'_>) {
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

pub(super) fn place(file: &mut DataSet, slice: &NewSlice<'_>) {
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

pub(super) fn describe_ct(file: &mut DataSet) {
    file.text(tags::MODALITY, VR::CS, "CT");
    file.text(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\AXIAL");
    file.text(tags::RESCALE_TYPE, VR::LO, "HU");
    file.empty(tags::KVP, VR::DS);
    file.empty(tags::ACQUISITION_NUMBER, VR::IS);
}

pub(super) fn describe_mr(file: &mut DataSet, slice: &NewSlice<'_>) {
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

pub(super) fn describe_pet(file: &mut DataSet, slice: &NewSlice<'_>) {
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

pub(super) fn store(file: &mut DataSet, slice: &NewSlice<'_>, words: Vec<u16>) {
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
}
