use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether denials hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeskMode {
    /// Denied is denied.
    Enforce,
    /// Everything is allowed, and said what would have been denied.
    Observe,
}

/// The consumer `desk`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Desk {
    pub mode: DeskMode,
    /// Nobody trades live.
    pub paper_only: bool,
    /// Only the promoted trade live.
    pub live_requires_promotion: bool,
    /// Largest order at full size, US dollars.
    pub max_notional_usd: f64,
    /// An order must expect more than this after spread and slippage, basis points.
    pub min_net_edge_bps: f64,
    /// Oldest data an order may be based on, seconds.
    pub max_data_age_sec: f64,
    /// Loss realized in a UTC day above which an agent places no more orders, US dollars.
    pub daily_loss_limit_usd: f64,
}

/// The consumer `allocation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Allocation {
    /// Length of a period of tape time, minutes.
    pub period_min: u32,
    /// Runs given out per period.
    pub total_runs: u32,
    /// Runs every agent gets that has no minimum of its own.
    pub default_min_runs: u32,
    /// Minimum runs per period, by agent.
    pub min_runs: BTreeMap<String, u32>,
    /// Maximum runs per period, by agent.
    pub max_runs: BTreeMap<String, u32>,
}

/// The consumer `reconcile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reconcile {
    pub enabled: bool,
    /// A position is left after so many minutes of tape time.
    pub horizon_min: f64,
    /// A position is left at a loss of so many basis points before costs; 0: never.
    pub stop_bps: f64,
    /// Fee of one way, basis points.
    pub fee_bps: f64,
    /// Slippage of one way, basis points.
    pub slippage_bps: f64,
}

impl Default for Reconcile {
    fn default() -> Self {
        Reconcile { enabled: false, horizon_min: 1440.0, stop_bps: 0.0, fee_bps: 0.0, slippage_bps: 0.0 }
    }
}

impl Default for Desk {
    fn default() -> Self {
        Desk {
            mode: DeskMode::Enforce,
            paper_only: true,
            live_requires_promotion: true,
            max_notional_usd: 25_000.0,
            min_net_edge_bps: 0.0,
            max_data_age_sec: 60.0,
            daily_loss_limit_usd: 300.0,
        }
    }
}

impl Default for Allocation {
    fn default() -> Self {
        Allocation {
            period_min: 15,
            total_runs: 30,
            default_min_runs: 1,
            min_runs: BTreeMap::new(),
            max_runs: BTreeMap::new(),
        }
    }
}
