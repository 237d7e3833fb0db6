//! Parses, runs, prints the chain of errors, and says how it ended.

use std::process::ExitCode;

use clap::Parser;

/// The system's allocator gives the memory of every slice back to the kernel, which
/// clears it again for the next one: four fifths of what reading a slice takes.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match mivox::cli::Cli::parse().run() {
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
