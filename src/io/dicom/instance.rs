//! What is known of one instance without its pixels.

use std::{fmt, path::PathBuf};

use glam::DVec3;

use super::Kind;
use crate::study::Modality;

/// One DICOM instance: its real identifiers and what is needed to place it in
/// a volume.
///
/// `Debug` prints neither identifiers nor the path.
#[derive(Clone)]
#[non_exhaustive]
pub struct Instance {
    /// Where it lies.
    pub file: PathBuf,
    /// *Patient ID*; empty where the file has none.
    pub patient_id: String,
    /// *Study Instance UID*; empty where the file has none.
    pub study_uid: String,
    /// *Series Instance UID*; empty where the file has none.
    pub series_uid: String,
    /// *SOP Instance UID*; empty where the file has none.
    pub sop_uid: String,
    /// *Frame of Reference UID*, where there is one.
    pub frame_of_reference: Option<String>,
    /// *SOP Class UID*; empty where it is absent.
    pub sop_class: String,
    /// *Transfer Syntax UID*, guessed where the file has no meta information.
    pub transfer_syntax: String,
    /// Whether it is a plane of a volume, and what else it is if not.
    pub kind: Kind,
    /// What was measured, where it is one of the modalities that are known.
    pub modality: Option<Modality>,
    /// *Body Part Examined*, where it is one of the standard's words.
    pub body_part: Option<&'static str>,
    /// *Image Type*, upper case.
    pub image_type: Vec<String>,
    /// Where its pixels lie, where the header says so.
    pub plane: Option<Plane>,
    /// *Number of Frames*; 1 where it is absent.
    pub frames: u32,
    /// How its pixels are stored; none where it has no pixels.
    pub pixels: Option<PixelLayout>,
    /// Unit of the values after rescale: `HU`, or one of the standard's words
    /// for PET.
    pub unit: Option<&'static str>,
    /// Timing of MR.
    pub timing: MrTiming,
    /// *Instance Number*.
    pub instance_number: Option<i64>,
    /// *Temporal Position Identifier*.
    pub temporal_position: Option<i64>,
    /// *Acquisition Time* as written.
    pub acquisition_time: Option<String>,
}

/// Where the pixels of an instance lie, in DICOM's LPS+ mm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plane {
    /// *Rows*.
    pub rows: usize,
    /// *Columns*.
    pub columns: usize,
    /// Distance in mm between the centres of neighbouring rows, then columns.
    pub spacing_mm: [f64; 2],
    /// Unit vector along a row: the way the column index grows.
    pub along_row: DVec3,
    /// Unit vector along a column: the way the row index grows.
    pub along_column: DVec3,
    /// Centre of the first pixel.
    pub position_mm: DVec3,
}

/// How pixels are stored, and what turns them into values.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PixelLayout {
    /// 8 or 16 in what can be read.
    pub bits_allocated: u16,
    /// Bits that carry the value.
    pub bits_stored: u16,
    /// The highest of them, counted from 0.
    pub high_bit: u16,
    /// Whether the stored number is two's complement.
    pub signed: bool,
    /// 1 for grey, 3 for colour.
    pub samples: u16,
    /// Value per stored unit.
    pub slope: f64,
    /// Value of a stored zero.
    pub intercept: f64,
    /// Lowest and highest stored number that stand for "nothing here".
    pub padding: Option<(i32, i32)>,
}

/// Times and angle of an MR sequence, and what else tells echoes and
/// directions apart.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MrTiming {
    /// TR in ms.
    pub repetition_ms: Option<f64>,
    /// TE in ms.
    pub echo_ms: Option<f64>,
    /// TI in ms.
    pub inversion_ms: Option<f64>,
    /// Flip angle in degrees.
    pub flip_degrees: Option<f64>,
    /// *Echo Number*, the first one.
    pub echo_number: Option<i64>,
    /// *Trigger Time* in ms.
    pub trigger_ms: Option<f64>,
    /// b-value in s/mm².
    pub b_value: Option<f64>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("kind", &self.kind)
            .field("modality", &self.modality)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}
