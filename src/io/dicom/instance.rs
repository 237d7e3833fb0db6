//! What is known of one instance without its pixels.

use std::{fmt, path::PathBuf};

use serde::{Deserialize, Serialize};

use super::{Frame, Kind, PixelLayout};
use crate::study::{Modality, Word, maybe_word, number_or_word};

/// One DICOM instance: its real identifiers and what is needed to place it in
/// a volume.
///
/// `Debug` prints neither identifiers nor the path.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Instance {
    /// Where it lies; not written with the rest.
    #[serde(skip)]
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
    #[serde(deserialize_with = "maybe_word")]
    pub body_part: Option<Word>,
    /// *Number of Frames*; 1 where it is absent.
    pub number_of_frames: u32,
    /// Its planes, in the order of the file: its frames, or the tiles of a
    /// mosaic. Empty where it is no plane of a volume.
    #[serde(with = "super::frame::kept")]
    pub frames: Vec<Frame>,
    /// How its pixels are stored; none where it has no pixels.
    pub pixels: Option<PixelLayout>,
    /// Unit of the values after rescale: `HU`, or one of the standard's words
    /// for PET.
    #[serde(deserialize_with = "maybe_word")]
    pub unit: Option<Word>,
    /// What makes the values of a PET standardised uptake by body weight in
    /// g/ml, or why there is none.
    #[serde(deserialize_with = "number_or_word")]
    pub suv_factor: Result<f64, Word>,
    /// *Concatenation UID* and the number of instances that belong together.
    pub concatenation: Option<(String, Option<u16>)>,
    /// *Instance Number*.
    pub instance_number: Option<i64>,
    /// *Acquisition Time* as written.
    pub acquisition_time: Option<String>,
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("kind", &self.kind)
            .field("modality", &self.modality)
            .field("frames", &self.number_of_frames)
            .finish_non_exhaustive()
    }
}
