//! Tensor data that stand in other files beside the model.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use crate::Error;
use crate::model::TensorProto;

/// The folder of a model, out of which no data are read.
pub(super) struct Folder(Option<PathBuf>);

impl Folder {
    /// No folder: the model came as bytes.
    pub fn none() -> Self {
        Self(None)
    }

    /// The folder that a model file stands in.
    pub fn of(model: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: model.to_owned(), source };
        let folder = match model.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        Ok(Self(Some(fs::canonicalize(folder).map_err(io)?)))
    }

    /// The bytes of a tensor, where they are not in the model itself.
    ///
    /// # Source
    /// ONNX, `ExternalData.md`: keys `location`, `offset` and `length`.
    pub fn read(&self, tensor: &TensorProto, size: usize) -> Result<Option<Vec<u8>>, Error> {
        if tensor.data_location != 1 && tensor.external_data.is_empty() {
            return Ok(None);
        }
        let entry = |key: &str| {
            tensor.external_data.iter().find(|e| e.key == key).map(|e| e.value.as_str())
        };
        let location = entry("location").unwrap_or_default();
        let wrong = |reason: String| Error::ExternalData {
            tensor: tensor.name.clone(),
            location: location.to_owned(),
            reason,
        };
        let number = |key: &str| {
            let parse = |text: &str| text.parse::<u64>();
            entry(key).map(parse).transpose().map_err(|e| wrong(format!("{key}: {e}")))
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        if length.is_some_and(|length| length != size as u64) {
            return Err(wrong(format!("length {length:?}, and the shape requires {size} bytes")));
        }
        let path = self.path(location).map_err(wrong)?;
        let mut file = File::open(&path).map_err(|e| wrong(e.to_string()))?;
        let stored = file.metadata().map_err(|e| wrong(e.to_string()))?.len();
        if offset.checked_add(size as u64).is_none_or(|end| end > stored) {
            return Err(wrong(format!("{size} bytes from {offset} on leave its {stored} bytes")));
        }
        let mut bytes = vec![0; size];
        file.seek(SeekFrom::Start(offset)).map_err(|e| wrong(e.to_string()))?;
        file.read_exact(&mut bytes).map_err(|e| wrong(e.to_string()))?;
        Ok(Some(bytes))
    }

    /// The file of a location, which must be within the folder, links followed.
    fn path(&self, location: &str) -> Result<PathBuf, String> {
        let folder = self.0.as_deref().ok_or("the model was not opened from a folder")?;
        let relative = Path::new(location);
        let plain =
            relative.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || !plain {
            return Err("not a path within the model's folder".to_owned());
        }
        let path = fs::canonicalize(folder.join(relative)).map_err(|e| e.to_string())?;
        if !path.starts_with(folder) {
            return Err("a link out of the model's folder".to_owned());
        }
        if !path.is_file() {
            return Err("not a file".to_owned());
        }
        Ok(path)
    }
}
