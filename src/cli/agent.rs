use std::io::Write;

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    Found, Output,
    desk::{self, State, Way},
    figures, reading, wrap,
};
use crate::{
    policy::{GateMode, Gates, Policy},
    render::{decision, human},
    store::decisions::Filter,
};

#[derive(Debug, Args)]
pub struct Agent {
    #[command(flatten)]
    way: Way,
    /// Its name
    name: String,
    /// How many of its last decisions
    #[arg(short = 'n', long, value_name = "DECISIONS", default_value_t = 5)]
    lines: usize,
    /// How to print
    #[arg(short, long, value_enum, default_value = "text")]
    output: Output,
}

impl Agent {
    pub fn run(self) -> anyhow::Result<Found> {
        let mut desk = self.way.open()?;
        let state = desk.state()?;
        desk::known_agent(&state, &self.name)?;
        let filter = Filter::of_agent(&self.name);
        let last = if self.lines == 0 { Vec::new() } else { desk.newest(&filter, self.lines)? };
        let mut out = reading::stdout();
        if self.output == Output::Text {
            let policy = desk.policy()?.policy;
            write!(out, "{}", wrap::printed(&page(&self.name, &state, &policy, &last), 12))?;
        } else {
            let mut whole = Map::from_iter([
                ("position".to_owned(), state["position"].clone()),
                ("agent".to_owned(), json!(self.name)),
            ]);
            whole.extend(state["agents"][&self.name].as_object().cloned().unwrap_or_default());
            whole.insert("decisions".to_owned(), last.into());
            match self.output {
                Output::Json => serde_json::to_writer_pretty(&mut out, &whole)?,
                _ => serde_json::to_writer(&mut out, &whole)?,
            }
            writeln!(out)?;
        }
        out.flush()?;
        Ok(Found::Nothing)
    }
}

/// All that is known of an agent, in words.
pub fn page(name: &str, state: &State, policy: &Policy, last: &[Value]) -> String {
    let row = &state["agents"][name];
    let mut lines = vec![
        format!("{} at position {}", human::visible(name), state["position"]),
        verdict(&row["verdict"]),
        format!("gate        {}", gate(row, &policy.gates)),
    ];
    if row["gate"]["state"] == "candidate" {
        lines.extend(promotion(row, &policy.gates).into_iter().map(|line| format!("            {line}")));
    }
    lines.push(format!("quarantine  {}", quarantine(row, policy)));
    lines.push(format!("confidence  {}", confidence(row, policy)));
    lines.push(format!("budget      {}", budget(row, state)));
    lines.push(format!("allocation  {}", allocation(row, policy)));
    lines.push(format!(
        "figures     {} runs, {} failed, {}; Sharpe {}, drawdown {}; PnL {} bps over {} runs; median latency {} ms",
        figures::count(&row["runs"]),
        figures::count(&row["errors"]),
        figures::usd(&row["cost_usd"]),
        figures::short(&row["reward"]["sharpe"]),
        figures::short(&row["reward"]["drawdown"]),
        figures::short(&row["pnl_bps"]["sum"]),
        figures::count(&row["pnl_bps"]["count"]),
        figures::short(&row["latency_ms"]["median"]),
    ));
    if !last.is_empty() {
        lines.push("last decisions".to_owned());
        lines.extend(last.iter().map(decision::brief));
    }
    lines.join("\n") + "\n"
}

fn verdict(verdict: &Value) -> String {
    let mut text = format!("verdict     {}", figures::text(&verdict["verdict"]));
    if verdict["reasons"].as_array().is_some_and(|reasons| !reasons.is_empty()) {
        text += &format!(": {}", figures::list(&verdict["reasons"]));
    }
    if let Some(would) = verdict["would"].as_str() {
        text += &format!(" (observing; it would be {})", human::visible(would));
    }
    let live = if verdict["live"] == true { "live" } else { "not live" };
    text + &format!("; size {}, {live}{}", figures::short(&verdict["size_multiplier"]), since(verdict))
}

fn since(value: &Value) -> String {
    value["since_position"].as_u64().map_or(String::new(), |at| format!(", since position {at}"))
}

fn gate(row: &Value, rules: &Gates) -> String {
    let gate = &row["gate"];
    let under = gate["policy"].as_str().map_or(String::new(), |hash| {
        format!(" under policy {}", human::visible(&hash.chars().take(15).collect::<String>()))
    });
    let since = since(gate) + &under;
    match gate["state"].as_str().unwrap_or("-") {
        "killed" => format!("killed{since}; only `runtape revive` brings it back"),
        "promoted" => format!("promoted{since}"),
        "candidate" if gate["demoted"] == true => {
            format!("candidate{since}; demoted by an operator, and only `runtape promote` promotes it")
        }
        state => format!("{}{since}; promoted {}", human::visible(state), by(rules.promote.mode)),
    }
}

fn by(mode: GateMode) -> &'static str {
    match mode {
        GateMode::Rule => "by the rule alone",
        GateMode::Evidence => "by evidence alone",
        GateMode::Both => "when the rule and the evidence agree",
    }
}

/// What a candidate still lacks.
fn promotion(row: &Value, rules: &Gates) -> Vec<String> {
    let (promote, evidence) = (&rules.promote, &row["gate"]["evidence"]);
    let percent = |share: f64| format!("{} %", figures::three(share * 100.0));
    let rule = format!(
        "the rule needs PnL > {} bps over {} runs, has {} over its last {}; errors <= {}, has {}; median latency < {} ms, has {}; at least {} runs, has {}",
        figures::three(promote.min_pnl_bps),
        rules.window,
        figures::short(&row["pnl_bps"]["sum"]),
        figures::count(&row["pnl_bps"]["count"]),
        percent(promote.max_error_rate),
        row["error_rate"].as_f64().map_or("none yet".to_owned(), percent),
        figures::three(promote.max_median_latency_ms),
        figures::short(&row["latency_ms"]["median"]),
        rules.min_runs,
        figures::count(&row["runs"]),
    );
    let proved = evidence["promote"].as_f64().zip(evidence["promote_needed"].as_f64()).is_some_and(|(e, n)| e >= n);
    let more = match evidence["records_needed"].as_u64() {
        _ if proved => "it is proved that it earns".to_owned(),
        Some(more) => format!("about {} more records at this pace", human::count(more)),
        None => "at this pace it will never be proved".to_owned(),
    };
    let proof = format!(
        "the evidence is {} of {} needed from {} records; {more}",
        figures::short(&evidence["promote"]),
        figures::short(&evidence["promote_needed"]),
        figures::count(&evidence["records"]),
    );
    let mut lines = vec![rule, proof];
    if let Some(psr) = evidence["psr"].as_f64() {
        lines.push(format!("for one look alone, its Sharpe ratio is above 0 with probability {}", percent(psr)));
    }
    lines
}

fn quarantine(row: &Value, policy: &Policy) -> String {
    let (held, rules) = (&row["quarantine"], &policy.quarantine);
    if held["active"] != true {
        return format!(
            "free; entered at drawdown <= {}, has {}",
            figures::three(rules.drawdown_limit),
            figures::short(&row["reward"]["drawdown"])
        );
    }
    let since = format!("{} ({})", since(held).trim_start_matches(", "), figures::moment(&held["since"]));
    if held["reason"] == "operator" {
        return format!("by {} {since}; only `runtape clear` ends it", figures::text(&held["actor"]));
    }
    format!(
        "by {} {since}; ends at drawdown > {}, has {}, with no rule broken: Sharpe >= {} from {} rewards on, has {}",
        figures::text(&held["reason"]),
        figures::three(rules.clear_drawdown),
        figures::short(&row["reward"]["drawdown"]),
        figures::three(rules.sharpe_floor),
        rules.sharpe_min_runs,
        figures::short(&row["reward"]["sharpe"])
    )
}

fn confidence(row: &Value, policy: &Policy) -> String {
    let rules = &policy.confidence;
    let over = if rules.window == 0 {
        "every loss counts for ever".to_owned()
    } else {
        format!("losses of the last {} runs count", rules.window)
    };
    format!("{} of its size; {over}, down to {}", figures::short(&row["confidence"]), figures::three(rules.floor))
}

fn budget(row: &Value, state: &State) -> String {
    let (whose, budget) =
        if row["budget"].is_object() { ("its own: ", &row["budget"]) } else { ("the fleet's: ", &state["budget"]) };
    format!(
        "{whose}{} left of {} today, {} reserved{}",
        figures::usd(&budget["remaining_usd"]),
        figures::usd(&budget["daily_usd"]),
        figures::usd(&budget["reserved_usd"]),
        if budget["allowed"] == false { "; exhausted" } else { "" }
    )
}

fn allocation(row: &Value, policy: &Policy) -> String {
    let share = &row["allocation"];
    let every = share["interval_min"].as_u64().map_or(String::new(), |min| format!(", one every {min} min"));
    let paper = if share["paper"] == true { ", on paper" } else { "" };
    let runs = figures::some(share["runs_per_period"].as_u64().unwrap_or(0) as usize, "run");
    format!("{runs} per {} min{every}{paper}", policy.allocation.period_min)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_learns_what_it_lacks() {
        let state = json!({
            "position": 6000, "budget": { "remaining_usd": 4.5, "daily_usd": 5.0, "reserved_usd": 0.0, "allowed": true },
            "agents": { "a": {
                "runs": 264, "errors": 0, "cost_usd": 1.5, "error_rate": 0.0, "confidence": 0.857375,
                "reward": { "sharpe": 0.1, "drawdown": -1.8 }, "pnl_bps": { "sum": 93.0, "count": 100 },
                "latency_ms": { "median": 656.1 }, "quarantine": { "active": false },
                "gate": { "state": "candidate", "since_position": null, "policy": null, "demoted": false,
                          "evidence": { "promote": 1.7, "promote_needed": 20.0, "records": 268,
                                        "records_needed": 140, "psr": 0.614 } },
                "verdict": { "verdict": "allow", "live": false, "size_multiplier": 0.857375, "reasons": [],
                             "since_position": 3 },
                "allocation": { "runs_per_period": 4, "interval_min": 3, "paper": false },
            } },
        });
        let want = "\
a at position 6000
verdict     allow; size 0.857, not live, since position 3
gate        candidate; promoted by the rule alone
            the rule needs PnL > 150 bps over 100 runs, has 93 over its last 100; errors <= 0 %, has 0 %; median latency < 700 ms, has 656; at least 20 runs, has 264
            the evidence is 1.7 of 20 needed from 268 records; about 140 more records at this pace
            for one look alone, its Sharpe ratio is above 0 with probability 61.4 %
quarantine  free; entered at drawdown <= -3, has -1.8
confidence  0.857 of its size; every loss counts for ever, down to 0
budget      the fleet's: $4.50 left of $5.00 today, $0.00 reserved
allocation  4 runs per 15 min, one every 3 min
figures     264 runs, 0 failed, $1.50; Sharpe 0.1, drawdown -1.8; PnL 93 bps over 100 runs; median latency 656 ms
";
        assert_eq!(page("a", &state, &Policy::default(), &[]), want);
    }

    #[test]
    fn whoever_is_held_back_learns_by_whom() {
        let policy = Policy::default();
        let row = json!({ "quarantine": { "active": true, "reason": "operator", "since_position": 9, "since": 1_772_375_400.0,
                                          "actor": "ops\u{7}" } });
        assert_eq!(
            quarantine(&row, &policy),
            "by ops\\u{7} since position 9 (2026-03-01T14:30:00Z); only `runtape clear` ends it"
        );
        let row = json!({ "quarantine": { "active": true, "reason": "drawdown", "since_position": 9, "since": null },
                          "reward": { "drawdown": -55.3, "sharpe": -0.1 } });
        assert_eq!(
            quarantine(&row, &policy),
            "by drawdown since position 9 (-); ends at drawdown > -3, has -55.3, with no rule broken: Sharpe >= -0.05 from 100 rewards on, has -0.1"
        );
        let row = json!({ "gate": { "state": "killed", "since_position": 4, "policy": "b3:658f8eabc4fbd5a5" } });
        assert_eq!(
            gate(&row, &policy.gates),
            "killed, since position 4 under policy b3:658f8eabc4fb; only `runtape revive` brings it back"
        );
        let row = json!({ "gate": { "state": "candidate", "since_position": 4, "policy": null, "demoted": true } });
        assert!(gate(&row, &policy.gates).contains("only `runtape promote`"));
    }
}
