//! NIfTI-1, NIfTI-2 and Analyze 7.5: what their headers say, and the files that
//! other stages map.
//!
//! The crate `nifti` is not used: it refuses NIfTI-2, trailing zero dimensions
//! and gzip files of several members, panics on colour and complex voxels, takes
//! a `vox_offset` of NaN, makes a volume of NaN from a slope of NaN, and gives
//! no affine without `nalgebra`. What would be left of it, the offsets of 30
//! fields, is `header.rs`.

mod header;
mod orientation;
mod write;

pub use write::{has_qform, write_f32, write_i16};

use std::path::{Path, PathBuf};

use super::{
    Format, archive,
    image::{Coding, ImageError, ImageHead, Layout, VoxelType, companion, place},
};
use header::{Header, Kind};

/// Where extensions must have ended: nobody has 256 MiB of them.
const MAX_DATA_OFFSET: u64 = 1 << 28;

/// Most frames of a file: above any that a scanner makes.
pub(super) const MAX_FRAMES: usize = 1 << 16;

/// Why the fields of a NIfTI or Analyze header cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NiftiError {
    /// The bytes are no header of NIfTI or Analyze.
    #[error("the file has no NIfTI header")]
    NotNifti,
    /// The header was changed as text files are between systems.
    #[error("the header's signature is damaged, as by a transfer in text mode")]
    TextMode,
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
    /// More frames than a file may have.
    #[error("the header has {frames} frames, the limit is {limit}")]
    Frames {
        /// Product of the dimensions after the third.
        frames: usize,
        /// Largest number allowed.
        limit: usize,
    },
    /// The code of the voxel type is not one of the standard's.
    #[error("voxel type {code} is unknown")]
    VoxelType {
        /// `datatype` of the header.
        code: i16,
    },
    /// The data cannot start where the header says.
    #[error("vox_offset is {value}, not within {lowest} to {limit}")]
    Offset {
        /// `vox_offset` of the header.
        value: f64,
        /// Lowest value allowed.
        lowest: u64,
        /// Largest value allowed.
        limit: u64,
    },
    /// The slope is valid and the intercept is not a number.
    #[error("scl_inter is not finite where scl_slope is {slope}")]
    Intercept {
        /// `scl_slope` of the header.
        slope: f64,
    },
    /// A connectivity matrix.
    #[error("a CIFTI file: its numbers are not voxels")]
    Cifti,
    /// An Analyze volume that is not transverse.
    #[error("Analyze orientation {orient}: not supported, only 0 (transverse) is")]
    Orient {
        /// `orient` of the header.
        orient: u8,
    },
    /// An Analyze volume whose affine is in MATLAB's format.
    #[error("an Analyze volume with a .mat file beside it, which has its affine: not supported")]
    MatFile,
}

/// Whether the bytes start like NIfTI-1 or NIfTI-2, in either byte order.
///
/// # Source
/// `nifti1.h` and `nifti2.h` (`sizeof_hdr`, `magic`).
pub(super) fn looks_like_nifti(start: &[u8]) -> bool {
    let size = start.first_chunk::<4>().map_or(0, |b| i32::from_le_bytes(*b));
    let magic = |at: usize| start.get(at..at + 3);
    match (size, size.swap_bytes()) {
        (348, _) | (_, 348) => matches!(magic(344), Some(b"n+1" | b"ni1")),
        (540, _) | (_, 540) => matches!(magic(4), Some(b"n+2" | b"ni2")),
        _ => false,
    }
}

/// Whether the bytes start like the header of an Analyze 7.5 pair: nothing but
/// its size, its dimensions and its voxel type tells it.
///
/// # Source
/// `dbh.h` of Analyze 7.5 (`struct dsr`).
pub(super) fn looks_like_analyze(start: &[u8]) -> bool {
    !looks_like_nifti(start)
        && Header::from_bytes(start).is_ok_and(|header| {
            header.kind == Kind::Analyze
                && (1..=7).contains(&header.dim[0])
                && voxel_type(header.datatype)
                    .is_ok_and(|voxel_type| voxel_type.bits() == header.bitpix as u64)
        })
}

/// What the header at the start of a file says, and where its voxels are.
///
/// A slope of zero, NaN or infinity leaves the stored values as they are, as
/// in nibabel.
///
/// # Errors
/// [`ImageError`] where the header cannot be used.
pub(super) fn read_head(start: &[u8], path: &Path, gzip: bool) -> Result<ImageHead, ImageError> {
    let header = Header::from_bytes(start)?;
    let (shape, frames) = shape(&header.dim)?;
    let voxel_type = voxel_type(header.datatype)?;
    if (3000..3100).contains(&header.intent_code) {
        return Err(NiftiError::Cifti.into());
    }
    let mut remarks = Vec::new();
    let (affine, affine_source) = match header.kind {
        Kind::Analyze => {
            if archive::len(&mat_file(path)).is_some() {
                return Err(NiftiError::MatFile.into());
            }
            orientation::analyze(&header, &mut remarks)?
        }
        Kind::Nifti => orientation::nifti(&header, &mut remarks),
    };
    let grid = place(shape.map(|n| n as u64), affine, affine_source, &mut remarks)?;
    let offset = data_offset(&header)?;
    let data_file = header.pair.then(|| companion(path)).transpose()?;
    let gzip = match &data_file {
        Some(file) => is_gzip(file)?,
        None => gzip,
    };
    let (coding, start, skip) =
        if gzip { (Coding::Gzip, 0, offset) } else { (Coding::Raw, offset, 0) };
    Ok(ImageHead {
        format: if header.kind == Kind::Analyze { Format::Analyze } else { Format::Nifti },
        grid,
        affine_source,
        frames,
        voxel_type,
        scale: scale(&header)?,
        kind: kind(header.intent_code),
        remarks,
        layout: Layout {
            data_files: data_file.into_iter().collect(),
            coding,
            start: Some(start),
            skip,
            stored: None,
            big_endian: header.big_endian,
            interleaved: 1,
        },
    })
}

/// Where SPM would have the affine of a pair.
fn mat_file(header: &Path) -> PathBuf {
    let packed = header.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("gz"));
    let plain = if packed { header.with_extension("") } else { header.to_owned() };
    plain.with_extension("mat")
}

fn is_gzip(file: &Path) -> Result<bool, ImageError> {
    let file = std::io::BufReader::with_capacity(16, archive::open(file)?);
    Ok(super::Gunzip::new(file)?.is_gzip())
}

/// What an intent says that an image is, where it is no scan.
///
/// # Source
/// `nifti1.h`, `NIFTI_INTENT_*`: 2 to 24 are statistics.
fn kind(intent: i32) -> Option<&'static str> {
    match intent {
        2..=24 => Some("statistical map"),
        1002 | 1003 => Some("label map"),
        1004..=1010 => Some("vector field"),
        _ => None,
    }
}

/// The type of a `datatype` code.
///
/// # Source
/// `nifti1.h`, `NIFTI_TYPE_*`; `dbh.h` for the first nine.
fn voxel_type(code: i16) -> Result<VoxelType, NiftiError> {
    Ok(match code {
        1 => VoxelType::Bit,
        2 => VoxelType::U8,
        4 => VoxelType::I16,
        8 => VoxelType::I32,
        16 => VoxelType::F32,
        32 => VoxelType::Complex64,
        64 => VoxelType::F64,
        128 => VoxelType::Rgb24,
        256 => VoxelType::I8,
        512 => VoxelType::U16,
        768 => VoxelType::U32,
        1024 => VoxelType::I64,
        1280 => VoxelType::U64,
        1536 => VoxelType::F128,
        1792 => VoxelType::Complex128,
        2048 => VoxelType::Complex256,
        2304 => VoxelType::Rgba32,
        _ => return Err(NiftiError::VoxelType { code }),
    })
}

/// Voxels along (i, j, k), and the product of the dimensions behind them. A
/// zero after the third is one.
fn shape(dim: &[i64; 8]) -> Result<([usize; 3], usize), NiftiError> {
    let refuse = |index: usize, limit| NiftiError::Dimension { index, value: dim[index], limit };
    if !(1..=7).contains(&dim[0]) {
        return Err(refuse(0, 7));
    }
    let mut sizes = [1usize; 8];
    for index in 1..=dim[0] as usize {
        sizes[index] = match dim[index] {
            0 if index > 3 => 1,
            n @ 1..=0x7fff_ffff => n as usize,
            _ => return Err(refuse(index, i64::from(i32::MAX))),
        };
    }
    let frames = sizes[4..].iter().fold(1usize, |n, &s| n.saturating_mul(s));
    if frames > MAX_FRAMES {
        return Err(NiftiError::Frames { frames, limit: MAX_FRAMES });
    }
    Ok(([sizes[1], sizes[2], sizes[3]], frames))
}

/// Slope and intercept, or `(1, 0)` where the slope says that there are none.
/// Colours have none: two colours cannot be scaled apart.
fn scale(header: &Header) -> Result<(f64, f64), NiftiError> {
    let (slope, intercept) = (header.slope, header.intercept);
    let is_colour = voxel_type(header.datatype)?.is_colour();
    if slope == 0.0 || !slope.is_finite() || is_colour {
        return Ok((1.0, 0.0));
    }
    match (intercept.is_finite(), header.kind) {
        (true, _) => Ok((slope, intercept)),
        // The field is SPM2's own, and may hold anything elsewhere.
        (false, Kind::Analyze) => Ok((slope, 0.0)),
        (false, Kind::Nifti) => Err(NiftiError::Intercept { slope }),
    }
}

/// Where the voxels start. A single file has at least its header and four bytes
/// of extension flags before them; 0 is written by old tools for just that.
fn data_offset(header: &Header) -> Result<u64, NiftiError> {
    let value = header.vox_offset;
    let lowest = if header.pair { 0 } else { header.len as u64 + 4 };
    if value == 0.0 {
        return Ok(lowest);
    }
    // A comparison with NaN is false: NaN is refused too.
    if value >= lowest as f64 && value <= MAX_DATA_OFFSET as f64 && value.fract() == 0.0 {
        return Ok(value as u64);
    }
    Err(NiftiError::Offset { value, lowest, limit: MAX_DATA_OFFSET })
}
