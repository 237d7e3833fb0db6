//! Encapsulated pixel data: which fragments make a frame.

use super::{DicomError, source::Source, tags};

/// Most fragments: a frame has one, rarely a few.
const MAX_FRAGMENTS: usize = 1 << 22;

/// A part of the pixel data.
#[derive(Debug, Clone, Copy)]
struct Fragment {
    /// Where its first byte lies.
    at: u64,
    length: u32,
}

/// The fragments of encapsulated pixel data, by frame.
#[derive(Debug)]
pub(super) struct Frames {
    fragments: Vec<Fragment>,
    /// The first fragment of each frame; behind them the number of fragments.
    starts: Vec<usize>,
}

impl Frames {
    /// Reads the heads of all items, to the delimiter.
    ///
    /// An *Extended Offset Table* is not looked at: where there is one, every
    /// frame has one fragment.
    ///
    /// # Source
    /// DICOM PS3.5 A.4 (encapsulation), PS3.3 C.7.6.3.1.8 (extended offsets).
    pub(super) fn read(source: &mut Source, frames: u32) -> Result<Self, DicomError> {
        let mut table: Option<(Vec<u32>, u64)> = None;
        let mut fragments: Vec<Fragment> = Vec::new();
        while fragments.len() <= MAX_FRAGMENTS {
            let at = source.at();
            let mut head = [0; 8];
            source.fill(&mut head)?;
            let [g0, g1, e0, e1, l0, l1, l2, l3] = head;
            let tag = (u16::from_le_bytes([g0, g1]), u16::from_le_bytes([e0, e1]));
            let length = u32::from_le_bytes([l0, l1, l2, l3]);
            match (tag, &table) {
                (tags::SEQUENCE_END, None) => return Err(DicomError::NoPixels),
                (tags::SEQUENCE_END, Some((offsets, origin))) => {
                    let starts = starts(source, &fragments, offsets, *origin, frames)?;
                    return Ok(Self { fragments, starts });
                }
                (tags::ITEM, None) => {
                    let bytes = source.take(u64::from(length))?;
                    let fours = bytes.as_chunks::<4>().0;
                    let offsets: Vec<u32> = fours.iter().map(|b| u32::from_le_bytes(*b)).collect();
                    table = Some((offsets, source.at()));
                }
                (tags::ITEM, Some(_)) => {
                    fragments.push(Fragment { at: at + 8, length });
                    source.skip(u64::from(length))?;
                }
                _ => return Err(DicomError::Structure { at, what: "no fragment of pixel data" }),
            }
        }
        Err(DicomError::Structure { at: source.at(), what: "too many fragments of pixel data" })
    }

    /// Bytes of all fragments.
    pub(super) fn coded(&self) -> u64 {
        self.fragments.iter().map(|fragment| u64::from(fragment.length)).sum()
    }

    /// The bytes of a frame, its fragments joined.
    pub(super) fn bytes(&self, source: &mut Source, frame: u32) -> Result<Vec<u8>, DicomError> {
        let frame = frame as usize;
        let range = self.starts.get(frame).zip(self.starts.get(frame + 1));
        let fragments = range.and_then(|(&from, &to)| self.fragments.get(from..to));
        let mut bytes = Vec::new();
        for fragment in fragments.ok_or(DicomError::NoPixels)? {
            source.jump(fragment.at)?;
            let mut part = source.take(u64::from(fragment.length))?;
            if bytes.is_empty() { bytes = part } else { bytes.append(&mut part) }
        }
        Ok(bytes)
    }
}

/// Where frames begin: every fragment is one, or the offsets say it, or the
/// ends of JPEG code streams do.
fn starts(
    source: &mut Source,
    fragments: &[Fragment],
    offsets: &[u32],
    origin: u64,
    frames: u32,
) -> Result<Vec<usize>, DicomError> {
    let (count, frames) = (fragments.len(), frames as usize);
    if count < frames {
        let (promised, found) = (frames as u64, count as u64);
        return Err(DicomError::Fragments { promised, found });
    }
    if count == frames {
        return Ok((0..=count).collect());
    }
    if frames == 1 {
        return Ok(vec![0, count]);
    }
    let mut starts = Vec::new();
    if offsets.len() == frames {
        for offset in offsets {
            let at = origin + u64::from(*offset) + 8;
            starts.extend(fragments.binary_search_by_key(&at, |fragment| fragment.at));
        }
    } else {
        let mut begins = true;
        for (index, fragment) in fragments.iter().enumerate() {
            if begins {
                starts.push(index);
            }
            begins = ends_code_stream(source, fragment)?;
        }
    }
    starts.push(count);
    if starts.len() == frames + 1 && starts.first() == Some(&0) && starts.is_sorted() {
        Ok(starts)
    } else {
        Err(DicomError::Fragments { promised: frames as u64, found: count as u64 })
    }
}

/// Whether a fragment ends with the end of a JPEG, JPEG-LS or JPEG 2000 image,
/// which a byte of padding may follow.
///
/// # Source
/// ITU-T T.81 B.1.1.3 (EOI), T.800 A.4.4 (EOC): both are FF D9.
fn ends_code_stream(source: &mut Source, fragment: &Fragment) -> Result<bool, DicomError> {
    let length = fragment.length.min(3);
    source.jump(fragment.at + u64::from(fragment.length - length))?;
    let end = source.take(u64::from(length))?;
    Ok(end.ends_with(&[0xFF, 0xD9]) || end.starts_with(&[0xFF, 0xD9]))
}
