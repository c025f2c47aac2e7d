//! Floor 11: one file per command. A command returns what it found, or an error; `main` turns either into an exit code:
//! 0 fine, 1 found something, 2 usage, 3 could not do it.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::{
    event::Action,
    keeping::KeepError,
    layout::Layout,
    live::StartError,
    render::figures,
    serve::{ServeError, TokensError},
    tape::OpenError,
};

/// Everything about one agent.
mod agent;
/// All agents, one line each.
mod agents;
/// Answers about a history, with what is missing of it.
mod answer;
/// Lines from standard input to a stream.
mod append;
/// Rotated files, packed.
mod archive;
/// Old logs as tables and series.
#[cfg(feature = "history")]
mod backfill;
/// History, copied away.
mod backup;
/// What changed between two moments.
mod between;
/// What was spent, and what is left.
mod budget;
/// May this order be placed?
mod check;
/// What a shell completes.
mod completions;
/// What was decided, and goes on being decided.
mod decisions;
/// A simulated fleet, live, in a temporary directory.
mod demo;
/// One desk, through a server or in a directory.
mod desk;
/// Is the place fit for a recorder?
mod doctor;
/// Disasters on a simulated disk.
mod drill;
/// Failures as programs read them.
mod failure;
/// Why money was made and lost.
mod forensics;
/// Records of other programs to a stream.
mod import;
/// The help as man pages.
mod man;
/// What operators order.
mod order;
/// Thresholds: shown, checked, compared.
mod policy;
/// History before a round, dropped.
mod prune;
/// What reading commands share.
mod reading;
/// The fold of a directory, whole or up to a moment.
mod replay;
/// A backup, made a directory again.
mod restore;
/// The table of runs, kept up by a server.
mod rollups;
/// A command as one recorded run.
mod run;
/// JSON Schemas of the lines.
mod schema;
/// Agents by what holds for them.
mod select;
/// The server.
mod serve;
/// Streams of a simulated fleet.
mod simulate;
/// What needs a person, the most urgent first.
mod status;
/// What a mistyped word was meant to be.
mod suggest;
/// Lines in tape order.
mod tail;
/// The fleet, live on a terminal.
pub mod top;
/// Is the history intact?
mod verify;
/// The same facts under other policies.
mod whatif;
/// Words on a screen.
mod wrap;

/// Flight recorder and circuit breaker of a fleet of trading agents.
#[derive(Debug, Parser)]
#[command(name = "runtape", version, max_term_width = 110, infer_subcommands = false)]
#[command(
    after_help = "Start with `runtape demo`. Exit codes: 0 fine, 1 found something, 2 usage, 3 could not do it. LLMFORMAT=1: JSON throughout."
)]
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
    /// Run a command as a recorded run of an agent: gated, timed, within its budget; exits as the command does
    Run(run::Run),
    /// Append lines from standard input to a stream: validated, synced
    Append(append::Append),
    /// Append what other programs recorded: JSON, CSV, freqtrade, LiteLLM, Langfuse
    Import(import::Import),
    /// Print lines in tape order, and follow them
    Tail(tail::Tail),
    /// Fold a directory and print the state, or every decision
    Replay(replay::Replay),
    /// Say whether everything is fine, and if not, what to do first; exit 1 when something needs a person
    Status(status::Status),
    /// Watch the fleet on the terminal: who may trade and why, money, lag, decisions
    Top(top::TopCommand),
    /// List all agents: who may trade, at what size, and why
    Agents(agents::Agents),
    /// Show all that is known of one agent
    Agent(agent::Agent),
    /// Print the last decisions with their numbers, and follow them
    Decisions(decisions::Decisions),
    /// Show what was spent and what is left, by day and by agent
    Budget(budget::Budget),
    /// Ask whether an agent may place an order; exit 1 when it may not
    Check(check::Check),
    /// Let nobody selected trade until resumed
    Pause(order::Orders),
    /// End a pause or a retirement
    Resume(order::Orders),
    /// Take agents off the market until cleared by an operator
    Quarantine(order::Orders),
    /// End a quarantine
    Clear(order::Orders),
    /// Stop agents or a strategy finally, until revived
    Kill(order::Orders),
    /// Bring the killed back as candidates, with nothing held against them
    Revive(order::Orders),
    /// Promote candidates
    Promote(order::Orders),
    /// Make candidates of the promoted; only an operator promotes them again
    Demote(order::Orders),
    /// Retire agents or a strategy: no more trades, no more series
    Retire(order::Orders),
    /// Show, check, compare and apply policies
    Policy(policy::PolicyCommand),
    /// Explain why a run, an agent or the fleet lost money
    Forensics(forensics::Forensics),
    /// Try other policies on what happened: whom they would have stopped, what that would have saved and cost
    Whatif(whatif::WhatIf),
    /// Make tables and series of old logs, as Parquet by day and for a Prometheus
    #[cfg(feature = "history")]
    Backfill(backfill::Backfill),
    /// Check that the sealed history is intact
    Verify(verify::Verify),
    /// Copy the history to another place, beside a server or without one; what is there already is not copied again
    Backup(backup::Backup),
    /// Make an events directory of a backup
    Restore(restore::Restore),
    /// Pack files that nobody appends to any more to .zst, in place
    Archive(archive::Archive),
    /// Drop old history for good; what followed from it is kept
    Prune(prune::Prune),
    /// Say whether directory, machine and configuration are fit, and what to do where they are not
    Doctor(doctor::Doctor),
    /// Write streams of a believable simulated fleet
    Simulate(simulate::Simulate),
    /// Play disasters on a simulated disk, drawn from seeds, and check that nothing is lost
    #[command(hide = true)]
    Drill(drill::Drill),
    /// Print the JSON Schemas of the lines
    Schema(schema::Schema),
    /// Print what makes a shell complete commands and options
    Completions(completions::Completions),
    /// Write the man pages
    Man(man::Man),
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
    /// What a command that was run found, by its exit code.
    Code(u8),
}

impl Found {
    pub fn code(self) -> u8 {
        match self {
            Found::Nothing => 0,
            Found::Something => 1,
            Found::Code(code) => code,
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
fn run(cli: Cli) -> anyhow::Result<Found> {
    match cli.command {
        Command::Serve(command) => command.run(),
        Command::Demo(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Append(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Tail(command) => command.run(),
        Command::Replay(command) => command.run(),
        Command::Status(command) => command.run(),
        Command::Top(command) => command.run(),
        Command::Agents(command) => command.run(),
        Command::Agent(command) => command.run(),
        Command::Decisions(command) => command.run(),
        Command::Budget(command) => command.run(),
        Command::Check(command) => command.run(),
        Command::Pause(orders) => orders.run(Action::Pause),
        Command::Resume(orders) => orders.run(Action::Resume),
        Command::Quarantine(orders) => orders.run(Action::Quarantine),
        Command::Clear(orders) => orders.run(Action::Clear),
        Command::Kill(orders) => orders.run(Action::Kill),
        Command::Revive(orders) => orders.run(Action::Revive),
        Command::Promote(orders) => orders.run(Action::Promote),
        Command::Demote(orders) => orders.run(Action::Demote),
        Command::Retire(orders) => orders.run(Action::Retire),
        Command::Policy(command) => command.run(),
        Command::Forensics(command) => command.run(),
        Command::Whatif(command) => command.run(),
        #[cfg(feature = "history")]
        Command::Backfill(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Backup(command) => command.run(),
        Command::Restore(command) => command.run(),
        Command::Archive(command) => command.run(),
        Command::Prune(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Simulate(command) => command.run(),
        Command::Drill(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Man(command) => command.run(),
    }
}

/// Does what was typed, tells of a failure on standard error, and says with which code to exit.
pub fn main(args: Vec<OsString>) -> u8 {
    let json = failure::wants_json(&args);
    let command = Cli::command();
    let command = if failure::machine() { failure::speaking_json(command) } else { command };
    let parsed = command.try_get_matches_from(args).and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => {
            match failure::of_words(&error).filter(|_| json) {
                Some(told) => tell(&told.to_string()),
                None => drop(error.print()),
            }
            return u8::try_from(error.exit_code()).unwrap_or(2);
        }
    };
    match run(cli) {
        Ok(found) => found.code(),
        Err(error) if is_broken_pipe(&error) => 0,
        Err(error) => {
            let code = exit_code(&error);
            tell(&if json { failure::json(&error, code).to_string() } else { format!("runtape: {error:#}") });
            code
        }
    }
}

/// A line on standard error. There is nobody to tell when that fails.
fn tell(line: &str) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// 2 when what was typed is wrong, 3 when it could not be done.
fn exit_code(error: &anyhow::Error) -> u8 {
    if let Some(desk) = error.downcast_ref::<desk::DeskError>() {
        return desk.exit_code();
    }
    let open = match error.downcast_ref::<ServeError>() {
        Some(ServeError::NeedsToken(_)) => return 2,
        Some(ServeError::Start(StartError::Open(open))) => Some(open),
        _ => match error.downcast_ref::<KeepError>() {
            Some(KeepError::Open(open)) => Some(open),
            _ => error.downcast_ref::<OpenError>(),
        },
    };
    let invalid_tokens = matches!(error.downcast_ref::<TokensError>(), Some(TokensError::Invalid { .. }));
    let usage = error.downcast_ref::<Usage>().is_some()
        || invalid_tokens
        || error.downcast_ref::<crate::policy::PolicyError>().is_some()
        || matches!(open, Some(OpenError::Missing(_) | OpenError::NotDirectory(_)));
    if usage { 2 } else { 3 }
}

/// Whether the reader of our output went away, which is no failure.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |e: &io::Error| e.kind() == io::ErrorKind::BrokenPipe;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(broken))
}
