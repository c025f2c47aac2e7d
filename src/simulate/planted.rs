//! What the fleet hides, so that whoever looks for it can be told whether it was found.
//!
//! Losses cluster where a run was slow *and* its prompt long; neither alone matters. Besides, the first five agents
//! of every fleet have one trait each that a flight recorder should bring to light.

/// A run is in the losing corner when its latency is above this and its prompt above [`LONG_PROMPT_TOKENS`].
pub const SLOW_MS: f64 = 900.0;
pub const LONG_PROMPT_TOKENS: u64 = 1500;
/// How often a trade of the losing corner loses; elsewhere it is well below one in two for the fleet as a whole.
pub const CORNER_LOSS_RATE: f64 = 0.85;

/// Profitable in every regime, fast, hardly ever fails.
pub const GOOD_AGENT: &str = "momentum-btc";
/// Profitable, with a median latency far above any sensible gate.
pub const SLOW_AGENT: &str = "mean-revert-eth";
/// Fails now and then, and in outages most of the time.
pub const FLAKY_AGENT: &str = "news-sol";
/// Healthy, then its answers and their cost explode, and only later does its performance decay.
pub const RUNAWAY_AGENT: &str = "breakout-xrp";
/// Trades noise and pays the spread for it.
pub const NO_EDGE_AGENT: &str = "carry-ada";

/// The runaway agent's life in its own runs: its output tokens grow from here ...
pub const RUNAWAY_COST_FROM: u64 = 25;
/// ... to [`RUNAWAY_OUTPUT_FACTOR`] times their normal number here;
pub const RUNAWAY_COST_FULL: u64 = 45;
pub const RUNAWAY_OUTPUT_FACTOR: f64 = 12.0;
/// performance starts to decay here ...
pub const RUNAWAY_DECAY_FROM: u64 = 48;
/// ... and is worst from here,
pub const RUNAWAY_DECAY_FULL: u64 = 58;
/// until the agent is set up afresh and the same begins again.
pub const RUNAWAY_PERIOD: u64 = 160;

pub fn in_losing_corner(latency_ms: f64, tokens_in: u64) -> bool {
    latency_ms > SLOW_MS && tokens_in > LONG_PROMPT_TOKENS
}
