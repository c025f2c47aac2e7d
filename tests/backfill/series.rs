use std::{collections::BTreeMap, fs, path::Path, process::Command};

use serde_json::Value;

use super::{backfilled, near, script};
use crate::{
    prometheus::Prometheus,
    support::{Events, json, programs::tool, run, stdout, wait_until},
};

/// A fleet of the past.
fn past(lines: &str) -> Events {
    let events = Events::new();
    let start = "2023-03-01T21:00:00Z";
    stdout(&run(&["simulate", "--events", events.text(), "--lines", lines, "--seed", "11", "--start", start]));
    events
}

/// A moment on a step in the middle of the fleet's history, and the state at it.
fn moment(events: &Events) -> (u64, Value) {
    let middle = 1_677_715_200; // 2023-03-02T00:00:00Z
    // Lines at the moment itself are after it.
    let before = "2023-03-01T23:59:59.999999999Z";
    (middle, json(&run(&["replay", "--events", events.text(), "--at", before, "-o", "json"])))
}

/// Series and their names on the metric page, with where a state has them.
const FIGURES: [(&str, &str); 7] = [
    ("runs_total", "/runs"),
    ("cost_usd_total", "/cost_usd"),
    ("rolling_pnl_bps", "/pnl_bps/sum"),
    ("reward_drawdown", "/reward/drawdown"),
    ("confidence_multiplier", "/confidence"),
    ("last_latency_ms", "/latency_ms/last"),
    ("pnl_bps_sharpe", "/pnl_bps/sharpe"),
];

#[test]
fn the_series_hold_what_a_replay_holds_at_each_step() {
    let (events, out) = (past("4000"), Events::new());
    let told = backfilled(&out, &["--step", "5m", events.text()]);
    assert!(told["samples"].as_u64() > Some(10_000), "{told}");
    let (at, state) = moment(&events);
    let Some(text) = script("moment.py", &[out.text(), &at.to_string()]) else { return };
    let rows: Value = serde_json::from_str(&text).expect("JSON");
    let agents = state["agents"].as_object().expect("agents");
    assert!(agents.len() > 8, "{} agents", agents.len());
    for (name, agent) in agents {
        for (column, place) in FIGURES {
            near(&format!("{name} {column}"), agent.pointer(place).unwrap_or(&Value::Null), &rows[name][column]);
        }
        assert_eq!(rows[name]["gate_state"], agent["gate"]["state"], "{name}");
        assert_eq!(rows[name]["verdict"], agent["verdict"]["verdict"], "{name}");
    }
}

/// The real thing: promtool makes blocks, a Prometheus stands on them and answers for a day in the past.
#[test]
fn a_prometheus_answers_for_a_day_in_the_past() {
    let (Some(promtool), Some(program)) = (tool("promtool"), tool("prometheus")) else { return };
    let (events, out) = (past("4000"), Events::new());
    let told = backfilled(&out, &["--step", "1m", events.text()]);
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut files: Vec<_> = fs::read_dir(out.path().join("openmetrics")).expect("files").flatten().collect();
    files.sort_by_key(fs::DirEntry::path);
    assert!(files.len() >= 2, "midnight is passed: {told}");
    for file in &files {
        blocks(&promtool, &file.path(), &home.path().join("data"));
    }
    let prometheus = Prometheus::over(&program, home);
    let (at, state) = moment(&events);
    let ask = |query: &str| prometheus.value_at(query, at);
    wait_until("it answers", || prometheus.value("vector(1)").is_some());
    let mut asked = 0;
    for (name, agent) in state["agents"].as_object().expect("agents") {
        for (series, place) in FIGURES {
            let query = format!("agent_{series}{{agent=\"{name}\",job=\"runtape\"}}");
            let (want, got) = (agent.pointer(place).and_then(Value::as_f64), ask(&query));
            near(&query, &want.into(), &got.into());
            asked += usize::from(got.is_some());
        }
    }
    assert!(asked > 50, "{asked} answers");
    let p95 = "histogram_quantile(0.95, sum by (le) (rate(agent_latency_ms_bucket[30m])))";
    assert!(ask(p95).is_some_and(|p95| p95 > 100.0), "{:?}", ask(p95));
    println!("{asked} answers of {} samples", told["samples"]);
}

fn blocks(promtool: &Path, file: &Path, data: &Path) {
    let made = Command::new(promtool).args(["tsdb", "create-blocks-from", "openmetrics"]).args([file, data]).output();
    let made = made.expect("promtool starts");
    assert!(made.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&made.stderr));
    assert!(!made.stdout.is_empty(), "{}: no block", file.display());
}

/// Where nothing happens for long there is nothing: the recorder was off, and no line is drawn across.
#[test]
fn a_silence_is_a_hole_in_the_series() {
    let (logs, out) = (Events::new(), Events::new());
    let line = |at: u32| format!("{{\"agent\":\"a\",\"ts\":{at},\"errors\":0}}\n");
    logs.append("runs", line(1_700_000_000) + &line(1_700_001_000) + &line(1_700_086_400));
    let told = backfilled(&out, &["--step", "10m", logs.text()]);
    // What comes at a step is after it. The last state before the silence stands for an hour; then the step behind the last
    // line.
    let steps = 2 + 6 + 1;
    let text = fs::read_dir(out.path().join("openmetrics")).expect("files").flatten();
    let text =
        text.map(|file| (file.path(), fs::read_to_string(file.path()).expect("a page"))).collect::<BTreeMap<_, _>>();
    let text: String = text.into_values().collect();
    let runs: Vec<&str> = text.lines().filter(|line| line.starts_with("agent_runs_total{")).collect();
    assert_eq!(runs.len(), steps, "{told} {runs:#?}");
    assert_eq!(runs[0], "agent_runs_total{job=\"runtape\",instance=\"backfill\",agent=\"a\"} 1 1700000400");
    assert!(runs[2].ends_with(" 2 1700001600") && runs[steps - 1].contains("} 3 "), "{runs:#?}");
    assert_eq!(told["series"].as_u64(), Some(steps as u64), "a row of the table for each");
}
