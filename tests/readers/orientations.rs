//! Series whose planes have several orientations.

use std::path::{Path, PathBuf};

use mivox::{
    cohort::{Index, LastImage, Source, scans},
    geometry::{Affine, DMat3, affine_from_rows},
    io::{
        dicom::uid_of,
        series::{Assembly, Missing, SeriesError},
    },
    progress::Progress,
    study::{Modality, Pseudonymizer},
};

use super::{
    files::assemble_files,
    made::{Change, Made, axial},
};

fn affine([x, y, z]: [[f64; 4]; 3]) -> Affine {
    affine_from_rows(&[x, y, z, [0.0; 4]])
}

fn sagittal() -> Affine {
    affine([[0.0, 0.0, 4.0, -80.0], [-1.0, 0.0, 0.0, 90.0], [0.0, -1.0, 0.0, 70.0]])
}

fn coronal() -> Affine {
    affine([[-1.0, 0.0, 0.0, 80.0], [0.0, 0.0, 4.0, -90.0], [0.0, -1.0, 0.0, 70.0]])
}

/// Files of several stacks of one series, in one folder, mixed.
fn one_series(folder: &Path, stacks: &[&Made]) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for (number, made) in stacks.iter().enumerate() {
        for k in 0..made.grid.shape[2] {
            let file = folder.join(format!("{:03}-{number}.dcm", (k * 7 + 3) % 101));
            let sop_uid = Some(uid_of(&[&number.to_string(), &k.to_string()]));
            made.write_as(&file, k, Change { sop_uid, ..Change::default() });
            files.push(file);
        }
    }
    files.sort();
    files
}

fn of(stacks: &[&Made]) -> Assembly {
    let folder = tempfile::tempdir().unwrap();
    assemble_files(&one_series(folder.path(), stacks))
}

#[test]
fn each_orientation_with_enough_slices_is_a_volume() {
    let made = [Made::new(axial(), 20), Made::new(sagittal(), 20)];
    let folder = tempfile::tempdir().unwrap();
    let assembly = assemble_files(&one_series(folder.path(), &[&made[0], &made[1]]));
    assert!(assembly.refused.is_empty() && assembly.others.is_empty());
    assert_eq!(assembly.series.len(), 2);
    for (number, series) in assembly.series.iter().enumerate() {
        let which = usize::from(series.grid.spacing_mm()[2] > 3.5);
        made[which].is_read_as(series);
        assert!(series.identity.series.ends_with(&format!("#{}", number + 1)));
        let told = format!("part {} of 2 of a series split by ", number + 1);
        assert!(series.remarks[0].starts_with(&told), "{:?}", series.remarks);
        assert!(series.remarks[0].contains("orientation"), "{:?}", series.remarks);
    }
    assert_ne!(assembly.series[0].grid, assembly.series[1].grid);
}

#[test]
fn few_slices_in_three_planes_are_a_localizer() {
    for slices in 1..=5 {
        let made = [axial(), sagittal(), coronal()].map(|plane| Made::new(plane, slices));
        let assembly = of(&[&made[0], &made[1], &made[2]]);
        assert!(assembly.series.is_empty() && assembly.refused.is_empty());
        let [other] = &assembly.others[..] else { panic!("{} others", assembly.others.len()) };
        assert_eq!((other.kind, other.files.len()), ("localizer", 3 * slices));
        assert_eq!(other.modality, Some(Modality::Ct));
        assert!(!other.identity.series.contains('#'));
    }
}

/// The volume is read through the tables, where the scout's row must not take part
/// in it.
#[test]
fn a_scout_in_the_series_of_a_volume_costs_the_volume_nothing() {
    let (made, scout) = (Made::new(axial(), 20), Made::new(sagittal(), 1));
    let folder = tempfile::tempdir().unwrap();
    one_series(folder.path(), &[&made, &scout]);
    let source = Source {
        name: "test".to_owned(),
        path: folder.path().to_owned(),
        pattern: None,
        modality: None,
        unnamed: false,
        missing: Missing::Refuse,
    };
    let pseudonyms = Pseudonymizer::of_this_run().unwrap();
    let progress = Progress::new("index", "files", 0);
    let mut index = Index::temporary(&[source]).unwrap();
    index.find(&progress).unwrap();
    assert!(index.read(false, &progress).unwrap());
    let mut links = Vec::new();
    let cohort = index.assemble(&pseudonyms, &mut |link| {
        links.push(link);
        Ok(())
    });
    let cohort = cohort.unwrap();
    assert_eq!(cohort.quarantined(), 0);
    let mut rows: Vec<_> = cohort.rows.iter().map(|row| (&*row.status, &*row.modality)).collect();
    rows.sort();
    assert_eq!(rows, [("other", "localizer"), ("volume", "CT")]);
    assert_ne!(cohort.rows[0].series, cohort.rows[1].series);
    let scans = scans(cohort.rows, &links);
    let voxels = scans[0].read(&mut LastImage::default()).unwrap();
    assert_eq!(voxels, made.stored.mapv(f32::from));
}

/// Slabs along a spine are no localizer; an orientation that wavers is no two.
#[test]
fn few_slices_askew_and_orientations_that_waver_are_refused() {
    let turned = |radians: f64| {
        let mut plane = axial();
        plane.matrix3 = DMat3::from_rotation_x(radians) * plane.matrix3;
        plane
    };
    let orientations = |assembly: &Assembly| {
        assert_eq!(assembly.refused.len(), 1);
        assert!(assembly.others.is_empty());
        matches!(assembly.refused[0].reason, SeriesError::Orientations { orientations: 2 })
    };
    let (whole, slab) = (Made::new(axial(), 20), Made::new(turned(0.3), 4));
    let assembly = of(&[&whole, &slab]);
    assert!(orientations(&assembly));
    assert_eq!((assembly.series.len(), assembly.refused[0].files.len()), (1, 4));
    let assembly = of(&[&whole, &Made::new(turned(0.001), 20)]);
    assert!(orientations(&assembly));
    assert_eq!((assembly.series.len(), assembly.refused[0].files.len()), (0, 40));
}
