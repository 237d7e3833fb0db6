//! Values of the attributes that a walk kept.

use std::{borrow::Cow, collections::BTreeMap};

use super::{DicomError, tags, tags::Tag, walk::Encoding};

/// Values by tag, still as bytes.
#[derive(Debug)]
pub(super) struct Values {
    bytes: BTreeMap<Tag, Vec<u8>>,
    encoding: Encoding,
}

impl Values {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { bytes: BTreeMap::new(), encoding }
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Keeps a value; the first one of a tag stays.
    pub(super) fn insert(&mut self, tag: Tag, bytes: Vec<u8>) {
        self.bytes.entry(tag).or_insert(bytes);
    }

    pub(super) fn contains(&self, tag: Tag) -> bool {
        self.bytes.contains_key(&tag)
    }

    /// The text of an attribute without padding, or `None` where it is absent
    /// or empty. Bytes that are no UTF-8 are read as Latin-1, so that an
    /// identifier stays the same whatever character set the file declares.
    pub(super) fn text(&self, tag: Tag) -> Option<Cow<'_, str>> {
        let bytes = self.bytes.get(&tag)?;
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text.trim_matches(['\0', ' '])),
            Err(_) => {
                let text: String = bytes.iter().map(|&b| char::from(b)).collect();
                Cow::Owned(text.trim_matches(['\0', ' ']).to_owned())
            }
        };
        (!text.is_empty()).then_some(text)
    }

    /// The components of a text, upper case.
    pub(super) fn words(&self, tag: Tag) -> Vec<String> {
        let text = self.text(tag).unwrap_or_default();
        let words = text.split('\\').map(|word| word.trim().to_ascii_uppercase());
        words.filter(|word| !word.is_empty()).collect()
    }

    /// Decimal strings (DS, IS), exactly `N` of them, all finite.
    pub(super) fn decimals<const N: usize>(
        &self,
        tag: Tag,
    ) -> Result<Option<[f64; N]>, DicomError> {
        let Some(text) = self.text(tag) else { return Ok(None) };
        let malformed = DicomError::Malformed { attribute: tags::name(tag) };
        let mut numbers = [0.0; N];
        let mut parts = text.split('\\');
        for number in &mut numbers {
            *number = match parts.next().map(|part| part.trim().parse::<f64>()) {
                Some(Ok(value)) if value.is_finite() => value,
                _ => return Err(malformed),
            };
        }
        if parts.next().is_some() { Err(malformed) } else { Ok(Some(numbers)) }
    }

    /// The first decimal of an attribute that only informs: what cannot be
    /// read is as if it were absent.
    pub(super) fn decimal(&self, tag: Tag) -> Option<f64> {
        let text = self.text(tag)?;
        let number = text.split('\\').next()?.trim().parse::<f64>().ok()?;
        number.is_finite().then_some(number)
    }

    /// A binary 16-bit number (US, or SS as its bits).
    pub(super) fn u16(&self, tag: Tag) -> Result<Option<u16>, DicomError> {
        let Some(bytes) = self.bytes.get(&tag) else { return Ok(None) };
        match bytes.first_chunk::<2>() {
            Some(_) if bytes.len() > 4 => Err(DicomError::Malformed { attribute: tags::name(tag) }),
            Some(&pair) if self.encoding.big_endian => Ok(Some(u16::from_be_bytes(pair))),
            Some(&pair) => Ok(Some(u16::from_le_bytes(pair))),
            None => Ok(None),
        }
    }

    /// As [`Values::u16`], where the standard demands a value.
    pub(super) fn required_u16(&self, tag: Tag) -> Result<u16, DicomError> {
        self.u16(tag)?.ok_or(DicomError::Missing { attribute: tags::name(tag) })
    }

    /// A binary 64-bit float (FD).
    pub(super) fn f64(&self, tag: Tag) -> Option<f64> {
        let bytes = *self.bytes.get(&tag)?.first_chunk::<8>()?;
        let number = if self.encoding.big_endian {
            f64::from_be_bytes(bytes)
        } else {
            f64::from_le_bytes(bytes)
        };
        number.is_finite().then_some(number)
    }
}
