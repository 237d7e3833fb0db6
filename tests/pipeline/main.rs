//! The whole pipeline, run as a user runs it: the binary, on files.

mod bad_input;
mod command_line;
mod learning;
mod resume;
mod shared_scans;
mod tables;
mod workplace;
