//! What was measured, as a closed list of words.
//!
//! Closed on purpose: a modality comes from a header or a file name, and a word
//! that is not on the list could be anything, a name included.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a volume shows, in the words the tables use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Modality {
    /// T1-weighted MR.
    T1,
    /// T1-weighted MR after contrast agent.
    T1Post,
    /// T2-weighted MR.
    T2,
    /// T2*-weighted or susceptibility-weighted MR.
    T2Star,
    /// Fluid-attenuated inversion recovery MR.
    Flair,
    /// Proton-density-weighted MR.
    Pd,
    /// Echo-planar MR (functional).
    Epi,
    /// Diffusion-weighted MR.
    Dwi,
    /// Apparent diffusion coefficient.
    Adc,
    /// MR angiography.
    Mra,
    /// MR whose weighting is not known.
    Mr,
    /// Computed tomography, in Hounsfield units.
    Ct,
    /// Positron emission tomography.
    Pet,
    /// Single-photon emission computed tomography.
    Spect,
}

/// How intensities of a modality are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// Calibrated: Hounsfield units.
    Ct,
    /// Arbitrary units that change from scan to scan.
    Mr,
    /// Activity, non-negative.
    Nuclear,
}

/// A word that names no modality. It does not repeat the word, which may come
/// from a file name and identify somebody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the modality is none of {}", Modality::ALL.map(|m| m.as_str()).join(", "))]
pub struct UnknownModality;

impl Modality {
    /// Every modality, in the order of the tables.
    pub const ALL: [Self; 14] = [
        Self::T1,
        Self::T1Post,
        Self::T2,
        Self::T2Star,
        Self::Flair,
        Self::Pd,
        Self::Epi,
        Self::Dwi,
        Self::Adc,
        Self::Mra,
        Self::Mr,
        Self::Ct,
        Self::Pet,
        Self::Spect,
    ];

    /// The word used in tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::T1 => "T1",
            Self::T1Post => "T1POST",
            Self::T2 => "T2",
            Self::T2Star => "T2STAR",
            Self::Flair => "FLAIR",
            Self::Pd => "PD",
            Self::Epi => "EPI",
            Self::Dwi => "DWI",
            Self::Adc => "ADC",
            Self::Mra => "MRA",
            Self::Mr => "MR",
            Self::Ct => "CT",
            Self::Pet => "PET",
            Self::Spect => "SPECT",
        }
    }

    /// How its intensities are to be read.
    pub fn family(self) -> Family {
        match self {
            Self::Ct => Family::Ct,
            Self::Pet | Self::Spect => Family::Nuclear,
            _ => Family::Mr,
        }
    }
}

impl fmt::Display for Modality {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Modality {
    type Err = UnknownModality;

    /// Reads the tables' words, BIDS suffixes and common spellings, in any case.
    ///
    /// # Source
    /// BIDS 1.10 suffixes (`T1w`, `PDw`, `bold`, …); DICOM PS3.3 C.7.3.1.1.1 (`PT`, `NM`).
    fn from_str(word: &str) -> Result<Self, UnknownModality> {
        let word: String = word
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|c| c.to_ascii_uppercase())
            .collect();
        Ok(match word.as_str() {
            "T1" | "T1W" => Self::T1,
            "T1POST" | "T1C" | "T1CE" | "T1GD" | "T1WCE" => Self::T1Post,
            "T2" | "T2W" => Self::T2,
            "T2STAR" | "T2STARW" | "SWI" => Self::T2Star,
            "FLAIR" | "T2FLAIR" => Self::Flair,
            "PD" | "PDW" => Self::Pd,
            "EPI" | "BOLD" | "SBREF" => Self::Epi,
            "DWI" => Self::Dwi,
            "ADC" => Self::Adc,
            "MRA" | "ANGIO" | "TOF" => Self::Mra,
            "MR" | "MRI" => Self::Mr,
            "CT" => Self::Ct,
            "PET" | "PT" => Self::Pet,
            "SPECT" | "NM" => Self::Spect,
            _ => return Err(UnknownModality),
        })
    }
}

/// The body part in the standard's spelling, or `None` for any other word:
/// *Body Part Examined* is typed by people and may say anything.
///
/// # Source
/// DICOM PS3.16 Annex L, the defined terms that cover most archives.
pub fn known_body_part(word: &str) -> Option<&'static str> {
    const PARTS: [&str; 24] = [
        "ABDOMEN",
        "ABDOMENPELVIS",
        "ANKLE",
        "ARM",
        "BRAIN",
        "BREAST",
        "CHEST",
        "CHESTABDOMEN",
        "CHESTABDPELVIS",
        "CSPINE",
        "ELBOW",
        "EXTREMITY",
        "FOOT",
        "HAND",
        "HEAD",
        "HEADNECK",
        "HIP",
        "KNEE",
        "LEG",
        "LSPINE",
        "NECK",
        "PELVIS",
        "SHOULDER",
        "WHOLEBODY",
    ];
    let word = word.trim();
    PARTS.into_iter().find(|part| part.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for modality in Modality::ALL {
            assert_eq!(modality.as_str().parse(), Ok(modality));
        }
        assert_eq!("t1w".parse(), Ok(Modality::T1));
        assert_eq!("PT".parse(), Ok(Modality::Pet));
    }

    #[test]
    fn an_unknown_word_is_not_repeated() {
        let error = "Smith".parse::<Modality>().unwrap_err();
        assert!(!error.to_string().contains("Smith"));
    }

    #[test]
    fn free_text_is_no_body_part() {
        assert_eq!(known_body_part(" Chest "), Some("CHEST"));
        assert_eq!(known_body_part("JANE DOE KNEE"), None);
    }
}
