//! A prepared volume, mapped into memory.

use std::{fs::File, path::Path};

use memmap2::Mmap;
use ndarray::ArrayView3;

use super::{NiftiError, NiftiHead, VoxelType};
use crate::geometry::Grid;

/// An uncompressed int16 NIfTI-1 volume, mapped into memory: a slice costs the
/// pages it lies on.
#[derive(Debug)]
pub struct Mapped {
    head: NiftiHead,
    map: Mmap,
}

impl Mapped {
    /// The volume at a path, mapped; no voxel is read yet.
    ///
    /// # Errors
    /// [`NiftiError::NotMappable`] where the file is compressed, big-endian, not
    /// int16, or its voxels start at an odd byte; other variants where it is no
    /// NIfTI-1 volume or shorter than its header says.
    pub fn open(path: &Path) -> Result<Self, NiftiError> {
        let refuse = |reason| Err(NiftiError::NotMappable { reason });
        let file = File::open(path)?;
        // SAFETY: the map is read-only, and the files are prepared volumes,
        // which are written under another name, renamed when complete, and
        // never written to again: a new version is a new file.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file)? };
        if map.starts_with(&super::GZIP_MAGIC) {
            return refuse("it is compressed");
        }
        let head =
            NiftiHead::from_bytes(map.get(..map.len().min(super::HEADER_LEN)).unwrap_or(&[]))?;
        if head.voxel_type != VoxelType::I16 {
            return refuse("its voxels are not int16");
        }
        if head.big_endian || cfg!(target_endian = "big") {
            return refuse("its bytes or this machine's are big-endian");
        }
        let (promised, found) = (head.data_offset + head.data_len(), map.len() as u64);
        if promised > found {
            return Err(NiftiError::Short { promised, found });
        }
        let mapped = Self { head, map };
        if mapped.all().len() != mapped.head.voxel_count() {
            return refuse("its voxels start at an odd byte");
        }
        Ok(mapped)
    }

    /// Where the voxels lie.
    pub fn grid(&self) -> &Grid {
        &self.head.grid
    }

    /// Intensity per stored unit.
    pub fn slope(&self) -> f32 {
        self.head.scale.0
    }

    /// Intensity of a stored zero.
    pub fn intercept(&self) -> f32 {
        self.head.scale.1
    }

    /// The stored voxels of slice k, `[j, i]` in C order, or `None` behind the last.
    pub fn slice(&self, k: usize) -> Option<&[i16]> {
        let [ni, nj, nk] = self.head.grid.shape;
        let len = ni * nj;
        if k < nk { self.all().get(k * len..(k + 1) * len) } else { None }
    }

    /// The stored voxels `[k, j, i]`.
    #[allow(clippy::expect_used)]
    pub fn voxels(&self) -> ArrayView3<'_, i16> {
        let [ni, nj, nk] = self.head.grid.shape;
        // Invariant: `open` lets no file through whose voxels are fewer or more.
        ArrayView3::from_shape((nk, nj, ni), self.all()).expect("the length was checked")
    }

    /// All voxels, or none where they do not lie on an even address.
    fn all(&self) -> &[i16] {
        let start = self.head.data_offset as usize;
        let bytes = self.map.get(start..start + self.head.data_len() as usize).unwrap_or(&[]);
        // SAFETY: every pair of bytes is a valid i16, and `align_to` leaves
        // misaligned bytes out of the middle part.
        #[allow(unsafe_code)]
        let (before, voxels, after) = unsafe { bytes.align_to::<i16>() };
        if before.is_empty() && after.is_empty() { voxels } else { &[] }
    }
}
