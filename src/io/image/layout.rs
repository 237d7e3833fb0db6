//! Where the voxels of an image lie, and what a header must fulfil in any format.

use std::path::PathBuf;

use glam::DVec3;

use super::{ImageError, VoxelType};
use crate::geometry::{Affine, Grid, Orientation};

/// How the bytes of the voxels are coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::io) enum Coding {
    /// As they are.
    Raw,
    /// gzip (RFC 1952), of one member or several.
    Gzip,
    /// zlib (RFC 1950).
    Zlib,
    /// bzip2.
    Bzip2,
    /// Numbers as text, parted by white space.
    Text,
    /// Bytes as two hexadecimal digits each.
    Hex,
}

/// Where the voxels of an image lie.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::io) struct Layout {
    /// The files that hold them, each as much, where it is not the header's own.
    pub(in crate::io) data_files: Vec<PathBuf>,
    /// How they are coded.
    pub(in crate::io) coding: Coding,
    /// Bytes of a file before the coded ones; `None`: so many that the
    /// voxels end where the file ends.
    pub(in crate::io) start: Option<u64>,
    /// Bytes to pass over after decoding.
    pub(in crate::io) skip: u64,
    /// Length of the coded bytes, where the header says it.
    pub(in crate::io) stored: Option<u64>,
    /// Whether numbers begin with their highest byte.
    pub(in crate::io) big_endian: bool,
    /// Frames whose voxels alternate: the product of the axes that are faster
    /// than those in space. 1 where frames follow one another.
    pub(in crate::io) interleaved: usize,
}

/// Bytes of one frame.
///
/// # Errors
/// [`ImageError::Unsupported`] where a frame of single bits ends within a byte
/// and another one follows.
pub(in crate::io) fn frame_len(
    shape: [usize; 3],
    voxel_type: VoxelType,
    frames: usize,
) -> Result<u64, ImageError> {
    let bits = shape.iter().map(|&n| n as u64).product::<u64>() * voxel_type.bits();
    if frames > 1 && !bits.is_multiple_of(8) {
        return Err(ImageError::Unsupported { what: "frames of single bits that share a byte" });
    }
    Ok(bits.div_ceil(8))
}

/// The grid of a header's shape and affine, checked.
///
/// An axis with one voxel may have no direction: 2-D files give it a size of
/// zero. It then runs along the normal of the other two with 1 mm, and a remark
/// says so.
///
/// # Errors
/// [`ImageError`] where a side is zero, the voxels are too many, or the affine
/// spans no volume.
pub(in crate::io) fn place(
    shape: [u64; 3],
    ras_from_voxel: Affine,
    source_name: &'static str,
    remarks: &mut Vec<String>,
) -> Result<Grid, ImageError> {
    for (axis, &value) in shape.iter().enumerate() {
        if value == 0 || value > Grid::MAX_VOXELS as u64 {
            return Err(ImageError::Side { axis, value });
        }
    }
    let mut grid = Grid { shape: shape.map(|n| n as usize), ras_from_voxel };
    if grid.voxel_count().is_none() {
        return Err(ImageError::TooLarge { shape: grid.shape });
    }
    let columns = &mut grid.ras_from_voxel.matrix3;
    for axis in 0..3 {
        if grid.shape[axis] == 1 && columns.col(axis) == DVec3::ZERO {
            let normal = columns.col((axis + 1) % 3).cross(columns.col((axis + 2) % 3));
            *columns.col_mut(axis) = normal.normalize_or_zero();
            let name = ["i", "j", "k"][axis];
            remarks.push(format!("the one voxel along {name} has no size and is taken as 1 mm"));
        }
    }
    Orientation::from_affine(&grid.ras_from_voxel)
        .map_err(|source| ImageError::Affine { source_name, source })?;
    Ok(grid)
}
