//! Floor 9: why money was made and lost, asked of a directory: one run, one agent, the fleet. Answers are JSON; the same
//! in words beside them.

/// One agent, or all of them.
pub mod history;
/// The same as pages for a browser.
pub mod page;
/// What pages show: equity, drawdown, latency, cost, decisions.
mod plots;
/// Which runs count towards promotion.
mod promotion;
/// Every run of a directory.
mod recorded;
/// One run from its first line to its last record.
pub mod run;
/// Findings in words.
mod words;

use serde_json::{Value, json};
use thiserror::Error;

use crate::{
    render::plot::Plot,
    replay::{Gap, ReplayError},
};

/// How much is told of an agent or a fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Depth {
    /// How many of the worst runs.
    pub worst: usize,
    /// Share of false patterns among those reported that is accepted.
    pub q: f64,
}

impl Default for Depth {
    fn default() -> Depth {
        Depth { worst: 10, q: 0.05 }
    }
}

/// An answer, and what could not be read for it.
#[derive(Clone, Debug)]
pub struct Report {
    pub answer: Value,
    pub gaps: Vec<Gap>,
    /// What a page shows beside it.
    pub plots: Vec<Plot>,
}

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum Unanswered {
    /// What was asked about does not exist; with who may be meant.
    #[error("{0}")]
    Stranger(String),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

/// Gaps as JSON.
pub fn gaps_of(gaps: &[Gap]) -> Value {
    gaps.iter().map(|gap| json!({ "from": gap.from, "to": gap.to, "what": gap.what })).collect()
}
