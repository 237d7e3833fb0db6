//! Series that are made, each with one thing that the rules speak of.

use std::{
    fs,
    path::{Path, PathBuf},
};

use mivox::{
    geometry::{Affine, DMat3, DVec3, Grid, affine_from_rows},
    io::{
        dicom::{Kind, MrTiming, NewSlice, open_header, uid_of, write_slice},
        series::{Assembly, Series, SeriesError, assemble, read_series},
    },
    study::Modality,
};
use ndarray::Array3;

use super::files::assemble_files;

/// A series to be written: a grid, values, and what to do with each slice.
pub struct Made {
    pub folder: tempfile::TempDir,
    pub grid: Grid,
    pub stored: Array3<i16>,
    pub modality: Modality,
    pub timing: MrTiming,
    pub bits_stored: u16,
    pub padding: Option<i16>,
}

/// What one slice has that the others have not.
#[derive(Default)]
pub struct Change {
    pub patient_id: Option<&'static str>,
    pub sop_uid: Option<String>,
    pub timing: Option<MrTiming>,
    pub grid: Option<Grid>,
    pub rescale: Option<(f64, f64)>,
}

impl Change {
    pub fn grid(grid: Grid) -> Self {
        Self { grid: Some(grid), ..Self::default() }
    }
}

impl Made {
    /// Slices of 7 columns and 5 rows; every stored number is another.
    pub fn new(ras_from_voxel: Affine, slices: usize) -> Self {
        let shape = [7, 5, slices];
        let stored =
            Array3::from_shape_fn((slices, 5, 7), |(k, j, i)| (k * 35 + j * 7 + i) as i16 - 60);
        Self {
            folder: tempfile::tempdir().unwrap(),
            grid: Grid { shape, ras_from_voxel },
            stored,
            modality: Modality::Ct,
            timing: MrTiming::default(),
            bits_stored: 16,
            padding: None,
        }
    }

    /// Slice k in a file whose name and number say nothing of its place.
    pub fn write(&self, k: usize, change: Change) -> PathBuf {
        let file = self.folder.path().join(format!("{:03}.dcm", (k * 7 + 3) % 101));
        self.write_as(&file, k, change);
        file
    }

    pub fn write_as(&self, file: &Path, k: usize, change: Change) {
        let sop = change.sop_uid.unwrap_or_else(|| uid_of(&["slice", &k.to_string()]));
        let (study, series) = (uid_of(&["study"]), uid_of(&["series"]));
        let (slope, intercept) = change.rescale.unwrap_or((1.0, 0.0));
        let slice = NewSlice {
            patient_id: change.patient_id.unwrap_or("phantom"),
            study_uid: &study,
            series_uid: &series,
            sop_uid: &sop,
            frame_of_reference: &uid_of(&["reference"]),
            modality: self.modality,
            timing: change.timing.unwrap_or(self.timing),
            body_part: Some("HEAD"),
            grid: &change.grid.unwrap_or(self.grid),
            k,
            instance_number: ((k * 7) % 11) as u32,
            slope,
            intercept,
            bits_stored: self.bits_stored,
            padding: self.padding,
            pixels: self.stored.index_axis(ndarray::Axis(0), k),
        };
        let mut bytes = Vec::new();
        write_slice(&mut bytes, &slice).unwrap();
        fs::write(file, bytes).unwrap();
    }

    /// Every voxel that was made is in the series, at its place.
    pub fn is_read_as(&self, series: &Series) {
        let voxels = read_series(&series.slices, &series.grid).unwrap();
        assert_eq!(voxels.len(), self.stored.len());
        let made_from_ras = self.grid.ras_from_voxel.inverse();
        // The reader stacks along the normal: the maker's order may be reversed.
        for ((k, j, i), &value) in voxels.indexed_iter() {
            let world = series.grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
            let at = made_from_ras.transform_point3(world);
            assert!((at - at.round()).abs().max_element() < 1e-5, "{at}");
            let [i, j, k] = at.round().to_array().map(|n| n as usize);
            assert_eq!(value, f32::from(self.stored[[k, j, i]]));
        }
    }

    pub fn write_all(&self) -> Vec<PathBuf> {
        (0..self.grid.shape[2]).map(|k| self.write(k, Change::default())).collect()
    }
}

pub fn axial() -> Affine {
    affine_from_rows(&[
        [-0.5, 0.0, 0.0, 90.0],
        [0.0, -0.75, 0.0, 126.0],
        [0.0, 0.0, 3.0, -72.0],
        [0.0; 4],
    ])
}

pub fn reason(assembly: &Assembly) -> &SeriesError {
    assert!(assembly.series.is_empty());
    assert_eq!(assembly.refused.len(), 1);
    &assembly.refused[0].reason
}

fn close(a: &Affine, b: &Affine) -> bool {
    (a.translation - b.translation).length() < 1e-6 && a.matrix3.abs_diff_eq(b.matrix3, 1e-6)
}

#[test]
fn a_shuffled_series_comes_back_as_it_was_made() {
    let made = Made::new(axial(), 6);
    let mut files = made.write_all();
    files.swap(0, 4);
    files.reverse();
    let assembly = assemble_files(&files);
    assert!(assembly.refused.is_empty());
    let series = &assembly.series[0];
    assert!(close(&series.grid.ras_from_voxel, &made.grid.ras_from_voxel));
    assert_eq!(series.grid.shape, made.grid.shape);
    assert_eq!((series.modality, series.unit), (Modality::Ct, Some("HU")));
    assert_eq!(series.identity.subject, "phantom");
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    assert_eq!(voxels, made.stored.mapv(f32::from));
}

#[test]
fn every_plane_and_a_tilted_gantry_keep_their_affine() {
    let turn = DMat3::from_rotation_x(0.4) * DMat3::from_rotation_z(-0.3);
    let sagittal = [[0.0, 0.0, 4.0, -80.0], [-1.0, 0.0, 0.0, 90.0], [0.0, -1.0, 0.0, 70.0]];
    let coronal = [[-1.0, 0.0, 0.0, 80.0], [0.0, 0.0, 4.0, -90.0], [0.0, -1.0, 0.0, 70.0]];
    let tilted = [[-1.0, 0.0, 0.0, 80.0], [0.0, -1.0, 1.1, 90.0], [0.0, 0.0, 3.0, 0.0]];
    let affine = |[x, y, z]: [[f64; 4]; 3]| affine_from_rows(&[x, y, z, [0.0; 4]]);
    let mut oblique = axial();
    oblique.matrix3 = turn * oblique.matrix3;
    for (name, expected, leans) in [
        ("sagittal", affine(sagittal), false),
        ("coronal", affine(coronal), false),
        ("oblique", oblique, false),
        ("tilted", affine(tilted), true),
    ] {
        let made = Made::new(expected, 4);
        let assembly = assemble_files(&made.write_all());
        let series = &assembly.series[0];
        made.is_read_as(series);
        assert_eq!(series.remarks.iter().any(|r| r.contains("lean")), leans, "{name}");
    }
}

#[test]
fn a_missing_slice_is_named() {
    let made = Made::new(axial(), 8);
    let mut files = made.write_all();
    files.remove(3);
    let SeriesError::Missing { gap_mm, median_mm, after, slices } =
        *reason(&assemble_files(&files))
    else {
        panic!("not missing")
    };
    assert!((gap_mm - 6.0).abs() < 1e-6 && (median_mm - 3.0).abs() < 1e-6);
    assert_eq!((after, slices), (2, 7));
}

#[test]
fn irregular_and_crooked_stacks_are_refused() {
    let made = Made::new(axial(), 6);
    let mut moved = made.grid;
    moved.ras_from_voxel.translation += DVec3::new(0.0, 0.0, 0.7);
    let mut files = made.write_all();
    files[2] = made.write(2, Change::grid(moved));
    assert!(matches!(reason(&assemble_files(&files)), SeriesError::Irregular { .. }));
    moved.ras_from_voxel.translation += DVec3::new(2.0, 0.0, -0.7);
    files[2] = made.write(2, Change::grid(moved));
    assert!(matches!(reason(&assemble_files(&files)), SeriesError::Crooked { slice: 2, .. }));
}

#[test]
fn copies_are_passed_over_and_conflicts_refused() {
    let made = Made::new(axial(), 4);
    let mut files = made.write_all();
    let copy = made.folder.path().join("copy.dcm");
    fs::copy(&files[1], &copy).unwrap();
    files.push(copy.clone());
    let assembly = assemble_files(&files);
    assert_eq!(assembly.series[0].grid.shape[2], 4);
    assert!(assembly.series[0].remarks[0].contains("1 copies"));
    made.write_as(&copy, 1, Change { rescale: Some((1.0, 5.0)), ..Change::default() });
    assert!(matches!(reason(&assemble_files(&files)), SeriesError::Conflict));
}

#[test]
fn repeated_places_are_told_apart_from_duplicates() {
    let made = Made::new(axial(), 4);
    let mut files = made.write_all();
    let again = |k: usize| {
        let file = made.folder.path().join(format!("again{k}.dcm"));
        let sop = uid_of(&["again", &k.to_string()]);
        made.write_as(&file, k, Change { sop_uid: Some(sop), ..Change::default() });
        file
    };
    files.push(again(2));
    let SeriesError::Duplicate { images: 5, places: 4, slice: 2 } =
        *reason(&assemble_files(&files))
    else {
        panic!("not a duplicate")
    };
    files.extend([again(0), again(1), again(3)]);
    assert!(matches!(
        reason(&assemble_files(&files)),
        SeriesError::Repeated { times: 2, places: 4 }
    ));
}

#[test]
fn one_slice_is_no_volume() {
    let made = Made::new(axial(), 4);
    let files = made.write_all();
    assert!(matches!(reason(&assemble_files(&files[..1])), SeriesError::OneSlice));
}

#[test]
fn echoes_of_one_series_become_two_volumes() {
    let mut made = Made::new(axial(), 3);
    made.modality = Modality::T2;
    let at = |echo_ms: f64, number: i64| MrTiming {
        repetition_ms: Some(3000.0),
        echo_ms: Some(echo_ms),
        echo_number: Some(number),
        ..MrTiming::default()
    };
    made.timing = at(100.0, 2);
    let mut files = made.write_all();
    for k in 0..3 {
        let file = made.folder.path().join(format!("first{k}.dcm"));
        let sop = uid_of(&["first echo", &k.to_string()]);
        let timing = Some(at(15.0, 1));
        made.write_as(&file, k, Change { sop_uid: Some(sop), timing, ..Change::default() });
        files.push(file);
    }
    let assembly = assemble_files(&files);
    let modalities: Vec<_> = assembly.series.iter().map(|s| s.modality).collect();
    assert_eq!(modalities, [Modality::Pd, Modality::T2]);
    assert!(assembly.series[0].identity.series.ends_with("#1"));
    assert!(assembly.series[1].identity.series.ends_with("#2"));
    let first = read_series(&assembly.series[0].slices, &assembly.series[0].grid).unwrap();
    assert_eq!(first, made.stored.mapv(f32::from));
}

#[test]
fn twelve_signed_bits_padding_and_a_rescale_a_slice() {
    let mut made = Made::new(axial(), 5);
    made.modality = Modality::Pet;
    made.bits_stored = 12;
    made.padding = Some(-60);
    let files: Vec<_> = (0..5)
        .map(|k| {
            let rescale = Some((0.5 + k as f64, -(k as f64)));
            made.write(k, Change { rescale, ..Change::default() })
        })
        .collect();
    let assembly = assemble_files(&files);
    let series = &assembly.series[0];
    assert_eq!((series.modality, series.unit), (Modality::Pet, Some("BQML")));
    let voxels = read_series(&series.slices, &series.grid).unwrap();
    for ((k, j, i), &stored) in made.stored.indexed_iter() {
        let value = voxels[[k, j, i]];
        if stored == -60 {
            assert!(value.is_nan());
        } else {
            assert_eq!(value, f32::from(stored) * (0.5 + k as f32) - k as f32);
        }
    }
}

#[test]
fn a_file_that_changed_since_is_an_error() {
    let made = Made::new(axial(), 4);
    let files = made.write_all();
    let series = assemble_files(&files).series.remove(0);
    let mut moved = made.grid;
    moved.ras_from_voxel.translation += DVec3::new(0.0, 5.0, 0.0);
    made.write(1, Change::grid(moved));
    assert!(matches!(
        read_series(&series.slices, &series.grid),
        Err(SeriesError::Moved { slice: 1, .. })
    ));
    assert!(matches!(
        read_series(&series.slices[1..], &series.grid),
        Err(SeriesError::FileCount { files: 3, slices: 4 })
    ));
}

#[test]
fn two_patients_in_one_series_are_refused_and_nothing_is_printed() {
    let made = Made::new(axial(), 3);
    let mut files = made.write_all();
    files[0] = made.write(0, Change { patient_id: Some("somebody"), ..Change::default() });
    let assembly = assemble_files(&files);
    assert!(matches!(reason(&assembly), SeriesError::Patients { patients: 2 }));
    let instance = open_header(&files[0]).unwrap();
    assert_eq!(instance.kind, Kind::Image);
    for printed in [format!("{instance:?}"), format!("{}", reason(&assembly))] {
        assert!(!printed.contains("somebody") && !printed.contains("2.25"), "{printed}");
    }
}

#[test]
fn nothing_makes_nothing() {
    let assembly = assemble(Vec::new());
    assert!(assembly.series.is_empty() && assembly.refused.is_empty());
}
