//! Hands over what was typed, and exits as it is told.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(runtape::cli::main(std::env::args_os().collect()))
}
