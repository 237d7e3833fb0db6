//! Prepared volumes on disk: one orientation, one spacing, one scale.

use std::path::Path;

use ndarray::ArrayView3;
use serde::{Deserialize, Serialize};

use crate::{
    cohort::{CohortRow, LastImage, ReadError, Scan},
    durable::{self, DurableError},
    geometry::{Grid, GridError, affine_from_flat, affine_to_flat},
    intensity::{self, IntensityError, Normalisation},
    io::{
        Format,
        image::{self, ImageError},
        nifti,
        series::SliceSource,
    },
    resample::{ResampleError, Resampler},
    study::{Modality, UnknownModality},
    table::record,
};

/// How volumes are prepared, as a pipeline sets it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Settings {
    /// mm between voxel centres to the right, anterior and superior.
    pub spacing_mm: [f64; 3],
    /// How intensities are normalised.
    pub intensity: intensity::Settings,
}

impl Settings {
    /// The recipe in one line: what an encoder was trained on, kept with it, and
    /// compared before it embeds anything.
    pub fn recipe(&self) -> String {
        let [x, y, z] = self.spacing_mm;
        let [low, high] = self.intensity.ct_window_hu;
        let others = match self.intensity.percentiles {
            None => format!("robust z-score of the foreground cut at {}", self.intensity.clip_z),
            Some([low, high]) => format!("percentiles {low}..{high} to -1..1"),
        };
        let pet = match self.intensity.pet_window_suv {
            None => String::new(),
            Some([low, high]) => format!("; PET {low}..{high} SUV to -1..1"),
        };
        format!(
            "prepare-2; RAS; {x} x {y} x {z} mm; linear, Gaussian where coarser; CT {low}..{high} HU to -1..1; \
             MR, PET {others}{pet}"
        )
    }
}

/// Why a volume cannot be prepared.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PrepareError {
    /// Its row says neither CT nor another modality whose intensities can be read.
    #[error(transparent)]
    Modality(#[from] UnknownModality),
    /// Its voxels cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// No grid of the spacing asked for.
    #[error(transparent)]
    Grid(#[from] GridError),
    /// It cannot be brought onto that grid.
    #[error(transparent)]
    Resample(#[from] ResampleError),
    /// No normalisation of its intensities.
    #[error(transparent)]
    Intensity(#[from] IntensityError),
    /// Nothing of the scan lies above the background.
    #[error("no voxel of the scan lies above the background")]
    Empty,
    /// The prepared volume did not reach the disk.
    #[error(transparent)]
    Durable(#[from] DurableError),
    /// The prepared volume could not be written.
    #[error("the prepared volume cannot be written")]
    Write(#[source] std::io::Error),
}

record! {
    /// A row of `volumes.parquet`: a prepared volume.
    #[derive(Serialize, Deserialize)]
    pub struct VolumeRow {
        /// The pipeline's name of the source.
        pub source: String,
        /// Pseudonym of the subject.
        pub subject: String,
        /// Pseudonym of the session.
        pub session: String,
        /// Pseudonym of the study.
        pub study: String,
        /// Pseudonym of the series.
        pub series: String,
        /// A word of [`Modality`].
        pub modality: String,
        /// Pseudonym of the frame of reference.
        pub frame_of_reference: Option<String>,
        /// The prepared NIfTI file, relative to the results folder.
        pub file: String,
        /// Voxels along (i, j, k), which run to the right, anterior, superior.
        pub shape: [u32; 3],
        /// mm between voxel centres.
        pub spacing_mm: [f64; 3],
        /// RAS+ mm from voxel index, 4 × 4, row by row.
        pub affine: [f64; 16],
        /// RAS+ mm of the middle of the body's bounding box.
        pub centre_mm: [f64; 3],
        /// Normalised value above which a voxel belongs to the body.
        pub foreground_above: f32,
        /// Normalised value of air.
        pub background: f32,
        /// Intensity that became 0, in the unit of the scan.
        pub intensity_centre: f32,
        /// Intensity difference that became 1.
        pub intensity_scale: f32,
    }
}

impl VolumeRow {
    /// Where the voxels lie.
    pub fn grid(&self) -> Grid {
        let shape = self.shape.map(|n| n as usize);
        Grid { shape, ras_from_voxel: affine_from_flat(&self.affine) }
    }

    /// The same volume, of the one that a row of the cohort names.
    fn of(self, row: &CohortRow) -> Self {
        Self {
            source: row.source.clone(),
            subject: row.subject.clone(),
            session: row.session.clone(),
            study: row.study.clone(),
            series: row.series.clone(),
            modality: row.modality.clone(),
            frame_of_reference: row.frame_of_reference.clone(),
            ..self
        }
    }
}

impl Scan {
    /// A prepared volume of a results folder as a scan to be read: its numbers
    /// are normalised, and its files are ours.
    ///
    /// # Errors
    /// [`ImageError`] where the file cannot be opened.
    pub fn of_prepared(row: &VolumeRow, results: &Path) -> Result<Self, ImageError> {
        let file = results.join(&row.file);
        // The file rounds its affine to f32.
        let grid = image::open_head(&file)?.grid;
        let row = CohortRow {
            source: row.source.clone(),
            subject: row.subject.clone(),
            session: row.session.clone(),
            study: row.study.clone(),
            series: row.series.clone(),
            modality: row.modality.clone(),
            body_part: None,
            shape: Some(row.shape),
            spacing_mm: Some(row.spacing_mm),
            affine: Some(affine_to_flat(&grid.ras_from_voxel)),
            frame_of_reference: row.frame_of_reference.clone(),
            format: Format::Nifti.as_str().to_owned(),
            missing_slices: 0,
            files: 1,
            frame: 0,
            fingerprint: String::new(),
            status: "volume".to_owned(),
            reason: None,
        };
        Ok(Self { row, slices: vec![SliceSource { file, frame: 0, scale: 1.0, k: 0.0 }] })
    }
}

/// The sidecar of a prepared volume: its row, and what it was made from.
#[derive(Serialize, Deserialize)]
struct Sidecar {
    made_from: String,
    volume: VolumeRow,
}

impl Sidecar {
    fn write(&self, path: &Path) -> Result<(), PrepareError> {
        durable::write_atomically(path, |out| {
            serde_json::to_writer_pretty(out, self)
                .map_err(|error| PrepareError::Write(error.into()))
        })
    }
}

/// Prepares one volume of the cohort into `results/volumes/` and returns its
/// row. A volume that was prepared from the same files by the same recipe
/// before is left as it is; whose it is, its row in the cohort says anew.
///
/// # Errors
/// [`PrepareError`]: the volume is then to be quarantined.
pub fn prepare(
    scan: &Scan,
    settings: &Settings,
    results: &Path,
    last: &mut LastImage,
) -> Result<VolumeRow, PrepareError> {
    let row = &scan.row;
    let parts: Vec<_> = scan.slices.iter().map(|slice| (slice.frame, slice.scale)).collect();
    let made_from = durable::sha256_hex(
        format!(
            "{}\n{}\n{}\n{:?}\n{parts:?}",
            settings.recipe(),
            row.modality,
            row.fingerprint,
            row.affine
        )
        .as_bytes(),
    );
    let file = format!("volumes/{}.nii", row.series);
    let sidecar = results.join(format!("volumes/{}.json", row.series));
    if let Some(volume) = prepared_before(&sidecar, &made_from)
        && results.join(&file).exists()
    {
        let named = volume.clone().of(row);
        if named != volume {
            Sidecar { made_from, volume: named.clone() }.write(&sidecar)?;
        }
        return Ok(named);
    }
    let grid = row.grid().ok_or(ReadError::Incomplete { missing: "geometry" })?;
    let modality: Modality = row.modality.parse()?;
    let (voxels, origin) = scan.read_with_origin(last)?;
    let normalisation =
        Normalisation::fit(&voxels, modality.family(), origin.unit, &settings.intensity)?;
    let onto = grid.covering_ras(settings.spacing_mm)?;
    let resampler = Resampler::linear(normalisation.outside());
    let resampled = resampler.resample(voxels.view(), &grid, &onto)?;
    drop(voxels);
    let slope = normalisation.range.map(f32::abs).into_iter().fold(0.0, f32::max) / 32_767.0;
    let stored = resampled.mapv(|value| (normalisation.apply(value) / slope).round() as i16);
    let threshold = (normalisation.foreground_above / slope).round() as i16;
    let centre = body_centre(stored.view(), threshold).ok_or(PrepareError::Empty)?;
    durable::write_atomically(&results.join(&file), |out| {
        nifti::write_i16(out, stored.view(), &onto, slope, 0.0, "prepared by mivox")
            .map_err(PrepareError::Write)
    })?;
    let volume = VolumeRow {
        source: row.source.clone(),
        subject: row.subject.clone(),
        session: row.session.clone(),
        study: row.study.clone(),
        series: row.series.clone(),
        modality: row.modality.clone(),
        frame_of_reference: row.frame_of_reference.clone(),
        file,
        shape: onto.shape.map(|n| n as u32),
        spacing_mm: onto.spacing_mm(),
        affine: affine_to_flat(&onto.ras_from_voxel),
        centre_mm: onto.world_mm(centre).to_array(),
        foreground_above: normalisation.foreground_above,
        background: normalisation.background,
        intensity_centre: normalisation.centre,
        intensity_scale: normalisation.scale,
    };
    let text = Sidecar { made_from, volume };
    text.write(&sidecar)?;
    Ok(text.volume)
}

fn prepared_before(sidecar: &Path, made_from: &str) -> Option<VolumeRow> {
    let text = std::fs::read_to_string(sidecar).ok()?;
    let before: Sidecar = serde_json::from_str(&text).ok()?;
    (before.made_from == made_from).then_some(before.volume)
}

/// Voxel index of the middle of the bounding box of all that lies above a threshold.
fn body_centre(stored: ArrayView3<i16>, threshold: i16) -> Option<glam::DVec3> {
    let (mut low, mut high) = ([usize::MAX; 3], [0; 3]);
    for ((k, j, i), &value) in stored.indexed_iter() {
        if value > threshold {
            for (axis, at) in [i, j, k].into_iter().enumerate() {
                low[axis] = low[axis].min(at);
                high[axis] = high[axis].max(at);
            }
        }
    }
    let middle = |axis: usize| (low[axis] + high[axis]) as f64 / 2.0;
    (low[0] != usize::MAX).then(|| glam::DVec3::new(middle(0), middle(1), middle(2)))
}
