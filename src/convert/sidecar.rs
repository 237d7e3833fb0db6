//! The JSON file beside a converted volume: what was decided.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

use super::{SOFTWARE, Scale, Stored};
use crate::{
    cohort::{CohortRow, Origin},
    geometry::{Grid, Orientation},
    io::nifti::has_qform,
};

/// BIDS's fields, in its words and units; ours in one table of their own.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Sidecar {
    #[serde(skip_serializing_if = "Option::is_none")]
    modality: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_part_examined: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    units: Option<String>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    repetition_time: Option<f64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    echo_time: Option<f64>,
    /// Seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    inversion_time: Option<f64>,
    /// Degrees.
    #[serde(skip_serializing_if = "Option::is_none")]
    flip_angle: Option<f64>,
    conversion_software: String,
    mivox: Decisions,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
struct Decisions {
    subject: String,
    session: String,
    study: String,
    series: String,
    frame_of_reference: Option<String>,
    modality: String,
    source_format: String,
    source_files: u32,
    source_voxels: String,
    /// Slope and intercept of the source; none where they change by slice.
    source_rescale: Option<[f64; 2]>,
    affine_from: String,
    /// Which way i, j and k run.
    orientation: String,
    shape: [usize; 3],
    spacing_mm: [f64; 3],
    /// From slice to slice along their normal.
    gap_mm: f64,
    /// Between the way from slice to slice and the normal.
    tilt_degrees: f64,
    /// Whether the axes are not perpendicular: then the sform alone holds them.
    sheared: bool,
    qform_code: u8,
    /// Slices that no file has and that were interpolated. Without `--missing fill`
    /// there are none: a series that lacks slices is then in the quarantine.
    missing_slices: u32,
    unmeasured_voxels: usize,
    stored_as: Stored,
    slope: f32,
    intercept: f32,
    /// What was decided in reading: splits, copies, uneven gaps.
    remarks: Option<String>,
    made_from: String,
}

impl Sidecar {
    pub fn new(
        row: &CohortRow,
        grid: &Grid,
        origin: &Origin,
        scale: Option<Scale>,
        unmeasured_voxels: usize,
        made_from: String,
    ) -> Self {
        let (gap_mm, tilt_degrees) = gap_and_tilt(grid);
        let qform = has_qform(grid);
        let seconds = |ms: Option<f64>| ms.map(|ms| ms / 1000.0);
        let Scale { slope, intercept } = scale.unwrap_or(Scale { slope: 1.0, intercept: 0.0 });
        Self {
            modality: of_dicom(&row.modality).map(str::to_owned),
            body_part_examined: row.body_part.clone(),
            units: origin.unit.map(|unit| of_bids(unit).to_owned()),
            repetition_time: seconds(origin.timing.repetition_ms),
            echo_time: seconds(origin.timing.echo_ms),
            inversion_time: seconds(origin.timing.inversion_ms),
            flip_angle: origin.timing.flip_degrees,
            conversion_software: SOFTWARE.to_owned(),
            mivox: Decisions {
                subject: row.subject.clone(),
                session: row.session.clone(),
                study: row.study.clone(),
                series: row.series.clone(),
                frame_of_reference: row.frame_of_reference.clone(),
                modality: row.modality.clone(),
                source_format: row.format.clone(),
                source_files: row.files,
                source_voxels: origin.stored.clone(),
                source_rescale: origin.rescale,
                affine_from: origin.affine_source.to_owned(),
                orientation: Orientation::from_affine(&grid.ras_from_voxel)
                    .map_or_else(|_| String::new(), |axes| axes.to_string()),
                shape: grid.shape,
                spacing_mm: grid.spacing_mm(),
                gap_mm,
                tilt_degrees,
                sheared: !qform,
                qform_code: u8::from(qform),
                missing_slices: row.missing_slices,
                unmeasured_voxels,
                stored_as: if scale.is_some() { Stored::Int16 } else { Stored::Float32 },
                slope,
                intercept,
                remarks: row.reason.clone(),
                made_from,
            },
        }
    }

    /// How the voxels are stored beside a sidecar that was made of the same.
    pub fn of_before(path: &Path, made_from: &str) -> Option<Stored> {
        let before = Self::read(path)?;
        (before.mivox.made_from == made_from).then_some(before.mivox.stored_as)
    }

    /// The series that a sidecar of ours is of.
    pub fn series_of(path: &Path) -> Option<String> {
        Some(Self::read(path)?.mivox.series)
    }

    fn read(path: &Path) -> Option<Self> {
        serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
    }

    pub fn write(&self, mut out: impl io::Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut out, self)?;
        writeln!(out)
    }
}

/// The distance from slice to slice along their normal in mm, and the angle
/// between the way there and the normal in degrees.
fn gap_and_tilt(grid: &Grid) -> (f64, f64) {
    let m = grid.ras_from_voxel.matrix3;
    let normal = m.x_axis.cross(m.y_axis).normalize_or_zero();
    let gap_mm = m.z_axis.dot(normal);
    let aside_mm = (m.z_axis - normal * gap_mm).length();
    (gap_mm.abs(), aside_mm.atan2(gap_mm.abs()).to_degrees())
}

/// DICOM's word for a modality.
fn of_dicom(modality: &str) -> Option<&'static str> {
    match modality {
        "CT" => Some("CT"),
        "PET" => Some("PT"),
        "SPECT" => Some("NM"),
        "unknown" => None,
        _ => Some("MR"),
    }
}

/// BIDS's spelling of DICOM's units.
fn of_bids(unit: &'static str) -> &'static str {
    match unit {
        "BQML" => "Bq/mL",
        "GML" => "g/mL",
        other => other,
    }
}
