//! What one file of a source is.

use std::path::{Path, PathBuf};

use super::{
    InputError, Source, is_companion,
    naming::{Named, read_name},
    sidecar::Sidecars,
};
use crate::io::{
    Format, SniffError,
    dicom::{self, Instance},
    image::{self, ImageHead},
    sniff,
};

/// What one file is.
pub(super) enum Content {
    Dicom(Box<Instance>),
    /// Without what its name says where it says nothing, and may.
    Image(Box<ImageHead>, Option<Named>),
    Companion,
}

/// What one file is, and the files beside it that its header names.
pub(super) struct Looked {
    pub content: Result<Content, InputError>,
    pub data_files: Vec<PathBuf>,
}

/// Looks at one file: its format, its name, its header.
pub(super) fn look_at(source: &Source, sidecars: &Sidecars, path: &Path) -> Looked {
    let format = sniff(path);
    let is_image = format.as_ref().is_ok_and(|&format| format != Format::Dicom);
    let content = content(source, sidecars, path, format);
    let data_files = match &content {
        Ok(Content::Image(head, _)) => head.data_files().to_vec(),
        // Refused or passed over: its voxels are no alien file for that.
        _ if is_image => image::data_files(path),
        _ => Vec::new(),
    };
    Looked { content, data_files }
}

fn content(
    source: &Source,
    sidecars: &Sidecars,
    path: &Path,
    format: Result<Format, SniffError>,
) -> Result<Content, InputError> {
    let relative = path.strip_prefix(&source.path).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    let relative = match &parts[..] {
        // The source is this file.
        [] => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        parts => parts.join("/"),
    };
    match format {
        Ok(Format::Dicom) => {
            let mut instance = dicom::open_header(path)?;
            let named = source.pattern.as_ref().and_then(|p| p.subject(&relative));
            instance.complete(named.or_else(|| source.unnamed.then_some(relative)))?;
            Ok(Content::Dicom(Box::new(instance)))
        }
        Ok(_) => {
            let sidecar = sidecars.of(path);
            let stated = source.modality.or_else(|| sidecar.modality());
            let mut named = match read_name(&relative, source.pattern.as_ref(), stated) {
                Ok(Some(named)) => Some(named),
                Err(_) if source.unnamed => None,
                Ok(None) => return Ok(Content::Companion),
                Err(error) => return Err(error.into()),
            };
            let mut head = image::open_head(path)?;
            if let Some(named) = &mut named {
                sidecar.complete(named);
                named.kind = head.kind.or(named.kind);
            }
            head.remarks.extend(sidecar.remark.map(str::to_owned));
            Ok(Content::Image(Box::new(head), named))
        }
        Err(_) if is_companion(path) => Ok(Content::Companion),
        Err(error) => Err(error.into()),
    }
}
