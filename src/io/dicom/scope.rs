//! Where the values of one frame are looked for.

use super::{
    tags,
    tags::Tag,
    values::{Attributes, Values},
};

/// The attributes of a frame: its own functional groups, then the shared ones,
/// then those of the data set. Never those of another frame.
///
/// # Source
/// DICOM PS3.3 C.7.6.16 (multi-frame functional groups).
#[derive(Debug, Clone, Copy)]
pub(super) struct Scope<'a> {
    frame: Option<&'a Attributes>,
    shared: Option<&'a Attributes>,
    own: &'a Attributes,
}

impl<'a> Scope<'a> {
    /// Of a frame, counted from 0.
    pub(super) fn of_frame(values: &'a Values, frame: usize) -> Self {
        Self {
            frame: values.items(tags::PER_FRAME_GROUPS).get(frame),
            shared: values.items(tags::SHARED_GROUPS).first(),
            own: &values.own,
        }
    }

    /// What holds an attribute; what holds none where it is nowhere.
    pub(super) fn with(&self, tag: Tag) -> &'a Attributes {
        self.in_groups(tag).unwrap_or(self.own)
    }

    /// As [`Scope::with`], without the attributes of the data set.
    pub(super) fn in_groups(&self, tag: Tag) -> Option<&'a Attributes> {
        let has = |group: &&Attributes| group.bytes(tag).is_some_and(|bytes| !bytes.is_empty());
        self.frame.filter(has).or(self.shared.filter(has))
    }

    /// The only real world value mapping; none where there are several.
    ///
    /// # Source
    /// DICOM PS3.3 C.7.6.16.2.11.
    pub(super) fn real_world(&self, values: &'a Values) -> Option<&'a Attributes> {
        match values.items(tags::REAL_WORLD_MAPPING) {
            [] => self.in_groups(tags::REAL_WORLD_SLOPE).filter(|group| !group.has_more_mappings),
            [only] => Some(only),
            _ => None,
        }
    }
}
