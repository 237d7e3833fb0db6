//! What one file of a source is.

use std::{
    fs::File,
    io::BufReader,
    path::{Path, PathBuf},
};

use super::{
    InputError, Source,
    damaged::Damage,
    is_companion,
    naming::{Named, read_name},
    reason,
    sidecar::Sidecars,
};
use crate::{
    durable,
    io::{
        self, Format, SniffError,
        dicom::{self, DicomError, Instance},
        image::{self, ImageError, ImageHead},
    },
};

/// What one file is.
pub(super) enum Looked {
    /// Known by the file alone, as long as it does not change.
    Lasting(Lasting),
    /// What depends on the files beside it, or on whether it can be read just now.
    Passing(Passing),
}

impl Looked {
    fn refused(path: &Path, error: &InputError) -> Self {
        let damage = Damage::of(path, error);
        Self::Lasting(Lasting::Refused { reason: reason(error), damage })
    }

    /// Of a file that cannot be read just now, or whose name was lost.
    fn unreadable(path: &Path, error: InputError) -> Self {
        let damage = Damage::of(path, &error);
        Self::Passing(Passing { content: Err(error), voxels: Vec::new(), damage })
    }

    /// Whether another try may end otherwise, though nothing is seen of a change.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Passing(passing) if passing.may_pass())
    }
}

pub(super) enum Lasting {
    Instance(Box<Instance>),
    /// Lies beside scans.
    Companion,
    /// Why, and whether a series may lack it.
    Refused {
        reason: String,
        damage: Option<Damage>,
    },
}

pub(super) struct Passing {
    pub content: Result<Content, InputError>,
    /// The files beside it that its header names for its voxels.
    pub voxels: Vec<PathBuf>,
    /// Whether a series may lack it.
    pub damage: Option<Damage>,
}

impl Passing {
    /// As [`Looked::may_pass`].
    pub fn may_pass(&self) -> bool {
        matches!(
            self.content,
            Err(InputError::Sniff(SniffError::Unreadable(_) | SniffError::Archive(_))
                | InputError::Dicom(DicomError::Io(_))
                | InputError::Image(ImageError::Io(_)))
        )
    }

    /// A digest of what the file itself says, but for its voxels.
    pub fn digest(&self) -> String {
        let said = match &self.content {
            Ok(Content::Image(head, _)) => {
                let mut head = head.clone();
                // Some are of files beside it.
                head.remarks.clear();
                format!("{head:?}")
            }
            Ok(Content::Companion) => String::new(),
            Err(error) => reason(error),
        };
        durable::sha256_hex(said.as_bytes())
    }
}

pub(super) enum Content {
    /// Without what its name says where it says nothing, and may.
    Image(Box<ImageHead>, Option<Named>),
    Companion,
}

/// Looks at one file: its format, its name, its header. It is opened once.
pub(super) fn look_at(source: &Source, sidecars: &Sidecars, path: &Path) -> Looked {
    match io::open(path) {
        Ok((Format::Dicom, file)) => match instance(source, path, file) {
            Ok(instance) => Looked::Lasting(Lasting::Instance(Box::new(instance))),
            Err(error @ DicomError::Io(_)) => Looked::unreadable(path, error.into()),
            // A media directory is DICOM, and no instance.
            Err(_) if is_companion(path) => Looked::Lasting(Lasting::Companion),
            Err(error) => Looked::refused(path, &error.into()),
        },
        Ok((_, file)) => {
            let content = image(source, sidecars, path, file);
            let voxels = match &content {
                Ok(Content::Image(head, _)) => head.data_files().to_vec(),
                // Refused or passed over: its voxels are no alien file for that.
                _ => image::data_files(path),
            };
            Looked::Passing(Passing { content, voxels, damage: None })
        }
        Err(_) if is_companion(path) => Looked::Lasting(Lasting::Companion),
        Err(error @ (SniffError::Empty | SniffError::Alien | SniffError::AlienGzip)) => {
            Looked::refused(path, &error.into())
        }
        // A name that is no UTF-8 was kept with another letter in it.
        Err(SniffError::Unreadable(_)) if path.to_string_lossy().contains('\u{FFFD}') => {
            Looked::unreadable(path, InputError::NotUtf8)
        }
        Err(error) => Looked::unreadable(path, error.into()),
    }
}

fn instance(source: &Source, path: &Path, file: BufReader<File>) -> Result<Instance, DicomError> {
    let mut instance = dicom::read_header(file, path)?;
    let relative = relative(source, path);
    let named = source.pattern.as_ref().and_then(|pattern| pattern.subject(&relative));
    instance.complete(named.or_else(|| source.unnamed.then_some(relative)))?;
    Ok(instance)
}

fn image(
    source: &Source,
    sidecars: &Sidecars,
    path: &Path,
    file: BufReader<File>,
) -> Result<Content, InputError> {
    let sidecar = sidecars.of(path);
    let stated = source.modality.or_else(|| sidecar.modality());
    let mut named = match read_name(&relative(source, path), source.pattern.as_ref(), stated) {
        Ok(Some(named)) => Some(named),
        Err(_) if source.unnamed => None,
        Ok(None) => return Ok(Content::Companion),
        Err(error) => return Err(error.into()),
    };
    let mut head = image::read_head(file, path)?;
    if let Some(named) = &mut named {
        sidecar.complete(named);
        named.kind = head.kind.or(named.kind);
    }
    head.remarks.extend(sidecar.remark.map(str::to_owned));
    Ok(Content::Image(Box::new(head), named))
}

/// A file's path within its source, its parts joined by `/`.
fn relative(source: &Source, path: &Path) -> String {
    let relative = path.strip_prefix(&source.path).unwrap_or(path);
    let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
    match &parts[..] {
        // The source is this file.
        [] => path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        parts => parts.join("/"),
    }
}
