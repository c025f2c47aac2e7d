//! Why money was made and lost: one run, one agent, the fleet.

/// One agent, or all of them.
mod history;
/// Where the lines of each run are.
mod index;
/// One run from its first line to its last record.
mod run;

use clap::{Args, Subcommand};

use super::{
    Events, Found, Usage,
    reading::{self, Progress},
};
use crate::{replay::Watch, report::Unanswered};

#[derive(Debug, Args)]
pub struct Forensics {
    #[command(flatten)]
    events: Events,
    #[command(subcommand)]
    question: Question,
}

#[derive(Debug, Subcommand)]
enum Question {
    /// Tell the story of one run: its lines, what held before and after, what it earned, and why it lost
    Run(run::OfRun),
    /// Say why an agent lost money: its worst runs, where losses cluster, what changed first
    Agent(history::OfAgent),
    /// Say the same of the whole fleet
    Fleet(history::OfFleet),
    /// Write down where the lines of each run are, so that a run is found at once in a long history
    Index(index::OfIndex),
}

impl Forensics {
    pub fn run(self) -> anyhow::Result<Found> {
        let directory = reading::open(&self.events)?;
        match self.question {
            Question::Run(question) => question.answer(&directory),
            Question::Agent(question) => question.answer(&directory),
            Question::Fleet(question) => question.answer(&directory),
            Question::Index(question) => question.answer(&directory),
        }
    }
}

/// What a report says, with a bar while it is made.
fn told<T>(
    what: &'static str,
    total: Option<u64>,
    ask: impl FnOnce(&Watch) -> Result<T, Unanswered>,
) -> anyhow::Result<T> {
    let bar = Progress::new(total, what, false);
    let answer = ask(&|lines| {
        bar.inc(lines);
        true
    });
    bar.finish();
    answer.map_err(|error| match error {
        Unanswered::Stranger(why) => Usage(why).into(),
        Unanswered::Replay(error) => error.into(),
    })
}
