//! Parses, runs, prints the chain of errors, and says how it ended.

use std::{io, path::PathBuf, process::ExitCode};

use clap::Parser;

fn main() -> ExitCode {
    mivox::volume::keep_freed_memory();
    let cli = match mivox::cli::Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Where nobody listens there is nobody to tell that either.
            let _ = told.print();
            // Not clap's 2, which says that a run has finished.
            return if told.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    match own_program() {
        Ok(program) => mivox::io::dicom::decode_in(program),
        Err(error) => eprintln!("mivox: compressed frames are not decoded apart: {error}"),
    }
    match cli.run() {
        Ok(end) => ExitCode::from(end.code()),
        Err(error) => {
            eprintln!("mivox: {error}");
            for cause in error.chain().skip(1) {
                eprintln!("  because: {cause}");
            }
            ExitCode::FAILURE
        }
    }
}

/// This program: on Linux the one that runs, even where its file was replaced since.
fn own_program() -> io::Result<PathBuf> {
    let running = PathBuf::from("/proc/self/exe");
    if running.exists() { Ok(running) } else { std::env::current_exe() }
}
