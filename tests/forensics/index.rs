use std::{fs, path::PathBuf};

use runtape::{
    clock::Clock,
    layout::Layout,
    replay::{
        index::build,
        lookup::{Lines, Wanted, at_once, each_of_all, lines_of, sealed_lines},
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
    each_of_all(&directory, &|_| true, &mut |position, id, place, line| {
        read.push((id.to_owned(), position, place.offset, line.to_vec()));
    })
    .expect("a readable tape");
    let mut read_from = 0;
    for n in 0..=101 {
        let id = format!("run-{n}");
        let Lines { told, gaps, read_from: from, .. } =
            lines_of(&directory, &id, &Wanted::default()).expect("a readable tape");
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

/// Beside a server that seals more: what the index knows, what is past it, and what a search without one says.
#[test]
fn sealed_lines_are_found_with_an_index_and_without() {
    let events = recorded();
    let layout = || Layout::new(events.path());
    let found = |id: &str, wanted: &Wanted| sealed_lines(layout(), id, wanted).expect("a readable tape");
    let all = |id: &str| found(id, &Wanted::default()).told;
    let ids: Vec<String> = (0..=101).map(|n| format!("run-{n}")).collect();
    let read: Vec<_> = ids.iter().map(|id| all(id)).collect();
    assert_eq!((read[20].len(), read[21].len()), (2, 1));
    assert_eq!(read[100].len(), 0, "what is not sealed has no position");
    built(&events, 30);
    assert!(ids.iter().map(|id| all(id)).eq(read.iter().cloned()), "with an index");
    let last = files(&events).pop().expect("an index");
    fs::remove_file(last).expect("our own file");
    assert!(ids.iter().map(|id| all(id)).eq(read.iter().cloned()), "with half of one");
    // So many and no more, and whether there are more.
    let few = found("run-20", &Wanted { lines: 1, ..Wanted::default() });
    assert_eq!((few.told.as_slice(), few.more), (&read[20][..1], true));
    let enough = found("run-20", &Wanted { lines: 2, ..Wanted::default() });
    assert_eq!((enough.told.len(), enough.more), (2, false));
    let small = found("run-20", &Wanted { bytes: read[20][0].line.len(), ..Wanted::default() });
    assert_eq!((small.told.len(), small.more), (1, true));
    // A line that was changed is told, with an index and without.
    let text = fs::read_to_string(events.stream("runs")).expect("a stream");
    let changed = text.replace("\"agent\":\"a1\",\"latency_ms\":4}", "\"agent\":\"a1\",\"latency_ms\":5}");
    let file = fs::OpenOptions::new().write(true).open(events.stream("runs")).expect("a stream");
    std::os::unix::fs::FileExt::write_all_at(&file, changed.as_bytes(), 0).expect("a writable stream");
    assert_eq!(found("run-4", &Wanted::default()).gaps.len(), 1);
    fs::remove_dir_all(events.path().join(".runtape/index")).expect("an index");
    assert_eq!(found("run-4", &Wanted::default()).gaps.len(), 1);
}

/// Whoever does not wait any more is not read for.
#[test]
fn a_search_ends_when_nobody_waits() {
    let events = Events::new();
    events.append("runs", (0..20_000).map(line).collect::<String>());
    let told = std::cell::Cell::new(0_u64);
    let watch = |lines: u64| {
        told.set(told.get() + lines);
        told.get() < 3_000
    };
    let wanted = Wanted { watch: &watch, ..Wanted::default() };
    assert!(lines_of(&open(&events), "run-19999", &wanted).is_err());
    assert!(told.get() < 5_000, "{} lines were read", told.get());
    told.set(0);
    assert!(runtape::report::run::stranger(&open(&events), "run-x", &watch).is_err());
    assert!(told.get() < 5_000, "{} lines were read", told.get());
}
