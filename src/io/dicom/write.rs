//! A slice as a classic single-frame DICOM file.
