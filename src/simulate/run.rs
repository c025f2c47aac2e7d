//! One run of one agent: everything about it is decided at once, and written down later, line by line.

use uuid::Uuid;

use super::agent::Agent;
use super::draws::Draws;
use super::market::Regime;
use super::models::MODELS;
use super::planted;

#[derive(Debug, Clone)]
pub(super) struct RunLine {
    pub run_id: Uuid,
    pub agent: usize,
    pub latency_ms: f64,
    pub tokens_in: u64,
    pub tokens_out: u64,
    pub cached_tokens: Option<u64>,
    pub cost_usd: Option<f64>,
    pub error: Option<&'static str>,
    pub reward: Option<f64>,
}

#[derive(Debug, Clone)]
pub(super) struct AlphaLine {
    pub run_id: Uuid,
    pub agent: usize,
    pub symbol: usize,
    pub direction: &'static str,
    pub score: f64,
    pub believed: Regime,
    pub notional_usd: f64,
    pub expected_edge_bps: f64,
}

#[derive(Debug, Clone)]
pub(super) struct PnlLine {
    pub run_id: Uuid,
    pub agent: usize,
    pub names_agent: bool,
    pub symbol: usize,
    pub entry_price: f64,
    pub exit_price: f64,
    pub realized_pnl_bps: f64,
}

/// What the agent decided to do.
#[derive(Debug, Clone)]
pub(super) struct Trade {
    pub symbol: usize,
    /// +1 long, -1 short, 0 flat.
    pub side: f64,
    pub pnl_bps: f64,
}

const ERROR_TYPES: [&str; 5] = ["timeout", "rate_limit", "tool_error", "bad_output", "order_rejected"];
/// A timeout takes that much longer than an answer.
const TIMEOUT_FACTOR: f64 = 4.0;
const COST_MISSING: f64 = 0.08;
const CACHE_HIT: f64 = 0.3;
/// Reward per basis point of PnL, and the scatter of what an agent thinks of itself around it.
const REWARD_PER_BPS: f64 = 0.01;
const REWARD_NOISE: f64 = 0.02;
const BELIEF_RIGHT: f64 = 0.9;
const FAT_TAIL: f64 = 0.01;

/// The run itself, still without reward: that depends on the trade.
pub(super) fn think(draws: &mut Draws, agent: &mut Agent, index: usize) -> RunLine {
    let error_rate = agent.begin_run(draws);
    let error = draws.chance(error_rate).then(|| ERROR_TYPES[draws.below(ERROR_TYPES.len())]);
    let (usual_in, usual_out) = (draws.around(1.0, 0.35), draws.around(1.0, 0.4));
    let tokens_in = (agent.tokens_in * usual_in).round() as u64;
    let answered = if error.is_some() { 0.1 } else { 1.0 };
    let tokens_out = (agent.tokens_out * usual_out * agent.verbosity() * answered).round() as u64;
    // A longer prompt than usual takes longer.
    let mut latency_ms = agent.latency_ms * (0.6 + 0.4 * usual_in) * draws.around(1.0, 0.3);
    if error == Some("timeout") {
        latency_ms *= TIMEOUT_FACTOR;
    }
    let cached_tokens = draws.chance(CACHE_HIT).then(|| (tokens_in as f64 * draws.between(0.2, 0.8)).round() as u64);
    let cost = MODELS[agent.model].cost_usd(tokens_in, cached_tokens.unwrap_or(0), tokens_out);
    RunLine {
        run_id: draws.uuid(),
        agent: index,
        // The rule that is planted speaks of the number on the line.
        latency_ms: (latency_ms * 100.0).round() / 100.0,
        tokens_in,
        tokens_out,
        cached_tokens,
        cost_usd: (!draws.chance(COST_MISSING)).then_some(cost),
        error,
        reward: None,
    }
}

pub(super) fn trade(draws: &mut Draws, agent: &Agent, run: &RunLine, regime: Regime) -> Trade {
    let liked = draws.unit();
    let symbol = agent.symbols[if liked < 0.7 { 0 } else { 1 + usize::from(liked >= 0.9) }];
    if draws.chance(agent.flat_rate) {
        return Trade { symbol, side: 0.0, pnl_bps: 0.0 };
    }
    let side = if draws.chance(0.55) { 1.0 } else { -1.0 };
    let pnl_bps = if planted::in_losing_corner(run.latency_ms, run.tokens_in) {
        corner_pnl(draws)
    } else {
        usual_pnl(draws, agent, regime)
    };
    Trade { symbol, side, pnl_bps }
}

fn corner_pnl(draws: &mut Draws) -> f64 {
    if draws.chance(planted::CORNER_LOSS_RATE) {
        -(2.0 + draws.exponential(8.0).min(40.0))
    } else {
        1.0 + draws.exponential(5.0)
    }
}

fn usual_pnl(draws: &mut Draws, agent: &Agent, regime: Regime) -> f64 {
    let edge = agent.edge_bps[regime.index()] + agent.decay_bps();
    let tail = if draws.chance(FAT_TAIL) { 2.5 } else { 1.0 };
    edge + agent.scatter_bps * regime.scatter() * tail * draws.normal()
}

pub(super) fn reward(draws: &mut Draws, trade: &Trade) -> f64 {
    trade.pnl_bps * REWARD_PER_BPS + REWARD_NOISE * draws.normal()
}

/// What the agent says about its trade. It believes in its edge, whether it has one or not.
pub(super) fn alpha(draws: &mut Draws, agent: &Agent, run: &RunLine, trade: &Trade, regime: Regime) -> AlphaLine {
    let believed = if draws.chance(BELIEF_RIGHT) { regime } else { Regime::ALL[draws.below(Regime::ALL.len())] };
    let conviction = (0.35 + 0.015 * trade.pnl_bps + 0.2 * draws.normal()).clamp(0.02, 0.98);
    let hope = agent.edge_bps[believed.index()].max(0.5) + 2.0 + draws.exponential(2.0);
    let flat = trade.side == 0.0;
    AlphaLine {
        run_id: run.run_id,
        agent: run.agent,
        symbol: trade.symbol,
        direction: if flat {
            "FLAT"
        } else if trade.side > 0.0 {
            "LONG"
        } else {
            "SHORT"
        },
        score: if flat { conviction * 0.05 } else { conviction * trade.side },
        believed,
        notional_usd: if flat { 0.0 } else { (agent.notional_usd * draws.between(0.5, 1.5) / 50.0).round() * 50.0 },
        expected_edge_bps: if flat { 0.0 } else { hope },
    }
}

/// The records of a trade: one, or two when the position was closed in two parts.
pub(super) fn settle(draws: &mut Draws, run: &RunLine, trade: &Trade, entry_price: f64) -> (PnlLine, Option<PnlLine>) {
    let names_agent = draws.chance(0.3);
    let record = |share: f64, pnl_bps: f64| PnlLine {
        run_id: run.run_id,
        agent: run.agent,
        names_agent,
        symbol: trade.symbol,
        entry_price,
        exit_price: entry_price * (1.0 + trade.side * pnl_bps / share / 1e4),
        realized_pnl_bps: pnl_bps,
    };
    if !draws.chance(0.12) {
        return (record(1.0, trade.pnl_bps), None);
    }
    let share = draws.between(0.3, 0.7);
    let first_bps = share * (trade.pnl_bps + 2.0 * draws.normal());
    (record(share, first_bps), Some(record(1.0 - share, trade.pnl_bps - first_bps)))
}

impl RunLine {
    pub fn failed(&self) -> bool {
        self.error.is_some()
    }
}
