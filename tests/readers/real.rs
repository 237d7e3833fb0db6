//! Scans of real patients: what other tools made of them is what we must get.

use std::path::Path;

use mivox::{
    geometry::DVec3,
    io::{
        Format,
        image::{open_head, open_volume},
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

/// Every voxel of the DICOM series lies within 0.005 mm of a voxel of the NIfTI
/// twin, whose header rounds to f32, and has its value to 1e-6 of the highest.
#[test]
fn cropped_series_equal_their_nifti_twins() {
    let Some(scans) = scans() else { return };
    for patient in ["STS_001", "STS_002"] {
        for (name, modality, unit) in [
            ("CT", Modality::Ct, Some("HU")),
            ("MR_T1", Modality::T1, None),
            ("PET", Modality::Pet, Some("GML")),
        ] {
            let folder = scans.join("sarcoma/cropped").join(patient).join(name);
            let series = one_series(&folder.join("image"));
            assert_eq!((series.modality, series.unit), (modality, unit));
            let ours = read_series(&series.slices, &series.grid).unwrap();
            let (twin, head) = open_volume(&folder.join("nifti/image.nii.gz"), 0).unwrap();
            assert_eq!(series.grid.voxel_count(), head.grid.voxel_count());
            let highest = twin.iter().fold(0f32, |top, v| top.max(v.abs()));
            let twin_from_ours = head.grid.ras_from_voxel.inverse() * series.grid.ras_from_voxel;
            for ((k, j, i), &value) in ours.indexed_iter() {
                let voxel = DVec3::new(i as f64, j as f64, k as f64);
                let near = twin_from_ours.transform_point3(voxel).round();
                let off_mm = head.grid.world_mm(near).distance(series.grid.world_mm(voxel));
                assert!(off_mm < 0.005, "{patient} {name}: {off_mm} mm off at {voxel}");
                let [i, j, k] = near.to_array().map(|n| n as usize);
                let off = (value - twin[[k, j, i]]).abs();
                assert!(off <= highest * 1e-6, "{patient} {name}: {off} off at {voxel}");
            }
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
        let voxels = read_series(&series.slices, &series.grid).unwrap();
        assert!(voxels.iter().all(|v| v.is_finite()));
    }
    let pet = one_series(&raw.join("FDG_PET/image"));
    let remarks = ["gaps of 3.190 to 3.290 mm are taken as equal", "made SUV by body weight"];
    assert_eq!((&pet.remarks[..], pet.unit), (&remarks.map(str::to_owned)[..], Some("GML")));
    let t1 = one_series(&raw.join("MR_T1/image"));
    let t2 = one_series(&raw.join("MR_T2/image"));
    assert_eq!(t1.frame_of_reference, t2.frame_of_reference);
    assert!(t1.grid.centre_mm().distance(t2.grid.centre_mm()) < 1.0);
}

/// The cropped PET was made SUV by another tool out of the raw one, whose voxels
/// it has cut: the same place, the same value but for its rounding, which is to
/// 7.8e-4 at most (the largest of its slopes).
#[test]
fn activity_becomes_the_uptake_that_another_tool_computed() {
    let Some(scans) = scans() else { return };
    let raw = one_series(&scans.join("sarcoma/raw/STS_001/FDG_PET/image"));
    let cropped = one_series(&scans.join("sarcoma/cropped/STS_001/PET/image"));
    assert_eq!((raw.unit, cropped.unit), (Some("GML"), Some("GML")));
    let (ours, theirs) = (
        read_series(&raw.slices, &raw.grid).unwrap(),
        read_series(&cropped.slices, &cropped.grid).unwrap(),
    );
    let raw_from_cropped = raw.grid.ras_from_voxel.inverse() * cropped.grid.ras_from_voxel;
    let mut compared = 0;
    for ((k, j, i), &expected) in theirs.indexed_iter() {
        let at = raw_from_cropped.transform_point3(DVec3::new(i as f64, j as f64, k as f64));
        let near = at.round();
        if (at - near).abs().max_element() > 0.02 {
            continue;
        }
        let [i, j, k] = near.to_array().map(|n| n as usize);
        let value = ours[[k, j, i]];
        assert!((value - expected).abs() <= 8e-4, "{value} {expected}");
        compared += 1;
    }
    assert!(compared > theirs.len() / 2, "{compared} of {}", theirs.len());
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
    let sets = ["ms/longitudinal", "ms/cross_sectional_mni"].map(|set| files_in(&scans.join(set)));
    let folders = sets.iter().flatten().filter(|path| path.is_dir());
    let files: Vec<_> = folders.flat_map(|folder| files_in(folder)).collect();
    let images: Vec<_> =
        files.iter().filter(|f| f.to_string_lossy().ends_with(".nii.gz")).collect();
    assert!(images.len() >= 25);
    for file in images {
        assert_eq!(sniff(file).unwrap(), Format::Nifti);
        let head = open_head(file).unwrap();
        assert!(matches!(head.affine_source, "sform" | "qform"));
        let (voxels, again) = open_volume(file, 0).unwrap();
        assert_eq!(head, again);
        let [ni, nj, nk] = head.grid.shape;
        assert_eq!(voxels.dim(), (nk, nj, ni));
        assert!(voxels.iter().all(|v| v.is_finite()));
    }
}
