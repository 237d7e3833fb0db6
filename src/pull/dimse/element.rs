//! Command sets and identifiers: flat lists of elements, implicit VR, little-endian.
//!
//! `dicom-object` reserves what a length declares and recurses into sequences; a
//! list of some hundred bytes needs neither.

use super::super::PullError;

/// Group in the upper half, element in the lower.
pub(super) type Tag = u32;

pub(super) const COMMAND_LENGTH: Tag = 0x0000_0000;
pub(super) const AFFECTED_CLASS: Tag = 0x0000_0002;
pub(super) const COMMAND: Tag = 0x0000_0100;
pub(super) const MESSAGE_ID: Tag = 0x0000_0110;
pub(super) const RESPONDED_ID: Tag = 0x0000_0120;
pub(super) const DESTINATION: Tag = 0x0000_0600;
pub(super) const PRIORITY: Tag = 0x0000_0700;
pub(super) const DATA_SET_TYPE: Tag = 0x0000_0800;
pub(super) const STATUS: Tag = 0x0000_0900;
pub(super) const AFFECTED_INSTANCE: Tag = 0x0000_1000;

pub(super) const CHARACTER_SET: Tag = 0x0008_0005;
pub(super) const SOP_CLASS: Tag = 0x0008_0016;
pub(super) const SOP_INSTANCE: Tag = 0x0008_0018;
pub(super) const STUDY_DATE: Tag = 0x0008_0020;
pub(super) const LEVEL: Tag = 0x0008_0052;
pub(super) const MODALITY: Tag = 0x0008_0060;
pub(super) const MODALITIES: Tag = 0x0008_0061;
pub(super) const PATIENT_ID: Tag = 0x0010_0020;
pub(super) const STUDY: Tag = 0x0020_000D;
pub(super) const SERIES: Tag = 0x0020_000E;

const ITEM: Tag = 0xFFFE_E000;
const ITEM_END: Tag = 0xFFFE_E00D;
const SEQUENCE_END: Tag = 0xFFFE_E0DD;
const UNDEFINED: u32 = u32::MAX;

/// Deepest nesting that is passed over.
const MAX_DEPTH: usize = 32;

/// Elements in ascending order of their tags.
#[derive(Default)]
pub(super) struct Elements(Vec<(Tag, Vec<u8>)>);

impl Elements {
    pub(super) fn with_text(mut self, tag: Tag, text: &str) -> Self {
        let mut value = text.as_bytes().to_vec();
        if value.len() % 2 == 1 {
            // UIDs are padded with a null, text with a blank (PS3.5 6.2).
            let uid = [AFFECTED_CLASS, AFFECTED_INSTANCE, SOP_CLASS, SOP_INSTANCE, STUDY, SERIES];
            value.push(if uid.contains(&tag) { 0 } else { b' ' });
        }
        self.0.push((tag, value));
        self
    }

    pub(super) fn with_u16(mut self, tag: Tag, value: u16) -> Self {
        self.0.push((tag, value.to_le_bytes().to_vec()));
        self
    }

    /// The elements as bytes.
    pub(super) fn encode(mut self) -> Vec<u8> {
        self.0.sort_by_key(|(tag, _)| *tag);
        let mut bytes = Vec::new();
        for (tag, value) in &self.0 {
            bytes.extend(((tag >> 16) as u16).to_le_bytes());
            bytes.extend((*tag as u16).to_le_bytes());
            bytes.extend((value.len() as u32).to_le_bytes());
            bytes.extend(value);
        }
        bytes
    }

    /// The elements as the bytes of a command set, with its length in front.
    ///
    /// # Source
    /// DICOM PS3.7 6.3.1.
    pub(super) fn encode_command(self) -> Vec<u8> {
        let body = self.encode();
        let length = (body.len() as u32).to_le_bytes().to_vec();
        [Self(vec![(COMMAND_LENGTH, length)]).encode(), body].concat()
    }

    /// Reads elements; sequences are passed over, without recursion.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, PullError> {
        let broken = PullError::Malformed { what: "a command or a list that breaks off" };
        let (mut rest, mut depth, mut found) = (bytes, 0, Vec::new());
        while let Some((head, after)) = rest.split_first_chunk::<8>() {
            let [g0, g1, e0, e1, l0, l1, l2, l3] = *head;
            let (group, element) = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            let tag = Tag::from(group) << 16 | Tag::from(element);
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            rest = after;
            match (tag, length) {
                (ITEM_END | SEQUENCE_END, _) if depth > 0 => depth -= 1,
                (_, UNDEFINED) if depth < MAX_DEPTH && (tag != ITEM || depth > 0) => depth += 1,
                _ => {
                    let Some((value, after)) = rest.split_at_checked(length as usize) else {
                        return Err(broken);
                    };
                    if depth == 0 {
                        found.push((tag, value.to_vec()));
                    }
                    rest = after;
                }
            }
        }
        if rest.is_empty() && depth == 0 { Ok(Self(found)) } else { Err(broken) }
    }

    fn value(&self, tag: Tag) -> Option<&[u8]> {
        self.0.iter().find(|(found, _)| *found == tag).map(|(_, value)| &value[..])
    }

    /// A text without padding; none where it is absent or empty.
    pub(super) fn text(&self, tag: Tag) -> Option<String> {
        let text = String::from_utf8_lossy(self.value(tag)?);
        let text = text.trim_matches([' ', '\0']);
        (!text.is_empty()).then(|| text.to_owned())
    }

    pub(super) fn u16(&self, tag: Tag) -> Option<u16> {
        Some(u16::from_le_bytes(self.value(tag)?.try_into().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_come_back() {
        let list = Elements::default().with_text(STUDY, "1.2.3").with_text(LEVEL, "STUDY");
        let bytes = list.encode();
        // In order of tags; a UID is padded with a null.
        assert!(bytes.starts_with(&[0x08, 0, 0x52, 0, 6, 0, 0, 0]) && bytes.ends_with(b"1.2.3\0"));
        let back = Elements::decode(&bytes).unwrap();
        assert_eq!(back.text(STUDY).as_deref(), Some("1.2.3"));
        assert_eq!(back.text(LEVEL).as_deref(), Some("STUDY"));
    }

    #[test]
    fn sequences_are_passed_over() {
        let open = [0x08, 0, 0x40, 0x11, 255, 255, 255, 255];
        let item = [0xFE, 0xFF, 0x00, 0xE0, 255, 255, 255, 255];
        let inner = Elements::default().with_text(STUDY, "9.9").encode();
        let ends = [0xFE, 0xFF, 0x0D, 0xE0, 0, 0, 0, 0, 0xFE, 0xFF, 0xDD, 0xE0, 0, 0, 0, 0];
        let outer = Elements::default().with_text(STUDY, "1.2").encode();
        let all = [&open[..], &item, &inner, &ends, &outer].concat();
        assert_eq!(Elements::decode(&all).unwrap().text(STUDY).as_deref(), Some("1.2"));
        for end in 1..all.len() {
            // Where a whole number of elements is left, the outer one is not there.
            if let Ok(part) = Elements::decode(&all[..end]) {
                assert_eq!(part.text(STUDY), None);
            }
        }
        assert!(Elements::decode(&open.repeat(100_000)).is_err());
    }
}
