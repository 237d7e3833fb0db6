//! One subject after the other: heads, sessions, scans, files.

use std::path::Path;

use super::{
    PhantomError,
    anatomy::Anatomy,
    draw::{opaque_name, small_pose, stream},
    scan::{Scan, ScanName, Scene, grid_of, scan},
    settings::Settings,
    store::{SeriesTags, frame_uid, study_uid, write_nifti_gz, write_series},
    tissue::{Contrast, Tissue},
    truth::{PartTruth, ScanTruth, SessionTruth, Storage, SubjectTruth},
};
use crate::{
    geometry::{DVec3, affine_to_rows},
    study::Modality,
};

/// The label of a subject, counted from 0: `01`. The first subjects of a larger
/// cohort are those of a smaller one.
fn label_of(subject: usize) -> String {
    format!("{:02}", subject + 1)
}

/// *Patient ID*, which nobody can take for a person's.
pub(super) fn patient_of(label: &str) -> String {
    format!("PHANTOM^{label}")
}

/// Scans a subject in all sessions, writes the files, and says what is true of them.
pub(super) fn write_subject(
    root: &Path,
    settings: &Settings,
    subject: usize,
) -> Result<SubjectTruth, PhantomError> {
    let label = label_of(subject);
    let anatomy = Anatomy::of_subject(settings.seed, &label);
    let dicom = subject + settings.dicom_subjects >= settings.subjects;
    let visit = Visit { root, settings, label: &label, anatomy: &anatomy, dicom };
    let sessions =
        (0..settings.sessions).map(|session| visit.write(session)).collect::<Result<_, _>>()?;
    Ok(SubjectTruth {
        storage: if dicom { Storage::Dicom } else { Storage::Nifti },
        patient_id: dicom.then(|| patient_of(&label)),
        age_years: anatomy.age_years,
        sex: anatomy.sex,
        parts: parts_of(&anatomy),
        sessions,
        label,
    })
}

fn parts_of(anatomy: &Anatomy) -> Vec<PartTruth> {
    let ellipsoids = anatomy.outer.iter().chain(&anatomy.inner).chain(&anatomy.inclusions);
    let mut parts: Vec<PartTruth> = ellipsoids
        .map(|part| PartTruth {
            name: part.name.clone(),
            tissue: part.tissue,
            centre_mm: rounded(part.shape.centre_mm),
            radii_mm: rounded(part.shape.radii_mm),
        })
        .collect();
    parts.push(PartTruth {
        name: "lesion".to_owned(),
        tissue: Tissue::Tumour,
        centre_mm: rounded(anatomy.lesion.centre_mm),
        radii_mm: rounded(DVec3::splat(anatomy.lesion.radius_mm(0))),
    });
    parts
}

/// A place to the micrometre, which is plenty and keeps the truth readable.
fn rounded(mm: DVec3) -> [f64; 3] {
    mm.to_array().map(|v| (v * 1000.0).round() / 1000.0)
}

/// What the sessions of a subject share.
struct Visit<'a> {
    root: &'a Path,
    settings: &'a Settings,
    label: &'a str,
    anatomy: &'a Anatomy,
    dicom: bool,
}

impl Visit<'_> {
    fn write(&self, session: usize) -> Result<SessionTruth, PhantomError> {
        let seed = self.settings.seed;
        let label = (session + 1).to_string();
        let ras_from_head = small_pose(&mut stream(seed, &[self.label, &label, "pose"]), 4.0, 5.0);
        let scene = Scene { anatomy: self.anatomy, session, ras_from_head };
        let scans = self
            .settings
            .modalities
            .iter()
            .map(|&modality| self.write_scan(&scene, &label, modality))
            .collect::<Result<_, _>>()?;
        Ok(SessionTruth {
            study_uid: self.dicom.then(|| study_uid(seed, self.label, &label)),
            frame_of_reference_uid: self.dicom.then(|| frame_uid(seed, self.label, &label)),
            ras_from_head: affine_to_rows(&ras_from_head),
            lesion_radius_mm: self.anatomy.lesion.radius_mm(session),
            centres_ras_mm: parts_of(self.anatomy)
                .iter()
                .map(|part| {
                    rounded(ras_from_head.transform_point3(DVec3::from_array(part.centre_mm)))
                })
                .collect(),
            scans,
            label,
        })
    }

    fn write_scan(
        &self,
        scene: &Scene<'_>,
        session: &str,
        modality: Modality,
    ) -> Result<ScanTruth, PhantomError> {
        let seed = self.settings.seed;
        let contrast = Contrast::of(modality).ok_or(PhantomError::Modality { modality })?;
        let name = ScanName { seed, subject: self.label, session, modality };
        let grid = grid_of(&name, self.settings, self.dicom);
        let Scan { volume, scale } = scan(scene, &contrast, grid, &name);
        let (path, files, series_uid) = if self.dicom {
            let tags = SeriesTags::new(seed, self.label, session, modality);
            let folder = format!("dicom/{}", opaque_name(seed, &[self.label, session]));
            let files = write_series(self.root, &folder, &volume, &tags)?;
            (folder, files.len(), Some(tags.series_uid))
        } else {
            let path = bids_path(self.label, session, modality);
            write_nifti_gz(&self.root.join(&path), &volume)?;
            (path, 1, None)
        };
        Ok(ScanTruth {
            modality: modality.as_str().to_owned(),
            path,
            files,
            series_uid,
            shape: grid.shape,
            ras_from_voxel: affine_to_rows(&grid.ras_from_voxel),
            scale,
        })
    }
}

/// Where BIDS keeps a scan.
///
/// # Source
/// BIDS 1.10, *Magnetic Resonance Imaging* and *Positron Emission Tomography*;
/// for CT the proposal BEP024.
pub(super) fn bids_path(subject: &str, session: &str, modality: Modality) -> String {
    let (folder, suffix) = match modality {
        Modality::Ct => ("ct", "ct"),
        Modality::Pet => ("pet", "pet"),
        Modality::T2 => ("anat", "T2w"),
        Modality::Flair => ("anat", "FLAIR"),
        Modality::Pd => ("anat", "PDw"),
        _ => ("anat", "T1w"),
    };
    format!("sub-{subject}/ses-{session}/{folder}/sub-{subject}_ses-{session}_{suffix}.nii.gz")
}
