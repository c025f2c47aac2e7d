//! What other programs recorded, imported: the lines, what is refused and where, and what a replay makes of it. The samples
//! below `tests/import` are invented, in the formats that are documented in `src/import`.

use std::{
    fs,
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::support::{Events, RUNTAPE, golden, repository, run, stdout};

/// A sample file.
fn sample(name: &str) -> String {
    repository("tests/import").join(name).to_str().expect("a UTF-8 path").to_owned()
}

/// The arguments with `@NAME` made the path of a sample.
fn arguments(events: &Events, args: &[&str]) -> Vec<String> {
    let path = |arg: &&str| arg.strip_prefix('@').map_or((*arg).to_owned(), sample);
    let head = ["import".to_owned(), "--events".to_owned(), events.text().to_owned()];
    head.into_iter().chain(args.iter().map(path)).collect()
}

/// Imports, and gives the exit code and what was said, without the paths of this machine.
fn import(events: &Events, args: &[&str]) -> (Option<i32>, String) {
    let args = arguments(events, args);
    let output = run(&args.iter().map(String::as_str).collect::<Vec<_>>());
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    let said = said.replace(&sample(""), "").replace(&format!("{}/", events.text()), "");
    assert!(!said.contains("panicked"), "{said}");
    (output.status.code(), said)
}

/// Imports twice; compares what is told, the lines and the replayed numbers with files. The state is that of one import.
fn check(name: &str, stream: &str, code: i32, args: &[&str]) {
    let events = Events::new();
    let dry = import(&events, &[args, &["--dry-run"]].concat());
    assert_eq!(dry.0, Some(code), "{}", dry.1);
    golden(&format!("import/{name}.dry.txt"), &dry.1);
    assert!(!events.stream(stream).exists(), "a dry run wrote something");
    let first = import(&events, args);
    assert_eq!(first.0, Some(code), "{}", first.1);
    let lines = fs::read_to_string(events.stream(stream)).expect("a stream");
    golden(&format!("import/{name}.jsonl"), &format!("{lines}{}", first.1));
    let once = events.replay();
    import(&events, args);
    let twice = events.replay();
    assert_eq!(twice["lines"]["duplicate"], lines.lines().count(), "{name}: {}", twice["lines"]);
    assert_eq!(once["lines"].get("malformed").and_then(Value::as_u64).unwrap_or(0), 0, "{}", once["lines"]);
    for part in ["agents", "strategies", "fleet", "budget"] {
        let state = |state: &Value| without_positions(state[part].clone());
        assert_eq!(state(&once), state(&twice), "{name}: {part}");
    }
    let mut rows = String::new();
    for (agent, row) in once["agents"].as_object().expect("agents") {
        let of =
            ["runs", "errors", "tokens_in", "tokens_out", "cost_usd", "default_priced_runs"].map(|field| &row[field]);
        let pnl = ["sum", "count"].map(|field| &row["pnl_bps"][field]);
        let (latency, reward) = (&row["latency_ms"]["last"], &row["reward"]["sum"]);
        rows += &format!("{agent}: {of:?} latency {latency} reward {reward} pnl {pnl:?}\n");
    }
    golden(&format!("import/{name}.state.txt"), &rows);
}

/// A state without the places on the tape, which a second import does move.
fn without_positions(state: Value) -> Value {
    match state {
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(key, _)| !key.contains("position"));
            Value::Object(kept.map(|(key, value)| (key, without_positions(value))).collect())
        }
        other => other,
    }
}

#[test]
fn records_of_json_by_a_mapping() {
    check("json", "old", 1, &["json", "--map", "@runs.toml", "--records", "runs", "--stream", "old", "@runs.json"]);
}

#[test]
fn rows_of_csv_by_a_mapping() {
    check("csv", "fills", 1, &["csv", "--map", "@fills.toml", "--stream", "fills", "@fills.csv"]);
}

#[test]
fn trades_of_freqtrade() {
    check("freqtrade", "freqtrade", 1, &["freqtrade", "@freqtrade.json"]);
}

#[test]
fn the_archive_that_freqtrade_writes() {
    let (plain, packed) = (Events::new(), Events::new());
    let archive = packed.path().join("result.zip");
    let mut writer = zip::ZipWriter::new(fs::File::create(&archive).expect("a writable file"));
    for (name, text) in [
        ("backtest-result.json", fs::read_to_string(sample("freqtrade.json")).expect("a sample")),
        ("backtest-result_config.json", "{\"stake_currency\": \"USDT\"}".to_owned()),
        ("backtest-result_BreakoutV3.py", "class BreakoutV3: pass".to_owned()),
    ] {
        writer.start_file(name, zip::write::SimpleFileOptions::default()).expect("a member");
        writer.write_all(text.as_bytes()).expect("a member");
    }
    writer.finish().expect("an archive");
    import(&plain, &["freqtrade", "@freqtrade.json"]);
    let (code, said) = import(&packed, &["freqtrade", archive.to_str().expect("a UTF-8 path")]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("result.zip/backtest-result.json strategy.BreakoutV3.trades[3]"), "{said}");
    let lines = |events: &Events| fs::read_to_string(events.stream("freqtrade")).expect("a stream");
    assert_eq!(lines(&plain), lines(&packed));
}

#[test]
fn spend_logs_of_litellm() {
    check("litellm", "litellm", 1, &["litellm", "@litellm.json"]);
    check("litellm-csv", "litellm", 0, &["litellm", "--agent-from", "end_user", "@litellm.csv"]);
    let free = Events::new();
    import(&free, &["litellm", "--zero-is-free", "--agent", "a", "@litellm.json"]);
    let row = &free.replay()["agents"]["a"];
    assert_eq!((&row["runs"], row["default_priced_runs"].as_u64().unwrap_or(0)), (&Value::from(5), 0), "{row}");
}

#[test]
fn traces_of_langfuse() {
    let files = ["@langfuse-observations.jsonl", "@langfuse-traces.json", "@langfuse-scores.csv"];
    check("langfuse", "langfuse", 1, &[&["langfuse", "--reward-score", "quality"], &files[..]].concat());
    let (there, back) = (Events::new(), Events::new());
    let args =
        |order: [usize; 3]| [&["langfuse", "--reward-score", "quality"], &order.map(|at| files[at])[..]].concat();
    import(&there, &args([0, 1, 2]));
    import(&back, &args([2, 1, 0]));
    assert_eq!(there.replay()["agents"], back.replay()["agents"], "whatever the order of the files");
}

#[test]
fn mistakes_are_told_with_a_way_out() {
    let events = Events::new();
    let map = events.path().join("map.toml");
    fs::write(&map, "runid = \"id\"\n").expect("a writable file");
    let map = map.to_str().expect("a UTF-8 path");
    for (args, code, says) in [
        (
            &["json", "--map", map, "--stream", "s", "@runs.json"][..],
            2,
            &["map.toml", "runid", "did you mean run_id?"][..],
        ),
        (&["json", "--map", "@absent.toml", "--stream", "s", "@runs.json"], 3, &["cannot read the mapping"]),
        (&["json", "--map", "@runs.toml", "--stream", "control", "@runs.json"], 2, &["only runtape itself"]),
        (&["json", "--map", "@runs.toml", "--stream", "a/b", "@runs.json"], 2, &["no stream name"]),
        (&["json", "--map", "@runs.toml", "--stream", "s", "@absent.json"], 3, &["cannot read", "absent.json"]),
        (&["json", "--map", "@runs.toml", "--stream", "s", "@runs.toml"], 1, &["runs.toml line 1", "not JSON"]),
        (&["json", "--map", "@runs.toml", "--stream", "s", "--records", "a[", "@runs.json"], 2, &["--records", "a["]),
        (&["json", "--map", "@runs.toml", "--stream", "s"], 2, &["INPUT"]),
        (&["freqtrade", "@litellm.json"], 1, &["litellm.json record 1", "strategy.NAME.trades"]),
        (&["litellm", "--agent-from", "a..b", "@litellm.json"], 2, &["--agent-from", "a..b"]),
    ] {
        let (got, said) = import(&events, args);
        assert_eq!(got, Some(code), "{args:?}: {said}");
        says.iter().for_each(|word| assert!(said.contains(word), "{args:?} should say {word:?}: {said}"));
    }
}

#[test]
fn standard_input_is_a_file_too() {
    let events = Events::new();
    let args = arguments(&events, &["csv", "--map", "@fills.toml", "--stream", "fills", "-"]);
    let mut child =
        Command::new(RUNTAPE).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a start");
    let text = "closed,trade,bot,profit_pct\n2026-03-01T15:00:00Z,1,a,0.5\n";
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("a reader");
    stdout(&child.wait_with_output().expect("an end"));
    assert_eq!(events.replay()["agents"]["a"]["pnl_bps"]["sum"], 50.0);
}
