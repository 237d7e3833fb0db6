//! Volumes of DICOM files.
