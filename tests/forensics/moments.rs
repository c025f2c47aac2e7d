use std::fs;

use runtape::event::time;
use serde_json::Value;

use crate::{
    support::{Events, json, run, stdout, wait_until},
    talk::Talk,
};

/// A simulated fleet, appended bit by bit under a server that saves often; every snapshot it ever wrote is kept.
fn recorded() -> Events {
    let (source, events, kept) = (Events::new(), Events::new(), Events::new());
    stdout(&run(&["simulate", "--events", source.text(), "--lines", "1500", "--seed", "3"]));
    let talk = Talk::start(events.path(), &["--snapshot-every", "0.02"]);
    let snapshots = events.path().join(".runtape/snapshots");
    let streams: Vec<(String, Vec<String>)> = ["runs", "alpha", "pnl"]
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(source.stream(name)).expect("a stream");
            (name.to_owned(), text.lines().map(|line| format!("{line}\n")).collect())
        })
        .collect();
    let mut appended = 0;
    for part in 0..6 {
        for (name, lines) in &streams {
            let share = lines.len() / 6;
            let mine = &lines[part * share..(part + 1) * share];
            events.append(name, mine.concat());
            appended += mine.len();
        }
        wait_until("it is saved", || {
            let saved = talk.metrics().get("runtape_consumer_snapshot_position{consumer=\"gates\"}");
            saved == Some(appended as f64)
        });
        for entry in fs::read_dir(&snapshots).expect("snapshots").flatten() {
            fs::copy(entry.path(), kept.path().join(entry.file_name())).ok();
        }
    }
    talk.terminate();
    for entry in fs::read_dir(kept.path()).expect("snapshots").flatten() {
        fs::copy(entry.path(), snapshots.join(entry.file_name())).expect("a copy");
    }
    events
}

#[test]
fn a_moment_from_a_snapshot_is_the_moment_from_the_beginning() {
    let events = recorded();
    let end = events.replay()["position"].as_u64().expect("a position");
    let time_at = |at: u64| {
        let state = json(&run(&["replay", "--events", events.text(), "--at", &at.to_string(), "-o", "json"]));
        time::format((state["tape_time"].as_f64().expect("a time") * 1e9) as i64)
    };
    let moments = (0..12).map(|nth| (nth * end / 11).to_string());
    for moment in moments.chain([time_at(end / 3), time_at(end - 5)]) {
        let near = stdout(&run(&["replay", "--events", events.text(), "--at", &moment, "-o", "json"]));
        let whole = stdout(&run(&["replay", "--events", events.text(), "--at", &moment, "--whole", "-o", "json"]));
        assert_eq!(near, whole, "{moment}");
    }
}

#[test]
fn what_changed_between_two_moments_is_what_the_two_states_say() {
    let events = recorded();
    let at = |position: &str| json(&run(&["replay", "--events", events.text(), "--at", position, "-o", "json"]));
    let (before, after) = (at("300"), at("900"));
    let diff = json(&run(&["replay", "--events", events.text(), "--diff", "300", "900", "-o", "json"]));
    assert_eq!((&diff["from"], &diff["to"]), (&300.into(), &900.into()));
    let mut changed = 0;
    for (name, row) in after["agents"].as_object().expect("agents") {
        let runs = (&before["agents"][name]["runs"], &row["runs"]);
        let told = &diff["agents"][name]["runs"];
        assert_eq!(told.is_null(), runs.0 == runs.1, "{name}");
        if !told.is_null() {
            assert_eq!((&told[0], &told[1]), runs, "{name}");
            changed += 1;
        }
    }
    assert!(changed > 3);
    let decided = events.decisions();
    let between = decided.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let between: Vec<Value> =
        between.filter(|line| (300..900).contains(&line["cause"].as_u64().unwrap_or(0))).collect();
    assert_eq!(diff["decisions"].as_array().expect("decisions"), &between);
    let text = stdout(&run(&["replay", "--events", events.text(), "--diff", "300", "900"]));
    assert!(text.starts_with("what changed from before position 300 to before position 900\n\nagent "), "{text}");
    let same = stdout(&run(&["replay", "--events", events.text(), "--diff", "900", "900"]));
    assert_eq!(same, "what changed from before position 900 to before position 900\n\n0 decisions\n");
    let output = run(&["replay", "--events", events.text(), "--diff", "900", "300"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("earlier moment first"));
}
