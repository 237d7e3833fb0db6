//! One DICOM file: its header, its pixels, and how to write one.
//!
//! Files are walked by this module's own bounded reader, never opened with
//! `dicom-object`: that crate reserves what a length field declares (a file of
//! 674 bytes takes 3.6 GiB) and recurses into nested sequences until the stack
//! is gone. Of the `dicom` crates only the writer of data sets is used. A frame
//! goes one way: its bytes (`pixel_data`), a decoder where it is compressed
//! (`codec`), its cells (`cells`), and what they mean (`transform`).
//!
//! The decoders are the part that a file can do most harm to. A program that calls
//! [`decode_in`] runs them in processes of their own, each with
//! [`DECODER_MEMORY`] at most; where it was not called they run in the calling
//! process, and a frame that makes one abort ends that process.

mod cells;
mod codec;
mod directory;
mod encapsulated;
mod frame;
mod header;
mod instance;
mod kind;
mod layout;
mod mosaic;
mod nuclear;
mod pixel_data;
mod pixels;
mod scope;
mod source;
mod suv;
mod tags;
mod transform;
mod values;
mod walk;
mod weighting;
mod whole;
mod write;

pub use codec::{DECODER_COMMAND, DECODER_MEMORY, DecoderFault, decode_in, serve_decoder};
pub use directory::referenced_files;
pub use frame::{Frame, MrTiming, Plane};
pub use header::{open_header, read_header, series_of_damaged};
pub use instance::Instance;
pub use kind::Kind;
pub use layout::{Photometric, PixelLayout};
pub use pixels::FrameReader;
pub use whole::{Identified, check_whole};
pub use write::{NewSlice, WriteError, uid_of, write_meta, write_slice};

use std::io;

/// Why a DICOM file cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DicomError {
    /// The file cannot be opened or read.
    #[error("the DICOM file cannot be read")]
    Io(#[from] io::Error),
    /// The bytes are no DICOM data set.
    #[error("the file is no DICOM data set")]
    NotDicom,
    /// The file ends, or its sequence or item ends, before what it announces.
    #[error("at byte {at} the file announces {announced} bytes and {left} are left")]
    Truncated {
        /// Bytes from the start of the file, or of the inflated data set.
        at: u64,
        /// Length announced.
        announced: u64,
        /// Bytes left in what holds it.
        left: u64,
    },
    /// A tag stands where it cannot.
    #[error("at byte {at} stands {what}")]
    Structure {
        /// Bytes from the start of the file, or of the inflated data set.
        at: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// Sequences inside sequences, too deep.
    #[error("at byte {at} sequences are nested deeper than {limit}")]
    Depth {
        /// Bytes from the start of the file, or of the inflated data set.
        at: u64,
        /// Deepest nesting allowed.
        limit: usize,
    },
    /// An attribute has a value that is too long for it.
    #[error("{attribute} is {length} bytes long, the limit is {limit}")]
    TooLong {
        /// Name of the attribute.
        attribute: &'static str,
        /// Length announced.
        length: u64,
        /// Longest value read.
        limit: u64,
    },
    /// An attribute that is needed is absent or empty.
    #[error("{attribute} is missing")]
    Missing {
        /// Name of the attribute.
        attribute: &'static str,
    },
    /// An attribute is not what the standard says it is.
    #[error("{attribute} is malformed")]
    Malformed {
        /// Name of the attribute.
        attribute: &'static str,
    },
    /// The image has no pixel data, or the file ends before it.
    #[error("the image has no pixel data")]
    NoPixels,
    /// Pixel data is shorter than rows, columns, bits and frames say.
    #[error("the image promises {promised} bytes of pixels and has {found}")]
    PixelLength {
        /// Bytes that rows, columns, bits and frames make.
        promised: u64,
        /// Bytes of pixel data.
        found: u64,
    },
    /// Encapsulated pixel data does not make the frames announced.
    #[error("the image promises {promised} frames and its {found} fragments do not make them")]
    Fragments {
        /// *Number of Frames*.
        promised: u64,
        /// Fragments of pixel data.
        found: u64,
    },
    /// The compressed image has other samples than its header says.
    #[error("the compressed image has {found} samples a pixel and its header says {expected}")]
    Components {
        /// Components of the code stream.
        found: u32,
        /// *Samples per Pixel*.
        expected: u32,
    },
    /// A feature that is not read.
    #[error("{what}: not supported")]
    Unsupported {
        /// The feature.
        what: &'static str,
    },
    /// The compressed image has another size than its header says.
    #[error("the compressed image is {found:?} and its header says {expected:?} (columns, rows)")]
    CodestreamSize {
        /// Columns and rows of the code stream.
        found: (u32, u32),
        /// Columns and rows of the header.
        expected: (u32, u32),
    },
    /// The decoder refuses the compressed image.
    #[error("the {codec} decoder refuses the image")]
    Codec {
        /// Name of the compression.
        codec: &'static str,
        /// Its own words.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The decoder failed and did not refuse.
    #[error("the {codec} decoder {fault}")]
    DecoderFault {
        /// Name of the compression.
        codec: &'static str,
        /// How it failed.
        fault: DecoderFault,
    },
    /// The process that decodes cannot be started.
    #[error("the process that decodes cannot be started")]
    NoDecoder(#[source] io::Error),
    /// Pixels that are compressed more than any image is.
    #[error("the image promises {promised} bytes of pixels in {coded} compressed ones")]
    Bomb {
        /// Bytes that rows, columns, bits and frames make.
        promised: u64,
        /// Bytes of compressed pixel data.
        coded: u64,
    },
    /// The memory for the pixels is not there.
    #[error("no memory for {bytes} bytes of pixels")]
    Memory {
        /// Bytes asked for.
        bytes: u64,
    },
}

/// Whether the bytes start like a DICOM file: `DICM` after the preamble, or a
/// plausible first element of group 2 or 8 where there is no preamble.
pub(super) fn looks_like_dicom(start: &[u8]) -> bool {
    walk::has_preamble(start) || walk::guess_encoding(start).is_some()
}
