//! `runtape verify --decisions`: what was written live against what the tape gives.

use std::fs;

use serde_json::Value;

use super::{layout, recorded};
use crate::support::{Events, run};

/// What is said of the decisions file of `quarantine` after its lines were changed, with the exit code.
fn check(events: &Events, change: impl FnOnce(&mut Vec<String>), code: i32, want: &[&str]) {
    let path = layout(events).decisions("quarantine");
    let whole = fs::read_to_string(&path).expect("decisions");
    let mut lines: Vec<String> = whole.lines().map(str::to_owned).collect();
    change(&mut lines);
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    fs::write(&path, text).expect("a writable file");
    let output = run(&["verify", "--decisions", "--events", events.text()]);
    fs::write(&path, whole).expect("a writable file");
    let said = String::from_utf8_lossy(&output.stdout);
    for want in want {
        assert!(said.contains(want), "{want} is not in:\n{said}");
    }
    assert_eq!(output.status.code(), Some(code), "{said}");
}

fn edit(line: &mut String, change: impl FnOnce(&mut Value)) {
    let mut value: Value = serde_json::from_str(line).expect("a decision");
    change(&mut value);
    *line = value.to_string();
}

#[test]
fn an_edited_a_missing_and_an_added_decision_are_named() {
    let events = recorded();
    let path = layout(&events).decisions("quarantine");
    let text = fs::read_to_string(&path).expect("decisions");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a decision")).collect();
    let (third, last) = (&lines[2], &lines[lines.len() - 1]);
    let whom = |line: &Value| {
        let text = |key: &str| line[key].as_str().expect("a text").to_owned();
        format!("the decision at position {} ({}, {})", line["cause"], text("subject"), text("verdict"))
    };
    let rule = third["reason"]["rule"].as_str().expect("a rule");
    check(&events, |_| (), 0, &["intact", " decisions are what the tape gives"]);
    let edited = format!("line 3, {}: `reason.rule` is \"luck\", the tape gives \"{rule}\"", whom(third));
    check(
        &events,
        |lines| edit(&mut lines[2], |line| line["reason"]["rule"] = "luck".into()),
        1,
        &["DAMAGED", &edited],
    );
    let moved = format!("line 3, {}: `cause` is 9{}, the tape gives {}", whom(third), third["cause"], third["cause"]);
    let cause: Value = format!("9{}", third["cause"]).parse().expect("a number");
    check(&events, |lines| edit(&mut lines[2], |line| line["cause"] = cause), 1, &[&moved]);
    check(&events, |lines| lines[2].push(' '), 1, &["line 3, ", "its bytes differ, though they say the same"]);
    check(&events, |lines| lines[2].truncate(20), 1, &["line 3: not a decision"]);
    let missing = format!("before line 3: {} is missing", whom(third));
    check(&events, |lines| drop(lines.remove(2)), 1, &[&missing]);
    let lost = format!("after its last line: {} is missing", whom(last));
    check(&events, |lines| drop(lines.pop()), 1, &[&lost]);
    let added = |lines: &mut Vec<String>| {
        let mut line = lines[2].clone();
        edit(&mut line, |line| line["ordinal"] = 7.into());
        lines.insert(3, line);
    };
    let extra = format!("line 4, a decision at position {}: the tape gives no such decision", third["cause"]);
    check(&events, added, 1, &[&extra]);
}

#[test]
fn a_decision_is_judged_by_the_version_it_names() {
    let events = recorded();
    let older = |lines: &mut Vec<String>| edit(&mut lines[0], |line| line["version"] = 1.into());
    check(&events, older, 0, &["intact", "1 decisions of quarantine are not compared: they name version 1"]);
    let newer = |lines: &mut Vec<String>| edit(&mut lines[0], |line| line["version"] = 99.into());
    check(&events, newer, 1, &["line 1, ", "`version` is 99, the tape gives"]);
    let again = |lines: &mut Vec<String>| edit(&mut lines[4], |line| line["version"] = 1.into());
    check(&events, again, 1, &["line 5, ", "`version` is 1, the tape gives"]);
}

#[test]
fn what_no_snapshot_stands_past_is_written_by_the_next_start() {
    let events = recorded();
    fs::remove_dir_all(layout(&events).snapshots()).expect("snapshots");
    check(&events, |lines| drop(lines.pop()), 0, &["1 decisions are not written yet"]);
    check(&events, |lines| drop(lines.remove(0)), 1, &["before line 1: ", "is missing"]);
}
