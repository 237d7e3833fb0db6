//! Readers of scans: real ones where they are present, made ones, hostile ones.

#[cfg(test)]
mod readers {
    mod compressed;
    mod conformance;
    mod enhanced;
    mod files;
    mod gaps;
    mod geometry;
    mod hostile;
    mod images;
    mod itk;
    mod made;
    mod nibabel;
    mod nuclear;
    mod odd_nifti;
    mod orientations;
    mod pixels;
    mod raw;
    mod real;
    mod uptake;
}
