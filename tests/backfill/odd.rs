use std::fs;

use serde_json::Value;

use super::{backfilled, gzip, script};
use crate::support::{Events, repository, run, stdout};

/// What a backfill that fails says, and its exit code.
fn refused(args: &[&str]) -> (i32, String) {
    let output = run(&[&["backfill"], args].concat());
    (output.status.code().expect("an exit code"), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_not_there_is_named_and_something_near_is_suggested() {
    let (logs, out) = (Events::new(), Events::new());
    logs.append("runs-2024", "{\"agent\":\"a\",\"errors\":0}\n");
    let out = out.path().join("tables");
    let out = out.to_str().expect("a UTF-8 path");
    let empty = Events::new();
    for (log, want) in [
        (format!("{}/rnus-2024*", logs.text()), "holds runs-2024.jsonl"),
        (format!("{}/2019/*.jsonl", logs.text()), "holds runs-2024.jsonl"),
        (format!("{}/runs-2042.jsonl", logs.text()), "did you mean"),
        (format!("{}/[", logs.text()), "is none"),
        (empty.text().to_owned(), "is empty"),
    ] {
        let (code, said) = refused(&["--out", out, &log]);
        assert_eq!(code, 2, "{said}");
        assert!(said.contains(want) && said.contains(&log), "{log}: {said}");
    }
    assert!(!fs::exists(out).expect("a readable directory"), "nothing is written");
}

#[test]
fn a_policy_that_does_not_parse_is_refused_with_its_field() {
    let out = Events::new();
    let file = out.path().join("policy.toml");
    fs::write(&file, "[gates]\nmin_rnus = 3\n").expect("a writable directory");
    let tables = out.path().join("tables");
    let demo = repository("events/demo");
    let (code, said) = refused(&[
        "--out",
        tables.to_str().expect("a UTF-8 path"),
        "--policy",
        file.to_str().expect("a UTF-8 path"),
        demo.to_str().expect("a UTF-8 path"),
    ]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("min_rnus") && said.contains("min_runs"), "{said}");
}

/// A packed log that was cut off, and one that is none: told, exit 1, the rest is answered.
#[test]
fn gaps_are_told_and_the_rest_is_answered() {
    let (logs, out) = (Events::new(), Events::new());
    let line =
        |run: usize| format!("{{\"run_id\":\"r{run}\",\"agent\":\"a\",\"ts\":{},\"errors\":0}}\n", 1_700_000_000 + run);
    let lines = |runs: std::ops::Range<usize>| runs.map(line).collect::<String>();
    fs::write(logs.path().join("runs.jsonl.3"), lines(0..20_000)).expect("a writable directory");
    fs::write(logs.path().join("runs.jsonl.1"), lines(20_000..20_010)).expect("a writable directory");
    fs::write(logs.path().join("runs.jsonl.2.gz"), "no gzip at all").expect("a writable directory");
    fs::write(logs.path().join("runs.jsonl"), lines(20_010..20_020) + "{\"run_id\":\"half")
        .expect("a writable directory");
    gzip(&logs.path().join("runs.jsonl.3"));
    let packed = logs.path().join("runs.jsonl.3.gz");
    let bytes = fs::read(&packed).expect("our own file");
    fs::write(&packed, &bytes[..bytes.len() / 2]).expect("our own file");

    let output = run(&["backfill", "--out", out.text(), "-o", "json", logs.text()]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let gaps = told["gaps"].as_array().expect("gaps");
    assert_eq!(gaps.len(), 3, "{gaps:?}");
    for name in ["runs.jsonl.3.gz", "runs.jsonl.2.gz", "runs.jsonl,"] {
        assert!(
            gaps.iter().any(|gap| gap["what"].as_str().is_some_and(|what| what.contains(name))),
            "{name}: {gaps:?}"
        );
    }
    let runs = told["runs"].as_u64().expect("a count");
    assert!(runs > 1000 && runs < 20_020, "{runs} rows");
    let Some(rows) = script("rows.py", &[out.text()]) else { return };
    assert_eq!(rows.lines().count() as u64, runs);
    assert!(
        rows.contains("'r20019'") && rows.contains("'r20009'") && rows.contains("'r0'") && !rows.contains("'r19999'")
    );
}

/// Producers changed their minds over the years: a flag became a count, a text a number. The columns stay as they are.
#[test]
fn columns_keep_their_types_whatever_the_lines_did() {
    let (logs, out) = (Events::new(), Events::new());
    logs.append(
        "runs",
        concat!(
            "{\"run_id\":\"1\",\"agent\":\"a\",\"ts\":\"2023-05-01T00:00:00Z\",\"errors\":true,\"tokens_in\":12.0,\"note\":1}\n",
            "{\"run_id\":\"2\",\"agent\":\"a\",\"ts\":1700000000,\"errors\":2,\"tokens_in\":12,\"note\":\"x\"}\n",
            "{\"run_id\":\"3\",\"agent\":\"a\",\"ts\":1700000000123,\"errors\":0,\"latency_ms\":\"120\",\"note\":[1]}\n",
            "{\"run_id\":\"4\",\"agent\":\"a\",\"ts\":\"2025-05-01T00:00:00Z\",\"errors\":false,\"latency_ms\":120,\"note\":null}\n",
        ),
    );
    let told = backfilled(&out, &[logs.text()]);
    assert_eq!((&told["runs"], &told["lines"]["malformed"]), (&3.into(), &1.into()), "{told}");
    assert_eq!(told["parts"].as_array().map(Vec::len), Some(3), "one day, one file: {told}");
    let said = stdout(&run(&["replay", "--events", logs.text(), "-o", "json"]));
    assert!(said.contains("\"malformed\": 1"), "{said}");
    let Some(schema) = script("schema.py", &[out.text(), "runs"]) else { return };
    assert!(
        schema.contains("[\"latency_ms\", \"DOUBLE\"]") && schema.contains("[\"tokens_in\", \"INT64\"]"),
        "{schema}"
    );
}

/// The same bytes under two names are folded once, and told.
#[test]
fn copies_are_left_out_and_told() {
    let (logs, out) = (Events::new(), Events::new());
    let line = "{\"run_id\":\"1\",\"agent\":\"a\",\"errors\":0}\n";
    logs.append("runs", line);
    logs.append("copy", line);
    let told = backfilled(&out, &[logs.text()]);
    assert_eq!((told["runs"].as_u64(), told["copies"].as_array().map(Vec::len)), (Some(1), Some(1)), "{told}");
    assert!(told["parts"][0].as_str().is_some_and(|part| part.contains("__HIVE_DEFAULT_PARTITION__")), "{told}");
}
