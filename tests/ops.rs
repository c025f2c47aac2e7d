//! What operators take along: alerts that fire when they should, routes for each, and a runbook that knows them all.
//! Prometheus' own tools judge the files where they are installed; with `CI=true` promtool has to be.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    process::Command,
};

use crate::support::{Events, RUNTAPE, Server, programs::tool, repository, run, stdout};

const RULES: &str = "ops/prometheus/runtape.rules.yml";
const CASES: &str = "ops/prometheus/runtape.rules.test.yml";
const ROUTES: &str = "ops/prometheus/alertmanager.yml";
const RUNBOOK: &str = "ops/runbook.md";

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// An alert as its text: the keys that stand on lines of their own, and the lines of its expression.
#[derive(Default)]
struct Alert {
    keys: BTreeMap<String, String>,
    expr: String,
}

fn alerts() -> BTreeMap<String, Alert> {
    let mut alerts: BTreeMap<String, Alert> = BTreeMap::new();
    let (mut name, mut in_expr) = (None, false);
    let text = read(RULES);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with('#')) {
        if let Some(found) = line.strip_prefix("- alert: ") {
            assert!(alerts.insert(found.to_owned(), Alert::default()).is_none(), "{found} stands there twice");
            name = Some(found);
        }
        let Some(alert) = name.and_then(|name| alerts.get_mut(name)) else { continue };
        in_expr = line.starts_with("expr:") || (in_expr && !line.starts_with("for:"));
        if in_expr {
            alert.expr += line.strip_prefix("expr:").unwrap_or(line);
            alert.expr.push('\n');
        } else if let Some((key, value)) = line.split_once(": ") {
            alert.keys.insert(key.to_owned(), value.trim_matches('\'').to_owned());
        }
    }
    assert!(alerts.len() >= 20, "only {} alerts", alerts.len());
    alerts
}

/// The words of a text that can be nothing but the name of a series of ours.
fn series(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words.filter(|word| ["agent_", "strategy_", "runtape_"].iter().any(|start| word.starts_with(start))).collect()
}

/// What a server shows: the page of all samples, and what only appears once somebody asked.
fn shown() -> BTreeSet<String> {
    let golden = read("tests/golden/metrics/text.txt");
    let events = Events::new();
    events.append("runs", "{\"agent\":\"eth\",\"run_id\":\"r1\",\"reward\":1}\n");
    let server = Server::start(events.path(), &[]);
    server.ready();
    run(&["check", "eth", "--server", &format!("http://{}", server.address)]);
    let page = server.metrics().0;
    assert!(page.contains("agent_checks_total{agent=\"eth\",result=\"deny\""), "{page}");
    series(&golden).into_iter().chain(series(&page)).map(str::to_owned).collect()
}

/// Runs a tool of Prometheus on one of the files.
fn judged(program: &Path, args: &[&str], file: &str) {
    let output = Command::new(program).args(args).arg(repository(file)).output().expect("the tool starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{file}: {}{said}", String::from_utf8_lossy(&output.stdout));
}

#[test]
fn promtool_accepts_the_alerts_and_they_fire_as_the_cases_say() {
    let Some(promtool) = tool("promtool") else { return };
    judged(&promtool, &["check", "rules", "--lint=all", "--lint-fatal"], RULES);
    judged(&promtool, &["test", "rules"], CASES);
    judged(&promtool, &["check", "config"], "ops/prometheus/prometheus.yml");
    println!("{} rules tested in {} cases", alerts().len(), read(CASES).matches("alertname: ").count());
}

#[test]
fn every_alert_says_what_it_has_to() {
    for (name, alert) in alerts() {
        let key = |key: &str| alert.keys.get(key).map_or("", String::as_str);
        assert!(name.starts_with("Runtape") && name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert!(["critical", "warning", "info"].contains(&key("severity")), "{name}: severity {:?}", key("severity"));
        assert!(!key("for").is_empty(), "{name} says how long");
        let summary = key("summary");
        assert!(summary.ends_with('.') && !summary.contains("{{"), "{name}: {summary:?} is no constant sentence");
        let description = key("description");
        let bare = name == "RuntapeRecorderAbsent"; // What is absent has no labels to tell.
        assert!(description.ends_with('.') && (description.contains("{{") || bare), "{name}: {description:?}");
        assert_eq!(key("runbook_url"), format!("{RUNBOOK}#{}", name.to_lowercase()), "{name}");
    }
}

#[test]
fn the_runbook_has_a_section_for_each_alert_and_no_other() {
    let text = read(RUNBOOK);
    let sections: Vec<&str> = text.split("\n## ").skip(1).collect();
    let mut headings = BTreeSet::new();
    for section in sections {
        let (heading, body) = section.split_once('\n').unwrap_or((section, ""));
        for part in ["**What it means.**", "**What to look at.**", "**What to do.**"] {
            assert!(body.contains(part), "{heading}: {part}");
        }
        assert!(headings.insert(heading.to_owned()), "{heading} stands there twice");
    }
    assert_eq!(headings, alerts().into_keys().collect());
}

#[test]
fn the_runbook_names_commands_and_options_that_exist() {
    let text = read(RUNBOOK);
    let mut commands = 0;
    for span in text.split('`').skip(1).step_by(2) {
        let Some(line) = span.strip_prefix("runtape ") else { continue };
        let words: Vec<&str> = line.split_whitespace().collect();
        let verbs = words.iter().take(if words[0] == "policy" || words[0] == "schema" { 2 } else { 1 });
        let mut args: Vec<&str> = verbs.copied().filter(|verb| *verb != "run").collect();
        args.push("--help");
        let output = Command::new(RUNTAPE).args(&args).output().expect("the program starts");
        assert!(output.status.success(), "{span}");
        let help = stdout(&output);
        for option in words.iter().filter(|word| word.starts_with('-')) {
            assert!(help.contains(option), "{span}: {option} is no option");
        }
        commands += 1;
    }
    assert!(commands > 40, "only {commands} commands");
}

#[test]
fn every_alert_has_a_case_that_fires_and_one_that_does_not() {
    let text = read(CASES);
    let (mut fires, mut silent) = (BTreeSet::new(), BTreeSet::new());
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    for (line, next) in lines.iter().zip(&lines[1..]) {
        let Some(name) = line.strip_prefix("alertname: ") else { continue };
        let side = match *next {
            "exp_alerts: []" => &mut silent,
            "exp_alerts:" => &mut fires,
            other => panic!("{name}: {other:?} says neither"),
        };
        side.insert(name.to_owned());
    }
    let names: BTreeSet<String> = alerts().into_keys().collect();
    assert_eq!(fires, names, "firing cases");
    assert_eq!(silent, names, "silent cases");
}

#[test]
fn alerts_and_their_cases_use_only_series_that_are_shown() {
    let shown = shown();
    for (name, alert) in alerts() {
        let used = series(&alert.expr);
        assert!(!used.is_empty(), "{name} looks at nothing");
        for series in used {
            assert!(shown.contains(series), "{name}: {series} is not shown by any server");
        }
    }
    let cases = read(CASES);
    for line in cases.lines().filter_map(|line| line.trim().strip_prefix("- series: ")) {
        let name = line.trim_matches('\'').split('{').next().unwrap_or("");
        assert!(shown.contains(name), "{line}");
    }
}

#[test]
fn every_severity_has_a_route_and_every_route_a_receiver() {
    let text = read(ROUTES);
    let (routes, receivers) = text.split_once("\nreceivers:\n").expect("receivers");
    for severity in ["critical", "warning", "info"] {
        assert!(routes.contains(&format!("- matchers: [severity=\"{severity}\"]")), "{severity} has no route");
    }
    let mut count = 0;
    for receiver in routes.lines().filter_map(|line| line.trim().strip_prefix("receiver: ")) {
        assert!(receivers.contains(&format!("- name: {receiver}\n")), "{receiver} is no receiver");
        count += 1;
    }
    assert_eq!(count, 4, "the root and three routes");
    for url in receivers.lines().filter_map(|line| line.trim().strip_prefix("- url: ")) {
        assert!(url.starts_with("http://127.0.0.1:"), "{url}: what is shipped calls nobody");
    }
    let names: BTreeSet<String> = alerts().into_keys().collect();
    let words = routes.split(|c: char| !c.is_ascii_alphanumeric());
    for word in words.filter(|word| word.len() > "Runtape".len() && word.starts_with("Runtape")) {
        assert!(names.contains(word), "{word} is inhibited, and is no alert");
    }
    // Not a tool of the package that brings promtool: where it is missing, the text above has to do.
    if Command::new("amtool").arg("--version").output().is_ok_and(|output| output.status.success()) {
        judged(Path::new("amtool"), &["check-config"], ROUTES);
    }
}
