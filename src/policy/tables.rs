use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The windows of the consumer `rolling`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rolling {
    /// Entries of each window of a subject.
    pub window: usize,
    /// Which reward rules look at.
    pub reward_basis: RewardBasis,
}

/// Which reward the rules look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RewardBasis {
    /// The reward of the line.
    Plain,
    /// The capital-weighted reward.
    Capital,
}

/// The rules of the consumer `quarantine`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Quarantine {
    /// Enter at or below this drawdown of the rewards in the window.
    pub drawdown_limit: f64,
    /// Leave above this drawdown.
    pub clear_drawdown: f64,
    /// Enter below this Sharpe ratio (per run).
    pub sharpe_floor: f64,
    /// The Sharpe rule needs so many rewards in the window.
    pub sharpe_min_runs: usize,
    /// Rewards to stay quarantined at least.
    pub min_dwell_runs: u64,
    /// Enter at or below this drawdown of the PnL in the window, bps; absent: no such rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pnl_drawdown_limit_bps: Option<f64>,
}

/// Defaults for the capital-weighted reward of lines that do not give their own numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capital {
    pub enabled: bool,
    pub capital_usd: f64,
    pub max_loss_usd: f64,
    pub fill_prob: f64,
    pub unit_usd: f64,
}

/// Prices of models: a default, and dated ones by model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Prices {
    pub default: DefaultPrice,
    #[serde(flatten)]
    pub models: BTreeMap<String, Vec<ModelPrice>>,
}

/// USD per million tokens for a model without a price of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DefaultPrice {
    pub input: f64,
    pub output: f64,
}

/// USD per million tokens of one model from a date on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelPrice {
    pub input: f64,
    pub output: f64,
    /// Price of cached input tokens; absent: the input price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cached: Option<f64>,
    /// First UTC day of this price, `YYYY-MM-DD`; absent: since ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// Bounds of what the fold keeps; all part of the state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    pub dedupe_ids: usize,
    pub join_runs: usize,
    pub waiting_pnl: usize,
    pub agents: usize,
    /// Reservations open at once.
    pub reservations: usize,
    /// A change takes effect with the next round.
    pub line_bytes: usize,
}

impl Default for Rolling {
    fn default() -> Self {
        Rolling { window: 500, reward_basis: RewardBasis::Plain }
    }
}

impl Default for Quarantine {
    fn default() -> Self {
        Quarantine {
            drawdown_limit: -3.0,
            clear_drawdown: -3.0,
            sharpe_floor: -0.05,
            sharpe_min_runs: 100,
            min_dwell_runs: 0,
            pnl_drawdown_limit_bps: None,
        }
    }
}

impl Default for Capital {
    fn default() -> Self {
        Capital { enabled: false, capital_usd: 25_000.0, max_loss_usd: 300.0, fill_prob: 0.7, unit_usd: 10_000.0 }
    }
}

impl Default for DefaultPrice {
    fn default() -> Self {
        DefaultPrice { input: 5.0, output: 25.0 }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            dedupe_ids: 1_000_000,
            join_runs: 1_000_000,
            waiting_pnl: 100_000,
            agents: 100_000,
            reservations: 100_000,
            line_bytes: 1_048_576,
        }
    }
}
