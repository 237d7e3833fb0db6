//! One plane on its way into a volume.

use std::{path::PathBuf, sync::Arc};

use crate::io::dicom::{Frame, Instance};

/// A frame of an instance.
#[derive(Clone)]
pub(super) struct Image {
    pub(super) instance: Arc<Instance>,
    /// Which one; there is one.
    pub(super) index: u32,
}

impl Image {
    /// Every frame of an instance.
    pub(super) fn all_of(instance: Arc<Instance>) -> impl Iterator<Item = Self> {
        let frames = instance.frames.len() as u32;
        (0..frames).map(move |index| Self { instance: instance.clone(), index })
    }

    pub(super) fn frame(&self) -> &Frame {
        &self.instance.frames[self.index as usize]
    }
}

/// Files, each once, in the order of their first mention.
pub(super) fn files_of<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<PathBuf> {
    let mut seen = std::collections::HashSet::new();
    files.filter(|file| seen.insert(*file)).cloned().collect()
}
