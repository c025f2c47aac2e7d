use serde::{Deserialize, Serialize};

use super::{ALREADY_PAUSED, ALREADY_RETIRED, Checks, NOT_PAUSED};
use crate::{
    decision::Decision,
    event::Action,
    fold::{At, orders::Refusal},
    subject::Subject,
};

/// What is known of an agent, a strategy or the fleet: since which position something holds it back, if it does.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Standing {
    /// The first position at which it was met.
    met: Option<u64>,
    /// The strategy of its last run or signal that had one.
    pub strategy: Option<u32>,
    pub strategy_name: Option<Box<str>>,
    pub killed: Option<u64>,
    pub retired: Option<u64>,
    pub quarantined: Option<u64>,
    pub paused: Option<u64>,
    pub exhausted: Option<u64>,
    pub promoted: bool,
    pub confidence: Option<f64>,
    /// The last position at which something ceased to hold it back.
    pub free_since: u64,
    pub checks: Checks,
}

impl Standing {
    /// It had a run, a signal or a profit.
    pub fn meet(&mut self, at: &At, strategy: Option<u32>) {
        if self.met.is_none() {
            self.met = Some(at.position);
            self.free_since = at.position;
        }
        if strategy.is_some() && strategy != self.strategy {
            self.strategy = strategy;
            self.strategy_name = strategy.map(|id| at.name(Subject::Strategy(id)).into());
        }
    }

    pub fn known(&self) -> bool {
        self.met.is_some()
    }

    /// Takes in what another consumer concluded; whether it matters here.
    pub fn hear(&mut self, decision: &Decision) -> bool {
        let since = Some(decision.cause);
        match (decision.consumer, decision.verdict) {
            ("quarantine", "quarantined") => self.quarantined = self.quarantined.or(since),
            ("quarantine", "cleared") => self.quarantined = None,
            ("gates", "killed") => (self.killed, self.promoted) = (since, false),
            ("gates", "revived") => self.killed = None,
            ("gates", "promoted") => self.promoted = true,
            ("gates", "demoted") => self.promoted = false,
            ("budget", "exhausted") => self.exhausted = since,
            ("budget", "restored") => self.exhausted = None,
            ("confidence", _) => self.confidence = decision.number("multiplier").or(self.confidence),
            _ => return false,
        }
        if matches!(decision.verdict, "cleared" | "revived" | "restored") {
            self.free_since = decision.cause;
        }
        true
    }

    pub fn order(&mut self, action: Action, position: u64) -> Result<(), Refusal> {
        match action {
            Action::Pause if self.paused.is_some() => return Err(ALREADY_PAUSED),
            Action::Pause => self.paused = Some(position),
            Action::Retire if self.retired.is_some() => return Err(ALREADY_RETIRED),
            Action::Retire => self.retired = Some(position),
            _ if self.paused.is_none() && self.retired.is_none() => return Err(NOT_PAUSED),
            _ => {
                (self.paused, self.retired) = (None, None);
                self.free_since = position;
            }
        }
        Ok(())
    }

    /// Since when it is paused or out of budget; none when neither.
    pub fn since(&self) -> Option<u64> {
        [self.paused, self.exhausted].into_iter().flatten().min()
    }
}

/// What holds an agent back, in the order in which it is said, each with the position since when.
pub fn reasons(own: &Standing, strategy: Option<&Standing>, fleet: &Standing) -> Vec<(&'static str, Option<u64>)> {
    let of_strategy = |since: fn(&Standing) -> Option<u64>| strategy.and_then(since);
    let all = [
        ("killed", own.killed),
        ("strategy_killed", of_strategy(|strategy| strategy.killed)),
        ("retired", own.retired),
        ("strategy_retired", of_strategy(|strategy| strategy.retired)),
        ("quarantined", own.quarantined),
        ("paused", own.paused),
        ("strategy_paused", of_strategy(|strategy| strategy.paused)),
        ("fleet_paused", fleet.paused),
        ("agent_budget_exhausted", own.exhausted),
        ("budget_exhausted", fleet.exhausted),
    ];
    all.into_iter().filter(|(_, since)| since.is_some()).collect()
}
