//! Parses arguments, calls the command, turns a failure into an exit code.

use std::process::ExitCode;

use clap::Parser;

use runtape::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(found) => ExitCode::from(found.code()),
        Err(error) => {
            if cli::is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            eprintln!("runtape: {error:#}");
            ExitCode::from(cli::exit_code(&error))
        }
    }
}
