//! Readers of scans: real ones where they are present, made ones, hostile ones.

mod readers {
    mod compressed;
    mod files;
    mod hostile;
    mod images;
    mod made;
    mod raw;
    mod real;
}
