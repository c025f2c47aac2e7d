use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How a gate decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// By thresholds.
    Rule,
    /// By evidence.
    Evidence,
    /// Only when both say so.
    Both,
}

/// The consumer `confidence`: a factor below 1 per loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Confidence {
    /// A run's PnL below this is a large loss, bps.
    pub large_loss_bps: f64,
    pub large_loss_factor: f64,
    pub loss_factor: f64,
    /// Over the last so many runs with PnL; 0: over all.
    pub window: usize,
    pub floor: f64,
    pub cap: f64,
}

/// The consumer `gates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gates {
    /// Runs a gate looks back.
    pub window: usize,
    /// Runs it needs.
    pub min_runs: usize,
    pub promote: Promote,
    pub kill: Kill,
}

/// When a candidate is promoted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Promote {
    pub mode: GateMode,
    /// PnL of the runs in the window above this, bps.
    pub min_pnl_bps: f64,
    pub max_error_rate: f64,
    /// Median latency below this.
    pub max_median_latency_ms: f64,
    /// Probability of promoting an agent without edge, whenever one looks.
    pub alpha: f64,
    /// No run loses more than this: the guarantee evidence builds on, bps.
    pub loss_floor_bps: f64,
    /// Mean PnL per run to beat, bps.
    pub hurdle_bps: f64,
}

/// When an agent is killed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Kill {
    pub mode: GateMode,
    /// PnL of the last five runs below this, bps.
    pub last_5_pnl_bps: f64,
    pub max_error_rate: f64,
    /// Probability of killing an agent that does not deserve it, whenever one looks.
    pub alpha: f64,
}

/// The consumer `budget`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Budget {
    /// Of the fleet, per UTC day.
    pub daily_usd: f64,
    /// Kept back: allowed while what remains is at least this.
    pub buffer_usd: f64,
    /// A reservation that was neither settled nor released is free again after so many seconds.
    pub reservation_ttl_sec: f64,
    /// Of single agents, per UTC day.
    pub agents: BTreeMap<String, f64>,
}

impl Default for Confidence {
    fn default() -> Self {
        Confidence {
            large_loss_bps: -20.0,
            large_loss_factor: 0.85,
            loss_factor: 0.95,
            window: 0,
            floor: 0.0,
            cap: 1.0,
        }
    }
}

impl Default for Gates {
    fn default() -> Self {
        Gates { window: 100, min_runs: 20, promote: Promote::default(), kill: Kill::default() }
    }
}

impl Default for Promote {
    fn default() -> Self {
        Promote {
            mode: GateMode::Rule,
            min_pnl_bps: 150.0,
            max_error_rate: 0.0,
            max_median_latency_ms: 700.0,
            alpha: 0.05,
            loss_floor_bps: 100.0,
            hurdle_bps: 0.0,
        }
    }
}

impl Default for Kill {
    fn default() -> Self {
        Kill { mode: GateMode::Rule, last_5_pnl_bps: -100.0, max_error_rate: 0.2, alpha: 0.02 }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Budget { daily_usd: 5.0, buffer_usd: 0.10, reservation_ttl_sec: 900.0, agents: BTreeMap::new() }
    }
}
