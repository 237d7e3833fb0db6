//! What is said to a worker and what it answers: the length of a head in four
//! bytes, the head, and behind it bytes whose number follows from it.

use std::io::{self, ErrorKind, Read, Write};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Codec, DecoderFault};
use crate::io::dicom::{DicomError, PixelLayout, cells::Cells};

/// Longest head: the words of a refusal.
const MAX_HEAD: u32 = 1 << 14;

/// A frame to decode; `len` bytes of it follow.
#[derive(Serialize, Deserialize)]
pub(super) struct Task {
    pub(super) codec: Codec,
    pub(super) layout: PixelLayout,
    len: u64,
}

/// What became of it.
#[derive(Serialize, Deserialize)]
enum Answer {
    /// The cells of the frame follow, each as wide as said, in this machine's order.
    Cells {
        width: u8,
        count: u64,
    },
    Refused(String),
    Size {
        found: (u32, u32),
        expected: (u32, u32),
    },
    Components {
        found: u32,
        expected: u32,
    },
    Length {
        promised: u64,
        found: u64,
    },
    Panicked,
}

pub(super) fn send_task(
    to: &mut impl Write,
    codec: Codec,
    layout: &PixelLayout,
    bytes: &[u8],
) -> io::Result<()> {
    send_head(to, &Task { codec, layout: *layout, len: bytes.len() as u64 })?;
    to.write_all(bytes)?;
    to.flush()
}

/// The next task and its bytes; an error where nobody gives any more.
pub(super) fn receive_task(from: &mut impl Read) -> io::Result<(Task, Vec<u8>)> {
    let task: Task = receive_head(from)?;
    let bytes = receive_bytes(from, task.len)?;
    Ok((task, bytes))
}

pub(super) fn send_answer(
    to: &mut impl Write,
    decoded: Result<Cells, DicomError>,
) -> io::Result<()> {
    let cells = match decoded {
        Ok(cells) => cells,
        Err(error) => {
            send_head(to, &answer_of(error))?;
            return to.flush();
        }
    };
    let (width, bytes) = match cells {
        Cells::U8(cells) => (1, cells),
        Cells::U16(cells) => (2, cells.iter().flat_map(|cell| cell.to_ne_bytes()).collect()),
        Cells::U32(cells) => (4, cells.iter().flat_map(|cell| cell.to_ne_bytes()).collect()),
        Cells::F32(_) | Cells::F64(_) => {
            send_head(to, &Answer::Refused("a code stream of floats".to_owned()))?;
            return to.flush();
        }
    };
    send_head(to, &Answer::Cells { width, count: bytes.len() as u64 / u64::from(width) })?;
    to.write_all(&bytes)?;
    to.flush()
}

fn answer_of(error: DicomError) -> Answer {
    match error {
        DicomError::CodestreamSize { found, expected } => Answer::Size { found, expected },
        DicomError::Components { found, expected } => Answer::Components { found, expected },
        DicomError::PixelLength { promised, found } => Answer::Length { promised, found },
        DicomError::DecoderFault { .. } => Answer::Panicked,
        DicomError::Codec { source, .. } => Answer::Refused(shortened(source.to_string())),
        other => Answer::Refused(shortened(other.to_string())),
    }
}

fn shortened(mut words: String) -> String {
    let end = words.floor_char_boundary(1000);
    words.truncate(end);
    words
}

/// What a worker made of a frame: its process is not believed more than a file.
///
/// # Errors
/// Where it says what no worker says: it is then to be ended.
pub(super) fn receive_answer(
    from: &mut impl Read,
    codec: Codec,
    layout: &PixelLayout,
) -> io::Result<Result<Cells, DicomError>> {
    Ok(Err(match receive_head(from)? {
        Answer::Cells { width, count } => {
            if count != layout.samples_of_frame() as u64 {
                return Err(ErrorKind::InvalidData.into());
            }
            let bytes = receive_bytes(from, count * u64::from(width))?;
            return match width {
                1 => Ok(Ok(Cells::U8(bytes))),
                2 => Ok(Ok(Cells::U16(native(&bytes, u16::from_ne_bytes)))),
                4 => Ok(Ok(Cells::U32(native(&bytes, u32::from_ne_bytes)))),
                _ => Err(ErrorKind::InvalidData.into()),
            };
        }
        Answer::Refused(words) => codec.refused(words),
        Answer::Size { found, expected } => DicomError::CodestreamSize { found, expected },
        Answer::Components { found, expected } => DicomError::Components { found, expected },
        Answer::Length { promised, found } => DicomError::PixelLength { promised, found },
        Answer::Panicked => codec.fault(DecoderFault::Panicked),
    }))
}

fn native<T, const N: usize>(bytes: &[u8], make: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&chunk| make(chunk)).collect()
}

fn send_head(to: &mut impl Write, head: &impl Serialize) -> io::Result<()> {
    let head = postcard::to_stdvec(head).map_err(io::Error::other)?;
    to.write_all(&(head.len() as u32).to_le_bytes())?;
    to.write_all(&head)
}

fn receive_head<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut len = [0; 4];
    from.read_exact(&mut len)?;
    let len = u32::from_le_bytes(len);
    if len > MAX_HEAD {
        return Err(ErrorKind::InvalidData.into());
    }
    let head = receive_bytes(from, u64::from(len))?;
    postcard::from_bytes(&head).map_err(io::Error::other)
}

/// So many bytes, in memory that grows with what comes.
fn receive_bytes(from: &mut impl Read, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(len.min(1 << 20) as usize);
    from.by_ref().take(len).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == len { Ok(bytes) } else { Err(ErrorKind::UnexpectedEof.into()) }
}
