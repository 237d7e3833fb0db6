//! Parses, runs, prints the chain of errors, and says how it ended.

use std::process::ExitCode;

use clap::Parser;

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
