//! NIfTI-1: geometry, voxels, and the files that other stages map.
//!
//! The header is parsed by crate `nifti`; the rest is done here. The crate's
//! volume reader refuses trailing zero dimensions and gzip files of several
//! members, panics on colour and complex voxels, takes a `vox_offset` of NaN
//! and makes a volume of NaN from a slope of NaN; it has no conversion of
//! quaternions without `nalgebra` and writes to named files only.

mod header;
mod mapped;
mod voxels;
mod write;

pub use header::{NiftiHead, VoxelType};
pub use mapped::Mapped;
pub use write::{has_qform, write_f32, write_i16};

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::bufread::MultiGzDecoder;
use ndarray::Array3;

use crate::geometry::{Grid, OrientationError};
use header::HEADER_LEN;

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Most that one byte of deflate can become.
///
/// # Source
/// RFC 1951 3.2.5: a length code of 258 bytes in two bits at best; zlib's
/// technical notes give 1032.
const DEFLATE_RATIO: u64 = 1032;

/// Why a file is no NIfTI volume that can be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NiftiError {
    /// The file cannot be opened, read, or its compression is damaged.
    #[error("the NIfTI file cannot be read")]
    Io(#[from] io::Error),
    /// The bytes are not a NIfTI-1 header.
    #[error("the file has no NIfTI-1 header")]
    NotNifti,
    /// A NIfTI feature that is not read.
    #[error("{what}: not supported")]
    Unsupported {
        /// The feature.
        what: &'static str,
    },
    /// More than one frame.
    #[error("a 4-D image of {frames} frames: not supported yet")]
    Frames {
        /// Product of the dimensions after the third.
        frames: usize,
    },
    /// A dimension is not positive, or there are too many of them.
    #[error("dimension {index} of the header is {value}, not within 1 to {limit}")]
    Dimension {
        /// Index in `dim`.
        index: usize,
        /// What the header says.
        value: i64,
        /// Largest value allowed.
        limit: i64,
    },
    /// More voxels than a volume may have.
    #[error("{shape:?} voxels are above the limit of {}", Grid::MAX_VOXELS)]
    TooLarge {
        /// Voxels along (i, j, k).
        shape: [usize; 3],
    },
    /// The voxel type is none of NIfTI's real numbers.
    #[error("voxel type {code} ({name}): not supported")]
    VoxelType {
        /// `datatype` of the header.
        code: i16,
        /// Its name, where it has one.
        name: &'static str,
    },
    /// The data cannot start where the header says.
    #[error("vox_offset is {value}, not within {lowest} to {limit}")]
    Offset {
        /// `vox_offset` of the header.
        value: f32,
        /// Lowest value allowed.
        lowest: u64,
        /// Largest value allowed.
        limit: u64,
    },
    /// The slope is valid and the intercept is not a number.
    #[error("scl_inter is not finite where scl_slope is {slope}")]
    Intercept {
        /// `scl_slope` of the header.
        slope: f32,
    },
    /// The affine is not one.
    #[error("the {source_name} gives no affine")]
    Affine {
        /// `sform`, `qform` or `pixdim`.
        source_name: &'static str,
        /// What is wrong with it.
        source: OrientationError,
    },
    /// The file is shorter than its header says.
    #[error("the header promises {promised} bytes and the file holds {found}")]
    Short {
        /// Bytes to the end of the voxels.
        promised: u64,
        /// Bytes that the file holds, or can hold at most where it is compressed.
        found: u64,
    },
    /// The memory for the voxels is not there.
    #[error("no memory for {voxels} voxels")]
    Memory {
        /// Voxels asked for.
        voxels: usize,
    },
    /// The file cannot be mapped as little-endian int16.
    #[error("the volume cannot be mapped: {reason}")]
    NotMappable {
        /// What is in the way.
        reason: &'static str,
    },
}

/// Whether the bytes start like NIfTI-1 or NIfTI-2, in either byte order.
pub(super) fn looks_like_nifti(start: &[u8]) -> bool {
    let size = start.first_chunk::<4>().map_or(0, |b| i32::from_le_bytes(*b));
    let magic = |at: usize| start.get(at..at + 3);
    match (size, size.swap_bytes()) {
        (348, _) | (_, 348) => matches!(magic(344), Some(b"n+1" | b"ni1")),
        (540, _) | (_, 540) => matches!(magic(4), Some(b"n+2" | b"ni2")),
        _ => false,
    }
}

/// The geometry of a NIfTI file, from its header alone.
///
/// A plain file is checked to be long enough for its voxels; a compressed one
/// against the most that deflate can hold, and in full by [`open_volume`].
///
/// # Errors
/// [`NiftiError`] where the header cannot be used or promises too much.
pub fn open_grid(path: &Path) -> Result<NiftiHead, NiftiError> {
    open(path).map(|(head, _)| head)
}

/// The voxels of a NIfTI file `[k, j, i]` after slope and intercept, and its header.
///
/// A slope of zero, NaN or infinity leaves the stored values as they are, as
/// in nibabel. Several gzip members are read as one stream. Bytes after the
/// last voxel are ignored and never inflated.
///
/// # Errors
/// [`NiftiError`] as for [`open_grid`], and where the voxels end early, the
/// compression is damaged, or there is no memory.
pub fn open_volume(path: &Path) -> Result<(Array3<f32>, NiftiHead), NiftiError> {
    let (head, mut reader) = open(path)?;
    skip(&mut reader, head.data_offset - HEADER_LEN as u64, &head)?;
    let data = voxels::read(&mut reader, &head)?;
    // One byte more makes the decoder check its checksum at the end of a stream.
    io::copy(&mut reader.take(1), &mut io::sink())?;
    let [ni, nj, nk] = head.grid.shape;
    let volume = Array3::from_shape_vec((nk, nj, ni), data)
        .map_err(|_| NiftiError::TooLarge { shape: head.grid.shape })?;
    Ok((volume, head))
}

/// The header and a reader that stands right after it.
fn open(path: &Path) -> Result<(NiftiHead, Box<dyn Read>), NiftiError> {
    let file = File::open(path)?;
    let len = file.metadata()?.len();
    let mut file = BufReader::with_capacity(1 << 16, file);
    let gzip = io::BufRead::fill_buf(&mut file)?.starts_with(&GZIP_MAGIC);
    let mut reader: Box<dyn Read> =
        if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut bytes = Vec::with_capacity(HEADER_LEN);
    reader.by_ref().take(HEADER_LEN as u64).read_to_end(&mut bytes)?;
    let head = NiftiHead::from_bytes(&bytes)?;
    let found = if gzip { len.saturating_mul(DEFLATE_RATIO) } else { len };
    let promised = head.data_offset + head.data_len();
    if promised > found {
        return Err(NiftiError::Short { promised, found });
    }
    Ok((head, reader))
}

fn skip(reader: &mut impl Read, bytes: u64, head: &NiftiHead) -> Result<(), NiftiError> {
    let skipped = io::copy(&mut reader.by_ref().take(bytes), &mut io::sink())?;
    if skipped < bytes {
        let promised = head.data_offset + head.data_len();
        return Err(NiftiError::Short { promised, found: HEADER_LEN as u64 + skipped });
    }
    Ok(())
}
