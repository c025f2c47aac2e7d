//! `runtape run` with real processes: what the command sees and leaves is what it would without us, and its one line.

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use runtape::clock::Stopwatch;
use serde_json::{Value, json};

use crate::support::{Events, RUNTAPE, Server, signal, wait_until};

/// When the agent may start, and what it may spend.
mod permission;
/// What a command says of its run.
mod reports;

/// `runtape run --agent a --events DIR`, with what is to follow.
fn wrapper(events: &Events, options: &[&str], command: &[&str]) -> Command {
    let mut runtape = Command::new(RUNTAPE);
    runtape.args(["run", "--agent", "a", "--events", events.text()]).args(options).arg("--").args(command);
    runtape.env_remove("RUNTAPE_AGENT").env_remove("RUNTAPE_PAPER").env_remove("RUNTAPE_URL").stdin(Stdio::null());
    runtape
}

fn run(events: &Events, options: &[&str], command: &[&str]) -> Output {
    wrapper(events, options, command).output().expect("the program starts")
}

fn sh(events: &Events, options: &[&str], script: &str) -> Output {
    run(events, options, &["sh", "-c", script])
}

/// What a stream holds, line by line; every line is whole.
fn stream(events: &Events, name: &str) -> Vec<Value> {
    let text = fs::read_to_string(events.stream(name)).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines().map(|line| serde_json::from_str(line).expect("a whole line")).collect()
}

fn last(events: &Events) -> Value {
    stream(events, "runs").into_iter().rfind(|line| line["kind"] == "run").expect("a run")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A started wrapper whose command has printed its first line.
fn started(events: &Events, options: &[&str], script: &str) -> (Child, BufReader<impl Read>, String) {
    let mut child = wrapper(events, options, &["sh", "-c", script]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut first = String::new();
    out.read_line(&mut first).expect("a line");
    (child, out, first.trim().to_owned())
}

fn lives(pid: &str) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

#[test]
fn a_run_ends_as_its_command_does_and_is_one_line() {
    let events = Events::new();
    let file = events.path().join("plain");
    fs::write(&file, "not a program").expect("a writable file");
    let plain = file.to_str().expect("a UTF-8 path");
    for (index, (command, code, errors, error_type)) in [
        (&["true"][..], 0, 0, Value::Null),
        (&["sh", "-c", "exit 3"], 3, 1, json!("exit:3")),
        (&["sh", "-c", "exit 255"], 255, 1, json!("exit:255")),
        (&["sh", "-c", "kill -KILL $$"], 137, 1, json!("signal:KILL")),
        (&["sh", "-c", "kill -SEGV $$"], 139, 1, json!("signal:SEGV")),
        (&["/nowhere/agent"], 127, 1, json!("not_found")),
        (&["no-such-agent-in-path"], 127, 1, json!("not_found")),
        (&[plain], 126, 1, json!("not_executable")),
        (&["/"], 126, 1, json!("not_executable")),
    ]
    .into_iter()
    .enumerate()
    {
        let output = run(&events, &["--strategy", "s", "--model", "m"], command);
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", stderr(&output));
        assert_eq!(stream(&events, "runs").len(), index + 1, "{command:?}: one line");
        let line = last(&events);
        assert_eq!((&line["errors"], &line["error_type"]), (&json!(errors), &error_type), "{line}");
        assert_eq!((&line["agent"], &line["strategy"], &line["model"]), (&json!("a"), &json!("s"), &json!("m")));
        assert!(line["latency_ms"].as_f64().is_some_and(|ms| (0.0..10_000.0).contains(&ms)), "{line}");
        if code < 126 {
            assert!(line["max_rss_kib"].as_u64().is_some_and(|kib| kib > 100), "{line}");
        }
    }
    let state = events.replay();
    assert_eq!(state["agents"]["a"]["runs"], 9);
    assert_eq!(state["lines"]["run"], 9, "{}", state["lines"]);
}

#[test]
fn what_cannot_be_meant_starts_nothing() {
    let events = Events::new();
    let mark = events.path().join("mark");
    let touch = ["touch", mark.to_str().expect("a UTF-8 path")];
    for (options, says) in [
        (&["--agent", "a\n"][..], "--agent"),
        (&["--run-id", ""], "--run-id"),
        (&["--max-cost-usd", "-1"], "--max-cost-usd"),
        (&["--timeout", "5"], "5m"),
        (&["--stream", "control"], "control"),
        (&["--events", "/nowhere"], "/nowhere"),
    ] {
        let mut runtape = Command::new(RUNTAPE);
        runtape.arg("run").args(options).env("RUNTAPE_AGENT", "a");
        if !options.contains(&"--events") {
            runtape.args(["--events", events.text()]);
        }
        let output = runtape.arg("--").args(touch).output().expect("the program starts");
        assert_eq!(output.status.code(), Some(2), "{options:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(says), "{options:?}: {}", stderr(&output));
    }
    let nobody = Command::new(RUNTAPE).args(["run", "--events", events.text(), "--", "true"]).output();
    let nobody = nobody.expect("the program starts");
    assert!(nobody.status.code() == Some(2) && stderr(&nobody).contains("--agent"), "{}", stderr(&nobody));
    assert!(!mark.exists() && stream(&events, "runs").is_empty());
}

#[test]
fn bytes_pass_through_untouched() {
    let events = Events::new();
    let bytes: Vec<u8> = (0..6_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for options in [&[][..], &["--result-json"]] {
        let mut runtape = wrapper(&events, options, &["cat"]);
        let mut child = runtape.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let child = child.as_mut().expect("the program starts");
        let (mut stdin, bytes_in) = (child.stdin.take().expect("a pipe"), bytes.clone());
        let writer = thread::spawn(move || stdin.write_all(&bytes_in).expect("it reads"));
        let mut out = Vec::new();
        child.stdout.take().expect("a pipe").read_to_end(&mut out).expect("it writes");
        writer.join().expect("everything was written");
        assert_eq!(child.wait().expect("it ends").code(), Some(0));
        assert!(out == bytes, "{options:?}: {} of {} bytes", out.len(), bytes.len());
    }
    // Unbuffered: what is printed is there while the command runs.
    let (child, _, first) = started(&events, &["--result-json"], "echo now; exec sleep 600");
    assert_eq!(first, "now");
    signal(child.id(), "INT");
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(130));
    // A reader that leaves ends the command, as it would without us.
    let mut child = wrapper(&events, &["--result-json"], &["yes"]).stdout(Stdio::piped()).spawn().expect("it starts");
    child.stdout.take().expect("a pipe").read_exact(&mut [0; 10]).expect("output");
    assert_eq!(child.wait().expect("it ends").code(), Some(141));
    assert_eq!(last(&events)["error_type"], "signal:PIPE");
}

#[test]
fn signals_reach_the_command_once() {
    let events = Events::new();
    let script = "for s in INT TERM HUP QUIT USR1 USR2 WINCH; do trap \"echo $s\" $s; done; trap 'exit 5' CONT; echo up; \
                  while :; do sleep 0.01; done";
    let (child, mut out, _) = started(&events, &[], script);
    for name in ["INT", "TERM", "HUP", "QUIT", "USR1", "USR2", "WINCH"] {
        signal(child.id(), name);
        let mut line = String::new();
        out.read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), name);
    }
    signal(child.id(), "CONT");
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(5));
    let mut rest = String::new();
    out.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "", "each came once");
    let (child, ..) = started(&events, &["--retries", "3"], "echo up; exec sleep 600");
    signal(child.id(), "TERM");
    assert_eq!(child.wait_with_output().expect("it ends").status.code(), Some(143), "and is not tried again");
    assert_eq!(last(&events)["error_type"], "signal:TERM");
    assert_eq!(stream(&events, "runs").len(), 2);
    // What whoever started us ignores, is ignored: as under nohup.
    let nohup =
        format!("trap '' HUP; exec {RUNTAPE} run --agent a --events {} -- sh -c 'echo up; sleep 0.3'", events.text());
    let mut child = Command::new("sh").args(["-c", &nohup]).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    out.read_line(&mut String::new()).expect("a line");
    signal(child.id(), "HUP");
    assert_eq!(child.wait().expect("it ends").code(), Some(0));
}

#[test]
fn a_stop_stops_both_and_goes_on() {
    let events = Events::new();
    let (mut child, _, pid) = started(&events, &[], "echo $$; sleep 0.5; exit 4");
    let state = |pid: &str| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(") ").next().and_then(|rest| rest.chars().next()).unwrap_or('?')
    };
    signal(child.id(), "TSTP");
    wait_until("both are stopped", || state(&pid) == 'T' && state(&child.id().to_string()) == 'T');
    signal(child.id(), "CONT");
    assert_eq!(child.wait().expect("it ends").code(), Some(4));
}

#[test]
fn a_timeout_leaves_nobody_behind() {
    let events = Events::new();
    let script = "trap '' TERM; (trap '' TERM; echo grand $$; exec sleep 600) & echo $!; wait; sleep 600";
    let watch = Stopwatch::start();
    let output = sh(&events, &["--timeout", "300ms", "--grace", "200ms"], script);
    assert_eq!(output.status.code(), Some(124), "{}", stderr(&output));
    assert!(watch.elapsed() < Duration::from_secs(5));
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    let pids: Vec<&str> = out.split_whitespace().filter(|word| word.parse::<u32>().is_ok()).collect();
    assert_eq!(pids.len(), 2, "{out}");
    wait_until("everybody is gone", || !pids.iter().any(|pid| lives(pid)));
    let line = last(&events);
    assert_eq!(
        (&line["error_type"], &line["outcome"], &line["errors"]),
        (&json!("timeout"), &json!("timeout"), &json!(1))
    );
    // Whoever goes when told has no need of the grace, and says what it did.
    let script = "trap 'echo \"{\\\"reward\\\":2}\" >&3; exit 0' TERM; sleep 600 & wait";
    let output = sh(&events, &["--timeout", "200ms", "--grace", "1m"], script);
    assert_eq!(output.status.code(), Some(124));
    assert_eq!(last(&events)["reward"], 2);
}

#[test]
fn a_failed_run_is_tried_again_as_another_run() {
    let events = Events::new();
    let count = events.path().join("count");
    let script = format!("echo x >> {0}; echo $RUNTAPE_RUN_ID; [ $(wc -l < {0}) -ge 3 ]", count.display());
    let output = sh(&events, &["--retries", "5", "--backoff", "1ms", "--run-id", "r"], &script);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let lines = stream(&events, "runs");
    let seen: Vec<&str> = lines.iter().flat_map(|line| line["run_id"].as_str()).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(), seen);
    assert_eq!((seen.len(), seen[0], &lines[2]["attempt"], &lines[2]["retry_of"]), (3, "r", &json!(3), &json!("r")));
    assert_eq!(run(&events, &["--retries", "1", "--backoff", "1ms"], &["false"]).status.code(), Some(1));
    assert_eq!(stream(&events, "runs").len(), 5);
    assert_eq!(run(&events, &["--run-id", "r"], &["true"]).status.code(), Some(0));
    assert_eq!(events.replay()["lines"]["duplicate"], 1, "the same run again counts once");
}

#[test]
fn a_kill_of_the_wrapper_leaves_whole_lines() {
    let events = Events::new();
    for n in 0..12 {
        let script = "echo up; echo '{\"direction\":\"LONG\"}' >&3; echo '{\"reward\":1}' >&3";
        let (mut child, ..) = started(&events, &[], script);
        thread::sleep(Duration::from_micros(n * 150));
        child.kill().expect("a child");
        child.wait().expect("a dead child");
    }
    let lines = stream(&events, "runs");
    let runs = lines.iter().filter(|line| line["kind"] == "run").count();
    assert_eq!(lines.len(), 2 * runs, "a run and its signal are one write");
}

#[test]
fn what_it_costs_to_be_recorded() {
    let events = Events::new();
    let median = |mut command: Command| {
        let mut took: Vec<Duration> = (0..40)
            .map(|_| {
                let watch = Stopwatch::start();
                assert!(command.status().expect("it starts").success());
                watch.elapsed()
            })
            .collect();
        took.sort();
        took[20]
    };
    let bare = median(Command::new("true"));
    let alone = median(wrapper(&events, &[], &["true"]));
    let server = Server::start(events.path(), &[]);
    server.ready();
    let served = median(wrapper(&events, &[], &["true"]));
    let gated = median(wrapper(&events, &["--gate", "--paper-when-denied"], &["true"]));
    println!("median of 40: bare {bare:?}, recorded {alone:?}, through a server {served:?}, gated {gated:?}");
}

/// Waits for a file that a command writes.
fn wait_for(path: &Path) {
    wait_until("the command has begun", || path.exists());
}

#[test]
fn it_stands_in_a_group_of_its_own() {
    let events = Events::new();
    let mark = events.path().join("pgid");
    let script = format!("ps -o pgid= -p $$ > {0}.tmp; mv {0}.tmp {0}; exec sleep 600", mark.display());
    let mut runtape = wrapper(&events, &[], &["sh", "-c", &script]);
    let mut child = runtape.process_group(0).spawn().expect("it starts");
    wait_for(&mark);
    let group = fs::read_to_string(&mark).expect("a group").trim().to_owned();
    assert_ne!(group, child.id().to_string(), "Ctrl-C, sent to our group, must not come twice");
    signal(child.id(), "INT");
    let status = child.wait().expect("it ends");
    assert_eq!((status.code(), status.signal()), (Some(130), None));
    wait_until("the whole group got it", || !lives(&group));
}
