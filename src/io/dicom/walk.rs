//! A bounded walk over the structure of a DICOM file.
//!
//! One pass forward, without recursion: open sequences and items lie on a
//! stack of at most [`MAX_DEPTH`] sequences, every length is checked against
//! what is left of that which holds it, and only values that were asked for are
//! kept ([`wanted`] says which). The walk ends where pixel data starts.

mod element;
mod wanted;

pub(super) use element::{Encoding, guess_encoding, has_preamble};

use element::{Element, read_element};
use wanted::{Creators, Into, Kept, limit};

use super::{DicomError, source::Source, tags, tags::Tag, values::Values};

/// Deepest nesting of sequences. Structured reports reach about ten.
const MAX_DEPTH: usize = 32;

/// Most values kept, those of all frames together: 100,000 frames have some two
/// million.
const MAX_KEPT: usize = 1 << 22;

/// Most bytes of them: of a deflated data set they are not bounded by the file.
const MAX_KEPT_BYTES: u64 = 1 << 27;

/// Most items of a sequence that is kept: the frames of a multi-frame image.
const MAX_ITEMS: usize = 1 << 18;

/// Longest file meta information, which holds about 500 bytes.
const MAX_META_ELEMENTS: usize = 64;

const UNDEFINED: u32 = u32::MAX;

/// The pixel data element where the walk ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct PixelStart {
    pub(super) tag: Tag,
    /// Two letters; `??` in an implicit data set.
    pub(super) vr: [u8; 2],
    /// Bytes of native pixel data; none where it is encapsulated.
    pub(super) length: Option<u64>,
}

/// What a walk found. The source stands at the first byte of pixel data.
#[derive(Debug)]
pub(super) struct Walked {
    pub(super) source: Source,
    pub(super) values: Values,
    pub(super) transfer_syntax: String,
    pub(super) pixels: Option<PixelStart>,
}

/// Walks over a file and keeps the values of [`tags::WANTED`].
///
/// # Source
/// DICOM PS3.10 7.1 (preamble, file meta information), PS3.5 7.1 (elements),
/// 7.5 (sequences), 6.2.2 (UN of undefined length), A.4 (encapsulation).
pub(super) fn walk(source: Source) -> Result<Walked, DicomError> {
    let (mut walker, transfer_syntax) = begin(source)?;
    let pixels = walker.data_set()?;
    let Walker { source, values, .. } = walker;
    Ok(Walked { source, values, transfer_syntax, pixels })
}

/// What stands in a file before its damage, where it is a DICOM file.
pub(super) fn salvage(source: Source) -> Option<Values> {
    let (mut walker, _) = begin(source).ok()?;
    // What is wrong with it has been said.
    let _ = walker.data_set();
    Some(walker.values)
}

/// A walker before the data set, and the transfer syntax.
fn begin(mut source: Source) -> Result<(Walker, String), DicomError> {
    let start = source.peek(144)?;
    if has_preamble(start) {
        source.skip(132)?;
    } else if guess_encoding(start).is_none() {
        return Err(DicomError::NotDicom);
    }
    let meta_syntax = read_meta(&mut source)?;
    if meta_syntax.as_deref() == Some(tags::DEFLATED) {
        source = source.inflate()?;
    }
    let seen = guess_encoding(source.peek(8)?);
    // The syntax of the meta information is believed for the byte order, the
    // bytes for what is explicit: writers that mix the two up exist.
    let encoding = match (meta_syntax.as_deref(), seen) {
        (Some(tags::EXPLICIT_BIG), _) => Encoding::EXPLICIT_BIG,
        (_, Some(seen)) => seen,
        (Some(tags::IMPLICIT), None) => Encoding::IMPLICIT,
        (_, None) => Encoding::EXPLICIT,
    };
    let transfer_syntax = meta_syntax.unwrap_or_else(|| {
        let syntax = match (encoding.implicit, encoding.big_endian) {
            (true, _) => tags::IMPLICIT,
            (false, true) => tags::EXPLICIT_BIG,
            (false, false) => tags::EXPLICIT,
        };
        syntax.to_owned()
    });
    let walker = Walker {
        source,
        values: Values::new(encoding),
        creators: Creators::default(),
        wanted: Kept::default(),
        kept: 0,
        kept_bytes: 0,
        open: Vec::new(),
        encoding,
    };
    Ok((walker, transfer_syntax))
}

/// Reads group 2, always explicit and little-endian, and gives back the
/// transfer syntax.
fn read_meta(source: &mut Source) -> Result<Option<String>, DicomError> {
    let mut syntax = None;
    for _ in 0..MAX_META_ELEMENTS {
        if source.peek(2)? != [2, 0] {
            return Ok(syntax);
        }
        let element = read_element(source, Encoding::EXPLICIT)?;
        if element.length == UNDEFINED {
            let (at, what) = (source.at(), "an undefined length in the file meta information");
            return Err(DicomError::Structure { at, what });
        }
        let length = u64::from(element.length);
        if element.tag == tags::TRANSFER_SYNTAX {
            let bytes = source.take(length.min(limit(element.tag)))?;
            let uid = String::from_utf8_lossy(&bytes);
            syntax = Some(uid.trim_matches(['\0', ' ']).to_owned());
        } else {
            source.skip(length)?;
        }
    }
    let what = "a file meta information without end";
    Err(DicomError::Structure { at: source.at(), what })
}

/// What is open around the next element.
#[derive(Debug, Clone, Copy)]
struct Open {
    holds: Holds,
    /// Where it ends; none where a delimiter ends it.
    end: Option<u64>,
    /// Encoding of what is outside.
    outer: Encoding,
    /// Where its values are kept.
    into: Into,
    /// Items that were begun in it.
    items: usize,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Holds {
    Items,
    Fragments,
    Elements,
}

struct Walker {
    source: Source,
    values: Values,
    creators: Creators,
    wanted: Kept,
    kept: usize,
    kept_bytes: u64,
    open: Vec<Open>,
    encoding: Encoding,
}

impl Walker {
    fn data_set(&mut self) -> Result<Option<PixelStart>, DicomError> {
        loop {
            self.close_what_ended();
            if self.open.is_empty() && self.source.is_at_end()? {
                return Ok(None);
            }
            let found = match self.open.last().map(|open| open.holds) {
                None | Some(Holds::Elements) => self.element()?,
                Some(Holds::Items | Holds::Fragments) => self.item()?,
            };
            if found.is_some() {
                return Ok(found);
            }
        }
    }

    fn close_what_ended(&mut self) {
        while let Some(open) = self.open.last() {
            if open.end != Some(self.source.at()) {
                break;
            }
            self.close();
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.pop() {
            self.encoding = open.outer;
        }
    }

    /// Opens something that ends after `length` bytes, or at its delimiter.
    fn enter(
        &mut self,
        holds: Holds,
        length: u32,
        inner: Encoding,
        into: Into,
    ) -> Result<(), DicomError> {
        let at = self.source.at();
        if self.open.len() >= 2 * MAX_DEPTH {
            return Err(DicomError::Depth { at, limit: MAX_DEPTH });
        }
        let end = (length != UNDEFINED).then(|| at + u64::from(length));
        if end.is_some() {
            self.check_fits(u64::from(length))?;
        }
        self.open.push(Open { holds, end, outer: self.encoding, into, items: 0 });
        self.encoding = inner;
        Ok(())
    }

    /// Checks a length against the nearest end.
    fn check_fits(&self, announced: u64) -> Result<(), DicomError> {
        let at = self.source.at();
        let nearest = self.open.iter().rev().find_map(|open| open.end);
        let left = nearest.map_or(self.source.left(), |end| end.saturating_sub(at));
        if announced > left {
            return Err(DicomError::Truncated { at, announced, left });
        }
        Ok(())
    }

    fn element(&mut self) -> Result<Option<PixelStart>, DicomError> {
        let at = self.source.at();
        self.check_fits(8)?;
        let Element { tag, vr, length } = read_element(&mut self.source, self.encoding)?;
        if tag == tags::ITEM_END && self.open.last().is_some_and(|open| open.end.is_none()) {
            self.close();
            return Ok(None);
        }
        if tag.0 == 0xFFFE {
            return Err(DicomError::Structure { at, what: "an item or delimiter out of place" });
        }
        let top = self.open.is_empty();
        if top && tags::PIXELS.contains(&tag) {
            let native = (length != UNDEFINED).then_some(u64::from(length));
            self.check_fits(native.unwrap_or(0))?;
            return Ok(Some(PixelStart { tag, vr, length: native }));
        }
        let outer = self.open.last().map_or(Into::DataSet, |open| open.into);
        let into = match &vr {
            b"SQ" | b"??" | b"UN" => outer.sequence(tag),
            _ => Into::Nowhere,
        };
        if length == UNDEFINED {
            let (holds, inner) = match &vr {
                b"OB" | b"OW" => (Holds::Fragments, self.encoding),
                b"UN" => (Holds::Items, Encoding::IMPLICIT),
                b"SQ" | b"??" => (Holds::Items, self.encoding),
                _ => return Err(DicomError::Structure { at, what: "an undefined length" }),
            };
            self.enter(holds, length, inner, into)?;
            return Ok(None);
        }
        self.check_fits(u64::from(length))?;
        match (into, &vr) {
            (Into::Nowhere, _) => self.keep_or_skip(tag, length, outer)?,
            (_, b"SQ" | b"??") => self.enter(Holds::Items, length, self.encoding, into)?,
            _ => self.enter(Holds::Items, length, Encoding::IMPLICIT, into)?,
        }
        Ok(None)
    }

    fn keep_or_skip(&mut self, tag: Tag, length: u32, into: Into) -> Result<(), DicomError> {
        let item = match into {
            Into::DataSet => None,
            Into::Item { sequence, index } => Some((sequence, index)),
            Into::Items { .. } | Into::Nowhere => return self.source.skip(u64::from(length)),
        };
        let mut tag = tag;
        if tag.0 % 2 == 1 {
            // Private elements are known by the name of their block.
            match self.creators.resolve(item, tag, &mut self.source, length)? {
                wanted::Private::Named => return Ok(()),
                wanted::Private::Known(known) if u64::from(length) <= limit(known) => tag = known,
                _ => return self.source.skip(u64::from(length)),
            }
        } else if !self.wanted.holds(tag) {
            return self.source.skip(u64::from(length));
        }
        let (limit, length_found) = (limit(tag), u64::from(length));
        if length_found > limit {
            let attribute = tags::name(tag);
            return Err(DicomError::TooLong { attribute, length: length_found, limit });
        }
        let source = &mut self.source;
        let target = self.values.target(item);
        if target.holds(tag) {
            return source.skip(length_found);
        }
        self.kept += 1;
        self.kept_bytes += length_found;
        if self.kept > MAX_KEPT || self.kept_bytes > MAX_KEPT_BYTES {
            let (at, what) = (source.at(), "more values than any file has");
            return Err(DicomError::Structure { at, what });
        }
        target.insert(tag, |bytes| source.append(length_found, bytes))
    }

    fn item(&mut self) -> Result<Option<PixelStart>, DicomError> {
        let at = self.source.at();
        self.check_fits(8)?;
        let Element { tag, length, .. } = read_element(&mut self.source, self.encoding)?;
        let holds = self.open.last().map(|open| (open.holds, open.end));
        match (tag, holds) {
            (tags::SEQUENCE_END, Some((_, None))) => self.close(),
            (tags::ITEM, Some((Holds::Items, _))) => {
                let into = self.begin_item()?;
                self.enter(Holds::Elements, length, self.encoding, into)?;
            }
            (tags::ITEM, Some((Holds::Fragments, _))) if length != UNDEFINED => {
                self.check_fits(u64::from(length))?;
                self.source.skip(u64::from(length))?;
            }
            _ => return Err(DicomError::Structure { at, what: "no item where one must be" }),
        }
        Ok(None)
    }

    /// Where the values of the next item of the sequence that is open go.
    fn begin_item(&mut self) -> Result<Into, DicomError> {
        let (at, encoding) = (self.source.at(), self.encoding);
        let Some(open) = self.open.last_mut() else { return Ok(Into::Nowhere) };
        open.items += 1;
        Ok(match open.into {
            Into::Items { sequence, within: None } => {
                // Also of a sequence that stands several times.
                let index = self.values.add_item(sequence, encoding);
                if index >= MAX_ITEMS {
                    return Err(DicomError::Structure { at, what: "more items than any file has" });
                }
                Into::Item { sequence, index }
            }
            Into::Items { within: Some((sequence, index)), .. } if open.items == 1 => {
                Into::Item { sequence, index }
            }
            Into::Items { sequence: tags::REAL_WORLD_MAPPING, within } => {
                // One of several alone would say something else.
                self.values.target(within).has_more_mappings = true;
                Into::Nowhere
            }
            _ => Into::Nowhere,
        })
    }
}
