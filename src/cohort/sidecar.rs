//! What JSON files say of an image, as BIDS and dcm2niix write them: the one with
//! the image's own name, and in BIDS those that it inherits from folders above.
//!
//! Of their fields three matter here: they tell what the name alone may not,
//! whether these are intensities, and of what. No other is kept.

use std::{
    collections::HashMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use serde_json::{Map, Value};

use super::{
    bids::{Entities, stem},
    naming::Named,
};
use crate::{io::archive, study::Modality};

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
    /// Read where they are first needed; none where they cannot be.
    fields: OnceLock<Option<Map<String, Value>>>,
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
        folder.is_dataset = path.join("dataset_description.json").is_file();
        if names.len() > MOST {
            return folder;
        }
        for name in names {
            let entities = Entities::of(name.strip_suffix(".json").unwrap_or(&name));
            let (entities_of, suffix) = (entities.parts(), entities.suffix.to_owned());
            folder.files.entry(suffix).or_default().push(Inherited {
                entities: entities_of,
                path: path.join(&name),
                fields: OnceLock::new(),
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
            match file.fields.get_or_init(|| read(&file.path)) {
                Some(found) => sidecar.fields.extend(found.clone()),
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
        if archive::len(&path).is_none() {
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
    archive::open(path).ok()?.take(LONGEST + 1).read_to_end(&mut text).ok()?;
    if text.len() as u64 > LONGEST {
        return None;
    }
    let mut fields: Map<String, Value> = serde_json::from_slice(&text).ok()?;
    fields.retain(|name, _| KEPT.contains(&name.as_str()));
    Some(fields)
}

#[cfg(test)]
mod tests;
