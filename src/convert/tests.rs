use ndarray::Array3;

use super::*;
use crate::cohort::CohortRow;

fn volume(values: &[f32]) -> Array3<f32> {
    Array3::from_shape_vec((1, 1, values.len()), values.to_vec()).unwrap()
}

fn scale(values: &[f32], given: Option<[f64; 2]>) -> Option<(f32, f32)> {
    exact_int16(volume(values).view(), given).map(|scale| (scale.slope, scale.intercept))
}

#[test]
fn int16_holds_what_it_gives_back_to_the_last_bit() {
    assert_eq!(scale(&[-1024.0, 0.0, 3071.0], None), Some((1.0, 0.0)));
    assert_eq!(scale(&[0.0, 65_535.0], None), Some((1.0, 32_768.0)));
    assert_eq!(scale(&[0.0, 65_536.0], None), None);
    assert_eq!(scale(&[0.0, 0.25], None), None);
    assert_eq!(scale(&[0.0, 0.25], Some([0.25, 0.0])), Some((0.25, 0.0)));
    assert_eq!(scale(&[0.0, 0.25 * 65_535.0], Some([0.25, 0.0])), Some((0.25, 8192.0)));
    let tenths = |n: f32| (f64::from(n) * f64::from(0.1f32) + 7.0) as f32;
    assert_eq!(scale(&[tenths(3.0), tenths(-9.0)], Some([0.1f32.into(), 7.0])), Some((0.1, 7.0)));
    assert_eq!(scale(&[0.1, 0.2, 0.7], Some([0.1, 0.05])), None);
}

#[test]
fn int16_holds_nothing_that_was_not_measured() {
    assert_eq!(scale(&[1.0, f32::NAN], None), None);
    assert_eq!(scale(&[1.0, f32::INFINITY], None), None);
    assert_eq!(scale(&[f32::NAN], Some([f64::NAN, 0.0])), None);
    assert_eq!(scale(&[1.5], Some([0.0, 1.5])), None);
}

fn row(series: &str, modality: &str) -> CohortRow {
    CohortRow {
        source: "input".into(),
        subject: "sub-1".into(),
        session: "ses-2".into(),
        study: "std-3".into(),
        series: series.into(),
        modality: modality.into(),
        body_part: None,
        shape: None,
        spacing_mm: None,
        affine: None,
        frame_of_reference: None,
        format: "dicom".into(),
        missing_slices: 0,
        files: 1,
        frame: 0,
        fingerprint: String::new(),
        status: "volume".into(),
        reason: None,
    }
}

#[test]
fn bids_names_are_read_back() {
    for modality in crate::study::Modality::ALL {
        let row = row("ser-4f", modality.as_str());
        let name = Naming::Bids.names(&[&row]).unwrap().remove(0);
        assert!(name.starts_with("sub-1/ses-2/"), "{name}");
        let named = crate::cohort::naming::read_name(&format!("{name}.nii.gz"), None, None);
        let named = named.unwrap().unwrap();
        assert_eq!((named.subject.as_str(), named.session.as_str()), ("1", "2"));
        assert_eq!(named.modality, modality, "{name}");
    }
}

#[test]
fn names_stay_inside_and_apart() {
    for wrong in ["../{series}", "/{series}", "{patient}", "a b", "{series}/", ".{series}"] {
        let result = Naming::from_pattern(wrong);
        assert!(matches!(result, Err(NamingError::Pattern { .. })), "{wrong}");
    }
    let rows = [row("ser-4", "T1"), row("ser-5", "T1")];
    let rows = [&rows[0], &rows[1]];
    let good = Naming::from_pattern("{subject}/{modality}-{series}").unwrap();
    assert_eq!(good.names(&rows).unwrap(), ["sub-1/T1-ser-4", "sub-1/T1-ser-5"]);
    let same = Naming::from_pattern("{subject}_{modality}").unwrap();
    assert!(matches!(same.names(&rows), Err(NamingError::Ambiguous { volumes: 2, .. })));
}
