//! Decoders in processes of their own, so that the worst compressed frame costs
//! its own file and nothing else.
//!
//! `catch_unwind` holds a panic; it holds no overflow of the stack, no allocation
//! that aborts, no endless loop, and nothing that a decoder in C does. So a process
//! that stated by [`decode_in`] where the program `mivox` lies sends every frame
//! of JPEG, JPEG-LS, JPEG 2000 and JPEG XL to a worker ([`serve_decoder`]): the same program
//! under another command, which limits its own memory, lives on between frames and
//! is killed where one takes too long. As many workers run as threads decode.
//!
//! A library user who states no program decodes in the calling process.

mod message;
mod pool;
mod serve;

pub use serve::serve_decoder;

use std::{path::PathBuf, sync::OnceLock, time::Duration};

use super::Codec;
use crate::io::dicom::{DicomError, PixelLayout, cells::Cells};
use pool::Pool;

/// The command of the program under which it is a worker.
pub const DECODER_COMMAND: &str = "decode-worker";

/// Memory that a worker may take, in bytes.
pub const DECODER_MEMORY: u64 = 512 << 20;

/// What a worker may take for one frame.
const TIME: Duration = Duration::from_secs(10);

static POOL: OnceLock<Pool> = OnceLock::new();

/// How a decoder failed that did not even refuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecoderFault {
    /// It stopped on an inner fault.
    #[error("failed on damaged data")]
    Panicked,
    /// Its process ended: an abort, an overflow of the stack, a signal.
    #[error("crashed on damaged data")]
    Died,
    /// It went on for too long.
    #[error("took more than {} s", limit.as_secs())]
    TooSlow {
        /// What it may take.
        limit: Duration,
    },
    /// It asked for more memory than it may have.
    #[error("asked for more than {} MiB", DECODER_MEMORY >> 20)]
    OutOfMemory,
}

/// From now on frames are decoded by workers, which are this program under the
/// command [`DECODER_COMMAND`]. What was stated first counts.
pub fn decode_in(program: PathBuf) {
    // A second statement changes nothing.
    let _ = POOL.set(Pool::new(program, TIME));
}

/// The cells of a frame, decoded by a worker where a program was stated.
pub(super) fn decode(
    codec: Codec,
    bytes: Vec<u8>,
    layout: &PixelLayout,
) -> Result<Cells, DicomError> {
    match POOL.get() {
        Some(pool) => pool.decode(codec, bytes, layout),
        None => codec.decode_here(bytes, layout),
    }
}

#[cfg(test)]
mod tests;
