//! Why money was made and lost: one run, one agent, the fleet.

/// One agent, or all of them.
mod history;
/// Where the lines of each run are.
mod index;
/// One run from its first line to its last record.
mod run;

use std::io::Write;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::Value;

use super::{
    Events, Found, Output, Usage, answer,
    reading::{self, Progress},
};
use crate::{
    render::html::Style,
    replay::Watch,
    report::{Report, Unanswered},
};

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
        if let Question::Run(question) = &self.question
            && let Some(found) = question.at_once(self.events.layout())?
        {
            return Ok(found);
        }
        let directory = reading::open(&self.events)?;
        match self.question {
            Question::Run(question) => question.answer(&directory),
            Question::Agent(question) => question.answer(&directory),
            Question::Fleet(question) => question.answer(&directory),
            Question::Index(question) => question.answer(&directory),
        }
    }
}

/// How a report is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// Aligned, for people
    Text,
    /// One JSON document
    Json,
    /// One JSON object per line
    Jsonl,
    /// One page for a browser, with plots, whole in itself
    Html,
}

/// Prints a report in its form.
fn print(
    form: Form,
    report: &Report,
    text: impl FnOnce(&Value) -> String,
    page: fn(&Report, Style) -> String,
) -> anyhow::Result<Found> {
    let output = match form {
        Form::Text => Output::Text,
        Form::Json => Output::Json,
        Form::Jsonl => Output::Jsonl,
        Form::Html => {
            let mut out = reading::stdout();
            out.write_all(page(report, Style::Inside).as_bytes())?;
            out.flush()?;
            return Ok(answer::found(&report.gaps));
        }
    };
    answer::print(output, &report.answer, text)?;
    Ok(answer::found(&report.gaps))
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
