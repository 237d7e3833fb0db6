//! mivox learns features from unlabelled medical scans by maximising mutual
//! information between views of the same anatomy, and writes them as tables.
//!
//! `ARCHITECTURE.md` is the map: the order of the modules below is the order of
//! its layers, and a module uses only what stands above it.

pub mod geometry;
pub mod study;
pub mod durable;
pub mod stop;
pub mod progress;
pub mod table;
pub mod volume;
pub mod io;
pub mod resample;
pub mod intensity;
pub mod cohort;
pub mod convert;
pub mod sheet;
pub mod pull;
pub mod prepare;
pub mod register;
pub mod view;
pub mod pairing;
pub mod encoder;
pub mod objective;
pub mod runtime;
pub mod embed;
pub mod evaluate;
pub mod train;
pub mod mi;
pub mod phantom;
pub mod config;
pub mod cli;
