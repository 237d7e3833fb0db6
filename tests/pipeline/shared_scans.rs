//! Real patients' scans, where they are at hand: both cohorts through every stage.

use mivox::{
    cohort::CohortRow,
    embed::EmbeddingRow,
    pairing::{Kind, PairRow},
    table,
};

use crate::workplace::{Pipeline, SMALL, Workplace, shared_scans};

fn through_every_stage(sources: &str) -> (Vec<CohortRow>, Vec<PairRow>) {
    let place = Workplace::new(&Pipeline { sources, rest: SMALL });
    place.run(&["run"], 0);
    let results = place.results();
    let (rows, values, width) = table::read_with_vectors::<EmbeddingRow>(
        &results.join("embeddings/part-00000.parquet"),
        "embedding",
    )
    .unwrap();
    assert_eq!(values.len(), rows.len() * width);
    assert!(values.iter().all(|v| v.is_finite()));
    let cohort: Vec<CohortRow> = table::read(&results.join("cohort.parquet")).unwrap();
    let volumes = cohort.iter().filter(|row| row.status == "volume").count();
    assert_eq!(rows.iter().filter(|row| row.level == "volume").count(), volumes);
    (cohort, table::read(&results.join("pairs.parquet")).unwrap())
}

fn modalities(pairs: &[PairRow]) -> std::collections::BTreeSet<(String, String)> {
    pairs
        .iter()
        .filter(|pair| pair.kind == Kind::CrossModality.as_str())
        .map(|pair| (pair.anchor_modality.clone(), pair.positive_modality.clone()))
        .collect()
}

#[test]
fn ct_pet_and_mr_of_sarcomas_from_dicom() {
    let (Some(raw), Some(cropped)) = (shared_scans("sarcoma/raw"), shared_scans("sarcoma/cropped"))
    else {
        return;
    };
    // The NIfTI twins beside the DICOM files are told by their names: they fit
    // no pattern of the cohort.
    let sources = format!(
        "[[source]]\nname = 'raw'\npath = '{}'\n\
         [[source]]\nname = 'cropped'\npath = '{}'\npattern = '{{subject}}/{{modality}}.none'\n",
        raw.display(),
        cropped.display()
    );
    let (cohort, pairs) = through_every_stage(&sources);
    let count = |source: &str, status: &str| {
        cohort.iter().filter(|row| row.source == source && row.status == status).count()
    };
    assert_eq!(count("raw", "volume"), 3, "FDG-PET, T1 and T2");
    assert_eq!(count("cropped", "volume"), 6, "CT, MR and PET of two patients");
    assert!(count("raw", "other") > 0, "the contours are listed");
    let found = modalities(&pairs);
    assert!(found.contains(&("CT".to_owned(), "PET".to_owned())), "{found:?}");
    assert!(found.contains(&("T1".to_owned(), "T2".to_owned())), "{found:?}");
}

#[test]
fn t1_t2_and_flair_of_multiple_sclerosis_from_nifti() {
    let Some(ms) = shared_scans("ms/longitudinal") else { return };
    let sources = format!(
        "[[source]]\nname = 'ms'\npath = '{}'\npattern = '{{subject}}/study{{session}}_{{modality}}.nii.gz'\n",
        ms.display()
    );
    let (cohort, pairs) = through_every_stage(&sources);
    assert!(cohort.iter().all(|row| row.status == "volume"));
    assert!(cohort.len() >= 10, "{}", cohort.len());
    let found = modalities(&pairs);
    assert!(found.iter().any(|(a, b)| a == "T1" && b == "T2"), "{found:?}");
    assert!(
        found.iter().any(|(a, b)| a == "T2" && b == "FLAIR" || a == "FLAIR" && b == "T2"),
        "{found:?}"
    );
}
