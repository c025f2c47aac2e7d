use std::{
    fs::{self, OpenOptions},
    io::Write,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::stage::{Stage, counted, line};
use crate::support::{Events, RUNTAPE, append, wait_until};

#[test]
fn after_silence_a_line_is_in_the_next_scrape() {
    let mut stage = Stage::new();
    stage.full_look();
    for _ in 0..5 {
        stage.write("runs.jsonl", 1);
        assert_eq!(counted(&stage.metrics()).0, stage.runs.count);
    }
    stage.check();
}

#[test]
fn a_line_that_no_notification_names_is_seen_by_the_poll() {
    let mut stage = Stage::new();
    let outside = stage.outside.stream("runs");
    append(&outside, stage.runs.take(1).as_bytes());
    fs::hard_link(&outside, stage.path("runs.jsonl")).expect("a hard link");
    stage.settle();
    for _ in 0..5 {
        append(&outside, stage.runs.take(1).as_bytes());
        wait_until("the line is counted", || counted(&stage.metrics()).0 == stage.runs.count);
    }
    stage.check();
}

#[test]
fn whoever_asks_under_load_is_answered() {
    let mut stage = Stage::new();
    let stop = AtomicBool::new(false);
    let path = stage.path("runs.jsonl");
    let mut runs = std::mem::replace(&mut stage.runs, super::stage::Runs::of("a"));
    let runs = thread::scope(|scope| {
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
        let pages: Vec<_> = (0..20).map(|_| counted(&stage.metrics()).0).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(pages.is_sorted() && pages.last() > pages.first(), "{pages:?}");
        writer.join().expect("the writer ends")
    });
    stage.runs = runs;
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
    for _ in 0..5 {
        stage.write("idle-77.jsonl", 1);
        assert_eq!(counted(&stage.metrics()).0, stage.runs.count);
    }
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
