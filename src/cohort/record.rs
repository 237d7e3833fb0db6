//! The rows of an index's three tables.

use crate::{
    geometry::{Grid, affine_from_flat, affine_to_flat},
    table::record,
};

record! {
    /// A row of `cohort.parquet`: a volume, or a series that is none.
    pub struct CohortRow {
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject.
        pub subject: String,
        /// Pseudonym of the session.
        pub session: String,
        /// Pseudonym of the study.
        pub study: String,
        /// Pseudonym of the series, one for each volume.
        pub series: String,
        /// A word of [`Modality`](crate::study::Modality), the kind of object where it is no
        /// image, or `unknown`.
        pub modality: String,
        /// A defined term, where the header has one.
        pub body_part: Option<String>,
        /// Voxels along (i, j, k).
        pub shape: Option<[u32; 3]>,
        /// mm between voxel centres along (i, j, k).
        pub spacing_mm: Option<[f64; 3]>,
        /// RAS+ mm from voxel index, 4 × 4, row by row.
        pub affine: Option<[f64; 16]>,
        /// Pseudonym of the frame of reference.
        pub frame_of_reference: Option<String>,
        /// `dicom`, `nifti`, `analyze`, `nrrd` or `metaimage`.
        pub format: String,
        /// Which volume of a file that holds several, from 0.
        pub frame: u32,
        /// Slices along k that no file has and that are interpolated in reading.
        pub missing_slices: u32,
        /// Files of the series.
        pub files: u32,
        /// Changes when a file of the series does.
        pub fingerprint: String,
        /// `volume`, or `other` for what is listed and not used.
        pub status: String,
        /// Why it is `other`, or what was decided in reading it.
        pub reason: Option<String>,
    }
}

record! {
    /// A row of `quarantine.parquet`: an input that was not used.
    pub struct Quarantined {
        /// Pseudonym of the file; its path is in the linkage.
        pub file: String,
        /// Pseudonym of its series, where it is known.
        pub series: Option<String>,
        /// The stage that refused it.
        pub stage: String,
        /// Why.
        pub reason: String,
    }
}

record! {
    /// A row of `linkage.parquet`, which alone says who is behind a pseudonym.
    pub struct Link {
        /// `subject`, `session`, `study`, `series`, `frame` or `file`.
        pub kind: String,
        /// The pseudonym.
        pub pseudonym: String,
        /// The real identifier or path.
        pub real: String,
        /// Of a file: the series it belongs to.
        pub series: Option<String>,
        /// Of a file: the place of a slice of the series in it, from 0.
        pub position: Option<u32>,
        /// Of a DICOM file: the frame that has this slice, or the tile of a mosaic.
        pub frame: Option<u32>,
        /// Of a DICOM file: what the slice's values are multiplied by to have the
        /// unit of the series.
        pub scale: Option<f64>,
        /// Of a DICOM file: where the slice lies along k of the series' grid; no whole
        /// number where a stack with uneven gaps is resampled.
        pub k: Option<f64>,
    }
}
impl CohortRow {
    pub(super) fn with_grid(self, grid: &Grid) -> Self {
        Self {
            shape: Some(grid.shape.map(|n| n as u32)),
            spacing_mm: Some(grid.spacing_mm()),
            affine: Some(affine_to_flat(&grid.ras_from_voxel)),
            ..self
        }
    }

    /// Where the voxels lie, for a row that is a volume.
    pub fn grid(&self) -> Option<Grid> {
        let shape = self.shape?.map(|n| n as usize);
        Some(Grid { shape, ras_from_voxel: affine_from_flat(&self.affine?) })
    }
}

/// Why an input is not used, as a row says it: the error and its causes.
pub fn reason(error: &dyn std::error::Error) -> String {
    let mut reason = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        reason.push_str(": ");
        reason.push_str(&error.to_string());
        cause = error.source();
    }
    reason
}
