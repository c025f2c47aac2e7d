use std::{
    fs::{self, OpenOptions},
    io::Write,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::stage::{Stage, counted, descriptors, line};
use crate::support::{append, run, signal, wait_until};

fn truncate(stage: &Stage, name: &str) {
    OpenOptions::new().write(true).truncate(true).open(stage.path(name)).expect("a stream");
}

#[test]
fn a_file_emptied_and_outgrown_between_two_looks_is_read_from_its_start() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 2000);
    stage.settle();
    crate::support::freeze(stage.pid());
    let first = fs::read_to_string(stage.path("runs.jsonl")).expect("a stream");
    truncate(&stage, "runs.jsonl");
    // The first line is the same, and all lines are of one length: neither size nor shape tells.
    let identical = first.lines().next().expect("a line").replace("\"event_id\"", "\"was__e_id\"") + "\n";
    append(&stage.path("runs.jsonl"), identical.as_bytes());
    stage.runs.count += 1;
    stage.runs.sum += 1;
    stage.write("runs.jsonl", 4000);
    signal(stage.pid(), "CONT");
    stage.settle();
    assert_eq!(stage.resets("rewritten"), 1.0);
    let damage = stage.damage();
    assert!(damage.contains("stream runs (file f1)"), "{damage}");
}

#[test]
fn a_restart_needs_no_history_that_was_truncated() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 500);
    stage.settle();
    truncate(&stage, "runs.jsonl");
    stage.write("runs.jsonl", 10);
    stage.settle();
    assert_eq!(stage.metrics().sum("runtape_resets_total"), 1.0);
    stage.full_look();
    stage.terminate();
    stage.start();
    stage.settle();
    assert_eq!(stage.metrics().sum("runtape_resets_total"), 0.0, "told once, not at every start");
    stage.write("runs.jsonl", 3);
    stage.settle();
    stage.damage();
}

#[test]
fn a_hundred_truncations_fold_nothing_twice_and_leak_nothing() {
    let mut stage = Stage::new();
    stage.full_look();
    let before = descriptors(stage.pid());
    for cycle in 0..100u64 {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(stage.path("runs.jsonl"))
            .expect("a stream");
        let lines: String = (0..=cycle % 7).map(|n| line("a", cycle * 100 + n)).collect();
        file.write_all(lines.as_bytes()).expect("a write");
        // The pauses are uneven on purpose: some truncations fall between two looks, some do not.
        thread::sleep(Duration::from_millis(cycle * 7 % 23));
    }
    let last = line("a", 1_000_000);
    append(&stage.path("runs.jsonl"), last.as_bytes());
    wait_until("the last line is counted", || counted(&stage.metrics()).1 >= 1_000_000);
    stage.full_look();
    let metrics = stage.metrics();
    assert_eq!(metrics.get("runtape_duplicates_total"), Some(0.0), "no line twice");
    assert_eq!(metrics.sum("runtape_malformed_lines_total"), 0.0, "no line in pieces");
    assert!(counted(&metrics).0 > 100, "most lines are seen: {:?}", counted(&metrics));
    assert!(metrics.sum("runtape_resets_total") > 0.0);
    assert!(descriptors(stage.pid()) <= before + 3);
}

#[test]
fn a_copy_made_before_truncation_is_not_folded_again_and_keeps_the_history() {
    let mut stage = Stage::new();
    for rotation in 1..=3 {
        stage.write("runs.jsonl", 100);
        stage.settle();
        copy_up(&stage);
        if rotation == 2 {
            // Seen as a copy before the original is emptied, and in the other rotations after.
            stage.full_look();
            stage.full_look();
        }
        truncate(&stage, "runs.jsonl");
        stage.write("runs.jsonl", 20);
        stage.check();
        assert_eq!(stage.resets("truncated") + stage.resets("rewritten"), f64::from(rotation));
    }
    stage.kill();
    stage.start();
    stage.check();
}

#[test]
fn lines_that_only_the_copy_has_are_folded_from_it() {
    for seen in [false, true] {
        let mut stage = Stage::new();
        stage.write("runs.jsonl", 100);
        stage.settle();
        if seen {
            copy_up(&stage);
            stage.full_look();
        }
        crate::support::freeze(stage.pid());
        stage.write("runs.jsonl", 50);
        if seen {
            fs::copy(stage.path("runs.jsonl"), stage.path("runs.jsonl.1")).expect("a copy");
        } else {
            copy_up(&stage);
        }
        truncate(&stage, "runs.jsonl");
        stage.write("runs.jsonl", 20);
        signal(stage.pid(), "CONT");
        stage.check();
        stage.terminate();
        stage.start();
        stage.check();
    }
}

#[test]
fn a_copy_taken_while_stopped_is_recognised_at_the_start() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 100);
    stage.settle();
    stage.kill();
    stage.write("runs.jsonl", 9);
    copy_up(&stage);
    truncate(&stage, "runs.jsonl");
    stage.start();
    stage.check();
    // Emptied and nothing new, then restarted: the file is followed again all the same.
    stage.kill();
    stage.start();
    stage.write("runs.jsonl", 6);
    stage.check();
}

#[test]
fn a_copy_older_than_the_last_sealed_line_adds_nothing() {
    let mut stage = Stage::new();
    stage.write("runs.jsonl", 100);
    stage.settle();
    copy_up(&stage);
    stage.full_look();
    stage.write("runs.jsonl", 30);
    stage.settle();
    truncate(&stage, "runs.jsonl");
    stage.write("runs.jsonl", 10);
    stage.settle();
    stage.full_look();
    stage.settle();
    let damage = stage.damage();
    assert!(!damage.contains("round 0:"), "what the copy still has can be read from it: {damage}");
}

/// A copy inside the directory, older copies one number up.
fn copy_up(stage: &Stage) {
    for number in (1..8).rev() {
        let (from, to) = (format!("runs.jsonl.{number}"), format!("runs.jsonl.{}", number + 1));
        let _ = fs::rename(stage.path(&from), stage.path(&to));
    }
    fs::copy(stage.path("runs.jsonl"), stage.path("runs.jsonl.1")).expect("a copy");
}

#[test]
fn copytruncate_under_load_loses_only_what_no_file_holds() {
    let mut stage = Stage::new();
    let stop = AtomicBool::new(false);
    let path = stage.path("runs.jsonl");
    let written = thread::scope(|scope| {
        let writer = scope.spawn(|| {
            let mut file = OpenOptions::new().create(true).append(true).open(&path).expect("a stream");
            let mut number = 0;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..20 {
                    number += 1;
                    file.write_all(line("a", number).as_bytes()).expect("a write");
                }
                thread::sleep(Duration::from_millis(2));
            }
            number
        });
        for _ in 0..5 {
            thread::sleep(Duration::from_millis(250));
            copy_up(&stage);
            truncate(&stage, "runs.jsonl");
        }
        thread::sleep(Duration::from_millis(100));
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends")
    });
    let names = (1..8).map(|n| format!("runs.jsonl.{n}")).chain(["runs.jsonl".to_owned()]);
    let texts: Vec<String> = names.filter_map(|name| fs::read_to_string(stage.path(&name)).ok()).collect();
    let on_disk = texts.iter().map(|text| text.matches('\n').count() as u64).sum();
    wait_until("all lines on disk are counted", || counted(&stage.metrics()).0 >= on_disk);
    stage.full_look();
    stage.full_look();
    let metrics = stage.metrics();
    let (folded, _) = counted(&metrics);
    assert!((on_disk..=written).contains(&folded), "{folded} folded, {on_disk} on disk, {written} written");
    assert_eq!(metrics.get("runtape_duplicates_total"), Some(0.0), "no line twice");
    assert_eq!(metrics.sum("runtape_resets_total"), 5.0, "every truncation is reported");
    if folded == on_disk {
        assert_eq!(stage.events.replay()["agents"]["a"]["runs"], folded);
        stage.intact();
    } else {
        // Folded in the moment between copy and truncation: no file holds them, and the verification says so.
        assert_eq!(run(&["verify", "--events", stage.events.text()]).status.code(), Some(1));
    }
}
