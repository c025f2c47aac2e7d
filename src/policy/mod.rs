//! Floor 1: every threshold, validated. A policy enters the fold only through the tape (or replaces it, in a reading
//! command's what-if); consumers see the one in force at each position.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Checking a policy's values against their ranges.
/// What a run costs, and what capital does to a reward.
mod pricing;
mod validate;

pub use validate::PolicyError;

/// All thresholds, with the defaults of the profile `seed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub rolling: Rolling,
    pub quarantine: Quarantine,
    pub capital: Capital,
    pub prices: Prices,
    pub limits: Limits,
}

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
            line_bytes: 1_048_576,
        }
    }
}

impl Policy {
    /// Parses and validates the TOML of a policy file.
    ///
    /// # Errors
    /// Names the field, the value and what is allowed.
    pub fn from_toml(text: &str) -> Result<Policy, PolicyError> {
        let policy: Policy = toml::from_str(text).map_err(|e| PolicyError::Syntax(e.to_string()))?;
        policy.validate()?;
        Ok(policy)
    }

    /// `b3:` and the BLAKE3 of the canonical form (compact JSON in declaration order, defaults filled in).
    pub fn hash(&self) -> String {
        let canonical = serde_json::to_vec(self).expect("a policy holds only finite numbers and text");
        format!("b3:{}", blake3::hash(&canonical).to_hex())
    }
}

/// A policy and its hash: what a position of the tape stands under.
#[derive(Clone, Debug, PartialEq)]
pub struct InForce {
    pub policy: Policy,
    pub hash: String,
}

impl InForce {
    pub fn new(policy: Policy) -> InForce {
        let hash = policy.hash();
        InForce { policy, hash }
    }
}

impl Default for InForce {
    fn default() -> Self {
        InForce::new(Policy::default())
    }
}
