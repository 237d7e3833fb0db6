//! `mivox pull`, run as a user runs it, against archives that hospitals have.
//!
//! Orthanc and dcmtk run on loopback with folders of their own; where they are not
//! installed, a test says that it is skipped. What they never do wrong, a small
//! server of the tests does.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod archives;
mod faults;
mod fake;
mod node;
mod resume;
mod round_trip;
mod secure;
mod workplace;
