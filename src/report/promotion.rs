use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::recorded::Recorded;
use crate::{
    forensics::{
        Run,
        promotion::{Counts, counts},
    },
    render::{Table, figures},
    stats::order,
};

/// Which runs of an agent count towards promotion, which do not and why, and what those come to that do.
pub fn of(recorded: &Recorded, agent: u32, own: &[&Run]) -> Value {
    let rules = recorded.rules();
    let mut by = BTreeMap::<Counts, u64>::new();
    let (mut pnl_bps, mut failed, mut ran) = (0.0, 0_u64, 0_u64);
    let mut latencies = Vec::new();
    for run in own {
        let counts = counts(&recorded.runs, run, rules);
        *by.entry(counts).or_default() += 1;
        if matches!(counts, Counts::Whole | Counts::PnlOnly) {
            pnl_bps += run.pnl_bps.unwrap_or(0.0);
        }
        if matches!(counts, Counts::Whole | Counts::NoPnl | Counts::OldPnl) {
            ran += 1;
            failed += u64::from(run.failed());
            latencies.extend(run.latency_ms);
        }
    }
    let state = recorded.walk.state();
    let gate = &state["agents"][&*recorded.runs.agents[agent as usize]]["gate"];
    let row = |(counts, runs): (&Counts, &u64)| json!({ "why": counts.name(), "runs": runs, "words": counts.words() });
    json!({
        "state": gate["state"],
        "demoted": gate["demoted"],
        "window": rules.window,
        "runs": by.iter().map(row).collect::<Vec<_>>(),
        "counted": {
            "runs": ran, "min_runs": rules.min_runs,
            "pnl_bps": pnl_bps, "min_pnl_bps": rules.promote.min_pnl_bps,
            "error_rate": (ran > 0).then(|| failed as f64 / ran as f64), "max_error_rate": rules.promote.max_error_rate,
            "median_latency_ms": order::median(&mut latencies),
            "max_median_latency_ms": rules.promote.max_median_latency_ms,
        },
    })
}

/// The same in words; nothing for a fleet.
pub fn page(promotion: &Value) -> String {
    if promotion.is_null() {
        return String::new();
    }
    let mut text = "\nwhat counts towards promotion\n".to_owned();
    text.extend(sentences(promotion).iter().map(|line| format!("  {line}\n")));
    let mut table = Table::new(&["runs", "counts", "why"]);
    for row in promotion["runs"].as_array().into_iter().flatten() {
        let of = |key: &str| figures::text(&row[key]).into_owned();
        table.row(vec![figures::count(&row["runs"]), of("why"), of("words")]);
    }
    text += &table.render(false);
    text
}

/// Where it stands, and what it must come to.
pub fn sentences(promotion: &Value) -> [String; 2] {
    let stands = match promotion["state"].as_str() {
        Some("killed") => "it is killed, and is judged again once it is revived",
        Some("promoted") => "it is promoted already",
        _ if promotion["demoted"] == true => "it was demoted by an operator, and only an operator promotes it again",
        _ => "it is a candidate",
    };
    let counted = &promotion["counted"];
    let stands = format!("{stands}; a gate looks at the last {} runs", promotion["window"]);
    let needs = format!(
        "{} runs (at least {}), {} bps (more than {}), error rate {} (at most {}), median latency {} ms (less than {})",
        figures::count(&counted["runs"]),
        figures::count(&counted["min_runs"]),
        figures::short(&counted["pnl_bps"]),
        figures::short(&counted["min_pnl_bps"]),
        figures::short(&counted["error_rate"]),
        figures::short(&counted["max_error_rate"]),
        figures::short(&counted["median_latency_ms"]),
        figures::short(&counted["max_median_latency_ms"]),
    );
    [stands, needs]
}
