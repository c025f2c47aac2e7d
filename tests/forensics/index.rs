use std::{fs, path::PathBuf};

use runtape::{
    clock::Clock,
    layout::Layout,
    replay::{
        index::build,
        lookup::{Lines, at_once, each_of_all, lines_of},
    },
    tape::Directory,
};

use crate::{
    support::{Events, append, json, run, stdout, wait_until},
    talk::Talk,
};

/// A directory with a hundred runs in several rounds, and more that are not sealed.
fn recorded() -> Events {
    let events = Events::new();
    let talk = Talk::start(events.path(), &["--snapshot-every", "0.05"]);
    for part in 0..5_u64 {
        let lines: String = (part * 20..part * 20 + 20).map(line).collect();
        events.append("runs", lines);
        wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(part as f64 * 21.0 + 20.0));
        events.append("pnl", format!("{{\"run_id\":\"run-{}\",\"realized_pnl_bps\":3}}\n", part * 20));
        wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(part as f64 * 21.0 + 21.0));
    }
    talk.terminate();
    events.append("runs", line(100));
    events
}

fn line(n: u64) -> String {
    format!("{{\"run_id\":\"run-{n}\",\"agent\":\"a{}\",\"latency_ms\":{n}}}\n", n % 3)
}

fn open(events: &Events) -> Directory {
    Directory::open(Layout::new(events.path()), Some(Clock::system().now())).expect("a directory")
}

/// Every run's lines by reading everything, against those that are looked up; how far the index reached for the last.
#[track_caller]
fn check(events: &Events) -> u64 {
    let directory = open(events);
    let mut read = Vec::new();
    each_of_all(&directory, &mut |position, id, place, line| {
        read.push((id.to_owned(), position, place.offset, line.to_vec()));
    })
    .expect("a readable tape");
    let mut read_from = 0;
    for n in 0..=101 {
        let id = format!("run-{n}");
        let Lines { told, gaps, read_from: from } = lines_of(&directory, &id).expect("a readable tape");
        if let Some(quick) = at_once(Layout::new(events.path()), &id).expect("a readable tape") {
            assert_eq!(quick.told, told, "{id}");
        }
        let told: Vec<_> = told.into_iter().map(|told| (id.clone(), told.position, told.offset, told.line)).collect();
        let want: Vec<_> = read.iter().filter(|(known, ..)| *known == id).cloned().collect();
        assert_eq!((told, gaps), (want, vec![]), "{id}");
        read_from = from;
    }
    read_from
}

fn built(events: &Events, full: usize) -> usize {
    build(&open(events), Some(full), &mut |_| ()).expect("a writable index").files
}

fn files(events: &Events) -> Vec<PathBuf> {
    let files = fs::read_dir(events.path().join(".runtape/index")).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.path()).collect();
    files.sort();
    files
}

#[test]
fn an_index_says_what_reading_everything_says() {
    let events = recorded();
    assert_eq!(check(&events), 0, "there is none");
    for full in [1000, 30, 1] {
        fs::remove_dir_all(events.path().join(".runtape/index")).ok();
        assert!(built(&events, full) >= if full == 1 { 10 } else { 1 });
        assert_eq!(check(&events), 105, "all that is sealed is covered");
    }
    // It goes on where it ended.
    let kept: Vec<_> = files(&events).iter().map(|path| fs::read(path).expect("a file")).collect();
    let talk = Talk::start(events.path(), &[]);
    wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(106.0));
    talk.terminate();
    assert_eq!(check(&events), 105);
    assert_eq!(built(&events, 1), kept.len() + 1);
    assert_eq!(check(&events), 106);
    let now: Vec<_> = files(&events).iter().map(|path| fs::read(path).expect("a file")).collect();
    assert_eq!(now[..kept.len()], kept);
    fs::remove_dir_all(events.path().join(".runtape/index")).expect("an index");
    assert_eq!(check(&events), 0);
    built(&events, 1);
    assert_eq!(files(&events).iter().map(|path| fs::read(path).expect("a file")).collect::<Vec<_>>(), now);
}

/// Whichever byte is another, whatever is cut off: the answers stay.
#[test]
fn a_damaged_index_is_never_believed() {
    let events = recorded();
    built(&events, 40);
    let path = files(&events).remove(0);
    let whole = fs::read(&path).expect("a file");
    for at in (0..whole.len()).step_by(whole.len() / 40) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).expect("a writable file");
        check(&events);
        fs::write(&path, &whole[..at]).expect("a writable file");
        assert_eq!(check(&events), 0, "cut at {at}");
    }
    fs::write(&path, &whole).expect("a writable file");
    assert_eq!(check(&events), 105);
    // That of another history.
    let other = Events::new();
    let talk = Talk::start(other.path(), &[]);
    append(&other.stream("runs"), line(7).as_bytes());
    wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(1.0));
    talk.terminate();
    fs::create_dir(other.path().join(".runtape/index")).expect("a folder");
    fs::copy(&path, other.path().join(".runtape/index").join(path.file_name().expect("a name"))).expect("a copy");
    assert_eq!(check(&other), 0);
    let directory = open(&events);
    assert_eq!(directory.sealed_to, 105);
}

#[test]
fn a_line_that_is_not_what_was_sealed_is_told() {
    let events = recorded();
    built(&events, 1000);
    let text = fs::read_to_string(events.stream("runs")).expect("a stream");
    let changed = text.replace("\"agent\":\"a1\",\"latency_ms\":4}", "\"agent\":\"a1\",\"latency_ms\":5}");
    assert_ne!(text, changed);
    let file = fs::OpenOptions::new().write(true).open(events.stream("runs")).expect("a stream");
    std::os::unix::fs::FileExt::write_all_at(&file, changed.as_bytes(), 0).expect("a writable stream");
    let output = run(&["forensics", "run", "run-4", "--lines", "--events", events.text()]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("positions 4 to 5") && said.contains("not the one that was sealed"), "{said}");
}

#[test]
fn what_was_pruned_is_not_looked_for() {
    let events = recorded();
    built(&events, 1000);
    stdout(&run(&["prune", "--events", events.text(), "--before", "42", "--yes"]));
    assert_eq!(check(&events), 105, "a file may reach back behind the horizon");
    built(&events, 1000);
    assert_eq!((check(&events), files(&events).len()), (105, 1));
}

#[test]
fn the_command_says_what_it_did() {
    let events = recorded();
    let answer = json(&run(&["forensics", "index", "--events", events.text(), "-o", "json"]));
    assert_eq!((&answer["lines"], &answer["to"], &answer["files"]), (&105.into(), &105.into(), &1.into()));
    let lines = stdout(&run(&["forensics", "run", "run-20", "--lines", "--events", events.text()]));
    assert_eq!(lines.lines().count(), 5, "{lines}");
    let nothing = Events::new();
    let output = run(&["forensics", "index", "--events", nothing.text()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no tape"));
}

/// Where all is sealed and indexed, nothing but the index and the lines is read; where anything is not, nothing is said.
#[test]
fn a_run_is_found_at_once_or_not_at_all() {
    let events = recorded();
    let quick = |n: u64| at_once(Layout::new(events.path()), &format!("run-{n}")).expect("a readable tape");
    built(&events, 1);
    assert_eq!(quick(100), None, "a line is not sealed yet");
    let talk = Talk::start(events.path(), &[]);
    wait_until("it is folded", || talk.metrics().get("runtape_position") == Some(106.0));
    talk.terminate();
    assert_eq!(quick(100), None, "a line is not indexed yet");
    built(&events, 1);
    let found = quick(100).expect("all is sealed and indexed");
    assert_eq!(found.told.len(), 1);
    assert_eq!(quick(40).map(|found| found.told.len()), Some(2), "a run and its PnL");
    assert_eq!(quick(101).map(|found| found.told.len()), Some(0), "no such run");
    let shown = |args: &[&str]| {
        stdout(&run(
            &[&["forensics", "--events", events.text(), "run", "run-40", "--lines", "-o", "json"], args].concat()
        ))
    };
    let whole: serde_json::Value = serde_json::from_str(&shown(&[])).expect("JSON");
    assert_eq!(whole["lines"].as_array().map(Vec::len), Some(2));
    let path = events.path().join("runs.jsonl");
    let text = fs::read_to_string(&path).expect("a stream");
    fs::write(&path, text.replace("\"latency_ms\":40", "\"latency_ms\":41")).expect("a writable stream");
    assert_eq!(quick(40), None, "a line was changed");
}
