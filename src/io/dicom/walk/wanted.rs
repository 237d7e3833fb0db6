//! Which values a walk keeps: attributes of the data set, of a few sequences,
//! and of the functional groups that lie deeper.

use std::collections::BTreeMap;

use crate::io::dicom::{DicomError, source::Source, tags, tags::Tag};

/// Sequences whose items are kept, each as a set of its own.
const SEQUENCES: [Tag; 8] = [
    tags::DIRECTORY_RECORDS,
    tags::DIMENSION_INDEX,
    tags::MODALITY_LUT,
    tags::REAL_WORLD_MAPPING,
    tags::RADIOPHARMACEUTICAL,
    tags::DETECTOR,
    tags::SHARED_GROUPS,
    tags::PER_FRAME_GROUPS,
];

/// Functional groups: the values of their only item belong to the item of the
/// shared or per-frame sequence around them.
const GROUPS: [Tag; 18] = [
    tags::DIFFUSION_GRADIENT,
    tags::MR_TIMING,
    tags::MR_ECHO,
    tags::MR_MODIFIER,
    tags::MR_DIFFUSION,
    tags::CARDIAC_SYNC,
    tags::MR_FRAME_TYPE,
    tags::CT_FRAME_TYPE,
    tags::PET_FRAME_TYPE,
    tags::FRAME_CONTENT,
    tags::PLANE_POSITION,
    tags::PLANE_ORIENTATION,
    tags::UNASSIGNED_SHARED,
    tags::UNASSIGNED_PER_FRAME,
    tags::PIXEL_MEASURES,
    tags::PIXEL_VALUE_TRANSFORMATION,
    tags::REAL_WORLD_MAPPING,
    tags::MEASUREMENT_UNITS,
];

/// Private elements that are kept, by the name of their block.
const PRIVATE: [(&str, u16, u8, Tag); 7] = [
    ("GEMS_PETD_01", 0x0009, 0x0D, tags::GE_SCAN_TIME),
    ("SIEMENS MR HEADER", 0x0019, 0x0A, tags::SIEMENS_MOSAIC_IMAGES),
    ("SIEMENS MR HEADER", 0x0019, 0x0C, tags::SIEMENS_B_VALUE),
    ("SIEMENS CSA HEADER", 0x0029, 0x10, tags::SIEMENS_CSA_IMAGE),
    ("GEMS_PARM_01", 0x0043, 0x39, tags::GE_B_VALUE),
    ("Philips PET Private Group", 0x7053, 0x00, tags::PHILIPS_SUV_FACTOR),
    ("Philips PET Private Group", 0x7053, 0x09, tags::PHILIPS_ACTIVITY_FACTOR),
];

/// Looks for attributes among those that are kept, where it looked last: tags ascend
/// in a data set.
#[derive(Default)]
pub(super) struct Kept(usize);

impl Kept {
    /// Whether an attribute with an even group is kept.
    pub(super) fn holds(&mut self, tag: Tag) -> bool {
        let before = self.0.checked_sub(1).and_then(|last| tags::WANTED.get(last));
        if before.is_some_and(|&before| before >= tag) {
            self.0 = 0;
        }
        let rest = tags::WANTED.get(self.0..).unwrap_or_default();
        self.0 += rest.iter().take_while(|&&wanted| wanted < tag).count();
        tags::WANTED.get(self.0) == Some(&tag)
    }
}

/// Longest value of an attribute. Most have a few hundred bytes; a lookup table
/// has up to 65,536 entries of 16 bits. What every frame gets a copy of, be it said
/// once for all of them, is short.
pub(super) fn limit(tag: Tag) -> u64 {
    match tag {
        tags::STACK_ID | tags::DIMENSION_VALUES => 1 << 7,
        tags::LUT_DATA => 1 << 17,
        tags::SIEMENS_CSA_IMAGE => 1 << 20,
        _ => 1 << 16,
    }
}

/// Where the values of what is open are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Into {
    /// In the data set itself.
    DataSet,
    /// A sequence: each item by itself, or its first one within another item.
    Items { sequence: Tag, within: Option<(Tag, usize)> },
    /// In an item that is kept.
    Item { sequence: Tag, index: usize },
    /// Not at all.
    Nowhere,
}

impl Into {
    /// Where the items of a sequence go that lies in what is open.
    pub(super) fn sequence(self, tag: Tag) -> Self {
        match self {
            Self::DataSet if SEQUENCES.contains(&tag) => {
                Self::Items { sequence: tag, within: None }
            }
            Self::Item { sequence, index }
                if matches!(sequence, tags::SHARED_GROUPS | tags::PER_FRAME_GROUPS)
                    && GROUPS.contains(&tag) =>
            {
                Self::Items { sequence: tag, within: Some((sequence, index)) }
            }
            // A legacy-converted PET keeps it among what is not assigned.
            Self::Item { sequence: tags::SHARED_GROUPS, .. }
                if tag == tags::RADIOPHARMACEUTICAL =>
            {
                Self::Items { sequence: tag, within: None }
            }
            Self::Item { sequence, index }
                if sequence == tags::REAL_WORLD_MAPPING && tag == tags::MEASUREMENT_UNITS =>
            {
                Self::Items { sequence: tag, within: Some((sequence, index)) }
            }
            _ => Self::Nowhere,
        }
    }
}

/// The private blocks that are known of a data set and of its items: each names its own.
#[derive(Default)]
pub(super) struct Creators(BTreeMap<(Item, u16, u8), &'static str>);

/// An item that is kept; none for the data set.
type Item = Option<(Tag, usize)>;

/// What a private element is.
pub(super) enum Private {
    /// The name of a block, now read.
    Named,
    /// An element that is kept, under its tag in block 10.
    Known(Tag),
    /// Another one, not read.
    Other,
}

impl Creators {
    /// # Source
    /// DICOM PS3.5 7.8.1 (private data element tags).
    pub(super) fn resolve(
        &mut self,
        item: Item,
        (group, element): Tag,
        source: &mut Source,
        length: u32,
    ) -> Result<Private, DicomError> {
        if (0x10..=0xFF).contains(&element) && length <= 64 {
            let bytes = source.take(u64::from(length))?;
            let name = bytes.trim_ascii();
            let known = PRIVATE.iter().find(|(creator, of, ..)| {
                *of == group && creator.as_bytes().eq_ignore_ascii_case(name)
            });
            let place = (item, group, element as u8);
            match known {
                Some((creator, ..)) => self.0.insert(place, creator),
                None => self.0.remove(&place),
            };
            return Ok(Private::Named);
        }
        let [block, low] = element.to_be_bytes();
        let known = self.0.get(&(item, group, block)).and_then(|name| {
            PRIVATE
                .iter()
                .find(|(creator, of, at, _)| creator == name && *of == group && *at == low)
        });
        Ok(known.map_or(Private::Other, |&(.., tag)| Private::Known(tag)))
    }
}
