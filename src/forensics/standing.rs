use serde::{Deserialize, Serialize};

use crate::{decision::Decision, view::Row};

/// What held an agent, a strategy or the fleet back at a moment, as the decisions said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    pub killed: bool,
    pub retired: bool,
    pub quarantined: bool,
    pub paused: bool,
    pub exhausted: bool,
    pub promoted: bool,
    /// Share of its size it might use.
    pub confidence: f64,
}

impl Default for Standing {
    fn default() -> Standing {
        Standing {
            killed: false,
            retired: false,
            quarantined: false,
            paused: false,
            exhausted: false,
            promoted: false,
            confidence: 1.0,
        }
    }
}

impl Standing {
    /// Takes in a decision about it.
    pub fn hear(&mut self, decision: &Decision) {
        match (decision.consumer, decision.verdict) {
            ("quarantine", "quarantined") => self.quarantined = true,
            ("quarantine", "cleared") => self.quarantined = false,
            ("gates", "killed") => (self.killed, self.promoted) = (true, false),
            ("gates", "revived") => self.killed = false,
            ("gates", "promoted") => self.promoted = true,
            ("gates", "demoted") => self.promoted = false,
            ("budget", "exhausted") => self.exhausted = true,
            ("budget", "restored") => self.exhausted = false,
            ("desk", "paused") => self.paused = true,
            ("desk", "retired") => self.retired = true,
            ("desk", "resumed") => (self.paused, self.retired) = (false, false),
            ("confidence", _) => self.confidence = decision.number("multiplier").unwrap_or(self.confidence),
            _ => {}
        }
    }

    /// The state of its gate.
    pub fn gate(&self) -> &'static str {
        match (self.killed, self.promoted) {
            (true, _) => "killed",
            (false, true) => "promoted",
            (false, false) => "candidate",
        }
    }

    /// As the row of an agent or a strategy shows it, and what its verdict says of the fleet.
    pub fn of_row(row: &Row) -> (Standing, Option<Standing>) {
        let verdict = row.get("verdict");
        let reasons = || verdict.and_then(|verdict| verdict["reasons"].as_array()).into_iter().flatten();
        let says = |reason: &str| reasons().any(|told| told == reason);
        let gate = |state: &str| row.get("gate").is_some_and(|gate| gate["state"] == state);
        let own = Standing {
            killed: gate("killed"),
            retired: says("retired"),
            quarantined: row.get("quarantine").is_some_and(|quarantine| quarantine["active"] == true),
            paused: says("paused"),
            exhausted: says("agent_budget_exhausted"),
            promoted: gate("promoted"),
            confidence: row.get("confidence").and_then(serde_json::Value::as_f64).unwrap_or(1.0),
        };
        let fleet =
            Standing { paused: says("fleet_paused"), exhausted: says("budget_exhausted"), ..Standing::default() };
        (own, verdict.map(|_| fleet))
    }

    /// What held an agent back, with its strategy and its fleet, in the words of its verdict.
    pub fn reasons(&self, strategy: &Standing, fleet: &Standing) -> Vec<&'static str> {
        let all = [
            ("killed", self.killed),
            ("strategy_killed", strategy.killed),
            ("retired", self.retired),
            ("strategy_retired", strategy.retired),
            ("quarantined", self.quarantined),
            ("paused", self.paused),
            ("strategy_paused", strategy.paused),
            ("fleet_paused", fleet.paused),
            ("agent_budget_exhausted", self.exhausted),
            ("budget_exhausted", fleet.exhausted),
        ];
        all.into_iter().filter(|(_, holds)| *holds).map(|(reason, _)| reason).collect()
    }
}
