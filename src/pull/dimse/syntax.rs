//! Classes and transfer syntaxes that are proposed.

/// Verification (C-ECHO).
pub(super) const VERIFICATION: &str = "1.2.840.10008.1.1";
/// Study Root Query/Retrieve: FIND.
pub(super) const FIND: &str = "1.2.840.10008.5.1.4.1.2.2.1";
/// Study Root Query/Retrieve: MOVE.
pub(super) const MOVE: &str = "1.2.840.10008.5.1.4.1.2.2.2";
/// Study Root Query/Retrieve: GET.
pub(super) const GET: &str = "1.2.840.10008.5.1.4.1.2.2.3";

pub(super) const IMPLICIT: &str = "1.2.840.10008.1.2";

/// The syntaxes that mivox reads. Each is proposed in a context of its own, so that
/// an archive sends an instance as it is stored and transcodes nothing.
///
/// # Source
/// DICOM PS3.6 table A-1.
pub(super) const TRANSFER: [&str; 19] = [
    "1.2.840.10008.1.2.1",
    IMPLICIT,
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.5",
    "1.2.840.10008.1.2.4.50",
    "1.2.840.10008.1.2.4.51",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.81",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.4.91",
    "1.2.840.10008.1.2.4.201",
    "1.2.840.10008.1.2.4.202",
    "1.2.840.10008.1.2.4.203",
    "1.2.840.10008.1.2.4.110",
    "1.2.840.10008.1.2.4.111",
    "1.2.840.10008.1.2.4.112",
];

/// Most classes in one association: it has at most 128 contexts, one of them for
/// the request itself (PS3.8 9.3.2.2).
pub(super) const MAX_CLASSES: usize = 127 / TRANSFER.len();

/// Where the storage classes of the standard begin.
pub(super) const STORAGE: &str = "1.2.840.10008.5.1.4.1.1.";

/// The classes that a modality has, for archives that do not say an instance's:
/// at most [`MAX_CLASSES`], behind [`STORAGE`].
///
/// # Source
/// DICOM PS3.4 table B.5-1.
pub(super) fn classes_of(modality: Option<&str>) -> &'static [&'static str] {
    match modality {
        Some("CT") => &["2", "2.1", "2.2", "7"],
        Some("MR") => &["4", "4.1", "4.4", "4.2", "4.3", "7"],
        Some("PT") => &["128", "130", "128.1", "7"],
        Some("NM") => &["20", "7"],
        Some("US") => &["6.1", "3.1", "6.2", "7"],
        Some("CR" | "DX" | "RG") => &["1", "1.1", "1.1.1", "7"],
        Some("MG") => &["1.2", "1.2.1", "13.1.3", "7"],
        Some("XA" | "RF") => &["12.1", "12.2", "12.1.1", "12.2.1", "13.1.1", "7"],
        Some("SR") => &["88.11", "88.22", "88.33", "88.34", "88.67"],
        Some("SEG") => &["66.4", "66.7"],
        Some("RTSTRUCT" | "RTDOSE" | "RTPLAN") => &["481.3", "481.2", "481.5"],
        _ => &["7", "7.2", "7.4", "11.1", "104.1", "66"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_association_holds_what_is_proposed() {
        assert_eq!(MAX_CLASSES, 6);
        let codes = ["CT", "MR", "PT", "NM", "US", "CR", "MG", "XA", "SR", "SEG", "RTDOSE", "OT"];
        assert!(codes.iter().all(|code| classes_of(Some(code)).len() <= MAX_CLASSES));
    }
}
