//! Scans as NIfTI files on their native grids, with what was decided beside them.

mod left;
mod naming;
mod sidecar;
mod stored;

use std::{io, path::Path};

use flate2::{Compression, GzBuilder};
use ndarray::Array3;
use serde::{Deserialize, Serialize};

use crate::{
    cohort::{LastImage, ReadError, Scan},
    durable::{self, DurableError},
    geometry::Grid,
    io::nifti,
};

pub use left::{Left, remove_left};
pub use naming::{Naming, NamingError, bids_ignored};
use sidecar::Sidecar;
pub use stored::{Scale, exact_int16};

/// How scans are written.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What the files are called.
    pub naming: Naming,
    /// Whether they are compressed: `.nii.gz` or `.nii`.
    pub gzip: bool,
    /// The intensity written in the place of voxels that were not measured
    /// (DICOM's padding); without one they are NaN, which only float32 can say.
    pub padding: Option<f32>,
}

/// Why a scan cannot be converted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConvertError {
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// A file cannot be written.
    #[error("the volume cannot be written as NIfTI")]
    Write(#[source] io::Error),
}

/// What became of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stored {
    /// int16 with a slope and an intercept that give every intensity exactly.
    Int16,
    /// float32.
    Float32,
}

/// Effort of deflate: of the levels above, scans become 1 % smaller and take twice as long.
const GZIP_LEVEL: u32 = 4;

/// Name and version of the program, as the files say it.
const SOFTWARE: &str = concat!("mivox ", env!("CARGO_PKG_VERSION"));

/// Bytes of memory that [`convert`] takes for each voxel at most: the
/// intensities, and beside them the integers, or slices between those of the grid.
pub const BYTES_PER_VOXEL: usize = 8;

/// Writes a scan below `folder` under a name without ending, as `.nii` or
/// `.nii.gz` with a JSON sidecar, and says how its voxels are stored.
///
/// A scan whose sidecar says that it was made of the same files in the same way
/// before is passed over.
///
/// Its intensities (after DICOM's or NIfTI's rescale) are stored as int16 where a
/// slope and an intercept are found by which each one comes back to the last bit
/// of float32, see [`exact_int16`]; else as float32.
///
/// # Errors
/// [`ConvertError`]: the scan is then to be quarantined.
pub fn convert(
    scan: &Scan,
    settings: &Settings,
    folder: &Path,
    name: &str,
    last: &mut LastImage,
) -> Result<Stored, ConvertError> {
    let row = &scan.row;
    let made_from = durable::sha256_hex(
        // All of the row: the sidecar says whose the scan is, and how it was read.
        format!("{SOFTWARE}\n{row:?}\n{:?}", settings.padding).as_bytes(),
    );
    let (ending, other) = if settings.gzip { ("nii.gz", "nii") } else { ("nii", "nii.gz") };
    let path = folder.join(format!("{name}.{ending}"));
    let sidecar = folder.join(format!("{name}.json"));
    if path.exists()
        && let Some(stored) = Sidecar::of_before(&sidecar, &made_from)
    {
        return Ok(stored);
    }
    // What is left of another version, or of the other ending, is no longer true,
    // whatever becomes of this one; two files would be two volumes.
    for old in [&sidecar, &path, &folder.join(format!("{name}.{other}"))] {
        left::remove(old).map_err(ConvertError::Write)?;
    }
    let grid = row.grid().ok_or(ReadError::Incomplete { missing: "geometry" })?;
    let (mut voxels, origin) = scan.read_with_origin(last)?;
    let missing = voxels.iter().filter(|value| value.is_nan()).count();
    if let Some(padding) = settings.padding {
        voxels.iter_mut().filter(|value| value.is_nan()).for_each(|value| *value = padding);
    }
    let scale = exact_int16(voxels.view(), origin.rescale);
    let text = Sidecar::new(row, &grid, &origin, scale, missing, made_from);
    durable::write_atomically(&path, |out| {
        let written = if settings.gzip {
            // No name and no time: the same scan gives the same bytes.
            let mut gzip = GzBuilder::new().write(out, Compression::new(GZIP_LEVEL));
            write(&mut gzip, &voxels, &grid, scale).and_then(|()| gzip.finish().map(drop))
        } else {
            write(out, &voxels, &grid, scale)
        };
        written.map_err(ConvertError::Write)
    })?;
    durable::write_atomically(&sidecar, |out| text.write(out).map_err(ConvertError::Write))?;
    Ok(if scale.is_some() { Stored::Int16 } else { Stored::Float32 })
}

fn write(
    out: impl io::Write,
    voxels: &Array3<f32>,
    grid: &Grid,
    scale: Option<Scale>,
) -> io::Result<()> {
    match scale {
        Some(scale) => {
            let stored = voxels.mapv(|value| scale.stored(value));
            nifti::write_i16(out, stored.view(), grid, scale.slope, scale.intercept, SOFTWARE)
        }
        None => nifti::write_f32(out, voxels.view(), grid, SOFTWARE),
    }
}

#[cfg(test)]
mod tests;
