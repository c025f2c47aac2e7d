//! Why money was made and lost: one run, one agent, the fleet.

/// One agent, or all of them.
mod history;
/// Where the lines of each run are.
mod index;
/// Which runs count towards promotion.
mod promotion;
/// One run from its first line to its last record.
mod run;
/// Findings in words.
mod words;

use std::io::Write;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    Events, Found, Output,
    reading::{self, Progress},
};
use crate::{
    consumers::REGISTRY,
    forensics::{Recorder, Runs},
    policy::Gates,
    replay::{Gap, Walk},
    tape::{Directory, Until},
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
        let directory = reading::open(&self.events)?;
        match self.question {
            Question::Run(question) => question.answer(&directory),
            Question::Agent(question) => question.answer(&directory),
            Question::Fleet(question) => question.answer(&directory),
            Question::Index(question) => question.answer(&directory),
        }
    }
}

/// Every run of a directory, where the fold ended, and what could not be read.
struct Recorded<'a> {
    runs: Runs,
    walk: Walk<'a>,
}

impl Recorded<'_> {
    fn of(directory: &Directory) -> anyhow::Result<Recorded<'_>> {
        let bar = Progress::new(None, "reading", false);
        let mut walk = Walk::begin(directory, REGISTRY)?;
        let mut recorder = Recorder::begin(&walk.engine, &walk.intake);
        walk.to(Until::End, |batch, emitted| {
            bar.inc(batch.next - batch.first);
            recorder.step(batch, &emitted);
        })?;
        bar.finish();
        Ok(Recorded { runs: recorder.finish(), walk })
    }

    /// The rules of the gates at its end.
    fn rules(&self) -> &Gates {
        &self.walk.intake.policy().policy.gates
    }

    fn position(&self) -> u64 {
        self.walk.intake.position()
    }

    /// Where the history begins and what is missing of it, for the answer.
    fn history(&self, directory: &Directory) -> [(String, Value); 3] {
        [
            ("position".to_owned(), self.position().into()),
            ("from".to_owned(), directory.first_position().into()),
            ("gaps".to_owned(), gaps(&self.walk.gaps)),
        ]
    }

    /// Gaps are told, and are a finding.
    fn found(&self) -> Found {
        found(&self.walk.gaps)
    }
}

/// Gaps as JSON.
pub fn gaps(gaps: &[Gap]) -> Value {
    gaps.iter().map(|gap| json!({ "from": gap.from, "to": gap.to, "what": gap.what })).collect()
}

/// Tells what is missing: that is a finding.
pub fn found(gaps: &[Gap]) -> Found {
    for Gap { from, to, what } in gaps {
        eprintln!("runtape: positions {from} to {to} are left out: {what}; run `runtape verify`");
    }
    if gaps.is_empty() { Found::Nothing } else { Found::Something }
}

/// Prints an answer as a page for people, or as JSON.
pub fn print(output: Output, answer: &Value, page: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
    let mut out = reading::stdout();
    match output {
        Output::Text => write!(out, "{}", page(answer))?,
        Output::Json => {
            serde_json::to_writer_pretty(&mut out, answer)?;
            writeln!(out)?;
        }
        Output::Jsonl => {
            serde_json::to_writer(&mut out, answer)?;
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}
