//! One element: how it is encoded, its tag, representation and length.

use crate::io::dicom::{DicomError, source::Source, tags::Tag};

/// How a data set is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io::dicom) struct Encoding {
    pub(in crate::io::dicom) implicit: bool,
    pub(in crate::io::dicom) big_endian: bool,
}

impl Encoding {
    pub(super) const IMPLICIT: Self = Self { implicit: true, big_endian: false };
    pub(in crate::io::dicom) const EXPLICIT: Self = Self { implicit: false, big_endian: false };
    pub(super) const EXPLICIT_BIG: Self = Self { implicit: false, big_endian: true };

    pub(in crate::io::dicom) fn u16(self, bytes: [u8; 2]) -> u16 {
        if self.big_endian { u16::from_be_bytes(bytes) } else { u16::from_le_bytes(bytes) }
    }

    pub(in crate::io::dicom) fn u32(self, bytes: [u8; 4]) -> u32 {
        if self.big_endian { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) }
    }

    pub(in crate::io::dicom) fn u64(self, bytes: [u8; 8]) -> u64 {
        if self.big_endian { u64::from_be_bytes(bytes) } else { u64::from_le_bytes(bytes) }
    }
}

pub(in crate::io::dicom) fn has_preamble(start: &[u8]) -> bool {
    start.get(128..132) == Some(b"DICM")
}

/// The encoding of a data set by its first element, which is of group 2 or 8.
pub(in crate::io::dicom) fn guess_encoding(start: &[u8]) -> Option<Encoding> {
    let bytes = *start.first_chunk::<8>()?;
    let [g0, g1, e0, e1, v0, v1, l0, l1] = bytes;
    let explicit = is_vr([v0, v1]);
    let group_and_element = |g: u16, e: u16| matches!(g, 2 | 8) && e <= 0x1000;
    if group_and_element(u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1])) {
        let short = u32::from_le_bytes([v0, v1, l0, l1]) <= 1024;
        return match (explicit, short) {
            (true, _) => Some(Encoding::EXPLICIT),
            (false, true) => Some(Encoding::IMPLICIT),
            (false, false) => None,
        };
    }
    let big = group_and_element(u16::from_be_bytes([g0, g1]), u16::from_be_bytes([e0, e1]));
    (big && explicit).then_some(Encoding::EXPLICIT_BIG)
}

pub(super) struct Element {
    pub(super) tag: Tag,
    /// Two letters; `??` where there is none.
    pub(super) vr: [u8; 2],
    /// As announced, which may be undefined.
    pub(super) length: u32,
}

/// Whether the two letters are a value representation of PS3.5 table 6.2-1.
fn is_vr(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"AE"
            | b"AS"
            | b"AT"
            | b"CS"
            | b"DA"
            | b"DS"
            | b"DT"
            | b"FL"
            | b"FD"
            | b"IS"
            | b"LO"
            | b"LT"
            | b"PN"
            | b"SH"
            | b"SL"
            | b"SS"
            | b"ST"
            | b"TM"
            | b"UI"
            | b"UL"
            | b"US"
    ) || has_long_length(vr)
}

/// Whether two reserved bytes and four bytes of length follow.
fn has_long_length(vr: [u8; 2]) -> bool {
    matches!(
        &vr,
        b"OB"
            | b"OD"
            | b"OF"
            | b"OL"
            | b"OV"
            | b"OW"
            | b"SQ"
            | b"SV"
            | b"UC"
            | b"UN"
            | b"UR"
            | b"UT"
            | b"UV"
    )
}

// As [`Source::array`].
#[inline(always)]
pub(super) fn read_element(source: &mut Source, encoding: Encoding) -> Result<Element, DicomError> {
    let at = source.at();
    let [g0, g1, e0, e1, v0, v1, l0, l1] = source.array()?;
    let tag = (encoding.u16([g0, g1]), encoding.u16([e0, e1]));
    // Items and delimiters have no value representation in any encoding.
    if encoding.implicit || tag.0 == 0xFFFE {
        return Ok(Element { tag, vr: *b"??", length: encoding.u32([v0, v1, l0, l1]) });
    }
    let vr = [v0, v1];
    if !is_vr(vr) {
        return Err(DicomError::Structure { at, what: "no value representation" });
    }
    let length = if has_long_length(vr) {
        encoding.u32(source.array()?)
    } else {
        u32::from(encoding.u16([l0, l1]))
    };
    Ok(Element { tag, vr, length })
}
