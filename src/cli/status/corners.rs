use serde_json::Value;

use super::problems::is_retired;
use crate::{
    cli::{desk::State, figures},
    policy::{GateMode, Policy},
    render::human,
};

/// Below this share of its size an agent trades nothing worth the name.
const NOTHING: f64 = 0.05;
/// Below this, and on its way down for ever.
const LITTLE: f64 = 0.2;

/// Each way in which the policy leaves agents no way forward, in one sentence with its numbers and the key to change.
pub fn all(state: &State, policy: &Policy) -> Vec<String> {
    let rows = state["agents"].as_object().into_iter().flatten();
    let agents: Vec<(&str, &Value)> =
        rows.filter(|(_, row)| !is_retired(row)).map(|(name, row)| (name.as_str(), row)).collect();
    let found = [
        confidence(&agents, policy),
        latency(&agents, policy),
        errors(&agents, policy),
        loss_floor(&agents, policy),
        clear_line(&agents, policy),
        paper_runs(&agents, policy),
        paper_only(&agents, policy),
        buffer(policy),
        sharpe(policy),
    ];
    found.into_iter().flatten().collect()
}

type Agents<'a> = [(&'a str, &'a Value)];

/// Losses that count for ever, and a multiplier that went down with them.
fn confidence(agents: &Agents, policy: &Policy) -> Option<String> {
    let rules = &policy.confidence;
    if rules.window != 0 || rules.floor >= NOTHING {
        return None;
    }
    let limit = if rules.floor == 0.0 { LITTLE } else { NOTHING };
    let mut low: Vec<(f64, &str)> = agents
        .iter()
        .filter(|(_, row)| row["gate"]["state"] != "killed")
        .filter_map(|(name, row)| Some((row["confidence"].as_f64().filter(|share| *share < limit)?, *name)))
        .collect();
    low.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (lowest, _) = low.first()?;
    Some(format!(
        "{} down to {} of their size or less and can never recover, the lowest at {} ({}): confidence.window = 0 counts every loss for ever and confidence.floor = {} is no ground to stand on; set confidence.window (as 50) or confidence.floor (as 0.2)",
        agents_are(low.len()),
        figures::three(low.last().map_or(limit, |(share, _)| *share)),
        figures::three(*lowest),
        figures::names(low.iter().map(|(_, name)| *name)),
        figures::three(rules.floor),
    ))
}

fn agents_are(count: usize) -> String {
    format!("{} {}", figures::some(count, "agent"), if count == 1 { "is" } else { "are" })
}

/// A rule that waits for more than its window can hold.
fn sharpe(policy: &Policy) -> Option<String> {
    let (wanted, held) = (policy.quarantine.sharpe_min_runs, policy.rolling.window);
    (wanted > held).then(|| {
        format!(
            "the Sharpe rule of the quarantine never applies: quarantine.sharpe_min_runs = {wanted} is more than rolling.window = {held} can hold; lower the one or raise the other"
        )
    })
}

/// Agents with enough runs to be promoted, while nobody is.
fn candidates<'a>(agents: &'a Agents, policy: &Policy) -> Vec<(&'a str, &'a Value)> {
    if policy.gates.promote.mode == GateMode::Evidence
        || agents.iter().any(|(_, row)| row["gate"]["state"] == "promoted")
    {
        return Vec::new();
    }
    let ripe = |row: &Value| {
        row["gate"]["state"] == "candidate" && row["runs"].as_u64().unwrap_or(0) >= policy.gates.min_runs as u64
    };
    agents.iter().filter(|(_, row)| ripe(row)).copied().collect()
}

/// The least figure of a list of agents, if each of them has one.
fn least(agents: &Agents, figure: &str) -> Option<f64> {
    let figures: Option<Vec<f64>> = agents.iter().map(|(_, row)| row.pointer(figure)?.as_f64()).collect();
    figures?.into_iter().min_by(f64::total_cmp)
}

fn latency(agents: &Agents, policy: &Policy) -> Option<String> {
    let ripe = candidates(agents, policy);
    let (fastest, limit) = (least(&ripe, "/latency_ms/median")?, policy.gates.promote.max_median_latency_ms);
    (fastest >= limit).then(|| {
        format!(
            "nobody can be promoted: the fastest of {} has a median latency of {} ms, and gates.promote.max_median_latency_ms = {}; raise it",
            figures::some(ripe.len(), "candidate"),
            figures::three(fastest),
            figures::three(limit)
        )
    })
}

fn errors(agents: &Agents, policy: &Policy) -> Option<String> {
    let ripe = candidates(agents, policy);
    let (best, limit) = (least(&ripe, "/error_rate")?, policy.gates.promote.max_error_rate);
    (best > limit).then(|| {
        format!(
            "nobody can be promoted: the best of {} fails in {} % of its last {} runs, and gates.promote.max_error_rate = {}; raise it, or repair the agents",
            figures::some(ripe.len(), "candidate"),
            figures::three(best * 100.0),
            policy.gates.window,
            figures::three(limit)
        )
    })
}

/// The mean of the worst twentieth is beyond the floor, so at least one loss is.
fn loss_floor(agents: &Agents, policy: &Policy) -> Option<String> {
    let rules = &policy.gates;
    if rules.promote.mode == GateMode::Rule && rules.kill.mode == GateMode::Rule {
        return None;
    }
    let floor = rules.promote.loss_floor_bps;
    let mut beyond: Vec<(f64, &str)> = agents
        .iter()
        .filter_map(|(name, row)| Some((row["pnl_bps"]["cvar_95"].as_f64().filter(|loss| *loss > floor)?, *name)))
        .collect();
    beyond.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (worst, _) = beyond.first()?;
    Some(format!(
        "the guarantee of the evidence is void for {} ({}): runs lose {} bps on average in their worst twentieth, and gates.promote.loss_floor_bps = {} says that none loses more; raise it above what a run can lose",
        figures::some(beyond.len(), "agent"),
        figures::names(beyond.iter().map(|(_, name)| *name)),
        figures::three(*worst),
        figures::three(floor)
    ))
}

fn clear_line(agents: &Agents, policy: &Policy) -> Option<String> {
    let rules = &policy.quarantine;
    if rules.clear_drawdown < 0.0 {
        return None;
    }
    let held = agents.iter().filter(|(_, row)| row["quarantine"]["active"] == true).count();
    Some(format!(
        "nobody leaves quarantine by itself ({} in it): a drawdown is never above quarantine.clear_drawdown = 0; set it below 0 (drawdown_limit is {})",
        figures::some(held, "agent"),
        figures::three(rules.drawdown_limit)
    ))
}

/// Whoever is quarantined recovers by its minimum of runs on paper.
fn paper_runs(agents: &Agents, policy: &Policy) -> Option<String> {
    let rules = &policy.allocation;
    let least = |name: &str| rules.min_runs.get(name).copied().unwrap_or(rules.default_min_runs);
    let stuck: Vec<&str> = agents
        .iter()
        .filter(|(name, row)| {
            row["quarantine"]["active"] == true && row["gate"]["state"] != "killed" && least(name) == 0
        })
        .map(|(name, _)| *name)
        .collect();
    (!stuck.is_empty()).then(|| {
        format!(
            "{} quarantined without a run to recover by ({}): allocation.default_min_runs = {}; set it, or their allocation.min_runs, above 0",
            agents_are(stuck.len()),
            figures::names(stuck.iter().copied()),
            rules.default_min_runs
        )
    })
}

fn paper_only(agents: &Agents, policy: &Policy) -> Option<String> {
    let promoted = agents.iter().filter(|(_, row)| row["gate"]["state"] == "promoted").count();
    (policy.desk.paper_only && policy.desk.live_requires_promotion && promoted > 0).then(|| {
        format!(
            "{} promoted and may not trade live: desk.live_requires_promotion is met, and desk.paper_only = true keeps everybody on paper; set it to false when they may",
            agents_are(promoted)
        )
    })
}

fn buffer(policy: &Policy) -> Option<String> {
    let rules = &policy.budget;
    (rules.buffer_usd > rules.daily_usd).then(|| {
        format!(
            "the budget is exhausted before anything is spent: budget.buffer_usd = {} is above budget.daily_usd = {}; lower it",
            human::usd(rules.buffer_usd),
            human::usd(rules.daily_usd)
        )
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn agent(more: Value) -> Value {
        let mut row = json!({
            "runs": 50, "confidence": 0.9, "error_rate": 0.0, "gate": { "state": "candidate" },
            "quarantine": { "active": false }, "latency_ms": { "median": 300.0 }, "pnl_bps": { "cvar_95": 20.0 },
            "verdict": { "reasons": [] },
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            row[key] = value.clone();
        }
        row
    }

    #[track_caller]
    fn check(toml: &str, more: Value, says: &[&str]) {
        let state = json!({ "agents": { "a": agent(more), "b": agent(json!({})) } });
        let told = all(&state, &Policy::from_toml(toml).expect("a policy"));
        assert_eq!(told.len(), usize::from(!says.is_empty()), "{told:?}");
        for word in says {
            assert!(told[0].contains(word), "want {word:?}: {told:?}");
        }
    }

    #[test]
    fn a_corner_is_told_with_its_numbers_and_its_key() {
        check("", json!({}), &[]);
        check("[rolling]\nwindow = 50", json!({}), &["sharpe_min_runs = 100", "rolling.window = 50"]);
        check("", json!({ "confidence": 0.01 }), &["1 agent is", "0.01", "confidence.window = 0", "(a)"]);
        check("", json!({ "confidence": 0.15 }), &["0.15", "confidence.floor = 0"]);
        check("", json!({ "confidence": 0.01, "gate": { "state": "killed" } }), &[]);
        check("", json!({ "confidence": 0.01, "verdict": { "reasons": ["retired"] } }), &[]);
        check("[confidence]\nwindow = 50", json!({ "confidence": 0.01 }), &[]);
        check("[confidence]\nfloor = 0.2", json!({ "confidence": 0.2 }), &[]);
        let slow = "[gates.promote]\nmax_median_latency_ms = 200";
        check(slow, json!({}), &["fastest of 2 candidates", "300 ms", "max_median_latency_ms = 200"]);
        check(slow, json!({ "latency_ms": { "median": 100.0 } }), &[]);
        check("", json!({ "error_rate": 0.1 }), &[]);
        check("[quarantine]\nclear_drawdown = 0", json!({}), &["clear_drawdown = 0", "0 agents in it", "-3"]);
        let none = "[allocation]\ndefault_min_runs = 0";
        check(none, json!({}), &[]);
        check(none, json!({ "quarantine": { "active": true } }), &["default_min_runs = 0", "(a)"]);
        check("", json!({ "gate": { "state": "promoted" } }), &["1 agent is promoted", "desk.paper_only = true"]);
        check("[desk]\npaper_only = false", json!({ "gate": { "state": "promoted" } }), &[]);
        check("[budget]\nbuffer_usd = 6", json!({}), &["$6.00", "budget.daily_usd = $5.00"]);
        let lossy = json!({ "pnl_bps": { "cvar_95": 240.0 } });
        check("", lossy.clone(), &[]);
        check("[gates.promote]\nmode = \"both\"", lossy, &["void for 1 agent (a)", "240", "loss_floor_bps = 100"]);
    }

    #[test]
    fn a_gate_that_every_candidate_fails_by_errors() {
        let row = agent(json!({ "error_rate": 0.02 }));
        let told = all(&json!({ "agents": { "a": row } }), &Policy::default());
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("2 %") && told[0].contains("gates.promote.max_error_rate = 0"), "{told:?}");
    }
}
