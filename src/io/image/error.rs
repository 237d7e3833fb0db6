//! Why there is no volume in a file.

use std::io;

use crate::volume::NoRoom;
use crate::{
    geometry::{Grid, OrientationError},
    io::{fields::FieldError, nifti::NiftiError},
};

/// Why an image file cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The file cannot be opened, read, or its compression is damaged.
    #[error("the image file cannot be read")]
    Io(#[from] io::Error),
    /// The file has the header of no known format.
    #[error("the file has no header of NIfTI, Analyze, NRRD or MetaImage")]
    Alien,
    /// The fields of a NIfTI or Analyze header cannot be used.
    #[error(transparent)]
    Nifti(#[from] NiftiError),
    /// The fields of an NRRD or MetaImage header cannot be used.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// What the header describes is not read.
    #[error("{what}: not supported")]
    Unsupported {
        /// The feature.
        what: &'static str,
    },
    /// A side has no voxel, or more than a volume may have.
    #[error("axis {axis} has {value} voxels, not within 1 to {}", Grid::MAX_VOXELS)]
    Side {
        /// 0, 1 or 2 for i, j, k.
        axis: usize,
        /// What the header says.
        value: u64,
    },
    /// More voxels than a volume may have.
    #[error("{shape:?} voxels are above the limit of {}", Grid::MAX_VOXELS)]
    TooLarge {
        /// Voxels along (i, j, k).
        shape: [usize; 3],
    },
    /// The affine is not one.
    #[error("the {source_name} gives no affine")]
    Affine {
        /// The part of the header that it is from.
        source_name: &'static str,
        /// What is wrong with it.
        source: OrientationError,
    },
    /// The header's data file cannot be used.
    #[error("the file of the voxels, beside the header, {reason}")]
    DataFile {
        /// What is in the way.
        reason: &'static str,
    },
    /// The file is shorter than its header says.
    #[error("the header promises {promised} bytes and the file holds {found}")]
    Short {
        /// Bytes to the end of the voxels.
        promised: u64,
        /// Bytes that the file holds, or can hold at most where it is compressed.
        found: u64,
    },
    /// The compressed voxels are far smaller than any scan's can be.
    #[error("{promised} bytes of voxels in {coded} compressed ones: no scan is that empty")]
    Bomb {
        /// Bytes of the voxels.
        promised: u64,
        /// Bytes they are compressed to.
        coded: u64,
    },
    /// The voxels are not what the header says.
    #[error("the voxels are {what}")]
    Voxels {
        /// What they are.
        what: &'static str,
    },
    /// There is no such frame.
    #[error("frame {frame} was asked for, counted from 0, and the file has {frames}")]
    Frame {
        /// The frame asked for.
        frame: usize,
        /// Frames in the file.
        frames: usize,
    },
    /// The memory for the voxels is not there.
    #[error(transparent)]
    Memory(#[from] NoRoom),
    /// The file cannot be mapped as it is.
    #[error("the volume cannot be mapped: {reason}")]
    NotMappable {
        /// What is in the way.
        reason: &'static str,
    },
}
