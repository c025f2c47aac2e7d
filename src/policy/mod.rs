//! Floor 1: every threshold, validated. A policy enters the fold only through the tape (or replaces it, in a reading
//! command's what-if); consumers see the one in force at each position.

use serde::{Deserialize, Serialize};

/// The tables of what permits and forbids, with the defaults of the profile `seed`.
mod control;
/// The tables of who trades at what size, with the defaults of the profile `seed`.
mod desk;
/// From the TOML of a file, on top of a profile.
mod parse;
/// What a run costs, and what capital does to a reward.
mod pricing;
/// The tables of what is measured, with the defaults of the profile `seed`.
mod tables;
/// Checking a policy's values against their ranges.
mod validate;

pub use control::*;
pub use desk::*;
pub use parse::{PROFILES, profile_defaults};
pub use tables::*;
pub use validate::PolicyError;

/// All thresholds, with the defaults of the profile `seed`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Policy {
    pub rolling: Rolling,
    pub quarantine: Quarantine,
    pub confidence: Confidence,
    pub gates: Gates,
    pub budget: Budget,
    pub capital: Capital,
    pub desk: Desk,
    pub allocation: Allocation,
    pub reconcile: Reconcile,
    pub prices: Prices,
    pub limits: Limits,
}

impl Policy {
    /// Parses and validates the TOML of a policy file.
    ///
    /// # Errors
    /// Names the field, the value and what is allowed.
    pub fn from_toml(text: &str) -> Result<Policy, PolicyError> {
        parse::parse(text)
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
