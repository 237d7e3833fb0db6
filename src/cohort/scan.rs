//! From a volume of the cohort to its voxels: the one place that knows the formats.

use std::{collections::BTreeMap, path::PathBuf};

use ndarray::Array3;
use rayon::prelude::*;

use super::{Cohort, CohortRow, Link};
use crate::io::{
    dicom::{self, DicomError, Instance, MrTiming},
    nifti::{self, NiftiError},
    series::{self, SeriesError},
};

/// A volume that an index found, and where it lies.
#[derive(Clone)]
pub struct Scan {
    /// Its row.
    pub row: CohortRow,
    /// Its files, in order.
    pub files: Vec<PathBuf>,
}

/// Why a volume cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The cohort's row or the linkage lacks what is needed.
    #[error("the cohort has no {missing} for this series; index again")]
    Incomplete {
        /// What is missing.
        missing: &'static str,
    },
    /// The NIfTI file cannot be read.
    #[error(transparent)]
    Nifti(#[from] NiftiError),
    /// The DICOM series cannot be read.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The header of one of its DICOM files cannot be read.
    #[error(transparent)]
    Dicom(#[from] DicomError),
    /// The file changed its geometry since it was indexed.
    #[error("the file's grid is another one than when it was indexed; index again")]
    Changed,
}

/// What the files of a volume say of it beyond its row.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where its affine comes from: `positions` of DICOM slices, or NIfTI's
    /// `sform`, `qform` or `pixdim`.
    pub affine_source: &'static str,
    /// How a voxel is stored: `i16`, `uint12 in 16 bits`.
    pub stored: String,
    /// Slope and intercept from stored values to intensities; none where they
    /// change from slice to slice.
    pub rescale: Option<[f64; 2]>,
    /// Unit of the intensities, where the files say it, in DICOM's words.
    pub unit: Option<&'static str>,
    /// Times and angle of an MR sequence, of the first slice.
    pub timing: MrTiming,
}

impl Cohort {
    /// Every volume with its files.
    pub fn scans(&self) -> Vec<Scan> {
        scans(self.rows.iter().cloned(), &self.links)
    }
}

/// Every row that is a volume, with its files from the linkage.
pub fn scans(rows: impl IntoIterator<Item = CohortRow>, links: &[Link]) -> Vec<Scan> {
    let mut files = files_of(links);
    rows.into_iter()
        .filter(|row| row.status == "volume")
        .map(|row| Scan { files: files.remove(&row.series).unwrap_or_default(), row })
        .collect()
}

/// The files of every series, in order.
fn files_of(links: &[Link]) -> BTreeMap<String, Vec<PathBuf>> {
    let mut files: BTreeMap<&String, Vec<(u32, &String)>> = BTreeMap::new();
    for link in links {
        if let (Some(series), Some(position)) = (&link.series, link.position) {
            files.entry(series).or_default().push((position, &link.real));
        }
    }
    let in_order = |mut files: Vec<(u32, &String)>| {
        files.sort();
        files.into_iter().map(|(_, path)| path.into()).collect()
    };
    files.into_iter().map(|(series, files)| (series.clone(), in_order(files))).collect()
}

impl Scan {
    /// Voxels that its row promises: what reading it takes, before it is read.
    pub fn voxel_count(&self) -> f64 {
        self.row.shape.unwrap_or_default().map(f64::from).iter().product()
    }

    /// The voxels `[k, j, i]` on the grid of the row, in the unit of the scan;
    /// `NaN` marks what was not measured.
    ///
    /// # Errors
    /// [`ReadError`]: also where the files changed their geometry since they
    /// were indexed.
    pub fn read(&self) -> Result<Array3<f32>, ReadError> {
        let incomplete = |missing| ReadError::Incomplete { missing };
        let grid = self.row.grid().ok_or(incomplete("geometry"))?;
        match (self.row.format.as_str(), &self.files[..]) {
            (_, []) => Err(incomplete("file")),
            ("nifti", [file, ..]) => {
                let (voxels, head) = nifti::open_volume(file)?;
                if head.grid == grid { Ok(voxels) } else { Err(ReadError::Changed) }
            }
            _ => Ok(series::read_series(&self.files, &grid)?),
        }
    }

    /// What the headers of its files say.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn origin(&self) -> Result<Origin, ReadError> {
        let Some(first) = self.files.first() else {
            return Err(ReadError::Incomplete { missing: "file" });
        };
        if self.row.format == "nifti" {
            let head = nifti::open_grid(first)?;
            let (slope, intercept) = head.scale;
            return Ok(Origin {
                affine_source: head.affine_source,
                stored: format!("{:?}", head.voxel_type).to_ascii_lowercase(),
                rescale: Some([slope, intercept].map(f64::from)),
                unit: None,
                timing: MrTiming::default(),
            });
        }
        let instances: Result<Vec<Instance>, DicomError> =
            self.files.par_iter().map(|file| dicom::open_header(file)).collect();
        let instances = instances?;
        let Some(first) = instances.first() else {
            return Err(ReadError::Incomplete { missing: "file" });
        };
        let rescale = |one: &Instance| one.pixels.map(|pixels| [pixels.slope, pixels.intercept]);
        let same = instances.iter().all(|one| rescale(one) == rescale(first));
        Ok(Origin {
            affine_source: "positions",
            stored: first.pixels.map_or_else(String::new, |pixels| {
                let sign = if pixels.signed { "int" } else { "uint" };
                format!("{sign}{} in {} bits", pixels.bits_stored, pixels.bits_allocated)
            }),
            rescale: if same { rescale(first) } else { None },
            unit: first.unit,
            timing: first.timing,
        })
    }
}
