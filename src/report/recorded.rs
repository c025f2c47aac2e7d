use std::sync::Arc;

use serde_json::Value;

use super::gaps_of;
use crate::{
    consumers::REGISTRY,
    event::Nanos,
    fold::Emitted,
    forensics::{Recorder, Runs},
    policy::Gates,
    replay::{ReplayError, Walk, Watch},
    tape::{Directory, Until},
};

/// A decision as a plot shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Decided {
    pub position: u64,
    pub time: Option<Nanos>,
    pub consumer: &'static str,
    pub subject: Arc<str>,
    pub verdict: &'static str,
    pub rule: &'static str,
}

impl Decided {
    pub fn of(emitted: &Emitted) -> Decided {
        let decision = &emitted.decision;
        let (position, time, consumer) = (decision.cause, decision.tape_time, decision.consumer);
        let (verdict, rule) = (decision.verdict, decision.rule);
        Decided { position, time, consumer, subject: emitted.subject().into(), verdict, rule }
    }
}

/// Whether a decision is about an agent.
pub fn about<'a>(agent: &'a str) -> impl Fn(&Emitted) -> bool + 'a {
    move |emitted| emitted.decision.subject.kind() == "agent" && emitted.subject() == agent
}

/// Every run of a directory, where the fold ended, and what could not be read.
pub struct Recorded<'a> {
    pub runs: Runs,
    pub walk: Walk<'a>,
    /// Those that were asked for.
    pub decided: Vec<Decided>,
}

impl Recorded<'_> {
    /// # Errors
    /// The history cannot be read.
    pub fn of<'d>(
        directory: &'d Directory,
        watch: &'d Watch,
        shown: impl Fn(&Emitted) -> bool,
    ) -> Result<Recorded<'d>, ReplayError> {
        let mut walk = Walk::begin(directory, REGISTRY)?.watched(watch);
        let mut recorder = Recorder::begin(&walk.engine, &walk.intake);
        let mut decided = Vec::new();
        walk.to(Until::End, |batch, emitted| {
            decided.extend(emitted.iter().filter(|emitted| shown(emitted)).map(Decided::of));
            recorder.step(batch, &emitted);
        })?;
        Ok(Recorded { runs: recorder.finish(), walk, decided })
    }

    /// The rules of the gates at its end.
    pub fn rules(&self) -> &Gates {
        &self.walk.intake.policy().policy.gates
    }

    pub fn position(&self) -> u64 {
        self.walk.intake.position()
    }

    /// Where the history begins and what is missing of it, for the answer.
    pub fn history(&self, directory: &Directory) -> [(String, Value); 3] {
        [
            ("position".to_owned(), self.position().into()),
            ("from".to_owned(), directory.first_position().into()),
            ("gaps".to_owned(), gaps_of(&self.walk.gaps)),
        ]
    }
}
