//! Readers of scans: real ones where they are present, made ones, hostile ones.

#[cfg(test)]
mod readers {
    mod compressed;
    mod files;
    mod hostile;
    mod images;
    mod itk;
    mod made;
    mod mutations;
    mod nibabel;
    mod odd_nifti;
    mod raw;
    mod real;
}
