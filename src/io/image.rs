//! Files that hold whole volumes: NIfTI, Analyze, NRRD and MetaImage, by one way in.
//!
//! [`open_head`] reads the header: the grid, how many frames there are, what
//! their voxels mean, and what had to be decided ([`ImageHead::remarks`]).
//! [`open_volume`] reads one frame; [`Image`] reads several of one file, each
//! for the price of its own bytes where they are taken in order.
//!
//! A format's module turns its header into an [`ImageHead`]; everything behind
//! the header (compression, byte order, number types, scale, truncation) is the
//! same for all of them and stands here.
//!
//! Files are read, not mapped: a mapped file that another program shortens, or
//! a network share that goes away, ends the whole process instead of one
//! volume. [`Mapped`] is for the volumes that mivox itself wrote, and for
//! callers who know as much of their files.

mod beside;
mod error;
mod layout;
mod mapped;
mod stream;
mod voxel;

pub use error::ImageError;
pub use mapped::Mapped;
pub use voxel::VoxelType;

pub(super) use beside::{companion, named, numbered};
pub(super) use layout::{Coding, Layout, place};

use std::{
    fs::File,
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use ndarray::Array3;

use super::{BUFFER, Format, Gunzip, archive, metaimage, nifti, nrrd};
use crate::geometry::Grid;
use stream::Stream;

/// Longest header that is looked at. NIfTI has 540 bytes; the text headers of
/// NRRD carry key-value pairs of any kind, such as b-values or a whole DICOM
/// header.
pub(super) const MAX_HEADER: u64 = 1 << 20;

/// What the header of an image file says.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct ImageHead {
    /// Which format the file has.
    pub format: Format,
    /// Where the voxels of every frame lie, RAS+ mm.
    pub grid: Grid,
    /// Which part of the header gave the affine: `sform`, `qform` or `pixdim`
    /// (NIfTI), `origin` or `pixdim` (Analyze), `space directions` or
    /// `spacings` (NRRD), `TransformMatrix` or `ElementSpacing` (MetaImage).
    pub affine_source: &'static str,
    /// Volumes in the file: the product of the axes that are not in space.
    pub frames: usize,
    /// How a voxel is stored.
    pub voxel_type: VoxelType,
    /// Slope and intercept from stored numbers to intensities; `(1, 0)` where
    /// the header has none.
    pub scale: (f64, f64),
    /// What the header says that the image is, where it is no scan: `label map`,
    /// `statistical map`, `vector field`, `colour image`.
    pub kind: Option<&'static str>,
    /// What was decided in reading the header and may matter to whoever uses
    /// the volumes, as sentences without any text of the file.
    pub remarks: Vec<String>,
    pub(super) layout: Layout,
}

impl ImageHead {
    /// The files beside the header that hold the voxels, in their order; none where
    /// they are in the header's own file.
    pub fn data_files(&self) -> &[PathBuf] {
        &self.layout.data_files
    }

    /// Voxels of one frame.
    pub(super) fn voxel_count(&self) -> usize {
        self.grid.shape.iter().product()
    }
}

/// The header of an image file. No voxel is read.
///
/// The file of the voxels is checked to be there, and to be long enough where
/// it is not compressed; where it is, against the most that its compression can
/// hold, and in full by [`open_volume`].
///
/// # Errors
/// [`ImageError`] where the file is none of the formats, its header cannot be
/// used or promises more than there is.
pub fn open_head(path: &Path) -> Result<ImageHead, ImageError> {
    Image::open(path).map(|image| image.head)
}

/// The header of an image file that is open at its start; `path` is where it lies.
///
/// # Errors
/// As [`open_head`].
pub fn read_head(file: BufReader<File>, path: &Path) -> Result<ImageHead, ImageError> {
    Image::read(file, path).map(|image| image.head)
}

/// One frame of an image file, counted from 0: its intensities `[k, j, i]` after
/// slope and intercept, and the header. A 3-D file has frame 0 alone.
///
/// # Errors
/// As [`Image::open`] and [`Image::volume`].
pub fn open_volume(path: &Path, frame: usize) -> Result<(Array3<f32>, ImageHead), ImageError> {
    let mut image = Image::open(path)?;
    let voxels = image.volume(frame)?;
    Ok((voxels, image.head))
}

/// The files that a header names for its voxels, whether or not the rest of the
/// header can be used; none for a file that names none.
pub fn data_files(path: &Path) -> Vec<PathBuf> {
    let Some(Ok((start, _))) = archive::open(path).ok().map(|file| start(buffered(file))) else {
        return Vec::new();
    };
    if nifti::looks_like_nifti(&start) || nifti::looks_like_analyze(&start) {
        companion(path).into_iter().collect()
    } else if nrrd::looks_like_nrrd(&start) {
        nrrd::data_files(&start, path)
    } else if metaimage::looks_like_metaimage(&start) {
        metaimage::data_files(&start, path)
    } else {
        Vec::new()
    }
}

/// An image file that is open for reading its frames.
///
/// ```no_run
/// # use mivox::io::image::{Image, ImageError};
/// # fn main() -> Result<(), ImageError> {
/// let mut image = Image::open("bold.nii.gz".as_ref())?;
/// for frame in 0..image.head().frames {
///     let voxels = image.volume(frame)?; // [k, j, i]
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Image {
    head: ImageHead,
    stream: Stream,
}

impl Image {
    /// Reads the header and opens what holds the voxels.
    ///
    /// # Errors
    /// As [`open_head`].
    pub fn open(path: &Path) -> Result<Self, ImageError> {
        Self::read(buffered(archive::open(path)?), path)
    }

    fn read(file: BufReader<File>, path: &Path) -> Result<Self, ImageError> {
        let head = head_of(file, path)?;
        let stream = Stream::open(&head, path)?;
        Ok(Self { head, stream })
    }

    /// What the header says.
    pub fn head(&self) -> &ImageHead {
        &self.head
    }

    /// A frame, counted from 0: intensities `[k, j, i]` after slope and
    /// intercept; the magnitude of complex voxels, the luma of colours.
    ///
    /// Frames taken in order are read once through; an earlier one makes a
    /// compressed file be inflated from its start again. Checksums stand at the
    /// end of compressed files, so that reading the last frame checks them all.
    /// What follows the last voxel is ignored.
    ///
    /// # Errors
    /// [`ImageError`] where the file ends early, also behind this frame, where
    /// its compression is damaged, or there is no memory.
    ///
    /// # Source
    /// Luma: ITU-R BT.601-7, 2.5.1, of the stored values.
    pub fn volume(&mut self, frame: usize) -> Result<Array3<f32>, ImageError> {
        let frames = self.head.frames;
        if frame >= frames {
            return Err(ImageError::Frame { frame, frames });
        }
        let data = self.stream.frame(&self.head, frame)?;
        let [ni, nj, nk] = self.head.grid.shape;
        Array3::from_shape_vec((nk, nj, ni), data)
            .map_err(|_| ImageError::TooLarge { shape: self.head.grid.shape })
    }
}

/// The first bytes of what a file holds, inflated where it is gzip, and whether it is.
fn start(file: BufReader<File>) -> Result<(Vec<u8>, bool), ImageError> {
    let mut reader = Gunzip::new(file)?;
    let mut start = Vec::new();
    reader.by_ref().take(super::START).read_to_end(&mut start)?;
    // Only headers of text are longer. Most end soon, and voxels may follow.
    let (nrrd, meta) = (nrrd::looks_like_nrrd(&start), metaimage::looks_like_metaimage(&start));
    while nrrd && !nrrd::is_whole(&start) || meta && !metaimage::is_whole(&start) {
        let more = (4 * start.len() as u64).min(MAX_HEADER) - start.len() as u64;
        if reader.by_ref().take(more).read_to_end(&mut start)? == 0 {
            break;
        }
    }
    Ok((start, reader.is_gzip()))
}

fn buffered(file: File) -> BufReader<File> {
    BufReader::with_capacity(BUFFER, file)
}

fn head_of(file: BufReader<File>, path: &Path) -> Result<ImageHead, ImageError> {
    let (start, gzip) = start(file)?;
    let mut head = if nifti::looks_like_nifti(&start) || nifti::looks_like_analyze(&start) {
        nifti::read_head(&start, path, gzip)?
    } else if nrrd::looks_like_nrrd(&start) && !gzip {
        nrrd::read_head(&start, path)?
    } else if metaimage::looks_like_metaimage(&start) && !gzip {
        metaimage::read_head(&start, path)?
    } else {
        return Err(ImageError::Alien);
    };
    if head.voxel_type.is_colour() {
        head.kind = Some("colour image");
    }
    head.remarks.extend(head.voxel_type.remark().map(str::to_owned));
    Ok(head)
}
