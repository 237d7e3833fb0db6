//! What the JSON file beside an image says of it, as BIDS and dcm2niix write it.
//!
//! The sidecar with the image's own name is read; those that BIDS lets a whole
//! folder inherit are not. Of its fields three matter here: they tell what the
//! name alone may not, whether these are intensities, and of what.

use std::{fs::File, io::Read, path::Path};

use serde_json::{Map, Value};

use super::{bids::stem, naming::Named};
use crate::study::Modality;

/// Longest sidecar that is read; those of dcm2niix have some kilobytes.
const LONGEST: u64 = 1 << 20;

/// The fields of a sidecar, none where there is no sidecar.
#[derive(Default)]
pub(super) struct Sidecar {
    fields: Map<String, Value>,
    /// Set where there is a sidecar that cannot be read.
    pub remark: Option<&'static str>,
}

impl Sidecar {
    /// The sidecar of an image.
    pub(super) fn of(image: &Path) -> Self {
        let name = image.file_name().unwrap_or_default().to_string_lossy();
        let path = image.with_file_name(format!("{}.json", stem(&name)));
        if !path.is_file() {
            return Self::default();
        }
        match read(&path) {
            Some(fields) => Self { fields, remark: None },
            None => Self {
                fields: Map::new(),
                remark: Some("the JSON file beside the image cannot be read"),
            },
        }
    }

    /// What was measured, by *Modality*, for a name that does not say.
    pub(super) fn modality(&self) -> Option<Modality> {
        self.fields.get("Modality")?.as_str()?.parse().ok()
    }

    /// Puts right what a name could not know: a phase by *ImageType*, contrast
    /// agent by *ContrastBolusIngredient*.
    ///
    /// # Source
    /// DICOM PS3.3 C.8.13.3.1.1 (value 3 and 4 of *Image Type*), in the words of
    /// dcm2niix too; BIDS 1.10, "Common metadata fields applicable to MRI data".
    pub(super) fn complete(&self, named: &mut Named) {
        let words = self.fields.get("ImageType").and_then(Value::as_array);
        let words: Vec<&str> = words.into_iter().flatten().filter_map(Value::as_str).collect();
        let is_mr = named.modality.family() == crate::study::Family::Mr;
        // "P" is the phase's word at its place: elsewhere it may mean anything.
        if is_mr && (words.get(2) == Some(&"P") || words.contains(&"PHASE")) {
            named.kind = Some("phase image");
        }
        let agent = self.fields.get("ContrastBolusIngredient").and_then(Value::as_str);
        if named.modality == Modality::T1 && agent.is_some_and(|agent| !agent.trim().is_empty()) {
            named.modality = Modality::T1Post;
        }
    }
}

fn read(path: &Path) -> Option<Map<String, Value>> {
    let mut text = Vec::new();
    File::open(path).ok()?.take(LONGEST + 1).read_to_end(&mut text).ok()?;
    if text.len() as u64 > LONGEST {
        return None;
    }
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(sidecar: &str, modality: Modality) -> (Option<Modality>, Named, bool) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sub-1_x.json"), sidecar).unwrap();
        let sidecar = Sidecar::of(&folder.path().join("sub-1_x.nii.gz"));
        let mut named = Named { subject: "1".into(), session: String::new(), modality, kind: None };
        sidecar.complete(&mut named);
        (sidecar.modality(), named, sidecar.remark.is_some())
    }

    #[test]
    fn modality_phase_and_contrast_are_read() {
        let (modality, named, remark) = completed(
            r#"{"Modality": "PT", "EchoTime": 0.03, "ImageType": ["DERIVED", "PRIMARY"]}"#,
            Modality::Pet,
        );
        assert!(modality == Some(Modality::Pet) && named.kind.is_none() && !remark);
        let phase = r#"{"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND", "PHASE"]}"#;
        assert_eq!(completed(phase, Modality::T2Star).1.kind, Some("phase image"));
        let agent = r#"{"ContrastBolusIngredient": "GADOLINIUM"}"#;
        assert_eq!(completed(agent, Modality::T1).1.modality, Modality::T1Post);
        assert_eq!(completed(agent, Modality::T2).1.modality, Modality::T2);
    }

    #[test]
    fn a_sidecar_of_another_kind_costs_nothing() {
        for text in ["", "[1, 2]", "{", r#"{"Modality": 5, "ImageType": "P"}"#] {
            let (modality, named, _) = completed(text, Modality::T1);
            assert!(modality.is_none() && named.kind.is_none(), "{text}");
        }
        assert!(completed("{", Modality::T1).2, "it is remarked");
    }
}
