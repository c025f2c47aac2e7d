use super::{
    At, Decisions,
    batch::{Command, Named},
};
use crate::{decision::Numbers, event::Action, subject::Subject};

/// Why an order is not carried out, and what to do instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rule: &'static str,
    pub way_out: &'static str,
}

impl Refusal {
    pub const UNKNOWN: Refusal = Refusal {
        rule: "unknown subject",
        way_out: "check the name: a subject exists from its first run, signal or profit on",
    };
    pub const NO_FLEET: Refusal = Refusal {
        rule: "not for the fleet",
        way_out: "name an agent or a strategy, or select several; pause is for the fleet",
    };
    pub const AGENTS_ONLY: Refusal =
        Refusal { rule: "for agents only", way_out: "name an agent, or select those of the strategy" };
}

impl Command {
    /// The one subject it is about, where it is for agents and strategies.
    ///
    /// # Errors
    /// Nobody knows it, or it is the whole fleet.
    pub fn single(&self) -> Result<Subject, Refusal> {
        match self.subject {
            Named::Stranger(..) => Err(Refusal::UNKNOWN),
            Named::Known(Subject::Fleet) => Err(Refusal::NO_FLEET),
            Named::Known(subject) => Ok(subject),
        }
    }

    fn numbers(&self, at: &At) -> Numbers {
        let mut numbers: Numbers = vec![("action", self.action.name().into()), ("actor", at.text(self.actor).into())];
        numbers.extend(self.reason.map(|reason| ("reason", at.text(reason).into())));
        numbers
    }
}

impl Decisions {
    /// Says that a command was carried out.
    pub fn obey(&mut self, at: &At, command: &Command, verdict: &'static str, more: Numbers) {
        let mut numbers = command.numbers(at);
        numbers.extend(more);
        self.answer(at, command.subject, verdict, "command", numbers);
    }

    /// Says that a command was not carried out.
    pub fn refuse(&mut self, at: &At, command: &Command, why: Refusal) {
        let mut numbers = command.numbers(at);
        numbers.push(("way_out", why.way_out.into()));
        self.answer(at, command.subject, REFUSED, why.rule, numbers);
    }
}

/// The verdict of an order that is not carried out.
pub const REFUSED: &str = "refused";

/// The word of a decision that an action leads to.
pub const fn done(action: Action) -> &'static str {
    match action {
        Action::Pause => "paused",
        Action::Resume => "resumed",
        Action::Quarantine => "quarantined",
        Action::Clear => "cleared",
        Action::Kill => "killed",
        Action::Revive => "revived",
        Action::Promote => "promoted",
        Action::Demote => "demoted",
        Action::Retire => "retired",
    }
}
