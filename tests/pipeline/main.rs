//! The whole pipeline, run as a user runs it: the binary, on files.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod bad_input;
mod bounds;
mod boxes;
mod encoders;
mod command_line;
mod convert;
mod corrected;
mod damaged;
mod hostile;
mod images;
mod indexing;
mod information;
mod learning;
mod leave_one_out;
mod monitoring;
mod objectives;
mod pairs;
#[path = "../readers/raw.rs"]
#[allow(dead_code)]
mod raw;
mod registration;
mod resume;
mod shared_scans;
mod show;
mod tables;
mod workplace;
