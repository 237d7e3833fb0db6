//! Scans of real patients: what other tools made of them is what we must get.

use std::path::Path;

use mivox::{
    geometry::{DVec3, Grid},
    io::{
        Format,
        nifti::{open_grid, open_volume},
        series::{Series, read_series},
        sniff,
    },
    study::Modality,
};

use super::files::{assemble_files, files_in, scans};

fn one_series(folder: &Path) -> Series {
    let assembly = assemble_files(&files_in(folder));
    assert!(assembly.refused.is_empty(), "{:?}", assembly.refused[0].reason);
    assert!(assembly.others.is_empty());
    assert_eq!(assembly.series.len(), 1);
    assembly.series.into_iter().next().unwrap()
}

fn index_in(grid: &Grid, world: DVec3) -> DVec3 {
    grid.ras_from_voxel.inverse().transform_point3(world)
}

/// Every voxel of the DICOM series lies within 0.01 of a voxel of the NIfTI
/// twin, and has its value up to the rounding of f32.
#[test]
fn cropped_series_equal_their_nifti_twins() {
    let Some(scans) = scans() else { return };
    for patient in ["STS_001", "STS_002"] {
        for (name, modality) in
            [("CT", Modality::Ct), ("MR_T1", Modality::T1), ("PET", Modality::Pet)]
        {
            let folder = scans.join("sarcoma/cropped").join(patient).join(name);
            let series = one_series(&folder.join("image"));
            assert_eq!(series.modality, modality);
            let ours = read_series(&series.files, &series.grid).unwrap();
            let (twin, head) = open_volume(&folder.join("nifti/image.nii.gz")).unwrap();
            assert_eq!(series.grid.voxel_count(), head.grid.voxel_count());
            let highest = twin.iter().fold(0f32, |top, v| top.max(v.abs()));
            let (mut worst_place, mut worst_value) = (0f64, 0f32);
            for ((k, j, i), &value) in ours.indexed_iter() {
                let world = series.grid.world_mm(DVec3::new(i as f64, j as f64, k as f64));
                let at = index_in(&head.grid, world);
                worst_place = worst_place.max((at - at.round()).abs().max_element());
                let [ti, tj, tk] = at.round().to_array().map(|n| n as usize);
                worst_value = worst_value.max((value - twin[[tk, tj, ti]]).abs());
            }
            eprintln!(
                "{patient} {name}: place {worst_place:.6} voxel, value {worst_value:e} of {highest}"
            );
            assert!(worst_place < 0.01, "{patient} {name}: {worst_place} voxels off");
            assert!(worst_value <= highest * 1e-5, "{patient} {name}: {worst_value} off");
        }
    }
}

#[test]
fn raw_series_are_complete_and_named() {
    let Some(scans) = scans() else { return };
    let raw = scans.join("sarcoma/raw/STS_001");
    for (name, slices, modality) in
        [("FDG_PET", 267, Modality::Pet), ("MR_T1", 40, Modality::T1), ("MR_T2", 40, Modality::T2)]
    {
        let series = one_series(&raw.join(name).join("image"));
        assert_eq!(series.grid.shape[2], slices);
        assert_eq!(series.modality, modality);
        assert_eq!(series.body_part, Some("EXTREMITY"));
        let voxels = read_series(&series.files, &series.grid).unwrap();
        assert!(voxels.iter().all(|v| v.is_finite()));
    }
    let t1 = one_series(&raw.join("MR_T1/image"));
    let t2 = one_series(&raw.join("MR_T2/image"));
    assert_eq!(t1.frame_of_reference, t2.frame_of_reference);
    assert!(t1.grid.centre_mm().distance(t2.grid.centre_mm()) < 1.0);
}

#[test]
fn contours_are_listed_and_make_no_volume() {
    let Some(scans) = scans() else { return };
    for folder in ["raw/STS_001/MR_T1/mask", "cropped/STS_002/CT/mask"] {
        let assembly = assemble_files(&files_in(&scans.join("sarcoma").join(folder)));
        assert!(assembly.series.is_empty() && assembly.refused.is_empty());
        let kinds: Vec<_> = assembly.others.iter().map(|other| other.kind).collect();
        assert_eq!(kinds, ["RT structure set"]);
    }
}

#[test]
fn every_nifti_opens() {
    let Some(scans) = scans() else { return };
    let mut folders = files_in(&scans.join("ms/longitudinal"));
    folders.extend(files_in(&scans.join("ms/cross_sectional_mni")));
    let files: Vec<_> = folders.iter().flat_map(|folder| files_in(folder)).collect();
    let images: Vec<_> =
        files.iter().filter(|f| f.to_string_lossy().ends_with(".nii.gz")).collect();
    assert!(images.len() >= 25);
    for file in images {
        assert_eq!(sniff(file).unwrap(), Format::Nifti);
        let head = open_grid(file).unwrap();
        assert!(matches!(head.affine_source, "sform" | "qform"));
        let (voxels, again) = open_volume(file).unwrap();
        assert_eq!(head, again);
        let [ni, nj, nk] = head.grid.shape;
        assert_eq!(voxels.dim(), (nk, nj, ni));
        assert!(voxels.iter().all(|v| v.is_finite()));
    }
}
