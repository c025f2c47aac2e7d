use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Standing, Word, Words};
use crate::event::{Direction, Nanos};

/// What held for an agent when a run of it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Held {
    pub own: Standing,
    pub strategy: Standing,
    pub fleet: Standing,
    /// Drawdown of its rewards in the window.
    pub drawdown: f64,
}

impl Held {
    /// What held it back, in the words of its verdict; nothing where it might trade.
    pub fn reasons(&self) -> Vec<&'static str> {
        self.own.reasons(&self.strategy, &self.fleet)
    }
}

/// All lines of one `run_id`, or one run line without.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    /// Absent where its lines have no `run_id`.
    pub id: Option<Box<str>>,
    pub agent: u32,
    pub strategy: Option<u32>,
    /// The strategy of its agent when it began: that of its first line, or the last that was named before.
    pub began_under: Option<u32>,
    /// Position and time of its first line.
    pub position: u64,
    pub time: Option<Nanos>,
    /// The place of its last run line among those of its agent, and of its PnL among the runs with any; from 1.
    pub ran: Option<u64>,
    pub earned: Option<u64>,
    /// Run lines, signals and PnL records.
    pub runs: u32,
    pub signals: u32,
    pub records: u32,
    /// Of its last run line that says so.
    pub latency_ms: Option<f64>,
    /// Summed over its run lines.
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cost_usd: Option<f64>,
    pub reward: Option<f64>,
    /// How many of its run lines report errors.
    pub failures: u32,
    /// Final score of its last signal that says so.
    pub score: Option<f64>,
    /// Of its last line that says so.
    pub model: Option<Word>,
    pub symbol: Option<Word>,
    pub regime: Option<Word>,
    pub direction: Option<Direction>,
    /// Sum of its PnL records, bps.
    pub pnl_bps: Option<f64>,
    /// Of its last record that says so.
    pub entry_price: Option<f64>,
    pub exit_price: Option<f64>,
    pub held: Held,
}

/// Every run of a history, in the order of their first lines.
#[derive(Debug, Default)]
pub struct Runs {
    pub agents: Vec<Arc<str>>,
    pub strategies: Vec<Arc<str>>,
    pub words: Words,
    pub all: Vec<Run>,
    /// By agent.
    pub(super) tallies: Vec<Tally>,
    /// PnL records without a run, by how many and how much, bps.
    pub loose: (u64, f64),
}

/// Lines of an agent that its gate looks at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Run lines, and runs with PnL.
    pub ran: u64,
    pub earned: u64,
    /// The same when it was revived last, with nothing held against it.
    pub before: (u64, u64),
}

impl Run {
    pub fn failed(&self) -> bool {
        self.failures > 0
    }
}

impl Runs {
    /// What an agent's gate was shown.
    pub fn tally_of(&self, agent: u32) -> Tally {
        self.tallies.get(agent as usize).copied().unwrap_or_default()
    }

    /// Counts one more, and says how many there are.
    pub(super) fn tally(&mut self, agent: u32, what: fn(&mut Tally) -> &mut u64) -> u64 {
        let count = what(self.tallied(agent));
        *count += 1;
        *count
    }

    /// From here on nothing before counts.
    pub(super) fn revived(&mut self, agent: u32) {
        let tally = self.tallied(agent);
        tally.before = (tally.ran, tally.earned);
    }

    fn tallied(&mut self, agent: u32) -> &mut Tally {
        let at = agent as usize;
        if at >= self.tallies.len() {
            self.tallies.resize(at + 1, Tally::default());
        }
        &mut self.tallies[at]
    }

    pub fn agent(&self, run: &Run) -> &str {
        self.agents.get(run.agent as usize).map_or("?", |name| name)
    }

    /// The number of an agent.
    pub fn agent_of(&self, name: &str) -> Option<u32> {
        self.agents.iter().position(|known| **known == *name).map(|at| at as u32)
    }

    pub fn strategy(&self, run: &Run) -> Option<&str> {
        run.strategy.and_then(|id| self.strategies.get(id as usize)).map(|name| &**name)
    }
}
