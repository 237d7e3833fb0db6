//! Volumes as files: compressed NIfTI, or a series of DICOM slices.

use std::{
    fs::{self, File},
    io::{BufWriter, Write},
    path::Path,
};

use flate2::{Compression, GzBuilder};
use ndarray::{Array3, Axis};

use super::{
    PhantomError,
    cohort::patient_of,
    draw::{opaque_name, uid},
};
use crate::{
    io::{
        dicom::{MrTiming, NewSlice, write_slice},
        nifti,
    },
    study::{Family, Modality},
    volume::Volume,
};

/// Said in every header, so that nobody takes a file for a patient's.
pub(super) const DESCRIPTION: &str = "mivox phantom: synthetic, no patient";

/// Stored integers `[k, j, i]`, and how to read them: `slope * stored + intercept`.
struct Stored {
    voxels: Array3<i16>,
    slope: f32,
    intercept: f32,
}

/// A volume as 16-bit integers: MR and CT in steps of 1, PET in steps of 10 Bq/ml.
fn stored(volume: &Volume, intercept: f32) -> Stored {
    let slope = if volume.modality.family() == Family::Nuclear { 10.0 } else { 1.0 };
    // `as` saturates, so that nothing wraps around.
    let voxels = volume.voxels.mapv(|v| ((v - intercept) / slope).round() as i16);
    Stored { voxels, slope, intercept }
}

/// Makes the folder that a file lies in.
pub(super) fn make_parent(path: &Path) -> Result<(), PhantomError> {
    path.parent().map_or(Ok(()), fs::create_dir_all).map_err(PhantomError::Io)
}

/// A volume as the bytes of an uncompressed NIfTI file.
pub(super) fn nifti_bytes(volume: &Volume) -> Result<Vec<u8>, PhantomError> {
    let Stored { voxels, slope, intercept } = stored(volume, 0.0);
    let mut bytes = Vec::with_capacity(352 + 2 * voxels.len());
    nifti::write_i16(&mut bytes, voxels.view(), &volume.grid, slope, intercept, DESCRIPTION)
        .map_err(PhantomError::Io)?;
    Ok(bytes)
}

/// Writes a volume as `.nii.gz`; no time and no name go into the gzip header.
pub(super) fn write_nifti_gz(path: &Path, volume: &Volume) -> Result<(), PhantomError> {
    make_parent(path)?;
    let bytes = nifti_bytes(volume)?;
    let file = BufWriter::new(File::create(path).map_err(PhantomError::Io)?);
    let mut gzip = GzBuilder::new().mtime(0).operating_system(255).write(file, Compression::new(4));
    let written = gzip.write_all(&bytes).and_then(|()| gzip.finish()?.flush());
    written.map_err(PhantomError::Io)
}

/// *Study Instance UID* of a session.
pub(super) fn study_uid(seed: u64, subject: &str, session: &str) -> String {
    uid(seed, &[subject, session, "study"])
}

/// *Frame of Reference UID* of a session: its scans share their coordinates.
pub(super) fn frame_uid(seed: u64, subject: &str, session: &str) -> String {
    uid(seed, &[subject, session, "frame"])
}

/// What the slices of a DICOM series have in common.
pub(super) struct SeriesTags {
    pub series_uid: String,
    /// *Instance Number* of the first slice, less one.
    pub first_instance: usize,
    seed: u64,
    patient_id: String,
    study_uid: String,
    frame_uid: String,
    timing: MrTiming,
}

impl SeriesTags {
    pub fn new(seed: u64, subject: &str, session: &str, modality: Modality) -> Self {
        Self {
            series_uid: uid(seed, &[subject, session, modality.as_str(), "series"]),
            first_instance: 0,
            seed,
            patient_id: patient_of(subject),
            study_uid: study_uid(seed, subject, session),
            frame_uid: frame_uid(seed, subject, session),
            timing: timing_of(modality),
        }
    }
}

/// Times of a spin echo that gives an MR modality its contrast; none for CT and PET.
fn timing_of(modality: Modality) -> MrTiming {
    let times = |repetition_ms, echo_ms, inversion_ms| MrTiming {
        repetition_ms: Some(repetition_ms),
        echo_ms: Some(echo_ms),
        inversion_ms,
        flip_degrees: Some(90.0),
        ..MrTiming::default()
    };
    match modality {
        Modality::T1 => times(550.0, 12.0, None),
        Modality::T2 => times(4000.0, 100.0, None),
        Modality::Flair => times(9000.0, 120.0, Some(2500.0)),
        Modality::Pd => times(2500.0, 15.0, None),
        _ => MrTiming::default(),
    }
}

/// Writes a volume as a series, a file a slice under a name that says nothing;
/// returns the paths relative to `root`, first slice to last.
pub(super) fn write_series(
    root: &Path,
    folder: &str,
    volume: &Volume,
    tags: &SeriesTags,
) -> Result<Vec<String>, PhantomError> {
    fs::create_dir_all(root.join(folder)).map_err(PhantomError::Io)?;
    // Scanners store CT from zero upwards.
    let intercept = if volume.modality == Modality::Ct { -1024.0 } else { 0.0 };
    let Stored { voxels, slope, intercept } = stored(volume, intercept);
    let mut paths = Vec::with_capacity(voxels.len_of(Axis(0)));
    for (k, pixels) in voxels.axis_iter(Axis(0)).enumerate() {
        let number = tags.first_instance + k + 1;
        let purpose = [tags.series_uid.as_str(), &number.to_string()];
        let path = format!("{folder}/{}", opaque_name(tags.seed, &purpose));
        let slice = NewSlice {
            patient_id: &tags.patient_id,
            study_uid: &tags.study_uid,
            series_uid: &tags.series_uid,
            sop_uid: &uid(tags.seed, &purpose),
            frame_of_reference: &tags.frame_uid,
            modality: volume.modality,
            timing: tags.timing,
            body_part: Some("HEAD"),
            grid: &volume.grid,
            k,
            instance_number: number as u32,
            slope: f64::from(slope),
            intercept: f64::from(intercept),
            bits_stored: 16,
            padding: None,
            pixels,
        };
        let mut file = BufWriter::new(File::create(root.join(&path)).map_err(PhantomError::Io)?);
        write_slice(&mut file, &slice)?;
        file.flush().map_err(PhantomError::Io)?;
        paths.push(path);
    }
    Ok(paths)
}
