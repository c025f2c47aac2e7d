use std::{fs, os::unix::fs::FileExt};

use serde_json::Value;

use crate::{
    support::{Events, json, run, wait_until},
    talk::Talk,
};

/// Ten runs and their profits, sealed in rounds of two lines each.
fn recorded() -> Events {
    let events = Events::new();
    let talk = Talk::start(events.path(), &["--snapshot-every", "0.05"]);
    for n in 0..10 {
        events.append("runs", format!("{{\"run_id\":\"run-{n}\",\"agent\":\"a{}\",\"latency_ms\":{n}}}\n", n % 2));
        wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(f64::from(2 * n + 1)));
        events.append("pnl", format!("{{\"run_id\":\"run-{n}\",\"realized_pnl_bps\":-{n}}}\n"));
        wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(f64::from(2 * n + 2)));
    }
    talk.terminate();
    events
}

/// What is printed for a question that cannot be answered, by its exit code and some of its words.
#[track_caller]
fn check(events: &Events, args: &[&str], code: i32, told: &[&str]) {
    let output = run(&[&["forensics", "--events", events.text()], args].concat());
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for told in told {
        assert!(said.contains(told), "{args:?} should say {told:?}: {said}");
    }
}

#[test]
fn nobody_of_that_name() {
    let events = Events::new();
    check(&events, &["fleet"], 0, &["0 runs"]);
    check(&events, &["run", "x"], 2, &["no line names a run x"]);
    check(&events, &["agent", "x"], 2, &["there is no agent x", "there is no agent yet"]);
    events.append("runs", "{\"run_id\":\"run-10\",\"agent\":\"momentum\",\"latency_ms\":5}\n");
    events.append(
        "runs",
        "{\"run_id\":\"run-12\",\"latency_ms\":5}\n{\"run_id\":\"other\",\"agent\":\"b\",\"reward\":1}\n",
    );
    check(&events, &["run", "run-11"], 2, &["no line names a run run-11", "run-10", "run-12"]);
    check(&events, &["agent", "momentun"], 2, &["there is no agent momentun", "did you mean momentum?"]);
    check(&events, &["fleet", "--q", "1"], 2, &["--q 1", "between 0 and 1"]);
    check(&events, &["run", "run-12"], 0, &["none names an agent"]);
    events.append("pnl", "{\"run_id\":\"nobody\",\"agent\":\"b\",\"realized_pnl_bps\":1}\n");
    check(
        &events,
        &["agent", "momentum"],
        0,
        &["no PnL names a run of it; 1 PnL records name no run", "too few", "no run lost"],
    );
    check(&events, &["run", "run-10"], 0, &["it has no PnL yet"]);
}

#[test]
fn a_hole_in_the_history_is_told_and_the_rest_is_answered() {
    let events = recorded();
    let before = json(&run(&["forensics", "run", "run-8", "--events", events.text(), "-o", "json"]));
    let runs = fs::OpenOptions::new().write(true).open(events.stream("runs")).expect("a stream");
    // A digit of the fourth run's latency.
    let text = fs::read_to_string(events.stream("runs")).expect("a stream");
    let at = text.find("\"latency_ms\":3").expect("the fourth run") + 13;
    runs.write_all_at(b"7", at as u64).expect("a writable stream");
    let gap = ["positions 6 to 7 are left out", "stream runs", "runtape verify"];
    check(&events, &["fleet"], 1, &gap);
    check(&events, &["fleet"], 1, &["the fleet at position 20: 9 runs, 9 with PnL"]);
    check(&events, &["agent", "a1"], 1, &gap);
    check(&events, &["run", "run-3"], 1, &["no line of it was folded"]);
    // Of an agent that has nothing to do with it.
    let output = run(&["forensics", "run", "run-8", "--events", events.text(), "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let after: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&after["lines"], &after["gaps"][0]["from"]), (&before["lines"], &6.into()));
    assert_eq!(after["run"], before["run"]);
}

#[test]
fn a_pruned_history_is_told_from_where_it_begins() {
    let (whole, events) = (recorded(), recorded());
    let pruned = run(&["prune", "--events", events.text(), "--before", "12", "--yes"]);
    assert!(pruned.status.success(), "{}", String::from_utf8_lossy(&pruned.stderr));
    check(&events, &["run", "run-2"], 2, &["no line names a run run-2"]);
    let told = |events: &Events| json(&run(&["forensics", "run", "run-7", "--events", events.text(), "-o", "json"]));
    let (want, got) = (told(&whole), told(&events));
    assert_eq!((&want["from"], &got["from"]), (&0.into(), &12.into()));
    for part in ["lines", "before", "after", "decisions"] {
        let without_time = |value: &Value| value.to_string().split("\"since\"").next().map(str::to_owned);
        assert_eq!(without_time(&want[part]), without_time(&got[part]), "{part}");
    }
    check(&events, &["agent", "a1"], 0, &["a1 at position 20: 2 runs, 2 with PnL, 2 of them lost"]);
}
