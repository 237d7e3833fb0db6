//! Why there is no volume.

use crate::volume::NoRoom;
use crate::{geometry::Grid, io::dicom::DicomError};

/// Why instances make no volume, or a volume cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SeriesError {
    /// One *SOP Instance UID*, two contents.
    #[error("two files of the series have one SOP Instance UID and differ")]
    Conflict,
    /// One *SOP Instance UID*, two files, and they cannot be compared.
    #[error("two files of the series have one SOP Instance UID, and one cannot be read again")]
    Compare(#[source] std::io::Error),
    /// One *Series Instance UID*, several patients.
    #[error("the series holds {patients} Patient IDs")]
    Patients {
        /// Number of them.
        patients: usize,
    },
    /// The planes are not parallel.
    #[error("the series has {orientations} orientations")]
    Orientations {
        /// Number of them.
        orientations: usize,
    },
    /// One slice has no distance to the next.
    #[error("a 2-D image: one slice alone has no gap")]
    OneSlice,
    /// Many frames in one file, which do not say where each lies.
    #[error("a multi-frame image of {frames} frames that do not say where they lie")]
    MultiFrame {
        /// *Number of Frames*.
        frames: u32,
    },
    /// Slices tiled in one image, which does not say how many.
    #[error("a mosaic that does not say how many slices it has")]
    Mosaic,
    /// A part of a concatenation is not there.
    #[error("a concatenation of {promised} instances of which {found} are there")]
    Concatenation {
        /// *In-concatenation Total Number*.
        promised: u16,
        /// Instances found.
        found: usize,
    },
    /// Every place is there several times, and nothing says which images make a
    /// volume.
    #[error("{times} images at each of {places} places, and nothing tells them apart")]
    Repeated {
        /// Images at each place.
        times: usize,
        /// Number of places.
        places: usize,
    },
    /// Some places are there several times.
    #[error("{images} images lie at {places} places, slice {slice} is there more than once")]
    Duplicate {
        /// Number of images.
        images: usize,
        /// Number of places.
        places: usize,
        /// The first slice that is repeated, from 0.
        slice: usize,
    },
    /// A gap is a multiple of the others.
    #[error(
        "slices are missing: a gap of {gap_mm:.3} mm after slice {after} of {slices}, \
         where the median is {median_mm:.3} mm"
    )]
    Missing {
        /// The gap.
        gap_mm: f64,
        /// Median of all gaps.
        median_mm: f64,
        /// The slice before the gap, from 0.
        after: usize,
        /// Slices that are there.
        slices: usize,
    },
    /// The gaps differ in another way.
    #[error(
        "irregular slices: a gap of {gap_mm:.3} mm after slice {after} of {slices}, \
         where the median is {median_mm:.3} mm"
    )]
    Irregular {
        /// The gap.
        gap_mm: f64,
        /// Median of all gaps.
        median_mm: f64,
        /// The slice before the gap, from 0.
        after: usize,
        /// Slices that are there.
        slices: usize,
    },
    /// More slices are missing than are filled.
    #[error(
        "{missing} of {slices} slices are missing, {in_a_row} one behind the other: at most a \
         quarter is filled, and three one behind the other"
    )]
    TooManyMissing {
        /// Slices that are not there.
        missing: usize,
        /// Most of them one behind the other.
        in_a_row: usize,
        /// Slices with them.
        slices: usize,
    },
    /// The positions do not lie on a line.
    #[error("slice {slice} lies {off_mm:.3} mm beside the line from the first to the last")]
    Crooked {
        /// The slice, from 0.
        slice: usize,
        /// Its distance from its place.
        off_mm: f64,
    },
    /// An image without position, orientation or spacing.
    #[error("{images} images lack position, orientation or pixel spacing")]
    NoPlace {
        /// Number of them.
        images: usize,
    },
    /// The modality is none that is known.
    #[error("the modality is none that is known")]
    Modality,
    /// More voxels than a volume may have.
    #[error("{shape:?} voxels are above the limit of {}", Grid::MAX_VOXELS)]
    TooLarge {
        /// Voxels along (i, j, k).
        shape: [usize; 3],
    },
    /// The slices that there are do not cover the grid.
    #[error("{files} slices do not cover a grid of {slices} slices")]
    FileCount {
        /// Number of slices that there are.
        files: usize,
        /// Slices of the grid.
        slices: usize,
    },
    /// A file does not lie where the grid says: it changed since.
    #[error("slice {slice} is not where the grid has it: {off_mm:.3} mm off, or another size")]
    Moved {
        /// The slice, from 0.
        slice: usize,
        /// Largest distance of its corners from their places.
        off_mm: f64,
    },
    /// A slice cannot be read.
    #[error("slice {slice} cannot be read")]
    Slice {
        /// The slice, from 0.
        slice: usize,
        /// Why.
        source: DicomError,
    },
    /// A file of the series is damaged: the others may make a volume, and not the
    /// whole one.
    #[error("{files} files of the series are damaged: the volume may be cut short")]
    Damaged {
        /// Number of them.
        files: usize,
    },
    /// Files that are compressed more than any image is.
    #[error("the series promises {promised} bytes of voxels in files of {coded} bytes")]
    Bomb {
        /// Bytes that the voxels make, of two each.
        promised: u64,
        /// Bytes of the files.
        coded: u64,
    },
    /// The memory for the voxels is not there.
    #[error(transparent)]
    Memory(#[from] NoRoom),
}
