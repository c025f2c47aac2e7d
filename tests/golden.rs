//! What the program prints for the sample streams, kept as files: `UPDATE_GOLDEN=1 cargo test` writes them anew, and the
//! diff says what a change means.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Events, Metrics, RUNTAPE, Server, golden, json, repository, run, stdout};

/// Every sample: the demo, then each story, by name.
pub fn samples() -> Vec<(String, PathBuf)> {
    let mut samples = vec![("demo".to_owned(), repository("events/demo"))];
    let stories = fs::read_dir(repository("events/stories")).expect("the stories");
    for story in stories.flatten().filter(|entry| entry.path().is_dir()) {
        samples.push((story.file_name().to_string_lossy().into_owned(), story.path()));
    }
    samples.sort();
    assert!(samples.len() > 9, "only {} samples", samples.len());
    samples
}

fn replay(folder: &Path, more: &[&str]) -> String {
    let folder = folder.to_str().expect("a UTF-8 path");
    stdout(&run(&[&["replay", "--events", folder], more].concat()))
}

#[test]
fn every_story_replays_to_its_file() {
    let mut wanted = BTreeSet::new();
    for (name, folder) in samples() {
        let state = replay(&folder, &["-o", "json"]);
        let decisions = replay(&folder, &["--decisions", "-o", "jsonl"]);
        let count: Value = serde_json::from_str(&state).expect("JSON");
        assert_eq!(count["decisions"], decisions.lines().count(), "{name}: decisions counted and printed");
        golden(&format!("replay/{name}.json"), &state);
        golden(&format!("replay/{name}.decisions.jsonl"), &decisions);
        wanted.extend([format!("{name}.json"), format!("{name}.decisions.jsonl")]);
        assert!(!folder.join(".runtape").exists(), "{name}: reading wrote something");
    }
    let files = fs::read_dir(repository("tests/golden/replay")).expect("the golden files");
    let kept: BTreeSet<String> = files.flatten().map(|f| f.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(kept, wanted, "a golden file of a story that is gone");
}

#[test]
fn every_story_says_what_happens_and_what_to_look_for() {
    for (name, folder) in samples() {
        let readme = fs::read_to_string(folder.join("README.md")).unwrap_or_default();
        let lines: Vec<&str> = readme.lines().collect();
        assert_eq!(lines.len(), 2, "{name}: README.md has two lines");
        assert!(lines[0].starts_with("What happens: "), "{name}: {}", lines[0]);
        assert!(lines[1].starts_with("Look for: "), "{name}: {}", lines[1]);
    }
}

/// Where a field of a row is found on the metric page.
const FIELDS: &[(&str, &str)] = &[
    ("/runs", "runs_total{SUBJECT}"),
    ("/tokens_in", "tokens_total{SUBJECT,direction=\"in\"}"),
    ("/tokens_out", "tokens_total{SUBJECT,direction=\"out\"}"),
    ("/cost_usd", "cost_usd_total{SUBJECT}"),
    ("/last_event", "last_event_timestamp_seconds{SUBJECT}"),
    ("/latency_ms/last", "last_latency_ms{SUBJECT}"),
    ("/reward/mean", "reward_mean{SUBJECT}"),
    ("/reward/std", "reward_std{SUBJECT}"),
    ("/reward/sharpe", "reward_sharpe{SUBJECT}"),
    ("/reward/drawdown", "reward_drawdown{SUBJECT}"),
    ("/pnl_bps/mean", "pnl_bps_mean{SUBJECT}"),
    ("/pnl_bps/std", "pnl_bps_std{SUBJECT}"),
    ("/pnl_bps/sharpe", "pnl_bps_sharpe{SUBJECT}"),
    ("/pnl_bps/drawdown", "pnl_bps_drawdown{SUBJECT}"),
    ("/pnl_bps/sum", "rolling_pnl_bps{SUBJECT}"),
    ("/quarantine/active", "quarantined{SUBJECT}"),
];

/// Holds the served page against a replayed state; returns how many numbers were compared.
fn same(name: &str, page: &Metrics, state: &Value) -> usize {
    let mut compared = 0;
    let mut check = |series: &str, want: &Value| {
        let want = want.as_f64().or_else(|| want.as_bool().map(|flag| f64::from(u8::from(flag))));
        assert_eq!(page.get(series), want, "{name}: {series}");
        compared += 1;
    };
    for (rows, kind) in [("agents", "agent"), ("strategies", "strategy")] {
        for (subject, row) in state[rows].as_object().expect("rows") {
            for (field, series) in FIELDS {
                let series = format!("{kind}_{}", series.replace("SUBJECT", &format!("{kind}={subject:?}")));
                check(&series, row.pointer(field).unwrap_or(&Value::Null));
            }
        }
    }
    check("runtape_position", &state["position"]);
    check("runtape_waiting_pnl", &state["waiting"]);
    for outcome in ["run", "alpha", "pnl", "malformed", "duplicate", "unknown"] {
        let label = format!("outcome={outcome:?}");
        let lines = page.0.lines().filter(|line| line.starts_with("runtape_lines_total{") && line.contains(&label));
        let sum: f64 = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum();
        assert_eq!(sum, state["lines"][outcome].as_f64().unwrap_or(0.0), "{name}: lines {outcome}");
        compared += 1;
    }
    compared
}

/// The story with a line dated decades ahead.
const SKEWED: &str = "skewed-clocks";

#[test]
fn a_story_served_shows_what_its_replay_shows() {
    let mut compared = 0;
    for (name, folder) in samples() {
        let replayed: Value = serde_json::from_str(&replay(&folder, &["-o", "json"])).expect("JSON");
        let events = Events::copy_of(&folder);
        let server = Server::start(events.path(), &[]);
        server.ready();
        let page = server.metrics();
        assert_eq!(server.terminate(), Some(0), "{name}: ends well");
        let taped = events.replay();
        compared += same(&name, &page, &taped);
        if name == SKEWED {
            assert_eq!(taped["lines"]["skewed"], 1, "a tape knows when a line came, an archive does not");
            continue;
        }
        assert_eq!(taped, replayed, "{name}: the tape replays to the same state");
        assert_eq!(events.decisions(), replay(&folder, &["--decisions", "-o", "jsonl"]), "{name}: the same decisions");
    }
    assert!(compared > 400, "only {compared} numbers were compared");
}

/// What a dashboard relies on: names, types and labels of the series of a served demo.
#[test]
fn the_names_on_the_page() {
    let events = Events::copy_of(&repository("events/demo"));
    let server = Server::start(events.path(), &[]);
    server.ready();
    for (file, accept) in [("text", "text/plain"), ("openmetrics", "application/openmetrics-text")] {
        let page = server.get_with("/metrics", &[("Accept", accept)]).body;
        let mut names = String::new();
        let mut seen = BTreeSet::new();
        for line in page.lines() {
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                names += &format!("{kind}\n");
            } else if !line.starts_with('#') && seen.insert(shape(line)) {
                names += &format!("    {}\n", shape(line));
            }
        }
        golden(&format!("metrics/{file}.txt"), &names);
    }
}

/// A sample without its values: `agent_tokens_total{agent,direction}`. Label values of the demo hold no quotes.
fn shape(line: &str) -> String {
    let sample = line.split(" # ").next().unwrap_or("");
    let (name, labels) = sample.split_once('{').unwrap_or((sample.split(' ').next().unwrap_or(""), ""));
    let labels = labels.split_once('}').map_or("", |(labels, _)| labels);
    let names: Vec<&str> = labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).collect();
    if names.is_empty() { name.to_owned() } else { format!("{name}{{{}}}", names.join(",")) }
}

fn help(command: &[&str]) -> String {
    let mut runtape = Command::new(RUNTAPE);
    // The width of the text is that of the terminal.
    runtape.args(command).arg("--help").env("COLUMNS", "100").stdin(Stdio::null());
    stdout(&runtape.output().expect("the program starts"))
}

#[test]
fn the_help_of_every_command() {
    let main = help(&[]);
    golden("help/runtape.txt", &main);
    let list = main.split_once("Commands:\n").expect("a list of commands").1;
    let list = list.lines().take_while(|line| !line.is_empty());
    let commands: Vec<&str> = list.filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let commands: Vec<&str> = commands.into_iter().filter(|name| !name.is_empty() && *name != "help").collect();
    assert!(commands.len() >= 5, "{commands:?}");
    for command in &commands {
        let text = help(&[command]);
        assert!(text.contains("Usage: runtape "), "{command}: {text}");
        golden(&format!("help/{command}.txt"), &text);
    }
    let known: BTreeSet<String> = commands.iter().chain(&["runtape"]).map(|name| format!("{name}.txt")).collect();
    let files = fs::read_dir(repository("tests/golden/help")).expect("the golden files");
    let kept: BTreeSet<String> = files.flatten().map(|f| f.file_name().to_string_lossy().into_owned()).collect();
    assert_eq!(kept, known, "a golden file of a command that is gone");
}

/// The seeded fleet is the same everywhere, and so is the state it leaves.
#[test]
fn the_simulated_fleet_replays_to_its_file() {
    let events = Events::new();
    stdout(&run(&["simulate", "--events", events.text(), "--seed", "7", "--agents", "8", "--lines", "3000"]));
    let state = json(&run(&["replay", "--events", events.text(), "-o", "json"]));
    let summary = format!("{}\n{}\n{}\n", state["lines"], state["decisions"], state["state_hash"]);
    golden("simulate.txt", &summary);
}
