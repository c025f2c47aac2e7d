use std::{
    fs::{self, OpenOptions},
    io::Write,
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::stage::{Stage, counted};
use crate::support::append;

#[test]
fn killed_again_and_again_under_load_it_counts_every_line_once() {
    let mut stage = Stage::new();
    let stop = AtomicBool::new(false);
    let path = stage.path("runs.jsonl");
    let mut runs = std::mem::replace(&mut stage.runs, super::stage::Runs::of("a"));
    stage.runs = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a stream");
            while !stop.load(Ordering::Relaxed) {
                file.write_all(runs.take(10).as_bytes()).expect("a write");
                thread::sleep(Duration::from_millis(1));
            }
            runs
        });
        let mut last = 0;
        for round in 0..8 {
            thread::sleep(Duration::from_millis(round * 37 % 120));
            let (now, _) = counted(&stage.metrics());
            assert!(now >= last, "a counter went down: {now} after {last}");
            last = now;
            stage.kill();
            stage.start();
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends")
    });
    stage.check();
    assert_eq!(stage.metrics().get("runtape_duplicates_total"), Some(0.0));
}

#[test]
fn damaged_snapshots_are_passed_over() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 300);
    stage.settle();
    stage.terminate();
    let damages: [&dyn Fn(&PathBuf); 4] = [
        &|path| fs::write(path, b"").expect("a writable file"),
        &|path| {
            let bytes = fs::read(path).expect("a snapshot");
            fs::write(path, &bytes[..bytes.len() / 2]).expect("a writable file");
        },
        &|path| {
            let mut bytes = fs::read(path).expect("a snapshot");
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(path, bytes).expect("a writable file");
        },
        &|path| fs::remove_file(path).expect("a removable file"),
    ];
    for damage in damages {
        let entries = fs::read_dir(stage.path(".runtape/snapshots")).expect("snapshots");
        let snapshots: Vec<PathBuf> =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file()).collect();
        assert!(!snapshots.is_empty(), "there is something to damage");
        snapshots.iter().for_each(damage);
        stage.start();
        stage.write("runs.jsonl", 5);
        stage.settle();
        let state = stage.events.replay();
        assert_eq!(state["agents"]["a"]["runs"], stage.runs.count);
        stage.terminate();
    }
}

#[test]
fn the_torn_end_of_a_tape_is_cut_by_its_owner_and_ignored_by_readers() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 30);
    stage.settle();
    stage.kill();
    let tape = stage.path(".runtape/tape.jsonl");
    let whole = fs::read(&tape).expect("a tape");
    append(&tape, b"{\"v\":1,\"round\":99,\"first\":");
    let torn = fs::read(&tape).expect("a tape");
    assert_eq!(stage.events.replay()["agents"]["a"]["runs"], 30);
    stage.intact();
    assert_eq!(fs::read(&tape).expect("a tape"), torn, "readers write nothing");
    stage.start();
    assert_eq!(fs::read(&tape).expect("a tape"), whole, "the owner cuts it off");
    stage.write("runs.jsonl", 1);
    stage.check();
}

#[test]
fn readers_write_nothing_beside_a_server_or_without_one() {
    let mut stage = Stage::dark();
    stage.write("runs.jsonl", 5);
    assert_eq!(stage.events.replay()["agents"]["a"]["runs"], 5);
    stage.intact();
    assert!(!stage.path(".runtape").exists());
    stage.start();
    stage.settle();
    stage.kill();
    // Emptied, copied, new: everything that makes an owner link and write.
    fs::copy(stage.path("runs.jsonl"), stage.path("runs.jsonl.1")).expect("a copy");
    fs::write(stage.path("runs.jsonl"), stage.runs.take(3)).expect("a stream");
    let before = listing(&stage);
    assert_eq!(stage.events.replay()["agents"]["a"]["runs"], 8, "a reader finds history in the copy, too");
    assert_eq!(listing(&stage), before);
    stage.start();
    stage.check();
}

/// Every file below the directory with its size and inode.
fn listing(stage: &Stage) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let (mut dirs, mut list) = (vec![stage.events.path().to_owned()], Vec::new());
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).expect("a folder").flatten() {
            let metadata = entry.metadata().expect("a file");
            if metadata.is_dir() {
                dirs.push(entry.path());
            }
            list.push(format!("{} {} {}", entry.path().display(), metadata.ino(), metadata.mtime_nsec()));
        }
    }
    list.sort();
    list
}

#[test]
fn a_silent_agent_goes_on_where_it_was_and_old_lines_stay_old() {
    let mut stage = Stage::new();
    let dated =
        |ts: &str, n: u32| format!("{{\"ts\":\"{ts}\",\"agent\":\"sparse\",\"run_id\":\"s{n}\",\"latency_ms\":1}}\n");
    append(&stage.path("runs.jsonl"), dated("2026-01-01T00:00:00Z", 1).as_bytes());
    append(&stage.path("runs.jsonl"), dated("2026-01-01T02:00:00Z", 2).as_bytes());
    append(&stage.path("runs.jsonl"), dated("2098-01-01T00:00:00Z", 3).as_bytes());
    append(&stage.path("runs.jsonl"), dated("2025-12-01T00:00:00Z", 4).as_bytes());
    stage.write("runs.jsonl", 1);
    stage.check();
    stage.kill();
    stage.start();
    let metrics = stage.metrics();
    assert_eq!(metrics.get("agent_runs_total{agent=\"sparse\"}"), Some(4.0));
    assert_eq!(metrics.get("runtape_skewed_total"), Some(1.0));
    let last = metrics.get("agent_last_event_timestamp_seconds{agent=\"sparse\"}").expect("a time");
    assert_eq!(last, 1_764_547_200.0, "the time of the last event, not of its arrival");
    let timestamped = metrics
        .0
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find(|line| line.rsplit_once('}').is_some_and(|(_, value)| value.trim().contains(' ')));
    assert_eq!(timestamped, None, "no sample carries a time");
}
