use std::cmp::Ordering;

use serde_json::Value;

use crate::cli::{
    agent,
    desk::{Look, State},
    figures,
    status::problems,
};
use crate::render::{decision, human};

/// Said of a budget with nothing left.
pub const EXHAUSTED: &str = "EXHAUSTED";

/// The fleet as one look found it, with what a screen shows of it taken out once.
#[derive(Debug, Default)]
pub struct Fleet {
    pub rows: Vec<Row>,
    /// Where things stand: a line each of position, agents, money and lag.
    pub position: String,
    pub agents: String,
    pub budget: String,
    pub lag: String,
    /// What needs a person, the most urgent first.
    pub problems: Vec<String>,
    /// The last decisions, oldest first.
    pub decisions: Vec<String>,
    /// The page of the agent that was asked about; none where there is no such agent.
    pub page: Option<Page>,
}

/// All that is known of one agent, in words.
#[derive(Debug)]
pub struct Page {
    pub name: String,
    pub lines: Vec<String>,
}

/// One agent.
#[derive(Debug, Default)]
pub struct Row {
    pub name: String,
    pub strategy: String,
    pub verdict: String,
    pub why: String,
    pub gate: String,
    pub size: Option<f64>,
    pub runs: u64,
    pub errors: u64,
    pub cost: Option<f64>,
    pub sharpe: Option<f64>,
    pub pnl: Option<f64>,
    pub latency: Option<f64>,
    /// Cumulated PnL over the newest runs, oldest first.
    pub pnl_recent: Vec<f64>,
    pub latency_recent: Vec<f64>,
}

/// What agents are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    Name,
    Strategy,
    Verdict,
    Why,
    Gate,
    Size,
    Pnl,
    Latency,
    Runs,
    Errors,
    Cost,
    Sharpe,
}

impl Fleet {
    pub fn of(look: &Look, about: Option<&str>) -> Fleet {
        let state = &look.state;
        let found = problems::all(look.health.as_ref(), state);
        let tally = problems::tally(state);
        let count = |name: &str| format!("{} {name}", figures::count(&tally[name]));
        let rows: Vec<Row> =
            state["agents"].as_object().into_iter().flatten().map(|(n, row)| Row::of(n, row)).collect();
        let hold = rows.iter().filter(|row| row.verdict == "hold").count();
        Fleet {
            position: format!(
                "position {}  {}",
                figures::count(&state["position"]),
                figures::moment(&state["tape_time"]).trim_end_matches('Z').replace('T', " "),
            ),
            agents: format!(
                "{} agents: {} {} {hold} hold; {} {} {}",
                figures::count(&tally["all"]),
                count("allow"),
                count("deny"),
                count("promoted"),
                count("killed"),
                count("quarantined")
            ),
            budget: budget(state),
            lag: lag(look.health.as_ref()),
            problems: found.into_iter().map(|problem| format!("{}: {}", problem.what, problem.way_out)).collect(),
            decisions: look.decisions.iter().map(decided).collect(),
            page: about.filter(|name| state["agents"][name].is_object()).map(|name| Page {
                name: name.to_owned(),
                lines: agent::page(name, state, &look.policy.policy, &look.about).lines().map(str::to_owned).collect(),
            }),
            rows,
        }
    }
}

fn budget(state: &State) -> String {
    let budget = &state["budget"];
    let left = format!("{} of {} left", figures::usd(&budget["remaining_usd"]), figures::usd(&budget["daily_usd"]));
    if budget["allowed"] == false { format!("budget {EXHAUSTED}: {left}") } else { format!("budget {left}") }
}

/// A decision in a line as short as it may be: where, whom, what, and the numbers to three digits.
fn decided(decision: &Value) -> String {
    format!(
        "{:>8} {:<17} {:<11}{}",
        decision["cause"].as_u64().unwrap_or(0),
        figures::text(&decision["subject"]),
        figures::text(&decision["verdict"]),
        decision::numbers(decision),
    )
}

/// How far whoever is last is behind, and whether all are there.
fn lag(health: Option<&Value>) -> String {
    let Some(health) = health else { return "lag - (no server)".to_owned() };
    let consumers = health["consumers"].as_array().cloned().unwrap_or_default();
    let lines = |consumer: &Value| consumer["lag_lines"].as_u64().unwrap_or(0);
    let down: Vec<&str> = consumers.iter().filter(|c| c["up"] == false).filter_map(|c| c["name"].as_str()).collect();
    let worst = consumers.iter().max_by_key(|consumer| lines(consumer));
    let behind = match worst.filter(|consumer| lines(consumer) > 0) {
        None => "lag 0".to_owned(),
        Some(last) => format!(
            "lag {} lines, {} s ({})",
            human::count(lines(last)),
            figures::short(&last["lag_seconds"]),
            figures::text(&last["name"])
        ),
    };
    if down.is_empty() { behind } else { format!("{behind}, DOWN: {}", figures::names(down)) }
}

impl Row {
    fn of(name: &str, row: &Value) -> Row {
        let verdict = &row["verdict"];
        let list = |name: &str| -> Vec<f64> {
            row["recent"][name].as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
        };
        let mut pnl_recent = list("pnl_bps");
        pnl_recent.iter_mut().fold(0.0, |sum, value| {
            *value += sum;
            *value
        });
        let would = verdict["would"].as_str().map(|would| format!(" (would be {})", human::visible(would)));
        Row {
            name: name.to_owned(),
            strategy: figures::text(&row["strategy"]).into_owned(),
            verdict: figures::text(&verdict["verdict"]).into_owned(),
            why: figures::list(&verdict["reasons"]) + &would.unwrap_or_default(),
            gate: figures::text(&row["gate"]["state"]).into_owned(),
            size: verdict["size_multiplier"].as_f64(),
            runs: row["runs"].as_u64().unwrap_or(0),
            errors: row["errors"].as_u64().unwrap_or(0),
            cost: row["cost_usd"].as_f64(),
            sharpe: row["reward"]["sharpe"].as_f64(),
            pnl: row["pnl_bps"]["sum"].as_f64(),
            latency: row["latency_ms"]["median"].as_f64(),
            pnl_recent,
            latency_recent: list("latency_ms"),
        }
    }
}

impl Sort {
    pub const ALL: [Sort; 12] = [
        Sort::Name,
        Sort::Strategy,
        Sort::Verdict,
        Sort::Why,
        Sort::Size,
        Sort::Gate,
        Sort::Pnl,
        Sort::Latency,
        Sort::Runs,
        Sort::Errors,
        Sort::Cost,
        Sort::Sharpe,
    ];

    /// The column so many places further on, round and round.
    pub fn next(self, by: usize) -> Sort {
        let at = Sort::ALL.iter().position(|sort| *sort == self).unwrap_or(0);
        Sort::ALL[(at + by) % Sort::ALL.len()]
    }

    /// Names begin at A, figures with the largest.
    pub fn begins_large(self) -> bool {
        !matches!(self, Sort::Name | Sort::Strategy | Sort::Verdict | Sort::Why | Sort::Gate)
    }

    /// The order of two agents; whoever has no figure comes last either way, and equals stand by name.
    pub fn compare(self, a: &Row, b: &Row, reversed: bool) -> Ordering {
        let turn = |order: Ordering| if reversed { order.reverse() } else { order };
        let text = |of: fn(&Row) -> &str| turn(of(a).cmp(of(b)));
        let figure = |of: fn(&Row) -> Option<f64>| match (of(a), of(b)) {
            (Some(a), Some(b)) => turn(a.total_cmp(&b)),
            (a, b) => b.is_some().cmp(&a.is_some()),
        };
        let order = match self {
            Sort::Name => return turn(a.name.cmp(&b.name)),
            Sort::Strategy => text(|row| &row.strategy),
            // Whoever may not trade is of more interest.
            Sort::Verdict => turn(a.rank().cmp(&b.rank())),
            Sort::Why => text(|row| &row.why),
            Sort::Gate => text(|row| &row.gate),
            Sort::Size => figure(|row| row.size),
            Sort::Pnl => figure(|row| row.pnl),
            Sort::Latency => figure(|row| row.latency),
            Sort::Runs => figure(|row| Some(row.runs as f64)),
            Sort::Errors => figure(|row| Some(row.errors as f64)),
            Sort::Cost => figure(|row| row.cost),
            Sort::Sharpe => figure(|row| row.sharpe),
        };
        order.then_with(|| a.name.cmp(&b.name))
    }
}

impl Row {
    fn rank(&self) -> u8 {
        match self.verdict.as_str() {
            "deny" => 0,
            "hold" => 1,
            "allow" => 3,
            _ => 2,
        }
    }
}
