//! Readers of scans: real ones where they are present, made ones, hostile ones.

mod readers {
    pub mod files;
    mod real;
}
