//! The dashboards: valid for Grafana's own schemas, in the form its linter asks for, and every expression of every panel
//! answered by a real Prometheus that scrapes the real server over a live fleet.

use std::{
    collections::BTreeSet,
    fs,
    process::{Child, Command, Stdio},
};

use serde_json::Value;

use crate::{
    prometheus::{Prometheus, python},
    support::{
        Events, RUNTAPE, Server,
        programs::{missing, tool},
        repository, run, stdout, wait_until,
    },
};

const BOARDS: [&str; 3] = ["agents_dashboard", "control_dashboard", "runtape_dashboard"];

fn path(board: &str) -> std::path::PathBuf {
    repository(&format!("ops/grafana/{board}.json"))
}

fn board(name: &str) -> Value {
    let text = fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn list<'a>(value: &'a Value, what: &str) -> &'a [Value] {
    value.as_array().unwrap_or_else(|| panic!("{what} is no list"))
}

/// Panels that show something, with the name of their board.
fn panels() -> Vec<(&'static str, Value)> {
    let all = BOARDS.into_iter().flat_map(|name| {
        let panels = list(&board(name)["panels"], name).to_vec();
        panels.into_iter().filter(|panel| panel["type"] != "row").map(move |panel| (name, panel))
    });
    all.collect()
}

/// The expressions of a panel.
fn expressions(panel: &Value) -> Vec<String> {
    let targets = list(&panel["targets"], "targets").iter();
    targets.map(|target| target["expr"].as_str().expect("an expression").to_owned()).collect()
}

#[test]
fn the_dashboards_are_those_their_script_makes() {
    let made = Command::new("python3").arg(repository("ops/grafana/make.py")).arg("--check").output();
    let made = made.expect("python3 starts");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn the_schemas_of_grafana_know_every_field() {
    let Some(python) = python() else { return };
    let knows = Command::new(&python).args(["-c", "import grafana_foundation_sdk"]).stderr(Stdio::null()).status();
    if !knows.is_ok_and(|status| status.success()) {
        return missing("no Python with grafana-foundation-sdk").unwrap_or(());
    }
    let read = Command::new(&python).arg(repository("tests/grafana/schemas.py")).args(BOARDS.map(path)).output();
    let read = read.expect("Python starts");
    assert!(read.status.success(), "{}", String::from_utf8_lossy(&read.stderr));
    let said = String::from_utf8_lossy(&read.stdout).into_owned();
    println!("{said}");
    let compared: u32 = said.split(' ').next().and_then(|n| n.parse().ok()).expect("a number");
    assert!(compared > 1000, "{said}");
}

#[test]
fn the_first_dashboard_is_known_by_its_fixed_names() {
    let agents = board("agents_dashboard");
    assert_eq!(agents["uid"], "agents-telemetry");
    assert_eq!(agents["title"], "Agents: Runs / Errors / Latency / Cost / Reward");
    assert_eq!(agents["tags"], serde_json::json!(["agents", "telemetry"]));
    assert_eq!((&agents["refresh"], &agents["time"]["from"]), (&"10s".into(), &"now-6h".into()));
    assert!(agents["schemaVersion"].as_u64() >= Some(39));
    let variables = list(&agents["templating"]["list"], "variables");
    assert!(variables.iter().any(|variable| variable["name"] == "agent" && variable["multi"] == true));
}

/// The rules of the dashboard linter, but for the fixed spans of time: they are named in the titles.
#[test]
fn every_panel_has_the_form_the_linter_asks_for() {
    let mut seen = BTreeSet::new();
    for (name, panel) in panels() {
        let title = panel["title"].as_str().expect("a title");
        assert!(!title.is_empty() && panel["description"].as_str().is_some_and(|says| says.ends_with('.')), "{title}");
        assert!(seen.insert((name, title.to_owned())), "{name} has {title} twice");
        assert_eq!(panel["datasource"]["uid"], "${DS_PROMETHEUS}", "{title}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{title} has a unit");
        for expr in expressions(&panel) {
            assert!(expr.contains(r#"job=~"$job",instance=~"$instance""#), "{title}: {expr}");
            let counted = expr.contains("_total") || expr.contains("_bucket") || expr.contains("_sum");
            assert!(!counted || expr.contains("rate(") || expr.contains("increase("), "{title}: {expr}");
        }
    }
    for name in BOARDS {
        let board = board(name);
        assert_eq!(board["editable"], false, "{name}");
        for variable in ["DS_PROMETHEUS", "job", "instance"] {
            let mut variables = list(&board["templating"]["list"], name).iter();
            assert!(variables.any(|found| found["name"] == variable), "{name} has {variable}");
        }
        no_panel_lies_on_another(name, list(&board["panels"], name));
    }
}

fn no_panel_lies_on_another(name: &str, panels: &[Value]) {
    let mut taken = BTreeSet::new();
    for panel in panels {
        let at = |key: &str| panel["gridPos"][key].as_u64().expect("a number");
        assert!(at("x") + at("w") <= 24, "{name}: {} is too wide", panel["title"]);
        for cell in (0..at("w") * at("h")).map(|cell| (at("x") + cell % at("w"), at("y") + cell / at("w"))) {
            assert!(taken.insert(cell), "{name}: {} lies on another panel", panel["title"]);
        }
    }
}

/// A process that is killed with its value.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn every_expression_of_every_panel_has_an_answer() {
    let Some(program) = tool("prometheus") else { return };
    let events = Events::new();
    let mut fleet = Command::new(RUNTAPE);
    let fleet =
        fleet.args(["simulate", "--events", events.text(), "--agents", "8", "--hold-runs", "5", "--rate", "200"]);
    let _fleet = Killed(fleet.stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("the program starts"));
    events.append("odd", "{]\n{\"agent\":\"odd\",\"run_id\":\"odd-1\",\"errors\":1,\"error_type\":\"timeout\",\"latency_ms\":5,\"cost_usd\":0.01}\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    let prometheus = Prometheus::scraping(&program, server.address, "");
    wait_until("the target is up", || prometheus.value("up{job=\"runtape\"}") == Some(1.0));
    let address = format!("http://{}", server.address);
    let mut number = 1;
    let (mut queries, mut open) = (0, Vec::new());
    for (name, panel) in panels() {
        open.extend(expressions(&panel).into_iter().map(|expr| (name, panel["title"].to_string(), chosen(&expr))));
    }
    let all = open.len();
    wait_until("every panel shows something", || {
        // What is seen from its first change on has to change: a type of error, a reason, a reset.
        number += 1;
        events.append("odd", format!("{{]\n{{\"agent\":\"odd\",\"run_id\":\"odd-{number}\",\"errors\":1,\"error_type\":\"timeout\",\"latency_ms\":5,\"cost_usd\":0.01,\"reward\":1}}\n"));
        run(&["check", "odd", "--server", &address]);
        open.retain(|(_, _, expr)| {
            let results = prometheus.results(expr);
            assert!(results.is_some() || prometheus.value("up{job=\"runtape\"}").is_some(), "{expr} is refused");
            results.is_none_or(|results| results.is_empty())
        });
        queries += 1;
        if queries > 40 {
            panic!("no answer to {open:#?}");
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
        open.is_empty()
    });
    let shown = stdout(&run(&["agents", "--server", &address, "-o", "json"]));
    assert!(shown.contains("odd"));
    println!("{} panels with {all} expressions, all answered", panels().len());
    assert!(all >= 50, "{all} expressions");
}

/// An expression as Grafana asks it when everything is chosen.
fn chosen(expr: &str) -> String {
    ["job", "instance", "agent"].into_iter().fold(expr.to_owned(), |expr, name| expr.replace(&format!("${name}"), ".+"))
}
