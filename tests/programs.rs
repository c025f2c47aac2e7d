//! The command line as programs use it: JSON out of every answer, and out of every failure.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::support::{Events, RUNTAPE, repository};

/// Runs a command in an environment that asks for JSON.
fn machine(args: &[&str]) -> Output {
    Command::new(RUNTAPE).args(args).env("LLMFORMAT", "1").stdin(Stdio::null()).output().expect("the program starts")
}

#[test]
fn every_answer_is_json() {
    let events = Events::copy_of(&repository("events/demo"));
    let state = events.replay();
    let agent = state["agents"].as_object().and_then(|agents| agents.keys().next()).expect("an agent").clone();
    for args in [
        &["status", "--history", "3"][..],
        &["agents"],
        &["agent", &agent],
        &["decisions", "-n", "4"],
        &["budget"],
        &["replay"],
        &["replay", "--decisions"],
        &["tail", "-n", "3"],
        &["verify"],
        &["check", &agent],
        &["pause", &agent, "--dry-run"],
        &["pause", &agent],
        &["schema", "run"],
    ] {
        let directory: &[&str] = if args[0] == "schema" { &[] } else { &["--events", events.text()] };
        let output = machine(&[args, directory].concat());
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(matches!(output.status.code(), Some(0 | 1)), "{args:?}: {said}");
        let documents: Vec<Value> =
            serde_json::Deserializer::from_str(&text).into_iter().collect::<Result<_, _>>().expect("JSON");
        assert!(!documents.is_empty(), "{args:?} printed nothing: {said}");
    }
    let plain = machine(&["agents", "-o", "text", "--events", events.text()]);
    assert!(String::from_utf8_lossy(&plain.stdout).starts_with("agent"), "-o text wins");
}

/// A failure has this exit code, and these words in its fields.
#[track_caller]
fn fails(args: &[&str], exit: i32, fields: &[(&str, &str)]) {
    let output = machine(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit), "{args:?}: {said}");
    assert_eq!(said.lines().count(), 1, "{args:?}: {said}");
    let told: Value = serde_json::from_str(&said).expect("JSON");
    let error = &told["error"];
    assert_eq!(error["exit"], exit, "{args:?}: {said}");
    for (field, word) in fields {
        assert!(error[*field].as_str().is_some_and(|text| text.contains(word)), "{args:?}: {field}: {said}");
    }
}

#[test]
fn every_failure_is_json() {
    let events = Events::copy_of(&repository("events/demo"));
    let dir = events.text();
    let policy = events.path().join("policy.toml");
    std::fs::write(&policy, "[quarantine]\ndrawdwon_limit = -3.0\n").expect("a writable file");
    let policy = policy.to_str().expect("a UTF-8 path");
    fails(&["repaly"], 2, &[("code", "usage"), ("place", "repaly"), ("way_out", "replay")]);
    fails(&["agents", "--srot", "name"], 2, &[("code", "usage"), ("place", "--srot"), ("way_out", "--sort")]);
    fails(&["agents", "--sort", "nmae"], 2, &[("value", "nmae"), ("way_out", "name")]);
    fails(&["replay", "--events", "/nowhere"], 2, &[("code", "no_directory"), ("place", "/nowhere")]);
    fails(&["agents", "--server", "127.0.0.1:1"], 3, &[("code", "server_silent"), ("place", "127.0.0.1:1")]);
    fails(&["replay", "--events", dir, "--policy", policy], 2, &[("code", "policy"), ("place", "drawdwon_limit")]);
    fails(&["agent", "nobody", "--events", dir], 2, &[("code", "usage"), ("message", "nobody")]);
    fails(&["decisions", "--consumer", "gate", "--events", dir], 2, &[("message", "did you mean gates?")]);
    fails(&["tail", "--kind", "alhpa", "--events", dir], 2, &[("message", "did you mean alpha?")]);
    fails(&["pause", "--where", "gaet=killed", "--events", dir], 2, &[("message", "did you mean gate?")]);
    fails(&["top", "--events", dir], 2, &[("code", "usage"), ("message", "runtape status")]);
}
