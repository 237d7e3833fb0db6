//! The attributes that the reader looks at.
//!
//! # Source
//! DICOM PS3.6 chapter 6; PS3.6 table A-1 for the transfer syntaxes.

/// Group and element.
pub(super) type Tag = (u16, u16);

/// A tag as one number, in the same order and compared faster.
pub(super) fn number((group, element): Tag) -> u32 {
    u32::from(group) << 16 | u32::from(element)
}

pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";
pub(super) const EXPLICIT: &str = "1.2.840.10008.1.2.1";
pub(super) const DEFLATED: &str = "1.2.840.10008.1.2.1.99";
pub(super) const EXPLICIT_BIG: &str = "1.2.840.10008.1.2.2";

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
    DIRECTORY_RECORDS = 0x0004, 0x1220, "Directory Record Sequence";
    REFERENCED_FILE = 0x0004, 0x1500, "Referenced File ID";
    IMAGE_TYPE = 0x0008, 0x0008, "Image Type";
    SOP_CLASS = 0x0008, 0x0016, "SOP Class UID";
    SOP_INSTANCE = 0x0008, 0x0018, "SOP Instance UID";
    SERIES_DATE = 0x0008, 0x0021, "Series Date";
    ACQUISITION_DATE = 0x0008, 0x0022, "Acquisition Date";
    ACQUISITION_DATE_TIME = 0x0008, 0x002A, "Acquisition DateTime";
    SERIES_TIME = 0x0008, 0x0031, "Series Time";
    ACQUISITION_TIME = 0x0008, 0x0032, "Acquisition Time";
    MODALITY = 0x0008, 0x0060, "Modality";
    CODE_VALUE = 0x0008, 0x0100, "Code Value";
    SERIES_DESCRIPTION = 0x0008, 0x103E, "Series Description";
    FRAME_TYPE = 0x0008, 0x9007, "Frame Type";
    COMPLEX_COMPONENT = 0x0008, 0x9208, "Complex Image Component";
    ACQUISITION_CONTRAST = 0x0008, 0x9209, "Acquisition Contrast";
    GE_SCAN_TIME = 0x0009, 0x100D, "GE PET scan Date and Time";
    PATIENT_ID = 0x0010, 0x0020, "Patient ID";
    PATIENT_WEIGHT = 0x0010, 0x1030, "Patient's Weight";
    CONTRAST_AGENT = 0x0018, 0x0010, "Contrast/Bolus Agent";
    BODY_PART = 0x0018, 0x0015, "Body Part Examined";
    SCANNING_SEQUENCE = 0x0018, 0x0020, "Scanning Sequence";
    SEQUENCE_VARIANT = 0x0018, 0x0021, "Sequence Variant";
    ANGIO_FLAG = 0x0018, 0x0025, "Angio Flag";
    REPETITION_TIME = 0x0018, 0x0080, "Repetition Time";
    ECHO_TIME = 0x0018, 0x0081, "Echo Time";
    INVERSION_TIME = 0x0018, 0x0082, "Inversion Time";
    ECHO_NUMBERS = 0x0018, 0x0086, "Echo Number(s)";
    SPACING_BETWEEN_SLICES = 0x0018, 0x0088, "Spacing Between Slices";
    PROTOCOL_NAME = 0x0018, 0x1030, "Protocol Name";
    TRIGGER_TIME = 0x0018, 0x1060, "Trigger Time";
    DOSE_START_TIME = 0x0018, 0x1072, "Radiopharmaceutical Start Time";
    TOTAL_DOSE = 0x0018, 0x1074, "Radionuclide Total Dose";
    HALF_LIFE = 0x0018, 0x1075, "Radionuclide Half Life";
    DOSE_START_DATE_TIME = 0x0018, 0x1078, "Radiopharmaceutical Start DateTime";
    FRAME_DURATION = 0x0018, 0x1242, "Actual Frame Duration";
    FLIP_ANGLE = 0x0018, 0x1314, "Flip Angle";
    DIFFUSION_DIRECTION = 0x0018, 0x9075, "Diffusion Directionality";
    DIFFUSION_GRADIENT = 0x0018, 0x9076, "Diffusion Gradient Direction Sequence";
    INVERSION_TIMES = 0x0018, 0x9079, "Inversion Times";
    EFFECTIVE_ECHO_TIME = 0x0018, 0x9082, "Effective Echo Time";
    B_VALUE = 0x0018, 0x9087, "Diffusion b-value";
    GRADIENT_ORIENTATION = 0x0018, 0x9089, "Diffusion Gradient Orientation";
    MR_TIMING = 0x0018, 0x9112, "MR Timing and Related Parameters Sequence";
    MR_ECHO = 0x0018, 0x9114, "MR Echo Sequence";
    MR_MODIFIER = 0x0018, 0x9115, "MR Modifier Sequence";
    MR_DIFFUSION = 0x0018, 0x9117, "MR Diffusion Sequence";
    CARDIAC_SYNC = 0x0018, 0x9118, "Cardiac Synchronization Sequence";
    MR_FRAME_TYPE = 0x0018, 0x9226, "MR Image Frame Type Sequence";
    CT_FRAME_TYPE = 0x0018, 0x9329, "CT Image Frame Type Sequence";
    DECAY_CORRECTION_TIME = 0x0018, 0x9701, "Decay Correction DateTime";
    PET_FRAME_TYPE = 0x0018, 0x9751, "PET Frame Type Sequence";
    DECAY_CORRECTED = 0x0018, 0x9758, "Decay Corrected";
    ATTENUATION_CORRECTED = 0x0018, 0x9759, "Attenuation Corrected";
    SIEMENS_MOSAIC_IMAGES = 0x0019, 0x100A, "Number Of Images In Mosaic";
    SIEMENS_B_VALUE = 0x0019, 0x100C, "b-value of Siemens";
    STUDY_INSTANCE = 0x0020, 0x000D, "Study Instance UID";
    SERIES_INSTANCE = 0x0020, 0x000E, "Series Instance UID";
    INSTANCE_NUMBER = 0x0020, 0x0013, "Instance Number";
    IMAGE_POSITION = 0x0020, 0x0032, "Image Position (Patient)";
    IMAGE_ORIENTATION = 0x0020, 0x0037, "Image Orientation (Patient)";
    FRAME_OF_REFERENCE = 0x0020, 0x0052, "Frame of Reference UID";
    TEMPORAL_POSITION = 0x0020, 0x0100, "Temporal Position Identifier";
    STACK_ID = 0x0020, 0x9056, "Stack ID";
    FRAME_CONTENT = 0x0020, 0x9111, "Frame Content Sequence";
    PLANE_POSITION = 0x0020, 0x9113, "Plane Position Sequence";
    PLANE_ORIENTATION = 0x0020, 0x9116, "Plane Orientation Sequence";
    TEMPORAL_POSITION_INDEX = 0x0020, 0x9128, "Temporal Position Index";
    CARDIAC_TRIGGER_DELAY = 0x0020, 0x9153, "Nominal Cardiac Trigger Delay Time";
    DIMENSION_VALUES = 0x0020, 0x9157, "Dimension Index Values";
    CONCATENATION = 0x0020, 0x9161, "Concatenation UID";
    CONCATENATION_TOTAL = 0x0020, 0x9163, "In-concatenation Total Number";
    DIMENSION_POINTER = 0x0020, 0x9165, "Dimension Index Pointer";
    UNASSIGNED_SHARED = 0x0020, 0x9170, "Unassigned Shared Converted Attributes Sequence";
    UNASSIGNED_PER_FRAME = 0x0020, 0x9171, "Unassigned Per-Frame Converted Attributes Sequence";
    DIMENSION_INDEX = 0x0020, 0x9222, "Dimension Index Sequence";
    SAMPLES_PER_PIXEL = 0x0028, 0x0002, "Samples per Pixel";
    PHOTOMETRIC = 0x0028, 0x0004, "Photometric Interpretation";
    PLANAR_CONFIGURATION = 0x0028, 0x0006, "Planar Configuration";
    NUMBER_OF_FRAMES = 0x0028, 0x0008, "Number of Frames";
    FRAME_INCREMENT = 0x0028, 0x0009, "Frame Increment Pointer";
    ROWS = 0x0028, 0x0010, "Rows";
    COLUMNS = 0x0028, 0x0011, "Columns";
    PIXEL_SPACING = 0x0028, 0x0030, "Pixel Spacing";
    CORRECTED_IMAGE = 0x0028, 0x0051, "Corrected Image";
    BITS_ALLOCATED = 0x0028, 0x0100, "Bits Allocated";
    BITS_STORED = 0x0028, 0x0101, "Bits Stored";
    HIGH_BIT = 0x0028, 0x0102, "High Bit";
    PIXEL_REPRESENTATION = 0x0028, 0x0103, "Pixel Representation";
    PADDING = 0x0028, 0x0120, "Pixel Padding Value";
    PADDING_LIMIT = 0x0028, 0x0121, "Pixel Padding Range Limit";
    FLOAT_PADDING = 0x0028, 0x0122, "Float Pixel Padding Value";
    DOUBLE_PADDING = 0x0028, 0x0123, "Double Float Pixel Padding Value";
    FLOAT_PADDING_LIMIT = 0x0028, 0x0124, "Float Pixel Padding Range Limit";
    DOUBLE_PADDING_LIMIT = 0x0028, 0x0125, "Double Float Pixel Padding Range Limit";
    RESCALE_INTERCEPT = 0x0028, 0x1052, "Rescale Intercept";
    RESCALE_SLOPE = 0x0028, 0x1053, "Rescale Slope";
    MODALITY_LUT = 0x0028, 0x3000, "Modality LUT Sequence";
    LUT_DESCRIPTOR = 0x0028, 0x3002, "LUT Descriptor";
    LUT_DATA = 0x0028, 0x3006, "LUT Data";
    PIXEL_MEASURES = 0x0028, 0x9110, "Pixel Measures Sequence";
    PIXEL_VALUE_TRANSFORMATION = 0x0028, 0x9145, "Pixel Value Transformation Sequence";
    SIEMENS_CSA_IMAGE = 0x0029, 0x1010, "CSA Image Header Info";
    MEASUREMENT_UNITS = 0x0040, 0x08EA, "Measurement Units Code Sequence";
    REAL_WORLD_MAPPING = 0x0040, 0x9096, "Real World Value Mapping Sequence";
    REAL_WORLD_LAST = 0x0040, 0x9211, "Real World Value Last Value Mapped";
    REAL_WORLD_FIRST = 0x0040, 0x9216, "Real World Value First Value Mapped";
    REAL_WORLD_INTERCEPT = 0x0040, 0x9224, "Real World Value Intercept";
    REAL_WORLD_SLOPE = 0x0040, 0x9225, "Real World Value Slope";
    GE_B_VALUE = 0x0043, 0x1039, "b-value of GE";
    ENERGY_WINDOW_VECTOR = 0x0054, 0x0010, "Energy Window Vector";
    RADIOPHARMACEUTICAL = 0x0054, 0x0016, "Radiopharmaceutical Information Sequence";
    DETECTOR_VECTOR = 0x0054, 0x0020, "Detector Vector";
    DETECTOR = 0x0054, 0x0022, "Detector Information Sequence";
    PHASE_VECTOR = 0x0054, 0x0030, "Phase Vector";
    ROTATION_VECTOR = 0x0054, 0x0050, "Rotation Vector";
    RR_INTERVAL_VECTOR = 0x0054, 0x0060, "R-R Interval Vector";
    TIME_SLOT_VECTOR = 0x0054, 0x0070, "Time Slot Vector";
    SLICE_VECTOR = 0x0054, 0x0080, "Slice Vector";
    NUMBER_OF_SLICES = 0x0054, 0x0081, "Number of Slices";
    TIME_SLICE_VECTOR = 0x0054, 0x0100, "Time Slice Vector";
    UNITS = 0x0054, 0x1001, "Units";
    SUV_TYPE = 0x0054, 0x1006, "SUV Type";
    DECAY_CORRECTION = 0x0054, 0x1102, "Decay Correction";
    FRAME_REFERENCE_TIME = 0x0054, 0x1300, "Frame Reference Time";
    SHARED_GROUPS = 0x5200, 0x9229, "Shared Functional Groups Sequence";
    PER_FRAME_GROUPS = 0x5200, 0x9230, "Per-Frame Functional Groups Sequence";
    PHILIPS_SUV_FACTOR = 0x7053, 0x1000, "Philips SUV Scale Factor";
    PHILIPS_ACTIVITY_FACTOR = 0x7053, 0x1009, "Philips Activity Concentration Scale Factor";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wanted_tags_ascend() {
        assert!(WANTED.is_sorted());
    }
}
