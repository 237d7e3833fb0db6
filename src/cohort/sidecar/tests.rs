use super::*;

fn completed(sidecar: &str, modality: Modality) -> (Option<Modality>, Named, bool) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("sub-1_x.json"), sidecar).unwrap();
    let image = folder.path().join("sub-1_x.nii.gz");
    let sidecar = Sidecars::new(folder.path(), false).of(&image);
    let mut named = Named { subject: "1".into(), session: String::new(), modality, kind: None };
    sidecar.complete(&mut named);
    (sidecar.modality(), named, sidecar.remark.is_some())
}

#[test]
fn modality_phase_and_contrast_are_read() {
    let (modality, named, remark) = completed(
        r#"{"Modality": "PT", "EchoTime": 0.03, "ImageType": ["DERIVED", "PRIMARY"]}"#,
        Modality::Pet,
    );
    assert!(modality == Some(Modality::Pet) && named.kind.is_none() && !remark);
    let phase = r#"{"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND", "PHASE"]}"#;
    assert_eq!(completed(phase, Modality::T2Star).1.kind, Some("phase image"));
    let agent = r#"{"ContrastBolusIngredient": "GADOLINIUM"}"#;
    assert_eq!(completed(agent, Modality::T1).1.modality, Modality::T1Post);
    assert_eq!(completed(agent, Modality::T2).1.modality, Modality::T2);
}

#[test]
fn a_sidecar_of_another_kind_costs_nothing() {
    for text in ["", "[1, 2]", "{", r#"{"Modality": 5, "ImageType": "P"}"#] {
        let (modality, named, _) = completed(text, Modality::T1);
        assert!(modality.is_none() && named.kind.is_none(), "{text}");
    }
    assert!(completed("{", Modality::T1).2, "it is remarked");
}

/// Words of *ImageType* and *Modality* that apply to `sub-1/anat/NAME`.
fn inherited(files: &[(&str, &str)], name: &str) -> (Vec<String>, Option<Modality>, bool) {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let image = folder.path().join("sub-1/anat").join(name);
    let sidecars = Sidecars::new(folder.path(), true);
    let sidecar = sidecars.of(&image);
    let words = sidecar.fields.get("ImageType").and_then(Value::as_array).into_iter().flatten();
    let words = words.filter_map(Value::as_str).map(str::to_owned).collect();
    (words, sidecar.modality(), sidecar.remark.is_some())
}

#[test]
fn the_nearest_file_whose_entities_an_image_has_counts_field_by_field() {
    let files = [
        ("T1w.json", r#"{"Modality": "MR", "ImageType": ["TOP"]}"#),
        ("T2w.json", r#"{"ImageType": ["OTHER SUFFIX"]}"#),
        ("acq-b_T1w.json", r#"{"ImageType": ["OTHER ENTITY"]}"#),
        ("sub-1/sub-1_T1w.json", r#"{"ImageType": ["SUBJECT"]}"#),
        ("sub-1/anat/sub-1_acq-a_T1w.json", r#"{"ImageType": ["FOLDER"]}"#),
        ("sub-1/anat/sub-1_acq-a_run-1_T1w.json", r#"{"EchoTime": 1}"#),
    ];
    let name = "sub-1_acq-a_run-1_T1w.nii.gz";
    let found = |count: usize| inherited(&files[..count], name);
    assert_eq!(found(3), (vec!["TOP".to_owned()], "MR".parse().ok(), false));
    assert_eq!(found(4), (vec!["SUBJECT".to_owned()], "MR".parse().ok(), false));
    assert_eq!(found(6), (vec!["FOLDER".to_owned()], "MR".parse().ok(), false));
    assert_eq!(inherited(&files, "sub-1_T2w.nii").0, ["OTHER SUFFIX"]);
    assert!(inherited(&files, "sub-1_bold.nii").0.is_empty());
    // Another acquisition has the subject's file, and not the other's.
    assert_eq!(inherited(&files, "sub-1_acq-c_T1w.nii").0, ["SUBJECT"]);
}

#[test]
fn a_dataset_inherits_nothing_from_above_and_a_damaged_file_is_told() {
    let files = [
        ("T1w.json", r#"{"ImageType": ["ABOVE"]}"#),
        ("sub-1/dataset_description.json", "{}"),
        ("sub-1/T1w.json", "{"),
    ];
    let name = "sub-1_T1w.nii";
    assert_eq!(inherited(&files[..1], name).0, ["ABOVE"]);
    assert_eq!(inherited(&files[..2], name), (Vec::new(), None, false));
    assert_eq!(inherited(&files, name), (Vec::new(), None, true));
}

#[test]
fn a_file_is_read_once_and_only_what_matters_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("T1w.json");
    fs::write(&shared, r#"{"PatientName": "somebody", "Modality": "PT"}"#).unwrap();
    let sidecars = Sidecars::new(folder.path(), true);
    let of = |n: usize| sidecars.of(&folder.path().join(format!("sub-{n}/sub-{n}_T1w.nii")));
    let first = of(1);
    assert_eq!(first.fields.keys().collect::<Vec<_>>(), ["Modality"]);
    fs::write(&shared, "changed").unwrap();
    assert_eq!(of(2).modality(), Some(Modality::Pet));
    assert!(of(3).remark.is_none());
}
