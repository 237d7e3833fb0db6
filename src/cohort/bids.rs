//! What a name by the Brain Imaging Data Structure says of an image.

use super::naming::{NameError, Named};
use crate::study::Modality;

/// Endings of image files; what stands before them is the name.
const ENDINGS: [&str; 7] = [".nii", ".hdr", ".nrrd", ".nhdr", ".mha", ".mhd", ".img"];

/// A file name's entities and its suffix.
pub(super) struct Entities<'a> {
    parts: Vec<&'a str>,
    pub suffix: &'a str,
}

impl<'a> Entities<'a> {
    pub fn of(path: &'a str) -> Self {
        let name = path.rsplit('/').next().unwrap_or(path);
        let mut parts: Vec<&str> = stem(name).split('_').collect();
        let suffix = parts.pop().unwrap_or_default();
        Self { parts, suffix }
    }

    /// Such as `sub-01`, in the name's order.
    pub fn parts(&self) -> Vec<String> {
        self.parts.iter().map(|part| (*part).to_owned()).collect()
    }

    /// The label of an entity, such as `01` of `sub-01` for `sub`.
    fn label(&self, key: &str) -> Option<&'a str> {
        self.parts.iter().find_map(|part| part.strip_prefix(key)?.strip_prefix('-'))
    }
}

/// An image's name without its endings.
pub(super) fn stem(name: &str) -> &str {
    let stem = name.strip_suffix(".gz").unwrap_or(name);
    ENDINGS.iter().find_map(|ending| stem.strip_suffix(ending)).unwrap_or(stem)
}

/// What the path of an image, whose parts are joined by `/`, says; as
/// [`read_name`](super::naming::read_name) without a pattern.
///
/// # Source
/// BIDS 1.10, "Entities": `sub-<label>[_ses-<label>][_key-<value>…]_<suffix>.nii[.gz]`;
/// "part" for the parts of complex images; "Fieldmap data" for phases.
pub(super) fn read(path: &str, stated: Option<Modality>) -> Result<Option<Named>, NameError> {
    let entities = Entities::of(path);
    let subject = entities.label("sub").ok_or(NameError::NoSubject)?;
    if ["mask", "dseg", "probseg", "roi", "xfm"].contains(&entities.suffix) {
        return Ok(None);
    }
    let part = entities.label("part");
    let is_phase = ["phase", "phase1", "phase2", "phasediff"].contains(&entities.suffix)
        || part == Some("phase");
    let kind = match (is_phase, part, entities.suffix) {
        (true, ..) => Some("phase image"),
        (_, Some("real" | "imag"), _) => Some("part of a complex image"),
        (_, _, "fieldmap") => Some("field map"),
        _ => None,
    };
    let contrast = entities.label("ce").is_some();
    let modality = match (entities.suffix.parse(), stated, kind) {
        (Ok(Modality::T1), ..) if contrast => Modality::T1Post,
        (Ok(read), ..) => read,
        (Err(_), Some(stated), _) => stated,
        (Err(_), None, Some(_)) => Modality::Mr,
        (Err(unknown), None, None) => return Err(unknown.into()),
    };
    let session = entities.label("ses").unwrap_or_default();
    Ok(Some(Named { subject: subject.to_owned(), session: session.to_owned(), modality, kind }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(path: &str) -> (String, String, Modality, Option<&'static str>) {
        let named = read(path, None).ok().flatten().unwrap();
        (named.subject, named.session, named.modality, named.kind)
    }

    fn scan(sub: &str, ses: &str, m: Modality) -> (String, String, Modality, Option<&'static str>) {
        (sub.into(), ses.into(), m, None)
    }

    #[test]
    fn entities_stand_in_any_order() {
        let path = "sub-01/ses-2/anat/sub-01_ses-2_acq-x_run-2_T1w.nii.gz";
        assert_eq!(named(path), scan("01", "2", Modality::T1));
        assert_eq!(named("sub-01_ce-gad_T1w.nii"), scan("01", "", Modality::T1Post));
        assert_eq!(named("sub-01_echo-2_part-mag_bold.nii.gz"), scan("01", "", Modality::Epi));
        for ending in ["hdr", "hdr.gz", "nrrd", "nhdr", "mha", "mhd"] {
            assert_eq!(named(&format!("sub-01_FLAIR.{ending}")), scan("01", "", Modality::Flair));
        }
    }

    #[test]
    fn what_is_no_scan_is_told_apart() {
        assert!(read("sub-01_desc-brain_mask.nii.gz", None) == Ok(None));
        assert_eq!(named("sub-01_part-phase_bold.nii.gz").3, Some("phase image"));
        assert_eq!(named("sub-01_phasediff.nii.gz").3, Some("phase image"));
        assert_eq!(named("sub-01_part-imag_T2starw.nii").3, Some("part of a complex image"));
    }

    #[test]
    fn what_a_name_does_not_say_is_stated_or_refused() {
        assert!(read("brain.nii.gz", None) == Err(NameError::NoSubject));
        assert!(matches!(read("sub-01_JohnSmith.nii", None), Err(NameError::Modality(_))));
        let stated = read("sub-01_JohnSmith.nii", Some(Modality::Ct)).ok().flatten().unwrap();
        assert_eq!(stated.modality, Modality::Ct);
    }
}
