use super::{Gate, State};
use crate::{
    event::Action,
    fold::{
        At, Decisions,
        batch::Command,
        orders::{Refusal, done},
    },
    subject::PerSubject,
};

const KILLED: Refusal = Refusal { rule: "killed", way_out: "revive it first" };
const ALREADY_KILLED: Refusal = Refusal { rule: "already killed", way_out: "nothing is to be done; revive undoes it" };
const NOT_KILLED: Refusal = Refusal { rule: "not killed", way_out: "nothing is to be done" };
const ALREADY_PROMOTED: Refusal =
    Refusal { rule: "already promoted", way_out: "nothing is to be done; demote undoes it" };
const ALREADY_DEMOTED: Refusal =
    Refusal { rule: "already demoted", way_out: "nothing is to be done; promote undoes it" };

/// Obeys or refuses an order about a gate; others are somebody else's.
pub fn command(subjects: &mut PerSubject<Gate>, at: &At, command: &Command, out: &mut Decisions) {
    if !matches!(command.action, Action::Kill | Action::Revive | Action::Promote | Action::Demote) {
        return;
    }
    let subject = match command.single() {
        Ok(subject) => subject,
        Err(why) => return out.refuse(at, command, why),
    };
    let Some(gate) = subjects.entry(subject) else { return };
    match gate.order(command.action, at) {
        Ok(()) => out.obey(at, command, done(command.action), Vec::new()),
        Err(why) => out.refuse(at, command, why),
    }
}

impl Gate {
    fn order(&mut self, action: Action, at: &At) -> Result<(), Refusal> {
        let killed = self.state == State::Killed;
        match action {
            Action::Kill if killed => return Err(ALREADY_KILLED),
            Action::Kill => self.stand(State::Killed, at),
            Action::Revive if !killed => return Err(NOT_KILLED),
            Action::Revive => {
                // What it was killed by must not kill it again at its next run.
                (self.window, self.evidence) = Default::default();
                self.stand(State::Candidate, at);
            }
            _ if killed => return Err(KILLED),
            Action::Promote if self.state == State::Promoted => return Err(ALREADY_PROMOTED),
            Action::Promote => {
                self.demoted = false;
                self.stand(State::Promoted, at);
            }
            _ if self.demoted => return Err(ALREADY_DEMOTED),
            _ => {
                self.demoted = true;
                self.stand(State::Candidate, at);
            }
        }
        Ok(())
    }
}
