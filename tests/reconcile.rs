//! Signals and prices to realized profit: against a plain recount, and once whatever happens.

use std::{collections::BTreeMap, fs, process::Command, thread, time::Duration};

use serde_json::{Value, json};

use crate::support::{Events, Server, repository, run, stdout, wait_until};

/// A simulated fleet whose producers report no profit, under a policy that reconciles.
fn fleet(lines: u32) -> Events {
    let events = Events::new();
    let lines = lines.to_string();
    run(&["simulate", "--events", events.text(), "--lines", &lines, "--seed", "3", "--agents", "6"]);
    fs::remove_file(events.stream("pnl")).expect("its profits");
    let toml = "[reconcile]\nenabled = true\nhorizon_min = 360\nstop_bps = 60\nfee_bps = 1.5\nslippage_bps = 0.5\n";
    let policy = json!({
        "kind": "policy", "event_id": "p", "ts": "2026-01-01T00:00:00Z", "actor": "ann", "policy": toml,
    });
    events.append("control", format!("{policy}\n"));
    events
}

/// The profits that were written, by run; each of them once.
fn written(events: &Events) -> BTreeMap<String, Value> {
    let text = fs::read_to_string(events.stream("reconcile")).unwrap_or_default();
    let mut all = BTreeMap::new();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).expect("a whole line");
        let run = line["run_id"].as_str().expect("a run").to_owned();
        assert!(all.insert(run, line).is_none(), "a run is reconciled twice");
    }
    all
}

#[test]
fn every_signal_earns_what_a_plain_recount_says() {
    let events = fleet(6_000);
    let server = Server::start(events.path(), &[]);
    server.ready();
    let want = Command::new("python3")
        .arg(repository("tests/reconcile/recount.py"))
        .arg(events.path())
        .output()
        .expect("python3 starts");
    let want: Vec<Value> = stdout(&want).lines().map(|line| serde_json::from_str(line).expect("a profit")).collect();
    assert!(want.len() > 500, "only {} signals were closed", want.len());
    wait_until("all are written", || written(&events).len() >= want.len());
    let got = written(&events);
    assert_eq!(got.len(), want.len());
    for want in &want {
        let got = &got[want["run_id"].as_str().expect("a run")];
        assert_eq!(got["agent"], want["agent"], "{got}");
        for field in ["entry_price", "exit_price", "notional_usd", "realized_pnl_bps"] {
            let number = |line: &Value| line[field].as_f64().expect("a number");
            let (a, b) = (number(got), number(want));
            assert!((a - b).abs() <= 1e-9 * b.abs().max(1.0), "{field}: {got} {want}");
        }
    }
    eprintln!("{} signals reconciled as recounted", want.len());
    let counted = |state: &Value| -> u64 {
        let agents = state["agents"].as_object().expect("agents");
        agents.values().map(|row| row["reconcile"]["closed"].as_u64().unwrap_or(0)).sum()
    };
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(counted(&events.replay()), want.len() as u64);
    // A refold from the first line makes the same decisions, and writes none of them again.
    fs::remove_dir_all(events.path().join(".runtape/snapshots")).expect("its snapshots");
    let server = Server::start(events.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(written(&events).len(), want.len());
}

#[test]
fn a_kill_loses_none_and_repeats_none() {
    let source = fleet(8_000);
    let events = Events::new();
    fs::copy(source.stream("control"), events.stream("control")).expect("the policy");
    let streams = ["alpha", "prices", "runs"];
    let text = |name| fs::read_to_string(source.stream(name)).expect("a stream");
    let texts: Vec<(&str, String)> = streams.into_iter().map(|name| (name, text(name))).collect();
    for round in 0..12 {
        let server = Server::start(events.path(), &[]);
        for (name, text) in &texts {
            let lines: Vec<&str> = text.lines().collect();
            let part = &lines[lines.len() * round / 12..lines.len() * (round + 1) / 12];
            events.append(name, part.join("\n") + "\n");
        }
        thread::sleep(Duration::from_millis(7 * round as u64 + 1));
        server.kill();
    }
    let server = Server::start(events.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
    let decided = events.decisions();
    let decided: Vec<Value> = decided
        .lines()
        .map(|line| serde_json::from_str(line).expect("a decision"))
        .filter(|line: &Value| line["consumer"] == "reconcile")
        .collect();
    let got = written(&events);
    assert!(got.len() > 300, "only {} were reconciled", got.len());
    assert_eq!(got.len(), decided.len(), "as many lines as decisions");
    for decision in &decided {
        let line = &got[decision["reason"]["run_id"].as_str().expect("a run")];
        assert_eq!(
            (&line["cause"], &line["realized_pnl_bps"]),
            (&decision["cause"], &decision["reason"]["realized_pnl_bps"])
        );
    }
}
