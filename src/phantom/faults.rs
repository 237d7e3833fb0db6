//! Bad inputs, put there on purpose.

use std::{fs, path::Path};

use super::{
    PhantomError,
    anatomy::Anatomy,
    cohort::bids_path,
    draw::opaque_name,
    scan::{ScanName, Scene, grid_of, scan},
    settings::Settings,
    store::{SeriesTags, make_parent, nifti_bytes, write_nifti_gz, write_series},
    tissue::Contrast,
    truth::{Fault, FaultKind},
};
use crate::{
    geometry::{Affine, DMat3, DVec3, Grid},
    study::Modality,
    volume::Volume,
};

/// Bytes of a NIfTI-1 header at which the number of slices stands.
///
/// # Source
/// `nifti1.h`, `dim[3]`.
const NIFTI_SLICES: std::ops::Range<usize> = 46..48;

/// Writes one bad input of each kind. They belong to subjects of their own
/// (`bad1`, `bad2`, …), and their scans are small whatever the settings say.
pub(super) fn write_faults(root: &Path, settings: &Settings) -> Result<Vec<Fault>, PhantomError> {
    let maker = Maker { root, seed: settings.seed };
    Ok(vec![
        maker.empty_file()?,
        maker.truncated_file()?,
        maker.header_promises_more()?,
        maker.text_named_dicom()?,
        maker.missing_slice()?,
        maker.wavering_orientation()?,
    ])
}

struct Maker<'a> {
    root: &'a Path,
    seed: u64,
}

impl Maker<'_> {
    fn empty_file(&self) -> Result<Fault, PhantomError> {
        self.file(FaultKind::EmptyFile, bids_path("bad1", "1", Modality::T1), b"")
    }

    fn truncated_file(&self) -> Result<Fault, PhantomError> {
        let path = bids_path("bad2", "1", Modality::T1);
        write_nifti_gz(&self.root.join(&path), &self.head("bad2", None)?)?;
        let bytes = fs::read(self.root.join(&path)).map_err(PhantomError::Io)?;
        self.file(FaultKind::TruncatedFile, path, &bytes[..bytes.len() / 2])
    }

    fn header_promises_more(&self) -> Result<Fault, PhantomError> {
        let mut bytes = nifti_bytes(&self.head("bad3", None)?)?;
        let promised = (4 * Self::SHAPE[2] as i16).to_le_bytes();
        bytes[NIFTI_SLICES].copy_from_slice(&promised);
        let path = bids_path("bad3", "1", Modality::T1).replace(".nii.gz", ".nii");
        self.file(FaultKind::HeaderPromisesMore, path, &bytes)
    }

    fn text_named_dicom(&self) -> Result<Fault, PhantomError> {
        let path = format!("{}/{}.dcm", self.folder("bad4"), self.name("bad4", "text"));
        self.file(FaultKind::TextNamedDicom, path, b"This is a text and not a scan.\n")
    }

    fn missing_slice(&self) -> Result<Fault, PhantomError> {
        let tags = SeriesTags::new(self.seed, "bad5", "1", Modality::T1);
        let head = self.head("bad5", None)?;
        let mut paths = write_series(self.root, &self.folder("bad5"), &head, &tags)?;
        let missing = paths.remove(paths.len() / 2);
        fs::remove_file(self.root.join(missing)).map_err(PhantomError::Io)?;
        Ok(Fault { kind: FaultKind::MissingSlice, paths })
    }

    fn wavering_orientation(&self) -> Result<Fault, PhantomError> {
        let mut tags = SeriesTags::new(self.seed, "bad6", "1", Modality::T1);
        let folder = self.folder("bad6");
        let axial = self.head("bad6", None)?;
        let mut paths = write_series(self.root, &folder, &axial, &tags)?;
        let columns = axial.grid.ras_from_voxel.matrix3;
        let axes = [columns.x_axis, columns.y_axis, columns.z_axis].map(DVec3::normalize);
        let [i, j, k] = axes.map(|axis| DMat3::from_rotation_x(0.5f64.to_radians()) * axis);
        let turned = DMat3::from_cols(i, j, k);
        tags.first_instance = Self::SHAPE[2];
        paths.extend(write_series(self.root, &folder, &self.head("bad6", Some(turned))?, &tags)?);
        Ok(Fault { kind: FaultKind::WaveringOrientation, paths })
    }

    const SHAPE: [usize; 3] = [32, 32, 16];

    /// A small T1 scan, axial as scanners write it unless other axes are given.
    fn head(&self, subject: &str, axes: Option<DMat3>) -> Result<Volume, PhantomError> {
        let modality = Modality::T1;
        let settings =
            Settings { shape: Self::SHAPE, spacing_mm: [7.0, 7.0, 9.0], ..Settings::default() };
        let contrast = Contrast::of(modality).ok_or(PhantomError::Modality { modality })?;
        let name = ScanName { seed: self.seed, subject, session: "1", modality };
        let anatomy = Anatomy::of_subject(self.seed, subject);
        let scene = Scene { anatomy: &anatomy, session: 0, ras_from_head: Affine::IDENTITY };
        let mut grid = grid_of(&name, &settings, true);
        if let Some(axes) = axes {
            let matrix = axes * 7.0;
            let middle = DVec3::new(15.5, 15.5, 7.5);
            let ras_from_voxel = Affine::from_mat3_translation(matrix, -(matrix * middle));
            grid = Grid { shape: Self::SHAPE, ras_from_voxel };
        }
        Ok(scan(&scene, &contrast, grid, &name).volume)
    }

    fn folder(&self, subject: &str) -> String {
        format!("dicom/{}", self.name(subject, "1"))
    }

    fn name(&self, subject: &str, what: &str) -> String {
        opaque_name(self.seed, &[subject, what])
    }

    fn file(&self, kind: FaultKind, path: String, bytes: &[u8]) -> Result<Fault, PhantomError> {
        make_parent(&self.root.join(&path))?;
        fs::write(self.root.join(&path), bytes).map_err(PhantomError::Io)?;
        Ok(Fault { kind, paths: vec![path] })
    }
}
