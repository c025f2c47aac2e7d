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

use clap::{Args, Subcommand};
use serde_json::Value;

use super::{
    Events, Found, answer,
    reading::{self, Progress},
};
use crate::{
    consumers::REGISTRY,
    forensics::{Recorder, Runs},
    policy::Gates,
    replay::Walk,
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
            ("gaps".to_owned(), answer::gaps(&self.walk.gaps)),
        ]
    }

    /// Gaps are told, and are a finding.
    fn found(&self) -> Found {
        answer::found(&self.walk.gaps)
    }
}
