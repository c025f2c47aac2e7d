use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    cli::{desk::State, figures},
    render::human,
};

/// One line in so many that cannot be read is worth a look.
const MALFORMED_SHARE: f64 = 0.01;

/// A limit that is used to this share will soon be reached.
const NARROW_SHARE: f64 = 0.9;

/// Something that needs a person, and what that person can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub what: String,
    pub way_out: String,
}

impl Problem {
    pub fn new(what: impl Into<String>, way_out: impl Into<String>) -> Problem {
        Problem { what: what.into(), way_out: way_out.into() }
    }
}

/// Everything that is wrong, the most urgent first: what stops all of it, what stops all trading, what goes wrong slowly.
pub fn all(health: Option<&Value>, state: &State) -> Vec<Problem> {
    let mut problems = Vec::new();
    match health {
        Some(health) => of_server(health, &mut problems),
        None => problems.push(Problem::new(
            "no server follows the directory: nothing is sealed, and no verdict is kept up",
            "start `runtape serve`",
        )),
    }
    of_fleet(state, &mut problems);
    of_signals(state, &mut problems);
    of_lines(state, &mut problems);
    problems
}

fn of_server(health: &Value, problems: &mut Vec<Problem>) {
    let mut said: Vec<&str> = health["problems"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // What is damaged or may be lost comes before what is only late.
    said.sort_by_key(|text| !["damaged", "durable", "sync", "tape"].iter().any(|word| text.contains(word)));
    for text in &said {
        problems.push(Problem::new(human::visible(text), "the server's log says more"));
    }
    for consumer in health["consumers"].as_array().into_iter().flatten() {
        let name = consumer["name"].as_str().unwrap_or("?");
        // Said already, by the server itself.
        if said.iter().any(|text| text.contains(&format!("consumer {name}"))) {
            continue;
        }
        if consumer["up"] == false {
            let why = consumer["problem"].as_str().map_or(String::new(), |why| format!(": {}", human::visible(why)));
            problems
                .push(Problem::new(format!("consumer {} is down{why}", human::visible(name)), "restart the server"));
        }
    }
    of_limits(&health["limits"], problems);
    of_disks(&health["disks"], problems);
    if health["ready"] == false && problems.is_empty() {
        problems.push(Problem::new("the server is not ready", "wait until it has read its history"));
    }
}

/// Limits that a person has to do something about, before they are reached or after.
const NARROW: &[(&str, &str, &str)] = &[
    ("agents", "agents are known", "raise limits.agents, or repair whoever makes up names"),
    ("strategies", "strategies are known", "raise limits.agents, or repair whoever makes up names"),
    ("streams", "streams are followed", "append to fewer streams"),
    ("waiting_pnl", "PnL lines wait for their runs", "record the runs, or name the agent on the PnL line"),
    ("reservations", "reservations are open", "settle or release some, or raise limits.reservations"),
    ("open_positions", "positions are open", "append prices of their symbols, so that they close"),
    ("shown_agents", "agents are on the metric page", "ask the API for those beyond; retire who is gone"),
    ("shown_strategies", "strategies are on the metric page", "ask the API for those beyond; retire who is gone"),
    ("descriptors", "descriptors are open", "raise the limit (ulimit -n) of the server"),
    ("memory_bytes", "bytes of memory are in use", "give the server more memory, or lower limits of the policy"),
];

fn of_limits(limits: &Value, problems: &mut Vec<Problem>) {
    for (limit, what, way_out) in NARROW {
        let number = |name: &str| limits[*limit][name].as_u64();
        let (Some(max), Some(used)) = (number("max"), number("used")) else { continue };
        if used as f64 >= NARROW_SHARE * max as f64 && max > 0 {
            let what = format!("{} of at most {} {what}", human::count(used), human::count(max));
            problems.push(Problem::new(what, *way_out));
        }
    }
}

/// A disk with less than this share free will soon be full.
const FREE_SHARE: f64 = 0.05;

fn of_disks(disks: &Value, problems: &mut Vec<Problem>) {
    let mut said = None;
    for (holds, disk) in disks.as_object().into_iter().flatten() {
        let (Some(free), Some(all)) = (disk["free_bytes"].as_u64(), disk["bytes"].as_u64()) else { continue };
        // Both are mostly on the same disk.
        if free as f64 >= FREE_SHARE * all as f64 || said.replace(all) == Some(all) {
            continue;
        }
        let holds = human::visible(holds);
        let what = format!("the disk that holds the {holds} has {} free of {}", human::bytes(free), human::bytes(all));
        problems.push(Problem::new(what, "move other things off the disk, or give it more room"));
    }
}

fn of_fleet(state: &State, problems: &mut Vec<Problem>) {
    let budget = &state["budget"];
    if budget["allowed"] == false {
        let what = format!(
            "the budget of {} is exhausted: {} left of {}",
            figures::text(&budget["day"]),
            figures::usd(&budget["remaining_usd"]),
            figures::usd(&budget["daily_usd"])
        );
        problems
            .push(Problem::new(what, "wait for the next UTC day, or apply a policy with a larger budget.daily_usd"));
    }
    let desk = &state["fleet"]["desk"];
    if desk["paused"] == true {
        let since = desk["since_position"].as_u64().map_or(String::new(), |at| format!(" since position {at}"));
        problems.push(Problem::new(format!("the fleet is paused{since}"), "`runtape resume --fleet` ends it"));
    }
    if desk["mode"] == "observe" {
        problems.push(Problem::new(
            "the desk only observes: nobody is denied",
            "apply a policy with desk.mode = \"enforce\"",
        ));
    }
    let exhausted = |row: &Value| row["budget"]["allowed"] == false;
    held(
        state,
        exhausted,
        "out of a budget of their own",
        "raise budget.agents, or wait for the next UTC day",
        problems,
    );
    let killed = |row: &Value| row["gate"]["state"] == "killed";
    held(state, killed, "killed", "`runtape agent NAME` says why; revive or retire them", problems);
    let quarantined = |row: &Value| row["quarantine"]["active"] == true;
    held(
        state,
        quarantined,
        "quarantined",
        "`runtape agent NAME` says why; they recover on paper, or are cleared",
        problems,
    );
}

/// Agents something holds, but for those that were retired: about them nobody is asked any more.
fn held(state: &State, holds: impl Fn(&Value) -> bool, how: &str, way_out: &str, problems: &mut Vec<Problem>) {
    let rows = state["agents"].as_object().into_iter().flatten();
    let names: Vec<&str> =
        rows.filter(|(_, row)| holds(row) && !is_retired(row)).map(|(name, _)| name.as_str()).collect();
    if !names.is_empty() {
        let verb = if names.len() == 1 { "is" } else { "are" };
        let count = figures::some(names.len(), "agent");
        problems.push(Problem::new(format!("{count} {verb} {how} ({})", figures::names(names)), way_out));
    }
}

/// Signals that cannot earn anything.
fn of_signals(state: &State, problems: &mut Vec<Problem>) {
    let reconcile = &state["reconcile"];
    let unpriced = reconcile["unpriced"].as_object().into_iter().flatten();
    let waiting: u64 = unpriced.clone().filter_map(|(_, count)| count.as_u64()).sum();
    if waiting > 0 {
        let symbols = figures::names(unpriced.map(|(symbol, _)| symbol.as_str()));
        let what = format!("{waiting} signals wait for a first price of their symbol ({symbols})");
        problems.push(Problem::new(what, "append price lines of these symbols, or correct the symbols"));
    }
    let worthless = reconcile["worthless_prices"].as_u64().unwrap_or(0);
    if worthless > 0 {
        problems.push(Problem::new(format!("{worthless} prices are zero or negative"), "see where they come from"));
    }
}

fn of_lines(state: &State, problems: &mut Vec<Problem>) {
    let lines = &state["lines"];
    let count = |name: &str| lines[name].as_u64().unwrap_or(0);
    let position = state["position"].as_u64().unwrap_or(0);
    let malformed = count("malformed");
    let share = malformed as f64 / position.max(1) as f64;
    let rejects = "`.runtape/rejects.jsonl` says which and why; repair whoever writes them";
    if share >= MALFORMED_SHARE {
        let what = format!(
            "{} of {} lines could not be read ({} %)",
            human::count(malformed),
            human::count(position),
            figures::three(share * 100.0)
        );
        problems.push(Problem::new(what, rejects));
    }
    if count("agents_overflow") > 0 {
        let what =
            format!("{} lines of agents beyond limits.agents are not folded", human::count(count("agents_overflow")));
        problems.push(Problem::new(what, "raise limits.agents, or repair whoever makes up names"));
    }
    let (waiting, pnl) = (state["waiting"].as_u64().unwrap_or(0), count("pnl"));
    // Some PnL is always early; when most of it waits, its runs are not being recorded.
    if waiting > 10 && waiting * 2 > pnl {
        let what = format!("{} of {} PnL lines wait for their runs", human::count(waiting), human::count(pnl));
        problems.push(Problem::new(what, "record the runs, or name the agent on the PnL line"));
    }
    if count("refused_control") > 0 {
        let what = format!("{} in streams of others", figures::some(count("refused_control") as usize, "control line"));
        problems.push(Problem::new(what, "find out who tries to command the fleet; they were ignored"));
    }
    if malformed > 0 && share < MALFORMED_SHARE {
        let lines = figures::some(malformed as usize, "line");
        problems.push(Problem::new(format!("{lines} could not be read"), rejects));
    }
}

pub fn is_retired(row: &Value) -> bool {
    let reasons = row["verdict"]["reasons"].as_array();
    reasons.into_iter().flatten().any(|reason| reason == "retired" || reason == "strategy_retired")
}

/// How many agents stand where.
pub fn tally(state: &State) -> Value {
    let rows = || state["agents"].as_object().into_iter().flatten().map(|(_, row)| row);
    let count = |holds: &dyn Fn(&Value) -> bool| rows().filter(|row| holds(row)).count();
    json!({
        "all": rows().count(),
        "allow": count(&|row| row["verdict"]["verdict"] == "allow"),
        "deny": count(&|row| row["verdict"]["verdict"] == "deny"),
        "promoted": count(&|row| row["gate"]["state"] == "promoted"),
        "killed": count(&|row| row["gate"]["state"] == "killed"),
        "quarantined": count(&|row| row["quarantine"]["active"] == true),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(health: Option<&Value>, state: &State) -> Vec<String> {
        all(health, state).into_iter().map(|problem| problem.what).collect()
    }

    #[test]
    fn a_quiet_fleet_has_no_problems() {
        let health = json!({ "ready": true, "problems": [], "consumers": [ { "name": "runs", "up": true } ] });
        let state = json!({
            "position": 100, "waiting": 2, "lines": { "run": 98, "pnl": 2 }, "budget": { "allowed": true },
            "fleet": { "desk": { "paused": false, "mode": "enforce" } },
            "agents": { "a": { "gate": { "state": "candidate" }, "quarantine": { "active": false } },
                        "gone": { "gate": { "state": "killed" }, "verdict": { "reasons": ["killed", "retired"] } } },
        });
        assert_eq!(whats(Some(&health), &state), Vec::<String>::new());
        assert_eq!(whats(None, &state).len(), 1);
    }

    #[test]
    fn what_stops_everything_comes_first() {
        let health = json!({
            "ready": false,
            "problems": ["consumer gates is 900 lines behind", "the disk is full: nothing is durable"],
            "consumers": [ { "name": "gates", "up": true }, { "name": "runs", "up": false, "problem": "it failed" } ],
            "limits": { "agents": { "max": 1000, "used": 900 }, "streams": { "max": 1000, "used": 899 },
                        "dedupe_ids": { "max": 10, "used": 10 } },
            "disks": { "streams": { "free_bytes": 49, "bytes": 1000 }, "tape": { "free_bytes": 50, "bytes": 1000 } },
        });
        let state = json!({
            "position": 1000, "waiting": 40, "lines": { "pnl": 41, "malformed": 50, "refused_control": 1 },
            "budget": { "allowed": false, "day": "2026-03-01", "remaining_usd": 0.05, "daily_usd": 5.0 },
            "fleet": { "desk": { "paused": true, "since_position": 9, "mode": "enforce" } },
            "agents": { "k": { "gate": { "state": "killed" } }, "q": { "quarantine": { "active": true } } },
        });
        let want = [
            "the disk is full: nothing is durable",
            "consumer gates is 900 lines behind",
            "consumer runs is down: it failed",
            "900 of at most 1,000 agents are known",
            "the disk that holds the streams has 49 B free of 1000 B",
            "the budget of 2026-03-01 is exhausted: $0.05 left of $5.00",
            "the fleet is paused since position 9",
            "1 agent is killed (k)",
            "1 agent is quarantined (q)",
            "50 of 1,000 lines could not be read (5 %)",
            "40 of 41 PnL lines wait for their runs",
            "1 control line in streams of others",
        ];
        assert_eq!(whats(Some(&health), &state), want);
    }
}
