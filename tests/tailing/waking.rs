use std::{
    fs::{self, OpenOptions},
    io::Write,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use runtape::clock::Stopwatch;

use super::stage::{Stage, counted, line};
use crate::support::{Events, RUNTAPE, append, wait_until};

/// Time until a condition holds.
fn until(what: &str, condition: impl FnMut() -> bool) -> Duration {
    let start = Stopwatch::start();
    wait_until(what, condition);
    start.elapsed()
}

/// The quickest of several tries: what the program can do when the machine lets it.
fn quickest(tries: usize, mut once: impl FnMut() -> Duration) -> Duration {
    (0..tries).map(|_| once()).min().unwrap_or_default()
}

#[test]
fn after_silence_one_line_is_seen_at_once() {
    let mut stage = Stage::new();
    stage.full_look();
    let took = quickest(5, || {
        stage.write("runs.jsonl", 1);
        until("the line is counted", || counted(&stage.metrics()).0 == stage.runs.count)
    });
    assert!(took < Duration::from_millis(50), "{took:?}");
    stage.check();
}

#[test]
fn a_line_that_no_notification_names_is_seen_by_the_poll() {
    let mut stage = Stage::new();
    let outside = stage.outside.stream("runs");
    append(&outside, stage.runs.take(1).as_bytes());
    fs::hard_link(&outside, stage.path("runs.jsonl")).expect("a hard link");
    stage.settle();
    let took = quickest(5, || {
        append(&outside, stage.runs.take(1).as_bytes());
        until("the line is counted", || counted(&stage.metrics()).0 == stage.runs.count)
    });
    assert!(took < Duration::from_millis(250), "{took:?}");
    stage.check();
}

#[test]
fn whoever_asks_under_load_is_answered() {
    let mut stage = Stage::new();
    let stop = AtomicBool::new(false);
    let path = stage.path("runs.jsonl");
    let mut runs = std::mem::replace(&mut stage.runs, super::stage::Runs::of("a"));
    let (slowest, runs) = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a stream");
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    file.write_all(runs.take(1).as_bytes()).expect("a write");
                }
                thread::sleep(Duration::from_millis(2));
            }
            runs
        });
        let times = (0..20).map(|_| {
            let start = Stopwatch::start();
            stage.metrics();
            start.elapsed()
        });
        let mut times: Vec<Duration> = times.collect();
        stop.store(true, Ordering::Relaxed);
        times.sort();
        (times[15], writer.join().expect("the writer ends"))
    });
    stage.runs = runs;
    assert!(slowest < Duration::from_millis(500), "three of four pages take less than {slowest:?}");
    stage.check();
}

#[test]
fn ten_thousand_idle_files_hold_nobody_up() {
    const FILES: u64 = 10_000;
    let mut stage = Stage::dark();
    for n in 0..FILES {
        fs::write(stage.path(&format!("idle-{n}.jsonl")), line("idle", n)).expect("a stream");
    }
    stage.start();
    assert_eq!(stage.metrics().get("agent_runs_total{agent=\"idle\"}"), Some(FILES as f64));
    let took = quickest(5, || {
        stage.write("idle-77.jsonl", 1);
        until("the line is counted", || counted(&stage.metrics()).0 == stage.runs.count)
    });
    assert!(took < Duration::from_millis(250), "{took:?}");
    stage.check();
}

#[test]
fn more_streams_than_descriptors() {
    let events = Events::new();
    for n in 0..400 {
        events.append(&format!("s{n}"), line("a", n));
    }
    let replay = |command: &str| {
        let script = format!("ulimit -n 64; exec {RUNTAPE} {command} --events {}", events.text());
        Command::new("sh").args(["-c", &script]).output().expect("a shell")
    };
    let output = replay("replay -o json");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let state: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(state["agents"]["a"]["runs"], 400);
    assert!(replay("verify").status.success());
}
