//! What JSON files say of an image, as BIDS and dcm2niix write them: the one with
//! the image's own name, and in BIDS those that it inherits from folders above.
//!
//! Of their fields three matter here: they tell what the name alone may not,
//! whether these are intensities, and of what. No other is kept.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::{Map, Value};

use super::{
    bids::{Entities, stem},
    naming::Named,
};
use crate::study::Modality;

/// Longest sidecar that is read; those of dcm2niix have some kilobytes.
const LONGEST: u64 = 1 << 20;

/// Most JSON files of a folder that are looked through for some that apply to
/// others than the image of their name. A subject's folder has some hundreds.
const MOST: usize = 10_000;

/// The fields that are kept.
const KEPT: [&str; 3] = ["Modality", "ImageType", "ContrastBolusIngredient"];

/// The folders of a source whose JSON files were listed: each folder is listed,
/// and each file that several images inherit is read, once.
pub(super) struct Sidecars {
    /// The top of the source, for BIDS; else nothing is inherited.
    top: Option<PathBuf>,
    folders: Mutex<HashMap<PathBuf, Arc<Folder>>>,
}

/// The JSON files of a folder by their suffix.
#[derive(Default)]
struct Folder {
    /// Whether a dataset begins here, which inherits nothing from above.
    is_dataset: bool,
    files: HashMap<String, Vec<Inherited>>,
}

struct Inherited {
    /// Such as `task-rest`: what an image must have too.
    entities: Vec<String>,
    path: PathBuf,
    /// None until it is read; then none inside where it cannot be.
    fields: Mutex<Option<Option<Arc<Map<String, Value>>>>>,
}

impl Sidecars {
    /// Of a source that lies below `top`; `inherit` for names by BIDS.
    pub(super) fn new(top: &Path, inherit: bool) -> Self {
        let top = inherit.then(|| top.to_owned());
        Self { top, folders: Mutex::default() }
    }

    /// What applies to an image. A field of a file that lies nearer to it, or has
    /// more of its entities, counts before that of another.
    ///
    /// # Source
    /// BIDS 1.10, "The Inheritance Principle".
    pub(super) fn of(&self, image: &Path) -> Sidecar {
        let mut sidecar = Sidecar::default();
        for folder in self.folders_to(image) {
            let folder = self.folder(&folder);
            if folder.is_dataset {
                sidecar = Sidecar::default();
            }
            folder.add_to(&mut sidecar, image);
        }
        sidecar.add_own(image);
        sidecar
    }

    /// The folders from the top to that of an image.
    fn folders_to(&self, image: &Path) -> Vec<PathBuf> {
        let Some(top) = &self.top else { return Vec::new() };
        let folders = image.ancestors().skip(1).take_while(|folder| folder.starts_with(top));
        let mut folders: Vec<PathBuf> = folders.map(Path::to_owned).collect();
        folders.reverse();
        folders
    }

    fn folder(&self, path: &Path) -> Arc<Folder> {
        let known = |folders: &HashMap<PathBuf, Arc<Folder>>| folders.get(path).cloned();
        if let Some(folder) = known(&self.folders.lock().unwrap_or_else(PoisonError::into_inner)) {
            return folder;
        }
        let listed = Arc::new(Folder::list(path));
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        folders.entry(path.to_owned()).or_insert(listed).clone()
    }
}

impl Folder {
    fn list(path: &Path) -> Self {
        let mut folder = Self::default();
        let Ok(entries) = fs::read_dir(path) else { return folder };
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let names: Vec<String> =
            names.filter(|name| name.ends_with(".json")).take(MOST + 1).collect();
        folder.is_dataset = names.iter().any(|name| name == "dataset_description.json");
        if names.len() > MOST {
            return folder;
        }
        for name in names {
            let entities = Entities::of(name.strip_suffix(".json").unwrap_or(&name));
            let (entities_of, suffix) = (entities.parts(), entities.suffix.to_owned());
            folder.files.entry(suffix).or_default().push(Inherited {
                entities: entities_of,
                path: path.join(&name),
                fields: Mutex::default(),
            });
        }
        for files in folder.files.values_mut() {
            files.sort_by(|a, b| (a.entities.len(), &a.path).cmp(&(b.entities.len(), &b.path)));
        }
        folder
    }

    /// Adds the fields of files that an image inherits; its own is another matter.
    fn add_to(&self, sidecar: &mut Sidecar, image: &Path) {
        let name = image.file_name().unwrap_or_default().to_string_lossy();
        let of_image = Entities::of(&name);
        let (parts, own) = (of_image.parts(), own(image));
        let applies = |file: &&Inherited| {
            file.path != own && file.entities.iter().all(|part| parts.contains(part))
        };
        for file in self.files.get(of_image.suffix).into_iter().flatten().filter(applies) {
            let mut fields = file.fields.lock().unwrap_or_else(PoisonError::into_inner);
            match fields.get_or_insert_with(|| read(&file.path).map(Arc::new)) {
                Some(found) => sidecar.fields.extend(found.as_ref().clone()),
                None => sidecar.remark = Some("a JSON file that the image inherits cannot be read"),
            }
        }
    }
}

/// The JSON file with the image's own name.
fn own(image: &Path) -> PathBuf {
    let name = image.file_name().unwrap_or_default().to_string_lossy();
    image.with_file_name(format!("{}.json", stem(&name)))
}

/// The fields that apply to an image, none where there is no JSON file.
#[derive(Default)]
pub(super) struct Sidecar {
    fields: Map<String, Value>,
    /// Set where there is a file that cannot be read.
    pub remark: Option<&'static str>,
}

impl Sidecar {
    fn add_own(&mut self, image: &Path) {
        let path = own(image);
        if !path.is_file() {
            return;
        }
        match read(&path) {
            Some(fields) => self.fields.extend(fields),
            None => self.remark = Some("the JSON file beside the image cannot be read"),
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
    let mut fields: Map<String, Value> = serde_json::from_slice(&text).ok()?;
    fields.retain(|name, _| KEPT.contains(&name.as_str()));
    Some(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(sidecar: &str, modality: Modality) -> (Option<Modality>, Named, bool) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sub-1_x.json"), sidecar).unwrap();
        let image = folder.path().join("sub-1_x.nii.gz");
        let sidecar = Sidecars::new(folder.path(), false).of(&image);
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

    /// Words of *ImageType* and *Modality* that apply to `sub-1/anat/NAME`.
    fn inherited(files: &[(&str, &str)], name: &str) -> (Vec<String>, Option<Modality>, bool) {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let image = folder.path().join("sub-1/anat").join(name);
        let sidecars = Sidecars::new(folder.path(), true);
        let sidecar = sidecars.of(&image);
        let words = sidecar.fields.get("ImageType").and_then(Value::as_array).into_iter().flatten();
        let words = words.filter_map(Value::as_str).map(str::to_owned).collect();
        (words, sidecar.modality(), sidecar.remark.is_some())
    }

    #[test]
    fn the_nearest_file_whose_entities_an_image_has_counts_field_by_field() {
        let files = [
            ("T1w.json", r#"{"Modality": "MR", "ImageType": ["TOP"]}"#),
            ("T2w.json", r#"{"ImageType": ["OTHER SUFFIX"]}"#),
            ("acq-b_T1w.json", r#"{"ImageType": ["OTHER ENTITY"]}"#),
            ("sub-1/sub-1_T1w.json", r#"{"ImageType": ["SUBJECT"]}"#),
            ("sub-1/anat/sub-1_acq-a_T1w.json", r#"{"ImageType": ["FOLDER"]}"#),
            ("sub-1/anat/sub-1_acq-a_run-1_T1w.json", r#"{"EchoTime": 1}"#),
        ];
        let name = "sub-1_acq-a_run-1_T1w.nii.gz";
        let found = |count: usize| inherited(&files[..count], name);
        assert_eq!(found(3), (vec!["TOP".to_owned()], "MR".parse().ok(), false));
        assert_eq!(found(4), (vec!["SUBJECT".to_owned()], "MR".parse().ok(), false));
        assert_eq!(found(6), (vec!["FOLDER".to_owned()], "MR".parse().ok(), false));
        assert_eq!(inherited(&files, "sub-1_T2w.nii").0, ["OTHER SUFFIX"]);
        assert!(inherited(&files, "sub-1_bold.nii").0.is_empty());
        // Another acquisition has the subject's file, and not the other's.
        assert_eq!(inherited(&files, "sub-1_acq-c_T1w.nii").0, ["SUBJECT"]);
    }

    #[test]
    fn a_dataset_inherits_nothing_from_above_and_a_damaged_file_is_told() {
        let files = [
            ("T1w.json", r#"{"ImageType": ["ABOVE"]}"#),
            ("sub-1/dataset_description.json", "{}"),
            ("sub-1/T1w.json", "{"),
        ];
        let name = "sub-1_T1w.nii";
        assert_eq!(inherited(&files[..1], name).0, ["ABOVE"]);
        assert_eq!(inherited(&files[..2], name), (Vec::new(), None, false));
        assert_eq!(inherited(&files, name), (Vec::new(), None, true));
    }

    #[test]
    fn a_file_is_read_once_and_only_what_matters_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let shared = folder.path().join("T1w.json");
        fs::write(&shared, r#"{"PatientName": "somebody", "Modality": "PT"}"#).unwrap();
        let sidecars = Sidecars::new(folder.path(), true);
        let of = |n: usize| sidecars.of(&folder.path().join(format!("sub-{n}/sub-{n}_T1w.nii")));
        let first = of(1);
        assert_eq!(first.fields.keys().collect::<Vec<_>>(), ["Modality"]);
        fs::write(&shared, "changed").unwrap();
        assert_eq!(of(2).modality(), Some(Modality::Pet));
        assert!(of(3).remark.is_none());
    }
}
