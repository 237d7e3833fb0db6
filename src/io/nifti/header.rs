//! The 348 bytes of a NIfTI-1 header, and the affine they give.

use glam::{DAffine3, DMat3, DQuat, DVec3};
use nifti::{Endianness, NiftiHeader};

use super::NiftiError;
use crate::geometry::{Affine, Grid, Orientation, affine_from_rows};

pub(super) const HEADER_LEN: usize = 348;

/// Where extensions must have ended: nobody has 256 MiB of them.
const MAX_DATA_OFFSET: u64 = 1 << 28;

/// How a voxel is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VoxelType {
    /// `DT_UINT8`
    U8,
    /// `DT_INT8`
    I8,
    /// `DT_INT16`
    I16,
    /// `DT_UINT16`
    U16,
    /// `DT_INT32`
    I32,
    /// `DT_UINT32`
    U32,
    /// `DT_INT64`
    I64,
    /// `DT_UINT64`
    U64,
    /// `DT_FLOAT32`
    F32,
    /// `DT_FLOAT64`
    F64,
}

impl VoxelType {
    /// The type of a `datatype` code.
    ///
    /// # Source
    /// `nifti1.h`, `NIFTI_TYPE_*`.
    fn from_code(code: i16) -> Result<Self, NiftiError> {
        Ok(match code {
            2 => Self::U8,
            4 => Self::I16,
            8 => Self::I32,
            16 => Self::F32,
            64 => Self::F64,
            256 => Self::I8,
            512 => Self::U16,
            768 => Self::U32,
            1024 => Self::I64,
            1280 => Self::U64,
            _ => {
                let name = match code {
                    1 => "one bit",
                    32 | 1792 | 2048 => "complex",
                    128 => "RGB colour",
                    2304 => "RGBA colour",
                    1536 => "128-bit float",
                    _ => "unknown",
                };
                return Err(NiftiError::VoxelType { code, name });
            }
        })
    }

    /// Bytes of one voxel.
    pub fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::I32 | Self::U32 | Self::F32 => 4,
            Self::I64 | Self::U64 | Self::F64 => 8,
        }
    }
}

/// What a NIfTI header says about its volume.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct NiftiHead {
    /// Where the voxels lie, RAS+ mm.
    pub grid: Grid,
    /// Where the affine comes from: `sform`, `qform`, or `pixdim` where the
    /// file has neither: then left and right are a convention, not knowledge.
    pub affine_source: &'static str,
    /// Volumes in the file; 1 for now.
    pub frames: usize,
    /// How a voxel is stored.
    pub voxel_type: VoxelType,
    /// Slope and intercept from stored values to intensities; `(1, 0)` where
    /// the header has none.
    pub scale: (f32, f32),
    pub(super) big_endian: bool,
    pub(super) data_offset: u64,
}

impl NiftiHead {
    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, NiftiError> {
        let size = bytes.first_chunk::<4>().ok_or(NiftiError::NotNifti)?;
        let size = i32::from_le_bytes(*size);
        if size == 540 || size.swap_bytes() == 540 {
            return Err(NiftiError::Unsupported { what: "NIfTI-2" });
        }
        let header = NiftiHeader::from_reader(bytes).map_err(|_| NiftiError::NotNifti)?;
        if header.sizeof_hdr != HEADER_LEN as i32 {
            return Err(NiftiError::NotNifti);
        }
        if header.magic.starts_with(b"ni1") {
            return Err(NiftiError::Unsupported { what: "a .hdr/.img pair" });
        }
        let shape = shape(&header.dim)?;
        let voxel_type = VoxelType::from_code(header.datatype)?;
        let (affine, affine_source) = affine(&header, shape);
        Orientation::from_affine(&affine)
            .map_err(|source| NiftiError::Affine { source_name: affine_source, source })?;
        let grid = Grid { shape, ras_from_voxel: affine };
        Ok(Self {
            grid,
            affine_source,
            frames: 1,
            voxel_type,
            scale: scale(header.scl_slope, header.scl_inter)?,
            big_endian: header.endianness == Endianness::Big,
            data_offset: data_offset(header.vox_offset)?,
        })
    }

    pub(super) fn voxel_count(&self) -> usize {
        self.grid.shape.iter().product()
    }

    /// Bytes of the voxels.
    pub(super) fn data_len(&self) -> u64 {
        self.voxel_count() as u64 * self.voxel_type.size() as u64
    }
}

/// Voxels along (i, j, k); a missing or zero dimension after the first is one.
fn shape(dim: &[u16; 8]) -> Result<[usize; 3], NiftiError> {
    let limit = i64::from(i16::MAX);
    let refuse = |index: usize, limit| {
        Err(NiftiError::Dimension { index, value: i64::from(dim[index] as i16), limit })
    };
    if !(1..=7).contains(&dim[0]) {
        return refuse(0, 7);
    }
    let used = usize::from(dim[0]);
    let mut sizes = [1usize; 8];
    for index in 1..=used {
        sizes[index] = match dim[index] {
            0 if index > 3 => 1,
            n @ 1..=0x7fff => usize::from(n),
            _ => return refuse(index, limit),
        };
    }
    let frames = sizes[4..].iter().fold(1usize, |n, &s| n.saturating_mul(s));
    if frames > 1 {
        return Err(NiftiError::Frames { frames });
    }
    let shape = [sizes[1], sizes[2], sizes[3]];
    let voxels = shape[0] * shape[1] * shape[2];
    if voxels > Grid::MAX_VOXELS {
        return Err(NiftiError::TooLarge { shape });
    }
    Ok(shape)
}

/// Slope and intercept, or `(1, 0)` where the slope says that there are none.
fn scale(slope: f32, intercept: f32) -> Result<(f32, f32), NiftiError> {
    if slope == 0.0 || !slope.is_finite() {
        return Ok((1.0, 0.0));
    }
    if !intercept.is_finite() {
        return Err(NiftiError::Intercept { slope });
    }
    Ok((slope, intercept))
}

/// Where the voxels start. A `.nii` file has at least its header and four
/// bytes of extension flags before them; 0 is written by old tools for 352.
fn data_offset(value: f32) -> Result<u64, NiftiError> {
    let lowest = HEADER_LEN as u64 + 4;
    if value == 0.0 {
        return Ok(lowest);
    }
    // A comparison with NaN is false: NaN is refused too.
    if value >= lowest as f32 && value <= MAX_DATA_OFFSET as f32 && value.fract() == 0.0 {
        return Ok(value as u64);
    }
    Err(NiftiError::Offset { value, lowest, limit: MAX_DATA_OFFSET })
}

/// Voxel to RAS+ mm: the sform where it has a code, then the qform, then the
/// voxel sizes with the first axis running to the left and the middle of the
/// volume at the origin, as nibabel has it.
///
/// # Source
/// `nifti1.h`, "3D image (volume) orientation and location in space", methods
/// 3, 2 and 1; the unit from `xyzt_units`, which nibabel leaves to the caller.
fn affine(header: &NiftiHeader, shape: [usize; 3]) -> (Affine, &'static str) {
    let (in_unit, name) = if header.sform_code > 0 {
        let row = |r: [f32; 4]| r.map(f64::from);
        let rows = [row(header.srow_x), row(header.srow_y), row(header.srow_z), [0.0; 4]];
        (affine_from_rows(&rows), "sform")
    } else if header.qform_code > 0 {
        (qform(header), "qform")
    } else {
        let size = DVec3::new(-1.0, 1.0, 1.0) * pixdim(header);
        let middle = DVec3::from_array(shape.map(|n| (n - 1) as f64 / 2.0));
        let affine = DAffine3::from_mat3_translation(DMat3::from_diagonal(size), -(size * middle));
        (affine, "pixdim")
    };
    let mm = match header.xyzt_units & 7 {
        1 => 1000.0,
        3 => 0.001,
        _ => 1.0,
    };
    (DAffine3::from_scale(DVec3::splat(mm)) * in_unit, name)
}

fn qform(header: &NiftiHeader) -> Affine {
    let [b, c, d] = [header.quatern_b, header.quatern_c, header.quatern_d].map(f64::from);
    let a = 1.0 - (b * b + c * c + d * d);
    // The three stored numbers are rounded to f32: at a turn of 180° their
    // squares may sum to a little more than one.
    let quaternion = if a < 1e-7 {
        DQuat::from_xyzw(b, c, d, 0.0).normalize()
    } else {
        DQuat::from_xyzw(b, c, d, a.sqrt())
    };
    let qfac = if header.pixdim[0] < 0.0 { -1.0 } else { 1.0 };
    let size = pixdim(header) * DVec3::new(1.0, 1.0, qfac);
    let offset = [header.quatern_x, header.quatern_y, header.quatern_z].map(f64::from);
    DAffine3::from_mat3_translation(
        DMat3::from_quat(quaternion) * DMat3::from_diagonal(size),
        DVec3::from_array(offset),
    )
}

fn pixdim(header: &NiftiHeader) -> DVec3 {
    let [_, x, y, z, ..] = header.pixdim;
    DVec3::new(f64::from(x), f64::from(y), f64::from(z))
}
