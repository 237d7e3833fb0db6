//! From a volume of the cohort to its voxels: the one place that knows the formats.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ndarray::Array3;

use super::{CohortRow, Link};
use crate::io::{
    dicom::MrTiming,
    image::{Image, ImageError},
    series::{self, SeriesError, SliceSource},
};

/// A volume that an index found, and where it lies.
#[derive(Clone)]
pub struct Scan {
    /// Its row.
    pub row: CohortRow,
    /// Where its slices come from, in order; of an image file the file.
    pub slices: Vec<SliceSource>,
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
    /// The image file cannot be read.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// The DICOM series cannot be read.
    #[error(transparent)]
    Series(#[from] SeriesError),
    /// The file changed its geometry since it was indexed.
    #[error("the file's grid is another one than when it was indexed; index again")]
    Changed,
}

/// What the files of a volume say of it beyond its row.
#[derive(Debug, Clone)]
pub struct Origin {
    /// Where its affine comes from: `positions` of DICOM slices, or the part of an
    /// image's header, as [`ImageHead`](crate::io::image::ImageHead) has it.
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

/// Every row that is a volume, with its slices from the linkage.
pub fn scans(rows: impl IntoIterator<Item = CohortRow>, links: &[Link]) -> Vec<Scan> {
    let mut slices = slices_of(links);
    rows.into_iter()
        .filter(|row| row.status == "volume")
        .map(|row| Scan { slices: slices.remove(&row.series).unwrap_or_default(), row })
        .collect()
}

/// The slices of every series, in order.
fn slices_of(links: &[Link]) -> BTreeMap<String, Vec<SliceSource>> {
    let mut links: Vec<(&String, u32, &Link)> = links
        .iter()
        .filter_map(|link| Some((link.series.as_ref()?, link.position?, link)))
        .collect();
    links.sort_by_key(|&(series, position, _)| (series, position));
    let mut slices: BTreeMap<String, Vec<SliceSource>> = BTreeMap::new();
    for (series, position, link) in links {
        slices.entry(series.clone()).or_default().push(SliceSource {
            file: link.real.clone().into(),
            frame: link.frame.unwrap_or(0),
            scale: link.scale.unwrap_or(1.0),
            k: link.k.unwrap_or(f64::from(position)),
        });
    }
    slices
}

/// The image file that was read last, kept open: its frames are then read in one
/// pass where they are asked for in order.
#[derive(Debug, Default)]
pub struct LastImage(Option<(PathBuf, Image)>);

impl LastImage {
    fn of(&mut self, file: &Path) -> Result<&mut Image, ImageError> {
        let image = match self.0.take() {
            Some((path, image)) if path == file => image,
            _ => Image::open(file)?,
        };
        Ok(&mut self.0.insert((file.to_owned(), image)).1)
    }
}

impl Scan {
    /// Its files, each once.
    pub fn files(&self) -> Vec<PathBuf> {
        SliceSource::files(&self.slices)
    }

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
    pub fn read(&self, last: &mut LastImage) -> Result<Array3<f32>, ReadError> {
        self.read_with_origin(last).map(|(voxels, _)| voxels)
    }

    /// As [`Scan::read`], with what the headers of its files say: no file is opened
    /// twice for it.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read_with_origin(
        &self,
        last: &mut LastImage,
    ) -> Result<(Array3<f32>, Origin), ReadError> {
        let incomplete = |missing| ReadError::Incomplete { missing };
        let grid = self.row.grid().ok_or(incomplete("geometry"))?;
        match (self.row.format.as_str(), &self.slices[..]) {
            (_, []) => Err(incomplete("file")),
            // A slice that the linkage lost must not be made up.
            ("dicom", slices)
                if SliceSource::missing(slices, grid.shape[2])
                    != self.row.missing_slices as usize =>
            {
                Err(incomplete("slice"))
            }
            ("dicom", slices) => {
                let reading = series::read_whole(slices, &grid)?;
                let stored = reading.pixels.map_or_else(String::new, |pixels| {
                    let sign = if pixels.signed { "int" } else { "uint" };
                    format!("{sign}{} in {} bits", pixels.bits_stored, pixels.bits_allocated)
                });
                let origin = Origin {
                    affine_source: "positions",
                    stored,
                    rescale: reading.rescale,
                    unit: reading.unit,
                    timing: reading.timing,
                };
                Ok((reading.voxels, origin))
            }
            (_, [slice, ..]) => {
                let image = last.of(&slice.file)?;
                let head = image.head();
                if head.grid != grid {
                    return Err(ReadError::Changed);
                }
                let (slope, intercept) = head.scale;
                let origin = Origin {
                    affine_source: head.affine_source,
                    stored: format!("{:?}", head.voxel_type).to_ascii_lowercase(),
                    rescale: Some([slope, intercept]),
                    unit: None,
                    timing: MrTiming::default(),
                };
                Ok((image.volume(self.row.frame as usize)?, origin))
            }
        }
    }
}
