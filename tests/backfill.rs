//! Old logs as tables, as the tools read them that people have.

/// Logs that are not what they should be.
mod odd;
/// Broken off and typed again; how much memory it takes.
mod resumed;
/// Tables that a server keeps up.
mod rollups;
/// The state at each step, as a table and in a Prometheus.
mod series;
/// Such tables without a server, turn by turn.
mod turns;

use std::{fs, io::Write, path::Path, process::Command};

use serde_json::{Value, json};

use crate::support::{
    Events,
    programs::{missing, tool},
    repository, run, stdout,
};

/// Tools that read Parquet, each judging by itself.
const READERS: [&str; 3] = ["duckdb", "pandas", "polars"];

/// A Python that has the readers.
fn python() -> Option<std::path::PathBuf> {
    let named = std::env::var_os("RUNTAPE_PYTHON").map(std::path::PathBuf::from);
    let has_readers = |python: &Path| {
        let import = Command::new(python).args(["-c", "import duckdb, pandas, polars, pyarrow"]).output();
        import.is_ok_and(|output| output.status.success())
    };
    let found = named.into_iter().chain(["python3".into()]).find(|python| has_readers(python));
    found.or_else(|| missing("no Python with duckdb, pandas, polars and pyarrow"))
}

/// What a script of `tests/backfill` prints.
fn script(name: &str, args: &[&str]) -> Option<String> {
    let python = python()?;
    let output = Command::new(python).arg(repository("tests/backfill").join(name)).args(args).output();
    Some(stdout(&output.expect("Python starts")))
}

/// A backfill with options; what it says of itself.
fn backfilled(out: &Events, args: &[&str]) -> Value {
    let output = run(&[&["backfill", "--out", out.text(), "-o", "json"], args].concat());
    serde_json::from_str(&stdout(&output)).expect("JSON")
}

#[track_caller]
fn near(what: &str, want: &Value, got: &Value) {
    let (a, b) = (want.as_f64().unwrap_or(0.0), got.as_f64().unwrap_or(0.0));
    assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{what}: want {want}, got {got}");
}

/// Every reader sums up the table to what a replay of the same events says; how many figures that were.
fn agrees(events: &Events, out: &Events) -> usize {
    let state = events.replay();
    let agents = state["agents"].as_object().expect("agents");
    let mut compared = 0;
    for reader in READERS {
        let Some(text) = script("aggregates.py", &[reader, out.text()]) else { return 0 };
        let table: Value = serde_json::from_str(&text).expect("JSON");
        let names: Vec<&String> = table.as_object().expect("agents").keys().collect();
        assert_eq!(names.len(), agents.len(), "{reader}: {names:?}");
        for (name, want) in agents {
            let got = &table[name];
            for field in ["runs", "errors", "tokens_in", "tokens_out", "cost_usd"] {
                near(&format!("{reader}, {name}, {field}"), &want[field], &got[field]);
            }
            for field in ["count", "sum", "mean"] {
                near(&format!("{reader}, {name}, pnl {field}"), &want["pnl_bps"][field], &got[format!("pnl_{field}")]);
            }
            compared += 8;
        }
    }
    compared
}

#[test]
fn every_reader_sums_up_to_what_a_replay_says() {
    let (demo, out) = (Events::copy_of(&repository("events/demo")), Events::new());
    let told = backfilled(&out, &["--events", demo.text()]);
    assert_eq!(told["position"], demo.replay()["position"]);
    let compared = agrees(&demo, &out);
    println!("{compared} figures of {} readers", READERS.len());

    let (fleet, out) = (Events::new(), Events::new());
    stdout(&run(&["simulate", "--events", fleet.text(), "--lines", "40000", "--seed", "3", "--agents", "20"]));
    backfilled(&out, &[fleet.text()]);
    agrees(&fleet, &out);
}

/// The same lines in many files, some packed, from several folders and patterns, give the same table.
#[test]
fn a_pile_of_logs_is_one_history() {
    let Some(zstd) = tool("zstd") else { return };
    let (whole, out) = (Events::new(), Events::new());
    stdout(&run(&["simulate", "--events", whole.text(), "--lines", "30000", "--seed", "7"]));
    backfilled(&out, &["--events", whole.text()]);
    let (pile, piled) = (Events::new(), Events::new());
    for entry in fs::read_dir(whole.path()).expect("streams").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let text = fs::read_to_string(entry.path()).expect("a stream");
        let cut = text[..text.len() / 2].rfind('\n').expect("lines") + 1;
        let third = text[..cut / 2].rfind('\n').expect("lines") + 1;
        let write = |name: String, text: &str| fs::write(pile.path().join(name), text).expect("a writable directory");
        write(format!("{name}.2"), &text[..third]);
        write(format!("{name}.1"), &text[third..cut]);
        write(name.clone(), &text[cut..]);
        gzip(&pile.path().join(format!("{name}.2")));
        let packed = Command::new(&zstd).args(["-q", "--rm"]).arg(pile.path().join(format!("{name}.1"))).status();
        assert!(packed.is_ok_and(|status| status.success()));
    }
    let told = backfilled(&piled, &[&format!("{}/*", pile.text())]);
    assert_eq!(told["copies"], json!([]));
    let Some(first) = script("rows.py", &[out.text()]) else { return };
    assert_eq!(Some(first), script("rows.py", &[piled.text()]));
}

/// Packs a file in place.
fn gzip(path: &Path) {
    let bytes = fs::read(path).expect("a file");
    let packed =
        fs::File::create(path.with_file_name(format!("{}.gz", path.file_name().expect("a name").to_string_lossy())));
    let mut encoder = flate2::write::GzEncoder::new(packed.expect("a writable directory"), flate2::Compression::fast());
    encoder.write_all(&bytes).and_then(|()| encoder.finish().map(drop)).expect("a writable file");
    fs::remove_file(path).expect("our own file");
}

/// The columns stand in the documentation as they stand in the files.
#[test]
fn the_schema_is_the_documented_one() {
    let out = Events::new();
    backfilled(&out, &["--step", "1h", "--events", repository("events/demo").to_str().expect("a UTF-8 path")]);
    let page = fs::read_to_string(repository("docs/backfill.md")).expect("the page");
    let documented = |table: &str| -> Vec<(String, String)> {
        let section = page.split(&format!("\n## {table}\n")).nth(1).expect("a section").split("\n## ").next();
        let rows = section.into_iter().flat_map(str::lines).filter_map(|line| line.strip_prefix("| `"));
        let cells = |row: &str| {
            let mut cells = row.split(" | ");
            let name = cells.next().unwrap_or("").trim_end_matches('`').to_owned();
            (name, cells.next().unwrap_or("").trim().to_owned())
        };
        rows.map(cells).collect()
    };
    let columns = runtape::history::schema::runs();
    let columns: Vec<_> = columns.into_iter().map(|column| (column.name, column.kind.name().to_owned())).collect();
    assert_eq!(documented("The table of runs"), columns);
    let Some(text) = script("schema.py", &[out.text(), "runs"]) else { return };
    let written: Vec<(String, String)> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(written, columns);

    let engine = runtape::fold::Engine::new(runtape::consumers::REGISTRY);
    let columns = runtape::history::series::columns(&engine);
    let columns: Vec<_> = columns.into_iter().map(|column| (column.name, column.kind.name().to_owned())).collect();
    assert_eq!(documented("The table of series"), columns);
    let text = script("schema.py", &[out.text(), "series"]).unwrap_or_default();
    let written: Vec<(String, String)> = serde_json::from_str(&text).expect("JSON");
    assert_eq!(written, columns);
}
