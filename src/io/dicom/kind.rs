//! What an instance is: a plane of a volume, or something else.

use serde::{Deserialize, Serialize};

use crate::study::{Word, word};

/// Whether an instance can become part of a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Kind {
    /// An image with a place in the patient: CT, MR, PET.
    Image,
    /// Something else, in a word or two for tables.
    NotAVolume(#[serde(deserialize_with = "word")] Word),
}

const STANDARD: &str = "1.2.840.10008.5.1.4.1.1.";

impl Kind {
    /// The kind of an instance.
    ///
    /// # Source
    /// DICOM PS3.4 table B.5-1 (SOP classes); PS3.3 C.8.2.1.1.1 and C.8.3.1.1.1
    /// (*Image Type* LOCALIZER of CT and MR).
    pub(super) fn of(sop_class: &str, image_type: &[String], modality: &str) -> Self {
        let Some(class) = sop_class.strip_prefix(STANDARD) else {
            let image = matches!(modality, "CT" | "MR" | "PT");
            return match sop_class {
                // Old exports lack the class; a private class may be anything.
                "" if image => Self::image(image_type),
                "1.2.840.10008.1.3.10" => Self::NotAVolume("media directory"),
                _ => Self::NotAVolume("unknown object"),
            };
        };
        let is = |prefix: &str| {
            class.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        match class {
            "2" | "4" | "128" => Self::image(image_type),
            "20" => Self::nuclear(image_type),
            // Enhanced and legacy converted CT, MR and PET: images of many frames.
            "2.1" | "2.2" | "4.1" | "4.4" | "128.1" | "130" => Self::image(image_type),
            "4.2" => Self::NotAVolume("MR spectroscopy"),
            "4.3" => Self::NotAVolume("colour image"),
            "481.2" => Self::NotAVolume("RT dose"),
            "481.3" => Self::NotAVolume("RT structure set"),
            "66.4" | "66.7" => Self::NotAVolume("segmentation"),
            "66.1" | "66.3" => Self::NotAVolume("registration"),
            "67" => Self::NotAVolume("real world value mapping"),
            "30" => Self::NotAVolume("parametric map"),
            _ if is("7") => Self::NotAVolume("secondary capture"),
            _ if is("9") => Self::NotAVolume("waveform"),
            _ if is("11") => Self::NotAVolume("presentation state"),
            _ if is("66") => Self::NotAVolume("raw or derived data"),
            _ if is("88") => Self::NotAVolume("structured report"),
            _ if is("104") => Self::NotAVolume("encapsulated document"),
            _ if is("481") => Self::NotAVolume("RT object"),
            _ if is("1") => Self::NotAVolume("radiograph"),
            _ if is("12") => Self::NotAVolume("angiogram or fluoroscopy"),
            _ if is("13") => Self::NotAVolume("tomosynthesis or 3D X-ray"),
            _ if is("3") || is("6") => Self::NotAVolume("ultrasound"),
            _ if is("77") => Self::NotAVolume("visible light image"),
            _ => Self::NotAVolume("other object"),
        }
    }

    /// The third word of a nuclear medicine image says what its frames are.
    ///
    /// # Source
    /// DICOM PS3.3 C.8.4.9.1.1.
    fn nuclear(image_type: &[String]) -> Self {
        match image_type.get(2).map(String::as_str) {
            Some("STATIC") => Self::NotAVolume("planar scintigram"),
            Some("DYNAMIC") => Self::NotAVolume("dynamic scintigram"),
            Some("GATED") => Self::NotAVolume("gated scintigram"),
            Some("WHOLE BODY") => Self::NotAVolume("whole-body scintigram"),
            Some("TOMO" | "GATED TOMO") => Self::NotAVolume("SPECT projections"),
            _ => Self::image(image_type),
        }
    }

    fn image(image_type: &[String]) -> Self {
        let is = |word: &str| image_type.iter().any(|w| w == word);
        if is("LOCALIZER") {
            Self::NotAVolume("localizer")
        } else if is("SCREEN SAVE") {
            Self::NotAVolume("screen save")
        } else {
            Self::Image
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_is_not_taken_for_another_with_the_same_start() {
        let kind = |class: &str| Kind::of(&format!("{STANDARD}{class}"), &[], "");
        assert_eq!(kind("2"), Kind::Image);
        assert_eq!(kind("7"), Kind::NotAVolume("secondary capture"));
        assert_eq!(kind("77.1.1"), Kind::NotAVolume("visible light image"));
        assert_eq!(kind("1.2"), Kind::NotAVolume("radiograph"));
        assert_eq!(kind("104.1"), Kind::NotAVolume("encapsulated document"));
        assert_eq!(kind("481.3"), Kind::NotAVolume("RT structure set"));
        assert_eq!(kind("128"), Kind::Image);
        assert_eq!(kind("20"), Kind::Image);
    }

    #[test]
    fn a_localizer_is_no_volume() {
        let words = ["ORIGINAL", "PRIMARY", "LOCALIZER"].map(str::to_owned);
        assert_eq!(
            Kind::of("1.2.840.10008.5.1.4.1.1.2", &words, "CT"),
            Kind::NotAVolume("localizer")
        );
    }

    #[test]
    fn of_nuclear_medicine_only_reconstructions_are_volumes() {
        let kind = |word: &str| {
            let words = ["ORIGINAL", "PRIMARY", word, "EMISSION"].map(str::to_owned);
            Kind::of("1.2.840.10008.5.1.4.1.1.20", &words, "NM")
        };
        assert_eq!(kind("RECON TOMO"), Kind::Image);
        assert_eq!(kind("RECON GATED TOMO"), Kind::Image);
        assert_eq!(kind("TOMO"), Kind::NotAVolume("SPECT projections"));
        assert_eq!(kind("WHOLE BODY"), Kind::NotAVolume("whole-body scintigram"));
        assert_eq!(kind("STATIC"), Kind::NotAVolume("planar scintigram"));
    }
}
