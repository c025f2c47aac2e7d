//! One agent: what it is like, and where it is in its life.

use super::draws::Draws;
use super::planted;

/// What makes an agent's behaviour change over its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Temper {
    Steady,
    /// Has outages.
    Flaky,
    /// Cost explodes, then performance decays.
    Runaway,
}

#[derive(Debug, Clone)]
pub(super) struct Agent {
    /// Name and strategy as JSON strings, quotes included: they are escaped once, not per line.
    pub name_json: String,
    pub strategy_json: String,
    pub temper: Temper,
    /// Index into `MODELS`.
    pub model: usize,
    /// Favourite first; indices into `SYMBOLS`.
    pub symbols: [usize; 3],
    /// Mean PnL of a trade in basis points, by regime.
    pub edge_bps: [f64; 3],
    pub scatter_bps: f64,
    pub latency_ms: f64,
    pub tokens_in: f64,
    pub tokens_out: f64,
    pub error_rate: f64,
    pub flat_rate: f64,
    pub notional_usd: f64,
    /// How long it holds a position, against the fleet's mean.
    pub patience: f64,
    /// How often it is chosen to run, against the other agents.
    pub weight: f64,
    pub runs: u64,
    pub outage_runs_left: u64,
}

const OUTAGE_STARTS: f64 = 0.03;
const OUTAGE_ERROR_RATE: f64 = 0.7;
/// Added to the edge of a runaway agent at its worst.
const RUNAWAY_DECAY_BPS: f64 = -22.0;

impl Agent {
    /// Counts a run and says with which probability it fails.
    pub fn begin_run(&mut self, draws: &mut Draws) -> f64 {
        self.runs += 1;
        if self.temper != Temper::Flaky {
            return self.error_rate;
        }
        if self.outage_runs_left > 0 {
            self.outage_runs_left -= 1;
            return OUTAGE_ERROR_RATE;
        }
        if draws.chance(OUTAGE_STARTS) {
            self.outage_runs_left = 4 + draws.below(8) as u64;
        }
        self.error_rate
    }

    /// How many times its normal output tokens the agent uses now. A runaway asks itself again and again, side by side:
    /// that costs, but shows neither in its prompts nor in its latency, where it would blur the losing corner.
    pub fn verbosity(&self) -> f64 {
        let grown = self.progress(planted::RUNAWAY_COST_FROM, planted::RUNAWAY_COST_FULL);
        1.0 + (planted::RUNAWAY_OUTPUT_FACTOR - 1.0) * grown
    }

    /// What its edge has lost so far.
    pub fn decay_bps(&self) -> f64 {
        RUNAWAY_DECAY_BPS * self.progress(planted::RUNAWAY_DECAY_FROM, planted::RUNAWAY_DECAY_FULL)
    }

    /// 0 before `from`, 1 after `full`, in the current period of a runaway agent's life.
    fn progress(&self, from: u64, full: u64) -> f64 {
        if self.temper != Temper::Runaway {
            return 0.0;
        }
        let age = self.runs % planted::RUNAWAY_PERIOD;
        (age.saturating_sub(from) as f64 / (full - from) as f64).min(1.0)
    }
}
