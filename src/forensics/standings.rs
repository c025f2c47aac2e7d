use serde::{Deserialize, Serialize};

use super::Standing;
use crate::{
    decision::Decision,
    fold::{Engine, Intake},
    subject::{PerSubject, Subject},
    view::Row,
};

/// What holds everybody back, as the decisions say it one after the other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Standings {
    own: PerSubject<Standing>,
    fleet: Standing,
}

impl Standings {
    /// From where consumers stand.
    pub fn begin(engine: &Engine, intake: &Intake) -> Standings {
        let mut standings = Standings::default();
        for subject in intake.subjects().all() {
            let mut row = Row::new();
            engine.slots().iter().for_each(|slot| slot.row(subject, &mut row));
            let (own, fleet) = Standing::of_row(&row);
            if let Some(standing) = standings.own.entry(subject) {
                *standing = own;
            }
            standings.fleet = fleet.unwrap_or(standings.fleet);
        }
        standings
    }

    /// Takes in a decision.
    pub fn hear(&mut self, decision: &Decision) {
        match decision.subject {
            Subject::Fleet => self.fleet.hear(decision),
            subject => {
                if let Some(standing) = self.own.entry(subject) {
                    standing.hear(decision);
                }
            }
        }
    }

    /// An agent, its strategy and the fleet.
    pub fn of(&self, agent: u32, strategy: Option<u32>) -> (Standing, Standing, Standing) {
        let of = |subject: Subject| self.own.get(subject).copied().unwrap_or_default();
        let strategy = strategy.map_or_else(Standing::default, |strategy| of(Subject::Strategy(strategy)));
        (of(Subject::Agent(agent)), strategy, self.fleet)
    }
}
