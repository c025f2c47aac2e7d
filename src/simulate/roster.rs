//! Who is in the fleet: five agents with planted traits, then as many ordinary ones as are asked for.

use super::agent::{Agent, Temper};
use super::draws::Draws;
use super::market::SYMBOLS;
use super::models::MODELS;
use super::planted;

struct Strategy {
    name: &'static str,
    /// Basis points a trade earns in trend, range and volatile, for an agent of ordinary skill.
    edge_bps: [f64; 3],
    patience: f64,
}

const STRATEGIES: [Strategy; 6] = [
    Strategy { name: "momentum", edge_bps: [3.0, -1.5, 0.5], patience: 1.3 },
    Strategy { name: "mean-revert", edge_bps: [-1.5, 3.0, 0.5], patience: 0.7 },
    Strategy { name: "breakout", edge_bps: [1.5, -1.0, 2.5], patience: 1.0 },
    Strategy { name: "carry", edge_bps: [1.0, 1.5, -1.5], patience: 2.0 },
    Strategy { name: "news", edge_bps: [0.5, -0.5, 3.0], patience: 0.4 },
    Strategy { name: "pairs", edge_bps: [0.5, 1.5, 1.0], patience: 1.1 },
];

/// The agents of the planted traits with their strategy and favourite symbol.
const PLANTED: [(&str, usize, usize); 5] = [
    (planted::GOOD_AGENT, 0, 0),
    (planted::SLOW_AGENT, 1, 1),
    (planted::FLAKY_AGENT, 4, 2),
    (planted::RUNAWAY_AGENT, 2, 3),
    (planted::NO_EDGE_AGENT, 3, 4),
];

pub(super) fn recruit(draws: &mut Draws, agents: usize) -> Vec<Agent> {
    let mut roster: Vec<Agent> = PLANTED
        .iter()
        .take(agents)
        .map(|&(name, strategy, symbol)| with_trait(name, ordinary(draws, name, strategy, symbol)))
        .collect();
    let mut candidates = ordinary_names();
    while roster.len() < agents {
        let Some((name, strategy, symbol)) = candidates.next() else { break };
        roster.push(ordinary(draws, &name, strategy, symbol));
    }
    roster
}

/// Every pair of strategy and symbol once, then all of them again with a number behind.
fn ordinary_names() -> impl Iterator<Item = (String, usize, usize)> {
    let pairs = STRATEGIES.len() * SYMBOLS.len();
    (0..).filter_map(move |i: usize| {
        let (lap, pair) = (i / pairs, i % pairs);
        // Stepping both together mixes early agents; the extra step per round of strategies reaches every pair.
        let (strategy, symbol) = (pair % STRATEGIES.len(), (pair + pair / STRATEGIES.len()) % SYMBOLS.len());
        let mut name = format!("{}-{}", STRATEGIES[strategy].name, SYMBOLS[symbol].short);
        if lap > 0 {
            name.push_str(&format!("-{}", lap + 1));
        }
        (!PLANTED.iter().any(|(planted, ..)| *planted == name)).then_some((name, strategy, symbol))
    })
}

fn ordinary(draws: &mut Draws, name: &str, strategy: usize, favourite: usize) -> Agent {
    let plan = &STRATEGIES[strategy];
    let model = draws.below(MODELS.len());
    let (skill, luck) = (draws.between(0.5, 1.5), draws.between(-0.2, 1.8));
    // A larger model thinks longer; a trader who spends more on thinking also reads more.
    let size = model as f64;
    Agent {
        name_json: json_string(name),
        strategy_json: json_string(plan.name),
        temper: Temper::Steady,
        model,
        symbols: [favourite, draws.below(SYMBOLS.len()), draws.below(SYMBOLS.len())],
        edge_bps: plan.edge_bps.map(|edge| edge * skill + luck),
        scatter_bps: draws.between(5.0, 11.0),
        latency_ms: draws.between(260.0, 480.0) + size * draws.between(60.0, 200.0),
        tokens_in: draws.between(600.0, 1200.0) + size * draws.between(50.0, 200.0),
        tokens_out: draws.between(80.0, 320.0),
        error_rate: draws.between(0.0, 0.012),
        flat_rate: draws.between(0.05, 0.25),
        notional_usd: 500.0 * (2 + draws.below(28)) as f64,
        patience: plan.patience * draws.between(0.7, 1.4),
        weight: draws.between(0.5, 1.5),
        runs: 0,
        outage_runs_left: 0,
    }
}

/// Turns an ordinary agent into the planted one of that name. The numbers stand here rather than in the draws, so
/// that the traits are the same for every seed.
fn with_trait(name: &str, agent: Agent) -> Agent {
    let calm = Agent { error_rate: 0.0, weight: 1.2, flat_rate: 0.1, ..agent };
    match name {
        planted::GOOD_AGENT => Agent {
            edge_bps: [7.0, 5.0, 5.5],
            scatter_bps: 7.0,
            model: 1,
            latency_ms: 340.0,
            tokens_in: 900.0,
            error_rate: 0.0004,
            weight: 1.5,
            ..calm
        },
        planted::SLOW_AGENT => Agent {
            edge_bps: [2.0, 4.0, 2.5],
            scatter_bps: 7.0,
            model: 3,
            latency_ms: 2600.0,
            tokens_in: 1050.0,
            ..calm
        },
        planted::FLAKY_AGENT => Agent { temper: Temper::Flaky, error_rate: 0.05, latency_ms: 520.0, model: 0, ..calm },
        planted::RUNAWAY_AGENT => Agent {
            temper: Temper::Runaway,
            edge_bps: [3.0, 2.0, 3.5],
            scatter_bps: 7.0,
            model: 2,
            latency_ms: 330.0,
            tokens_in: 800.0,
            tokens_out: 220.0,
            weight: 2.4,
            ..calm
        },
        planted::NO_EDGE_AGENT => {
            Agent { edge_bps: [-1.4; 3], scatter_bps: 12.0, latency_ms: 450.0, error_rate: 0.004, ..calm }
        }
        _ => calm,
    }
}

fn json_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{Draws, json_string, recruit};

    #[test]
    fn every_agent_has_a_name_of_its_own() {
        let roster = recruit(&mut Draws::new(1), 500);
        let names: HashSet<&str> = roster.iter().map(|a| a.name_json.as_str()).collect();
        assert_eq!((roster.len(), names.len()), (500, 500));
    }

    #[test]
    fn a_small_fleet_has_the_first_of_the_planted_agents() {
        let names: Vec<String> = recruit(&mut Draws::new(1), 2).into_iter().map(|a| a.name_json).collect();
        assert_eq!(names, ["\"momentum-btc\"", "\"mean-revert-eth\""]);
    }

    #[test]
    fn names_are_escaped() {
        assert_eq!(json_string("a\"b\\c\n"), r#""a\"b\\c\n""#);
    }
}
