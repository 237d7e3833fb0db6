//! Readers of scans: real ones where they are present, made ones, hostile ones.

#[cfg(test)]
mod readers {
    mod compressed;
    mod conformance;
    mod enhanced;
    mod files;
    mod geometry;
    mod hostile;
    mod images;
    mod itk;
    mod made;
    mod nibabel;
    mod odd_nifti;
    mod pixels;
    mod raw;
    mod real;
}
