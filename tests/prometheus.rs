//! Real components judge the metric pages: promtool, a Prometheus that scrapes, and the parser of the Prometheus project.
//! Where one is not installed its test says so and passes; with `CI=true` it fails.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};

/// A Prometheus and what it answers.
mod running;

pub use running::{Prometheus, encoded};

use crate::{
    golden::samples,
    support::{
        Events, Server,
        programs::{missing, tool},
        repository, wait_until,
    },
};

/// What promtool complains of: units in names that are fixed.
const COMPLAINTS: [&str; 4] =
    ["agent_last_latency_ms", "agent_latency_ms", "strategy_last_latency_ms", "strategy_latency_ms"];

/// Agents whose names could break a page.
const HOSTILE: [&str; 9] =
    [r#"a"b\c"#, "🦀 naïve 交易", r"trailing\", r#"{agent="x"} 1"#, "a,b=c", r"\n", "# EOF", "\u{202e}gnp.exe", "--"];

/// A Python that has the parser: what `RUNTAPE_PYTHON` names, the machine's, or one made below `target`.
pub fn python() -> Option<PathBuf> {
    let has_parser = |python: &Path| {
        let mut import = Command::new(python);
        let import = import.args(["-c", "import prometheus_client.openmetrics.parser"]);
        import.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    let named = std::env::var_os("RUNTAPE_PYTHON").map(PathBuf::from);
    let venv = Path::new(env!("CARGO_TARGET_TMPDIR")).join("prometheus_client");
    let candidates = named.into_iter().chain(["python3".into(), venv.join("bin/python")]);
    if let Some(python) = candidates.into_iter().find(|python| has_parser(python)) {
        return Some(python);
    }
    let made = Command::new("python3").args(["-m", "venv"]).arg(&venv).status().is_ok_and(|status| status.success());
    let pip = ["-m", "pip", "install", "--quiet", "prometheus_client"];
    let python = venv.join("bin/python");
    let installed = made && Command::new(&python).args(pip).status().is_ok_and(|status| status.success());
    if installed { Some(python) } else { missing("no Python with prometheus_client") }
}

/// A stream of agents, strategies, runs and errors with hostile names, in a stream with one.
fn hostile() -> Events {
    let events = Events::new();
    let long = "é".repeat(64);
    for (number, agent) in HOSTILE.iter().copied().chain([long.as_str()]).enumerate() {
        let line = json!({
            "agent": agent, "run_id": format!("{agent:.60}-{number}"), "strategy": agent, "latency_ms": 10 * number,
            "cost_usd": 1e-4, "errors": 1, "error_type": agent, "reward": -0.5, "tokens_in": 1, "tokens_out": 2,
        });
        events.append(r#"we"ird \ 🦀 {}"#, format!("{line}\n"));
        let pnl = json!({"run_id": format!("{agent:.60}-{number}"), "realized_pnl_bps": 1e-9});
        events.append("pnl", format!("{pnl}\n"));
    }
    events.append("pnl", "{\"run_id\":\"nobody\",\"realized_pnl_bps\":1}\n{]\n");
    events
}

/// Every sample of the repository and the hostile one, served.
fn served() -> impl Iterator<Item = (String, Events)> {
    let samples = samples().into_iter().map(|(name, folder)| (name, Events::copy_of(&folder)));
    samples.chain([("hostile".to_owned(), hostile())])
}

#[test]
fn promtool_complains_of_nothing_but_fixed_names() {
    let Some(promtool) = tool("promtool") else { return };
    let mut seen = 0;
    for (name, events) in served() {
        let server = Server::start(events.path(), &[]);
        server.ready();
        let page = server.metrics().0;
        let Output { stdout, stderr, .. } = fed(Command::new(&promtool).args(["check", "metrics"]), &page);
        let said = [String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr)].concat();
        let unexpected: Vec<&str> = said.lines().filter(|line| !expected(line)).collect();
        assert!(unexpected.is_empty(), "{name}: {unexpected:#?}");
        seen += said.lines().count();
    }
    assert!(seen >= 20, "promtool looked at nothing: {seen} complaints");
}

fn expected(complaint: &str) -> bool {
    let (name, what) = complaint.split_once(' ').unwrap_or((complaint, ""));
    COMPLAINTS.contains(&name) && what == "metric names should not contain abbreviated units"
}

/// Runs a command with a text as its standard input.
fn fed(command: &mut Command, text: &str) -> Output {
    let pipes = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().expect("the tool starts");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("the tool reads");
    child.wait_with_output().expect("the tool ends")
}

#[test]
fn the_parser_reads_both_pages_alike() {
    let Some(python) = python() else { return };
    let (mut samples, mut exemplars) = (0, 0);
    for (name, events) in served() {
        let server = Server::start(events.path(), &[]);
        server.ready();
        let (text, open) = (events.path().join("text.txt"), events.path().join("open.txt"));
        fs::write(&text, server.metrics().0).expect("a writable directory");
        let page = server.get_with("/metrics", &[("Accept", "application/openmetrics-text")]).body;
        fs::write(&open, page).expect("a writable directory");
        let output = Command::new(&python).arg(repository("tests/prometheus/pages.py")).args([&text, &open]).output();
        let output = output.expect("Python starts");
        let parsed: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|_| panic!("{name}: {}", String::from_utf8_lossy(&output.stderr)));
        judge(&name, &parsed, &events);
        samples += parsed["same"].as_u64().unwrap_or(0);
        exemplars += parsed["exemplars"].as_array().map_or(0, Vec::len);
    }
    println!("{samples} samples and {exemplars} exemplars were compared");
    assert!(samples > 3_000 && exemplars > 250, "{samples} samples, {exemplars} exemplars");
}

fn judge(name: &str, parsed: &Value, events: &Events) {
    assert_eq!(parsed["differ"], json!([]), "{name}: the pages say the same");
    let sums = ["agent_reward_count", "agent_reward_sum", "strategy_reward_count", "strategy_reward_sum"];
    for only in parsed["text_only"].as_array().expect("a list") {
        assert!(sums.contains(&only.as_str().expect("a name")), "{name}: {only} is missing from OpenMetrics");
    }
    assert!(parsed["same"].as_u64() > Some(50), "{name}: only {} samples", parsed["same"]);
    let state = events.replay();
    let agents: Vec<&String> = state["agents"].as_object().expect("rows").keys().collect();
    let mut names: Vec<&str> = parsed["agents"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    names.sort_unstable();
    assert_eq!(names, agents, "{name}: names arrive as they were written");
    let exemplars = parsed["exemplars"].as_array().expect("a list");
    for exemplar in exemplars {
        let labels = exemplar["exemplar"].as_object().expect("labels");
        assert!(labels.len() == 1 && labels.contains_key("run_id"), "{name}: {exemplar}");
        let name_of = exemplar["name"].as_str().unwrap_or("");
        assert!(name_of.ends_with("_total") || name_of.ends_with("_bucket"), "{name}: {exemplar}");
    }
    if name == "hostile" {
        assert_eq!(agents.len(), HOSTILE.len() + 1);
        for agent in HOSTILE.into_iter().filter(|agent| !agent.contains('"')) {
            let told = |exemplar: &Value| {
                let run_id = exemplar["exemplar"]["run_id"].as_str().unwrap_or("");
                exemplar["labels"]["agent"] == agent && run_id.starts_with(agent)
            };
            assert!(exemplars.iter().any(told), "{agent}: its run id arrives as it was written");
        }
        assert!(parsed["streams"].as_array().is_some_and(|streams| streams.contains(&json!(r#"we"ird \ 🦀 {}"#))));
    }
}

#[test]
fn prometheus_scrapes_stores_and_answers() {
    let Some(program) = tool("prometheus") else { return };
    let events = Events::copy_of(&repository("events/demo"));
    let hostile = json!({"agent": HOSTILE[0], "run_id": "hostile-run", "reward": 1}).to_string();
    events.append("hostile", hostile + "\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    let prometheus = Prometheus::scraping(&program, server.address, "");
    wait_until("the target is up", || prometheus.value("up{job=\"runtape\"}") == Some(1.0));
    let state = events.replay();
    for (agent, row) in state["agents"].as_object().expect("rows") {
        let label = agent.replace('\\', "\\\\").replace('"', "\\\"");
        for (series, want) in [("agent_runs_total", &row["runs"]), ("agent_reward_sharpe", &row["reward"]["sharpe"])] {
            assert_eq!(prometheus.value(&format!("{series}{{agent=\"{label}\"}}")), want.as_f64(), "{series} {agent}");
        }
    }
    let samples = server.metrics().0.lines().filter(|line| !line.starts_with('#')).count() as f64;
    let scraped = prometheus.value("scrape_samples_scraped").expect("the number of samples");
    // Prometheus asks for OpenMetrics, which has no sum and no count of rewards.
    assert!(scraped <= samples && scraped > samples - 50.0, "{scraped} of {samples} samples");
    wait_until("a run recorded now is in Prometheus", || {
        events.append("runs", "{\"agent\":\"late\",\"run_id\":\"late-run\",\"latency_ms\":7}\n");
        prometheus.value("agent_runs_total{agent=\"late\"}").is_some_and(|runs| runs >= 2.0)
    });
    exemplars_are_stored(&prometheus);
}

fn exemplars_are_stored(prometheus: &Prometheus) {
    for (series, run_id) in [
        ("agent_runs_total{agent=\"late\"}", "late-run"),
        ("agent_latency_ms_bucket{agent=\"late\",le=\"10.0\"}", "late-run"),
        (r#"agent_runs_total{agent="a\"b\\c"}"#, "hostile-run"),
    ] {
        let path = format!("/api/v1/query_exemplars?query={}&start=0&end=4102444800", encoded(series));
        let data = prometheus.ask(&path).expect("an answer");
        let exemplars = data[0]["exemplars"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(exemplars.iter().any(|exemplar| exemplar["labels"]["run_id"] == run_id), "{series}: {data}");
    }
}
