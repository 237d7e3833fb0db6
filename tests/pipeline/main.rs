//! The whole pipeline, run as a user runs it: the binary, on files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod boxes;
mod encoders;
mod command_line;
mod convert;
mod corrected;
mod damaged;
mod hostile;
mod images;
mod indexing;
mod learning;
#[path = "../readers/raw.rs"]
#[allow(dead_code)]
mod raw;
mod resume;
mod shared_scans;
mod show;
mod tables;
mod workplace;
