//! The readers of mivox, compiled by themselves: `geometry`, `study`, `volume` and `io`
//! are links to its sources. With the whole of mivox every build for the fuzzer would compile
//! polars.

pub mod geometry;
pub mod io;
pub mod study;
pub mod volume;

use std::{
    fs::File,
    io::{Seek, Write},
    os::fd::AsRawFd,
    path::PathBuf,
};

/// A file in memory: the readers open paths, as they do for everybody.
pub struct MemoryFile {
    file: File,
    /// Where it is to be opened.
    pub path: PathBuf,
}

impl Default for MemoryFile {
    fn default() -> Self {
        // What the readers do in parallel is done by this thread: waking another one
        // takes longer than a file of the fuzzer's size.
        let here = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
        here.build_global().unwrap();
        let file = tempfile::tempfile_in("/dev/shm").unwrap();
        let path = format!("/proc/self/fd/{}", file.as_raw_fd()).into();
        Self { file, path }
    }
}

impl MemoryFile {
    pub fn write(&mut self, bytes: &[u8]) {
        self.file.set_len(0).unwrap();
        self.file.rewind().unwrap();
        self.file.write_all(bytes).unwrap();
    }
}
