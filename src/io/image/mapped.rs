//! An image file, mapped into memory.

use std::{fs::File, marker::PhantomData, path::Path};

use memmap2::Mmap;
use ndarray::ArrayView3;

use super::{Coding, ImageError, ImageHead, VoxelType};
use crate::geometry::Grid;

/// A number that lies in a mapped file as it lies in memory.
pub trait Mappable: Copy + sealed::Sealed {
    /// The type of the file's voxels.
    const VOXEL_TYPE: VoxelType;
}

mod sealed {
    /// Keeps [`Mappable`](super::Mappable) to types of which any bytes are a value.
    pub trait Sealed {}
}

macro_rules! mappable {
    ($($number:ty: $voxel_type:ident),+) => {
        $(impl sealed::Sealed for $number {}
        impl Mappable for $number {
            const VOXEL_TYPE: VoxelType = VoxelType::$voxel_type;
        })+
    };
}
mappable!(u8: U8, i8: I8, i16: I16, u16: U16, i32: I32, u32: U32, f32: F32, f64: F64);

/// An uncompressed volume, mapped into memory: a slice costs the pages it lies
/// on, and nothing is copied.
///
/// For files that nobody changes: where another program shortens the file, or
/// its disk fails, the next look at it ends the process. mivox maps the volumes
/// that it prepared itself and reads everything else.
#[derive(Debug)]
pub struct Mapped<T: Mappable = i16> {
    head: ImageHead,
    map: Mmap,
    start: usize,
    number: PhantomData<T>,
}

impl<T: Mappable> Mapped<T> {
    /// The volume at a path, mapped; no voxel is read yet.
    ///
    /// # Errors
    /// [`ImageError::NotMappable`] where the file is compressed, has several
    /// frames, its voxels are of another type or byte order than this machine's
    /// `T`, or do not start at a multiple of its size; other variants as for
    /// [`open_head`](super::open_head).
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        let refuse = |reason| Err(ImageError::NotMappable { reason });
        let head = super::open_head(path)?;
        if head.layout.coding != Coding::Raw {
            return refuse("it is compressed or text");
        }
        if head.frames != 1 {
            return refuse("it has several frames");
        }
        if head.voxel_type != T::VOXEL_TYPE {
            return refuse("its voxels are of another type");
        }
        if head.layout.big_endian != cfg!(target_endian = "big") && size_of::<T>() > 1 {
            return refuse("its bytes have another order than this machine's");
        }
        let file = match head.data_files() {
            [] => File::open(path)?,
            [only] => File::open(only)?,
            _ => return refuse("its voxels are in several files"),
        };
        // SAFETY: the map is read-only. That the file does not change while it
        // is mapped is what the caller knows of it; mivox maps prepared volumes,
        // which are written under another name, renamed when complete, and
        // never written to again: a new version is a new file.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file)? };
        let (len, found) = ((head.voxel_count() * size_of::<T>()) as u64, map.len() as u64);
        let start = head.layout.start.unwrap_or(found.saturating_sub(len));
        if start.saturating_add(len) > found {
            return Err(ImageError::Short { promised: start.saturating_add(len), found });
        }
        let mapped = Self { head, map, start: start as usize, number: PhantomData };
        if mapped.all().len() != mapped.head.voxel_count() {
            return refuse("its voxels do not start at a multiple of their size");
        }
        Ok(mapped)
    }

    /// Where the voxels lie.
    pub fn grid(&self) -> &Grid {
        &self.head.grid
    }

    /// Intensity per stored unit.
    pub fn slope(&self) -> f32 {
        self.head.scale.0 as f32
    }

    /// Intensity of a stored zero.
    pub fn intercept(&self) -> f32 {
        self.head.scale.1 as f32
    }

    /// The stored voxels of slice k, `[j, i]` in C order, or `None` behind the last.
    pub fn slice(&self, k: usize) -> Option<&[T]> {
        let [ni, nj, nk] = self.head.grid.shape;
        let len = ni * nj;
        if k < nk { self.all().get(k * len..(k + 1) * len) } else { None }
    }

    /// The stored voxels `[k, j, i]`.
    #[allow(clippy::expect_used)]
    pub fn voxels(&self) -> ArrayView3<'_, T> {
        let [ni, nj, nk] = self.head.grid.shape;
        // Invariant: `open` lets no file through whose voxels are fewer or more.
        ArrayView3::from_shape((nk, nj, ni), self.all()).expect("the length was checked")
    }

    /// All voxels, or none where they do not lie on an address of theirs.
    fn all(&self) -> &[T] {
        let len = self.head.voxel_count() * size_of::<T>();
        let bytes = self.map.get(self.start..self.start + len).unwrap_or(&[]);
        // SAFETY: `Mappable` is sealed over numbers of which any bytes are a
        // value, and `align_to` leaves misaligned bytes out of the middle part.
        #[allow(unsafe_code)]
        let (before, voxels, after) = unsafe { bytes.align_to::<T>() };
        if before.is_empty() && after.is_empty() { voxels } else { &[] }
    }
}
