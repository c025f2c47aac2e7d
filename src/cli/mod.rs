//! Floor 10: one file per command. A command returns what it found, or an error; `main` turns either into an exit code:
//! 0 fine, 1 found something, 2 usage, 3 could not do it.

use std::{io, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::{layout::Layout, live::StartError, serve::ServeError, tape::OpenError};

/// Lines from standard input to a stream.
mod append;
/// A simulated fleet, live, in a temporary directory.
mod demo;
/// Records of other programs to a stream.
mod import;
/// Thresholds: shown, checked, compared.
mod policy;
/// What reading commands share.
mod reading;
/// The fold of a directory, whole or up to a moment.
mod replay;
/// JSON Schemas of the lines.
mod schema;
/// The server.
mod serve;
/// Streams of a simulated fleet.
mod simulate;
/// Lines in tape order.
mod tail;
/// Is the history intact?
mod verify;

/// Flight recorder and circuit breaker of a fleet of trading agents.
#[derive(Debug, Parser)]
#[command(name = "runtape", version, max_term_width = 110, infer_subcommands = false)]
#[command(after_help = "Start with `runtape demo`. Exit codes: 0 fine, 1 found something, 2 usage, 3 could not do it.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Follow a directory live: tape, metrics, decisions
    Serve(serve::Serve),
    /// Watch a simulated fleet live, in a temporary directory
    Demo(demo::Demo),
    /// Append lines from standard input to a stream: validated, one write each, synced
    Append(append::Append),
    /// Append what other programs recorded: JSON, CSV, freqtrade, LiteLLM, Langfuse
    Import(import::Import),
    /// Print lines in tape order, and follow them
    Tail(tail::Tail),
    /// Fold a directory and print the state, or every decision
    Replay(replay::Replay),
    /// Show, check and compare policies
    Policy(policy::PolicyCommand),
    /// Check that the sealed history is intact
    Verify(verify::Verify),
    /// Write streams of a believable simulated fleet
    Simulate(simulate::Simulate),
    /// Print the JSON Schemas of the lines
    Schema(schema::Schema),
}

/// Where the streams are.
#[derive(Debug, Clone, Args)]
pub struct Events {
    /// Events directory; only its top level is read
    #[arg(long, value_name = "DIR", default_value = "events", global = true)]
    events: PathBuf,
}

impl Events {
    fn layout(&self) -> Layout {
        Layout::new(&self.events)
    }
}

/// How output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// Aligned, for people
    Text,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
}

/// Whether a command found something that a person should look at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    Nothing,
    Something,
}

impl Found {
    pub fn code(self) -> u8 {
        match self {
            Found::Nothing => 0,
            Found::Something => 1,
        }
    }
}

/// A mistake in what was typed, found after parsing.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(String);

/// Runs a command.
///
/// # Errors
/// It could not be done; see [`exit_code`].
pub fn run(cli: Cli) -> anyhow::Result<Found> {
    match cli.command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Append(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Tail(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Policy(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Simulate(command) => command.run(),
        Command::Schema(command) => command.run(),
    }
}

/// 2 when what was typed is wrong, 3 when it could not be done.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    let open = match error.downcast_ref::<ServeError>() {
        Some(ServeError::NeedsToken(_)) => return 2,
        Some(ServeError::Start(StartError::Open(open))) => Some(open),
        _ => error.downcast_ref::<OpenError>(),
    };
    let usage = error.downcast_ref::<Usage>().is_some()
        || error.downcast_ref::<crate::policy::PolicyError>().is_some()
        || matches!(open, Some(OpenError::Missing(_) | OpenError::NotDirectory(_)));
    if usage { 2 } else { 3 }
}

/// Whether the reader of our output went away, which is no failure.
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}
