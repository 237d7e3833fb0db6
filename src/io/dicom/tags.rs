//! The attributes that the reader looks at.
//!
//! # Source
//! DICOM PS3.6 chapter 6; PS3.6 table A-1 for the transfer syntaxes.

/// Group and element.
pub(super) type Tag = (u16, u16);

pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(super) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(super) const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";
pub(super) const DEFLATED_FRAME: &str = "1.2.840.10008.1.2.8.1";

pub(super) const ITEM: Tag = (0xFFFE, 0xE000);
pub(super) const ITEM_END: Tag = (0xFFFE, 0xE00D);
pub(super) const SEQUENCE_END: Tag = (0xFFFE, 0xE0DD);
pub(super) const PIXEL_DATA: Tag = (0x7FE0, 0x0010);

/// Float, double and integer pixel data: the walk ends at any of them.
pub(super) const PIXELS: [Tag; 3] = [(0x7FE0, 0x0008), (0x7FE0, 0x0009), PIXEL_DATA];

macro_rules! wanted {
    ($($name:ident = $group:literal, $element:literal, $words:literal;)*) => {
        $(pub(super) const $name: Tag = ($group, $element);)*

        /// Attributes whose values are kept, in ascending order.
        pub(super) const WANTED: &[Tag] = &[$($name),*];

        /// The standard's name of an attribute that is kept.
        pub(super) fn name(tag: Tag) -> &'static str {
            match tag {
                $($name => $words,)*
                _ => "an attribute",
            }
        }
    };
}

wanted! {
    TRANSFER_SYNTAX = 0x0002, 0x0010, "Transfer Syntax UID";
    IMAGE_TYPE = 0x0008, 0x0008, "Image Type";
    SOP_CLASS = 0x0008, 0x0016, "SOP Class UID";
    SOP_INSTANCE = 0x0008, 0x0018, "SOP Instance UID";
    ACQUISITION_TIME = 0x0008, 0x0032, "Acquisition Time";
    MODALITY = 0x0008, 0x0060, "Modality";
    SERIES_DESCRIPTION = 0x0008, 0x103E, "Series Description";
    PATIENT_ID = 0x0010, 0x0020, "Patient ID";
    CONTRAST_AGENT = 0x0018, 0x0010, "Contrast/Bolus Agent";
    BODY_PART = 0x0018, 0x0015, "Body Part Examined";
    SCANNING_SEQUENCE = 0x0018, 0x0020, "Scanning Sequence";
    SEQUENCE_VARIANT = 0x0018, 0x0021, "Sequence Variant";
    ANGIO_FLAG = 0x0018, 0x0025, "Angio Flag";
    REPETITION_TIME = 0x0018, 0x0080, "Repetition Time";
    ECHO_TIME = 0x0018, 0x0081, "Echo Time";
    INVERSION_TIME = 0x0018, 0x0082, "Inversion Time";
    ECHO_NUMBERS = 0x0018, 0x0086, "Echo Number(s)";
    PROTOCOL_NAME = 0x0018, 0x1030, "Protocol Name";
    TRIGGER_TIME = 0x0018, 0x1060, "Trigger Time";
    FLIP_ANGLE = 0x0018, 0x1314, "Flip Angle";
    B_VALUE = 0x0018, 0x9087, "Diffusion b-value";
    STUDY_INSTANCE = 0x0020, 0x000D, "Study Instance UID";
    SERIES_INSTANCE = 0x0020, 0x000E, "Series Instance UID";
    INSTANCE_NUMBER = 0x0020, 0x0013, "Instance Number";
    IMAGE_POSITION = 0x0020, 0x0032, "Image Position (Patient)";
    IMAGE_ORIENTATION = 0x0020, 0x0037, "Image Orientation (Patient)";
    FRAME_OF_REFERENCE = 0x0020, 0x0052, "Frame of Reference UID";
    TEMPORAL_POSITION = 0x0020, 0x0100, "Temporal Position Identifier";
    SAMPLES_PER_PIXEL = 0x0028, 0x0002, "Samples per Pixel";
    PHOTOMETRIC = 0x0028, 0x0004, "Photometric Interpretation";
    NUMBER_OF_FRAMES = 0x0028, 0x0008, "Number of Frames";
    ROWS = 0x0028, 0x0010, "Rows";
    COLUMNS = 0x0028, 0x0011, "Columns";
    PIXEL_SPACING = 0x0028, 0x0030, "Pixel Spacing";
    BITS_ALLOCATED = 0x0028, 0x0100, "Bits Allocated";
    BITS_STORED = 0x0028, 0x0101, "Bits Stored";
    HIGH_BIT = 0x0028, 0x0102, "High Bit";
    PIXEL_REPRESENTATION = 0x0028, 0x0103, "Pixel Representation";
    PADDING = 0x0028, 0x0120, "Pixel Padding Value";
    PADDING_LIMIT = 0x0028, 0x0121, "Pixel Padding Range Limit";
    RESCALE_INTERCEPT = 0x0028, 0x1052, "Rescale Intercept";
    RESCALE_SLOPE = 0x0028, 0x1053, "Rescale Slope";
    MODALITY_LUT = 0x0028, 0x3000, "Modality LUT Sequence";
    UNITS = 0x0054, 0x1001, "Units";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_tags_ascend() {
        assert!(WANTED.is_sorted());
    }
}
