//! What a machine is given to run the recorder: judged by systemd, rotated by logrotate, and held against what there is.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::support::{Events, RUNTAPE, Server, json, programs::tool, repository, run, stdout, wait_until};

const UNIT: &str = "ops/deploy/systemd/runtape.service";
const ROTATION: &str = "ops/deploy/logrotate/runtape";
const CONTAINER: &str = "ops/deploy/container";

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Runs a program that must be content.
#[track_caller]
fn content(program: &Path, args: &[&str]) -> Output {
    let output = Command::new(program).args(args).output().expect("the program starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {said}");
    output
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    let Some(analyze) = tool("systemd-analyze") else { return };
    let dir = Events::new();
    let unit = dir.path().join("runtape.service");
    let text = read(UNIT);
    assert!(text.contains("ExecStart=/usr/bin/runtape serve "), "{UNIT}");
    fs::write(&unit, text.replace("/usr/bin/runtape", RUNTAPE)).expect("a writable directory");
    let unit = unit.to_str().expect("a UTF-8 path");
    let output = content(&analyze, &["verify", "--man=no", unit]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "a warning is a mistake too");
    // Of 100; a service without any of it has 96.
    content(&analyze, &["security", "--offline=true", "--threshold=15", "--no-pager", unit]);
}

#[test]
fn the_unit_starts_what_there_is() {
    let text = read(UNIT);
    let line = text.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/bin/runtape ")).expect("a command");
    let help = stdout(&run(&["serve", "--help"]));
    for option in line.split_whitespace().filter(|word| word.starts_with("--")) {
        assert!(help.contains(option), "{option}");
    }
    let rotated = read(ROTATION);
    let dir = line.split_whitespace().find(|word| word.starts_with('/')).expect("a directory");
    assert!(rotated.contains(&format!("\n{dir}/*.jsonl {{\n")), "logrotate rotates what is served");
}

/// Appends lines until told to stop: one file opened by name each time, one held open as long as it may be. How many.
fn produce(events: &Path, stop: &AtomicBool) -> u64 {
    use std::io::Write;
    let open = |name: &str| {
        fs::OpenOptions::new().create(true).append(true).open(events.join(name)).expect("a writable directory")
    };
    let (mut held, mut written) = (open("held.jsonl"), 0);
    while !stop.load(Ordering::Acquire) {
        written += 1;
        for (stream, file) in [("named", &mut open("named.jsonl")), ("held", &mut held)] {
            let line = format!(
                "{{\"event_id\":\"{stream}-{written}\",\"agent\":\"a\",\"run_id\":\"{stream}-{written}\",\"reward\":1}}\n"
            );
            file.write_all(line.as_bytes()).expect("a writable stream");
        }
        thread::sleep(Duration::from_millis(1));
    }
    2 * written
}

#[test]
fn logrotate_at_work_loses_no_line_and_repeats_none() {
    let Some(logrotate) = tool("logrotate") else { return };
    let (events, etc) = (Events::new(), Events::new());
    let (conf, state) = (etc.path().join("runtape"), etc.path().join("state"));
    // Our own directory and user instead of the unit's; nothing else.
    let text = read(ROTATION).replace("/var/lib/runtape/events", events.text()).replace("    su runtape runtape\n", "");
    assert!(text.contains(events.text()));
    fs::write(&conf, text).expect("a writable directory");
    let server = Server::start(events.path(), &[]);
    server.ready();
    let stop = Arc::new(AtomicBool::new(false));
    let producer = thread::spawn({
        let (dir, stop) = (events.path().to_owned(), stop.clone());
        move || produce(&dir, &stop)
    });
    let conf = conf.to_str().expect("a UTF-8 path");
    let args = ["--force", "--state", state.to_str().expect("a UTF-8 path"), conf];
    let rotated = || {
        let files = fs::read_dir(events.path()).expect("the directory").flatten();
        files.filter(|file| file.file_name().to_string_lossy().contains(".jsonl-")).count()
    };
    for round in 0..4 {
        // Names have the second in them, and an order to the fleet is a line of ours.
        thread::sleep(Duration::from_millis(1100));
        let verb = if round % 2 == 0 { "pause" } else { "resume" };
        stdout(&run(&[verb, "--fleet", "--yes", "--events", events.text()]));
        content(&logrotate, &args);
    }
    thread::sleep(Duration::from_millis(50));
    stop.store(true, Ordering::Release);
    let written = producer.join().expect("the producer ends");
    assert!(rotated() >= 8, "only {} files were rotated", rotated());
    let folded = || server.metrics().get("agent_runs_total{agent=\"a\"}");
    wait_until("every line is folded", || folded() == Some(written as f64));
    assert_eq!(server.terminate(), Some(0));
    let state = json(&run(&["replay", "--events", events.text(), "-o", "json"]));
    assert_eq!(state["agents"]["a"]["runs"], written, "{}", state["lines"]);
    for fault in ["malformed", "unknown", "duplicate", "refused_control"] {
        assert_eq!(state["lines"][fault].as_u64().unwrap_or(0), 0, "{fault}: {}", state["lines"]);
    }
    assert_eq!(state["fleet"]["desk"]["paused"], false, "four orders were heard, in their order");
    stdout(&run(&["verify", "--decisions", "--events", events.text()]));
    eprintln!("logrotate: {written} lines, {} files rotated, none lost, none repeated", rotated());
}

/// What stands behind a key of the compose file that has a list: `- VALUE` lines.
fn listed(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.trim().strip_prefix("- ")).collect()
}

#[test]
fn everything_the_containers_are_given_exists() {
    let compose = read(&format!("{CONTAINER}/compose.yml"));
    let base = repository(CONTAINER);
    let mounts: Vec<&str> = listed(&compose).into_iter().filter_map(|item| item.strip_suffix(":ro")).collect();
    for mount in &mounts {
        let (from, to) = mount.split_once(':').expect("FROM:TO");
        assert!(base.join(from).exists(), "{from} does not exist");
        assert!(to.starts_with('/'), "{mount}");
    }
    assert!(mounts.len() >= 7, "{mounts:?}");
    let dashboards = fs::read_dir(repository("ops/grafana")).expect("the dashboards").flatten();
    for file in
        dashboards.map(|file| file.file_name().into_string().expect("UTF-8")).filter(|name| name.ends_with("json"))
    {
        assert!(compose.contains(&format!("../../grafana/{file}:")), "{file} is not mounted");
    }
    assert!(base.join("../../..").join(format!("{CONTAINER}/Containerfile")).exists());
    let container = read(&format!("{CONTAINER}/Containerfile"));
    let mut copied = 0;
    for line in
        container.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.starts_with("--from"))
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        for source in &words[..words.len() - 1] {
            assert!(repository(source).exists(), "COPY {source}");
            copied += 1;
        }
    }
    assert!(copied >= 4, "{container}");
}

#[test]
fn containers_listen_on_loopback_only() {
    let compose = read(&format!("{CONTAINER}/compose.yml"));
    assert!(!compose.contains("ports:") && !compose.contains("0.0.0.0"), "nothing is published");
    let services = compose.matches("network_mode: host").count();
    let loopback =
        compose.lines().filter(|line| !line.trim_start().starts_with('#') && line.contains("127.0.0.1")).count();
    assert_eq!((services, loopback), (4, 4), "each service names the loopback address once");
    // The plugin that reads such files is not everywhere.
    let docker = Command::new("docker").args(["compose", "version"]).output();
    if docker.is_ok_and(|output| output.status.success()) {
        let file = repository(CONTAINER).join("compose.yml");
        content(Path::new("docker"), &["compose", "-f", file.to_str().expect("a UTF-8 path"), "config", "--quiet"]);
    } else {
        parsed(&repository(CONTAINER).join("compose.yml"));
    }
}

/// Has the file read as YAML, where a Python can.
fn parsed(file: &Path) {
    let script = "import sys, yaml; services = yaml.safe_load(open(sys.argv[1]))['services']; assert set(services) == {'runtape', 'prometheus', 'alertmanager', 'grafana'}";
    let has = Command::new("python3").args(["-c", "import yaml"]).output().is_ok_and(|output| output.status.success());
    if !has {
        // What stands in it was checked all the same.
        eprintln!("left out: neither docker compose nor a Python with yaml");
        return;
    }
    content(Path::new("python3"), &["-c", script, file.to_str().expect("a UTF-8 path")]);
}
