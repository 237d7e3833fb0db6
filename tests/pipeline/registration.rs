//! Alignment as a stage: heads that move between sessions, and what is refused.

use std::{fs, path::Path};

use glam::{DAffine3, DVec3};
use mivox::{
    cohort::{Link, Quarantined},
    geometry::affine_from_flat,
    io::image::open_volume,
    io::nifti::write_i16,
    phantom::{SessionTruth, Truth},
    prepare::VolumeRow,
    register::AlignmentRow,
    table,
    view::Volumes,
};

use crate::workplace::{Pipeline, SMALL, Workplace, checked, mivox, phantom};

fn aligning() -> String {
    SMALL.replace("[pairs]\n", "[pairs]\nregister = 'rigid'\n")
}

/// The session that a series of a phantom was scanned in.
fn session<'a>(truth: &'a Truth, links: &[Link], series: &str) -> &'a SessionTruth {
    let real = |link: &&Link| {
        link.series.as_deref() == Some(series) || link.kind == "series" && link.pseudonym == series
    };
    let names: Vec<&str> = links.iter().filter(real).map(|link| link.real.as_str()).collect();
    let mut sessions = truth.subjects.iter().flat_map(|subject| &subject.sessions);
    sessions
        .find(|session| {
            session.scans.iter().any(|scan| names.iter().any(|name| name.contains(&scan.path)))
        })
        .unwrap()
}

#[test]
fn heads_that_moved_between_sessions_lie_one_on_the_other() {
    let cohort = tempfile::tempdir().unwrap();
    let made = phantom(
        cohort.path(),
        &["--subjects", "2", "--dicom-subjects", "1", "--sessions", "2", "--seed", "5"],
    );
    let truth = Truth::open(&made).unwrap();
    let sources = format!("[[source]]\nname = 'phantom'\npath = '{}'\n", made.display());
    let place = Workplace::new(&Pipeline { sources: &sources, rest: &aligning() });
    place.run(&["index"], 0);
    place.run(&["prepare"], 0);
    // Pairs of volumes that were not aligned are not made.
    let early = place.run(&["pairs"], 1);
    assert!(String::from_utf8_lossy(&early.stderr).contains("mivox register"));
    place.run(&["register"], 0);

    let results = place.results();
    let rows: Vec<AlignmentRow> = table::read(&results.join("alignment.parquet")).unwrap();
    let volumes: Vec<VolumeRow> = table::read(&results.join("volumes.parquet")).unwrap();
    let links: Vec<Link> = table::read(&results.join("linkage.parquet")).unwrap();
    assert_eq!(rows.len(), volumes.len());
    assert_eq!(rows.iter().filter(|row| row.status == "reference").count(), 2);
    for row in &rows {
        assert_ne!(row.status, "refused", "{}", row.reason);
        assert_eq!(row.world, row.reference_series);
        let pose = |series: &str| session(&truth, &links, series).pose();
        let expected = pose(&row.reference_series) * pose(&row.series).inverse();
        let found = affine_from_flat(&row.affine);
        // Six ends of a head of 80 mm.
        let apart = DVec3::AXES
            .into_iter()
            .flat_map(|axis| [-80.0, 80.0].map(|mm| axis * mm))
            .map(|p| expected.transform_point3(p).distance(found.transform_point3(p)))
            .fold(0.0, f64::max);
        println!("{} {:?}: {apart:.2} mm, moved {:.1} mm", row.status, row.quality, row.moved_mm);
        assert!(apart < 1.0, "{apart} mm");
    }
    assert!(rows.iter().any(|row| row.moved_mm > 2.0), "the heads did not move");

    let aligned = Volumes::open_aligned(&results, volumes.clone(), &rows).unwrap();
    for row in &rows {
        let volume = aligned.get(&row.series).unwrap();
        assert_eq!(volume.world, row.world);
        let before = volumes.iter().find(|volume| volume.series == row.series).unwrap();
        let moved = affine_from_flat(&row.affine).transform_point3(before.centre_mm.into());
        assert!(moved.distance(volume.row.centre_mm.into()) < 1e-9);
    }

    let again = place.run(&["register"], 0);
    assert!(String::from_utf8_lossy(&again.stdout).contains("unchanged"));
    place.run(&["pairs"], 0);
    // Without the key nothing of it stays.
    let pipeline = place.path("pipeline.toml");
    let text = fs::read_to_string(&pipeline).unwrap();
    fs::write(&pipeline, text.replace("'rigid'", "'none'")).unwrap();
    let none = place.run(&["register"], 0);
    assert!(String::from_utf8_lossy(&none.stdout).contains("not asked for"));
    assert!(!results.join("alignment.parquet").exists());
    place.run(&["pairs"], 0);
}

#[test]
fn what_cannot_be_aligned_is_quarantined_and_keeps_a_world_of_its_own() {
    let cohort = tempfile::tempdir().unwrap();
    let mut command = mivox(&["phantom"]);
    let made = cohort.path().join("made");
    command.arg(&made).args(["--subjects", "1", "--dicom-subjects", "0", "--sessions", "1"]);
    checked(command, 0);
    let scans = cohort.path().join("scans/someone");
    fs::create_dir_all(&scans).unwrap();
    for modality in ["T1", "T2"] {
        let name = format!("sub-01/ses-1/anat/sub-01_ses-1_{modality}w.nii.gz");
        fs::copy(made.join(name), scans.join(format!("study1_{modality}.nii.gz"))).unwrap();
    }
    noise(&scans.join("study1_T1.nii.gz"), &scans.join("study2_PD.nii"));
    let sources = format!(
        "[[source]]\nname = 'mixed'\npath = '{}'\npattern = '{{subject}}/study{{session}}_{{modality}}.nii*'\n",
        cohort.path().join("scans").display()
    );
    let place = Workplace::new(&Pipeline { sources: &sources, rest: &aligning() });
    place.run(&["index"], 0);
    place.run(&["prepare"], 0);
    let output = place.run(&["register"], 2);
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 refused"));
    let rows: Vec<AlignmentRow> = table::read(&place.results().join("alignment.parquet")).unwrap();
    let refused: Vec<_> = rows.iter().filter(|row| row.status == "refused").collect();
    assert_eq!((rows.len(), refused.len()), (3, 1));
    assert_eq!(refused[0].world, refused[0].series);
    assert_eq!(affine_from_flat(&refused[0].affine), DAffine3::IDENTITY);
    let quarantined: Vec<Quarantined> =
        table::read(&place.results().join("quarantine.parquet")).unwrap();
    assert_eq!(quarantined.len(), 1);
    assert_eq!(quarantined[0].stage, "register");
    assert_eq!(quarantined[0].series.as_ref(), Some(&refused[0].series));
    assert_eq!(quarantined[0].reason, refused[0].reason);
}

/// Noise in the grid of another scan.
fn noise(like: &Path, into: &Path) {
    use rand::{RngExt, SeedableRng};
    let (voxels, head) = open_volume(like, 0).unwrap();
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    let noise = voxels.mapv(|_| (1000.0 * rng.random::<f32>()) as i16);
    let mut file = fs::File::create(into).unwrap();
    write_i16(&mut file, noise.view(), &head.grid, 1.0, 0.0, "noise").unwrap();
}
