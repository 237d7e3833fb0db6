//! DICOM files.

pub(super) fn looks_like_dicom(start: &[u8]) -> bool {
    start.get(128..132) == Some(b"DICM")
}
