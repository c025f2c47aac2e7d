use std::fs;

use runtape::{
    clock::Clock,
    layout::Layout,
    policy::{InForce, Policy},
    replay::{replay, trials},
    tape::{Directory, Until},
};
use serde_json::Value;

use crate::support::{Events, json, repository, run, stdout};

/// The demo fleet, and a policy file beside it.
fn demo(policy: &str) -> (Events, String) {
    let events = Events::copy_of(&repository("events/demo"));
    let file = events.path().join("policy.toml");
    fs::write(&file, policy).expect("a writable file");
    let file = file.to_str().expect("a UTF-8 path").to_owned();
    (events, file)
}

fn open(events: &Events) -> Directory {
    Directory::open(Layout::new(events.path()), Some(Clock::system().now())).expect("a directory")
}

fn whatif(events: &Events, args: &[&str]) -> Value {
    json(&run(&[&["whatif", "--events", events.text(), "-o", "json"], args].concat()))
}

#[test]
fn the_policy_in_force_changes_nothing() {
    let (events, file) = demo("");
    fs::write(&file, stdout(&run(&["policy", "show", "--in-force", "--events", events.text()]))).expect("a file");
    let answer = whatif(&events, &["--policy", &file]);
    let (now, then) = (&answer["in_force"], &answer["policies"][0]);
    assert_eq!(now["agents"], then["agents"]);
    assert!(now["kills"].as_u64() > Some(0) && now["runs_denied"].as_u64() > Some(0), "{now}");
    let text = stdout(&run(&["whatif", "--events", events.text(), "--policy", &file]));
    assert!(text.contains("where it first says something else\n  nowhere\n"), "{text}");
    assert!(text.contains("cannot invent those that did not"), "{text}");
}

#[test]
fn a_lenient_gate_lets_the_killed_live() {
    let (events, file) = demo("[gates.kill]\nlast_5_pnl_bps = -100000.0\nmax_error_rate = 1.0\n");
    let answer = whatif(&events, &["--policy", &file]);
    assert_eq!(answer["policies"][0]["kills"], 0);
    let decided = events.decisions();
    let killed = decided.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let killed: Vec<Value> =
        killed.filter(|line| line["verdict"] == "killed" && line["subject_kind"] == "agent").collect();
    assert!(!killed.is_empty());
    let runs = trials(&open(&events), &[], 1, &mut |_| ()).expect("a readable history").runs;
    for line in killed {
        let (name, cause) = (line["subject"].as_str().expect("a name"), line["cause"].as_u64().expect("a position"));
        let lives = &answer["policies"][0]["agents"][name]["lives"];
        let after = || runs.all.iter().filter(|run| runs.agent(run) == name && run.position > cause);
        let earned: f64 = after().filter_map(|run| run.pnl_bps).sum();
        assert_eq!((&lives["killed_at"], lives["runs"].as_u64()), (&line["cause"], Some(after().count() as u64)));
        assert!((lives["pnl_bps"].as_f64().expect("a sum") - earned).abs() < 1e-9, "{lives}, want {earned}");
    }
}

/// Each outcome is that of a replay under that policy alone, whatever is tried beside it, on any number of threads.
#[test]
fn many_policies_at_once_are_each_alone() {
    let events = Events::new();
    stdout(&run(&["simulate", "--events", events.text(), "--lines", "4000", "--seed", "9"]));
    let policies: Vec<_> = [
        "",
        "[quarantine]\ndrawdown_limit = -1.0\nclear_drawdown = -1.0\n",
        "[gates]\nwindow = 30\n",
        "[limits]\njoin_runs = 1000\n",
    ]
    .into_iter()
    .map(|text| std::sync::Arc::new(InForce::new(Policy::from_toml(text).expect("a policy"))))
    .collect();
    let directory = open(&events);
    let together = trials(&directory, &policies, 3, &mut |_| ()).expect("a readable history");
    for (policy, outcome) in policies.iter().zip(&together.outcomes) {
        let alone = trials(&directory, std::slice::from_ref(policy), 1, &mut |_| ()).expect("a readable history");
        assert_eq!(&alone.outcomes[0], outcome);
        let mut kills = 0;
        replay(&directory, runtape::consumers::REGISTRY, Some(policy.clone()), Until::End, 1, |_, emitted| {
            let of_agents =
                emitted.iter().map(runtape::fold::Emitted::line).filter(|line| line.subject_kind == "agent");
            kills += of_agents.filter(|line| line.verdict == "killed").count() as u64;
        })
        .expect("a readable history");
        assert_eq!(outcome.whole.kills, kills);
    }
    assert_ne!(together.outcomes[0], together.outcomes[1]);
}

#[test]
fn a_sweep_has_a_frontier() {
    let (events, _) = demo("");
    let answer = whatif(&events, &["--sweep", "quarantine.drawdown_limit=-1..-10:10"]);
    let points = answer["policies"].as_array().expect("policies");
    assert_eq!(points.len(), 10);
    let denied: Vec<u64> = points.iter().filter_map(|row| row["runs_denied"].as_u64()).collect();
    assert!(denied[0] > denied[9], "{denied:?}");
    assert!(points.iter().any(|row| row["frontier"] == true), "{answer}");
    let text = stdout(&run(&["whatif", "--events", events.text(), "--sweep", "gates.kill.max_error_rate=0.1..0.5:3"]));
    assert!(text.contains("gates.kill.max_error_rate=0.3"), "{text}");
}

#[test]
fn what_cannot_be_tried_is_told() {
    let (events, file) = demo("[quarantine]\ndrawdown_limit = \"low\"\n");
    for (args, code, told) in [
        (&[][..], 2, "nothing to try"),
        (&["--policy", &file], 2, "drawdown_limit"),
        (&["--policy", "nowhere.toml"], 3, "nowhere.toml"),
        (&["--sweep", "quarantine.drawdwon_limit=-1..-2:2"], 2, "did you mean drawdown_limit?"),
        (&["--sweep", "quarantine.drawdown_limit=5..6:2"], 2, "drawdown_limit=5"),
        (&["--sweep", "quarantine.drawdown_limit"], 2, "KEY=FROM..TO:COUNT"),
    ] {
        let output = run(&[&["whatif", "--events", events.text()], args].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(told), "{args:?}: {said}");
    }
}

#[test]
fn thresholds_are_suggested_with_whom_they_stop() {
    let (events, _) = demo("");
    let answer = json(&run(&["policy", "suggest", "--events", events.text(), "-o", "json"]));
    let rows = answer["suggestions"].as_array().expect("suggestions");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let (now, then) = (row["net_bps_now"].as_f64(), row["net_bps"].as_f64());
        assert_eq!(row["try"].is_number(), then > now, "{row}");
        if let (Some(value), Some(key)) = (row["try"].as_f64(), row["key"].as_str()) {
            let sweep = format!("{key}={value}..{value}:2");
            let tried = whatif(&events, &["--sweep", &sweep]);
            assert_eq!(tried["policies"][0]["net_bps"].as_f64(), then, "{row}");
        }
    }
    let text = stdout(&run(&["policy", "suggest", "--events", events.text()]));
    assert!(
        text.contains("quarantine.drawdown_limit") && text.contains("What served best on the past fits it"),
        "{text}"
    );
}
