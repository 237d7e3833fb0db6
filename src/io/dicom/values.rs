//! Values of the attributes that a walk kept.

use std::{borrow::Cow, collections::BTreeMap};

use super::{DicomError, tags, tags::Tag, walk::Encoding};

/// Most components of a text that are looked at: *Image Type* has about ten.
const MAX_WORDS: usize = 32;

/// The values of a data set: its own, and those of the sequences that are kept.
#[derive(Debug)]
pub(super) struct Values {
    pub(super) own: Attributes,
    items: BTreeMap<Tag, Vec<Attributes>>,
}

/// Values of one data set or item by tag, still as bytes.
#[derive(Debug)]
pub(super) struct Attributes {
    /// Tag, start and end in `bytes`, by tag.
    places: Vec<(Tag, u32, u32)>,
    bytes: Vec<u8>,
    encoding: Encoding,
    /// Whether a functional group has more real world value mappings than the one whose
    /// values are here.
    pub(super) has_more_mappings: bool,
}

impl Values {
    pub(super) fn new(encoding: Encoding) -> Self {
        Self { own: Attributes::of_data_set(encoding), items: BTreeMap::new() }
    }

    /// The items of a sequence; none where it is absent.
    pub(super) fn items(&self, sequence: Tag) -> &[Attributes] {
        self.items.get(&sequence).map_or(&[], Vec::as_slice)
    }

    /// Begins an item and gives its number.
    pub(super) fn add_item(&mut self, sequence: Tag, encoding: Encoding) -> usize {
        let items = self.items.entry(sequence).or_default();
        items.push(Attributes::new(encoding));
        items.len() - 1
    }

    /// An item, or what the data set itself holds.
    pub(super) fn target(&mut self, item: Option<(Tag, usize)>) -> &mut Attributes {
        match item.and_then(|(tag, index)| self.items.get_mut(&tag)?.get_mut(index)) {
            Some(item) => item,
            None => &mut self.own,
        }
    }
}

impl Attributes {
    fn new(encoding: Encoding) -> Self {
        Self { places: Vec::new(), bytes: Vec::new(), encoding, has_more_mappings: false }
    }

    /// With room for what a classic image has.
    fn of_data_set(encoding: Encoding) -> Self {
        let (places, bytes) = (Vec::with_capacity(64), Vec::with_capacity(1024));
        Self { places, bytes, ..Self::new(encoding) }
    }

    pub(super) fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Whether a tag has a value already: the first one stays.
    pub(super) fn holds(&self, tag: Tag) -> bool {
        self.place(tag).is_ok()
    }

    /// Where a tag stands, or would; tags ascend, so that a new one is mostly the last.
    fn place(&self, tag: Tag) -> Result<usize, usize> {
        match self.places.last() {
            Some(&(last, ..)) if last >= tag => {
                self.places.binary_search_by_key(&tags::number(tag), |&(tag, ..)| tags::number(tag))
            }
            _ => Err(self.places.len()),
        }
    }

    /// Keeps a value that `append` adds to those before it, where there is none yet.
    pub(super) fn insert(
        &mut self,
        tag: Tag,
        append: impl FnOnce(&mut Vec<u8>) -> Result<(), DicomError>,
    ) -> Result<(), DicomError> {
        let start = self.bytes.len();
        append(&mut self.bytes)?;
        let (start, end) = (start as u32, self.bytes.len() as u32);
        if let Err(place) = self.place(tag) {
            self.places.insert(place, (tag, start, end));
        }
        Ok(())
    }

    pub(super) fn bytes(&self, tag: Tag) -> Option<&[u8]> {
        let place = self.place(tag).ok()?;
        let &(_, start, end) = self.places.get(place)?;
        self.bytes.get(start as usize..end as usize)
    }

    /// The text of an attribute without padding, or `None` where it is absent
    /// or empty. Bytes that are no UTF-8 are read as Latin-1, so that an
    /// identifier stays the same whatever character set the file declares.
    pub(super) fn text(&self, tag: Tag) -> Option<Cow<'_, str>> {
        let mut bytes = self.bytes(tag)?;
        while let [b'\0' | b' ', rest @ ..] | [rest @ .., b'\0' | b' '] = bytes {
            bytes = rest;
        }
        let text = match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(bytes.iter().map(|&b| char::from(b)).collect()),
        };
        (!text.is_empty()).then_some(text)
    }

    /// The components of a text, upper case, the first [`MAX_WORDS`] of them.
    pub(super) fn words(&self, tag: Tag) -> Vec<String> {
        let text = self.text(tag).unwrap_or_default();
        let words = text.split('\\').map(|word| word.trim().to_ascii_uppercase());
        words.filter(|word| !word.is_empty()).take(MAX_WORDS).collect()
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
        let Some(bytes) = self.bytes(tag) else { return Ok(None) };
        match bytes.first_chunk::<2>() {
            Some(_) if bytes.len() > 4 => Err(DicomError::Malformed { attribute: tags::name(tag) }),
            Some(&pair) => Ok(Some(self.encoding.u16(pair))),
            None => Ok(None),
        }
    }

    /// As [`Attributes::u16`], where the standard demands a value.
    pub(super) fn required_u16(&self, tag: Tag) -> Result<u16, DicomError> {
        self.u16(tag)?.ok_or(DicomError::Missing { attribute: tags::name(tag) })
    }

    /// One of the binary 16-bit numbers of an attribute (US), counted from 0.
    pub(super) fn u16_at(&self, tag: Tag, index: usize) -> Option<u16> {
        let pair = self.bytes(tag)?.as_chunks::<2>().0.get(index)?;
        Some(self.encoding.u16(*pair))
    }

    /// All binary 16-bit numbers of an attribute (US, SS as bits, OW).
    pub(super) fn u16s(&self, tag: Tag) -> Vec<u16> {
        let pairs = self.bytes(tag).unwrap_or_default().as_chunks::<2>().0;
        pairs.iter().map(|&pair| self.encoding.u16(pair)).collect()
    }

    /// All binary 32-bit numbers of an attribute (UL).
    pub(super) fn u32s(&self, tag: Tag) -> Vec<u32> {
        let fours = self.bytes(tag).unwrap_or_default().as_chunks::<4>().0;
        fours.iter().map(|&four| self.encoding.u32(four)).collect()
    }

    /// A tag as a value (AT), the first one.
    pub(super) fn pointer(&self, tag: Tag) -> Option<Tag> {
        let &[group, element] = self.u16s(tag).first_chunk::<2>()?;
        Some((group, element))
    }

    /// A binary 32-bit float (FL).
    pub(super) fn f32(&self, tag: Tag) -> Option<f64> {
        let bytes = *self.bytes(tag)?.first_chunk::<4>()?;
        let number = f64::from(f32::from_bits(self.encoding.u32(bytes)));
        number.is_finite().then_some(number)
    }

    /// All binary 64-bit floats (FD).
    pub(super) fn f64s(&self, tag: Tag) -> impl Iterator<Item = f64> {
        let eights = self.bytes(tag).unwrap_or_default().as_chunks::<8>().0;
        eights.iter().map(|&eight| f64::from_bits(self.encoding.u64(eight)))
    }

    /// A binary 64-bit float (FD), the first one.
    pub(super) fn f64(&self, tag: Tag) -> Option<f64> {
        self.f64s(tag).next().filter(|number| number.is_finite())
    }
}
