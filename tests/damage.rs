//! Damage of every kind: found, named, and never folded over in silence.

/// Every bit, one by one.
mod bytes;
/// Decisions against what the tape gives.
mod decisions;

use std::{
    fs,
    path::{Path, PathBuf},
};

use runtape::{
    layout::Layout,
    tape::{Round, verify},
};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::Value;

use crate::{
    support::{self, Events, wait_until},
    talk::{self, Talk},
};

/// Lines that send many agents into quarantine.
fn lines(from: u64, count: u64) -> String {
    let line =
        |n| format!("{{\"run_id\":\"r{n}\",\"agent\":\"agent-{}\",\"reward\":-1.6,\"latency_ms\":{n}}}\n", n / 3);
    (from..from + count).map(line).collect()
}

/// A directory that a server left after some rounds over two streams, its last one saved.
fn recorded() -> Events {
    let events = Events::new();
    let talk = Talk::start(events.path(), &["--snapshot-every", "0.02"]);
    for round in 0..6 {
        events.append("runs", lines(round * 20, 20));
        events.append("pnl", format!("{{\"run_id\":\"r{}\",\"realized_pnl_bps\":-3}}\n", round * 20));
        wait_until("the round is saved", || {
            let page = talk.metrics();
            let end = (round + 1) as f64 * 21.0;
            let saved = |c: &str| page.get(&format!("runtape_consumer_snapshot_position{{consumer=\"{c}\"}}"));
            page.get("runtape_position") == Some(end) && saved("runs") == Some(end) && saved("rolling") == Some(end)
        });
    }
    talk.terminate();
    assert!(rounds(&events).len() >= 6);
    events
}

fn layout(events: &Events) -> Layout {
    Layout::new(events.path())
}

fn rounds(events: &Events) -> Vec<Round> {
    let text = fs::read_to_string(layout(events).tape()).expect("a tape");
    text.lines().map(|line| serde_json::from_str(line).expect("a round")).collect()
}

/// What `runtape verify` finds, by its own account; its exit code must agree.
fn findings(events: &Events) -> Vec<Value> {
    let output = support::run(&["verify", "--events", events.text(), "-o", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a report");
    let found = report["findings"].as_array().expect("a list").clone();
    assert_eq!(output.status.code(), Some(i32::from(!found.is_empty())), "{report}");
    found
}

/// Changes a file in place, looks, and puts everything back.
fn with_change<T>(path: &Path, change: impl FnOnce(&mut Vec<u8>), look: impl FnOnce() -> T) -> T {
    let whole = fs::read(path).expect("a readable file");
    let mut changed = whole.clone();
    change(&mut changed);
    assert_ne!(changed, whole);
    fs::write(path, &changed).expect("a writable file");
    let seen = look();
    fs::write(path, &whole).expect("a writable file");
    seen
}

#[test]
fn an_honest_directory_is_intact_and_any_flipped_byte_of_a_stream_is_named() {
    let events = recorded();
    assert_eq!(findings(&events), Vec::<Value>::new());
    for stream in ["runs", "pnl"] {
        let path = events.stream(stream);
        let len = fs::metadata(&path).expect("a stream").len() as usize;
        for at in (0..len).step_by(len / 12) {
            let found = with_change(&path, |bytes| bytes[at] ^= 4, || findings(&events));
            let hit = |round: &&Round| {
                let here = |e: &&runtape::tape::Extent| *e.stream == *stream && (e.from..e.to).contains(&(at as u64));
                round.extents.iter().any(|extent| here(&extent))
            };
            let rounds = rounds(&events);
            let round = rounds.iter().find(hit).expect("it was sealed");
            let named = &found[0];
            assert_eq!(named["stream"], stream, "byte {at}: {named}");
            assert_eq!(named["round"], round.round, "byte {at}: {named}");
            let (from, to) = (named["from"].as_u64().expect("from"), named["to"].as_u64().expect("to"));
            assert!((from..to).contains(&(at as u64)), "byte {at}: {named}");
        }
        let found = with_change(&path, |bytes| bytes.truncate(len - 10), || findings(&events));
        assert_eq!(found[0]["stream"], stream, "{found:?}");
    }
    assert_eq!(findings(&events), Vec::<Value>::new(), "everything was put back");
}

#[test]
fn any_flipped_byte_of_the_tape_is_found_and_a_tape_cut_anywhere_is_called_cut() {
    let events = recorded();
    let layout = layout(&events);
    let found = || verify::verify(&layout, |_| {}).map(|report| report.findings);
    assert!(found().expect("a readable tape").is_empty());
    let whole = fs::read(layout.tape()).expect("a tape");
    for at in 0..whole.len() {
        let bit = 1 << (at % 7);
        let finding = match with_change(&layout.tape(), |bytes| bytes[at] ^= bit, found) {
            Ok(findings) => findings.into_iter().next(),
            // A changed format number is nothing this program can judge, and it says so.
            Err(error) => {
                assert!(error.to_string().contains("newer"), "byte {at}: {error}");
                continue;
            }
        };
        let finding = finding.unwrap_or_else(|| panic!("byte {at} of the tape may change unseen"));
        let round = whole[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        let last = round + 1 == rounds(&events).len() as u64;
        // A changed newline at the very end leaves a torn tail, and what stands on it is without a tape.
        assert!(finding.round == Some(round) || (last && finding.what.contains("cut")), "byte {at}: {finding}");
    }
    let found = || found().expect("a readable tape");
    let ends: Vec<usize> = (0..whole.len() - 1).filter(|at| whole[*at] == b'\n').map(|at| at + 1).collect();
    for end in ends.into_iter().chain([0]) {
        let cut = |bytes: &mut Vec<u8>| bytes.truncate(end);
        let found = with_change(&layout.tape(), cut, || {
            let args = ["serve", "--events", events.text(), "--listen", "127.0.0.1:0"];
            let refused = support::run(&args);
            assert_eq!(refused.status.code(), Some(3), "cut at {end}");
            let said = String::from_utf8_lossy(&refused.stderr).into_owned();
            assert!(said.contains("was cut") && said.contains("Restore it from a backup"), "{said}");
            assert_eq!(fs::read(layout.tape()).expect("a tape").len(), end, "a refusal changes nothing");
            found()
        });
        assert!(found.iter().any(|finding| finding.what.contains("cut")), "cut at {end}: {found:?}");
    }
    let edit = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(std::mem::take(bytes)).expect("UTF-8");
        let at = text.find("\"tape\":\"").expect("a digest") + 8;
        *bytes = text.into_bytes();
        bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
    };
    let decisions = layout.decisions("quarantine");
    let finding = with_change(&decisions, edit, || found().into_iter().next()).expect("an edited decision is found");
    assert!(finding.what.contains("stands on another round"), "{finding}");
    assert_eq!(finding.path.as_deref(), Some(decisions.as_path()));
}

#[test]
fn a_torn_tail_of_the_tape_is_repaired_and_what_it_held_is_sealed_again() {
    let events = recorded();
    let tape = layout(&events).tape();
    let whole = fs::read(&tape).expect("a tape");
    let before = rounds(&events).len();
    for debris in [&b"{\"v\":1,\"round\":6,\"fir"[..], &[0; 300], b"x"] {
        fs::write(&tape, [whole.as_slice(), debris].concat()).expect("a writable tape");
        Talk::start(events.path(), &[]).terminate();
        assert_eq!(fs::read(&tape).expect("a tape"), whole, "{debris:?}");
    }
    let talk = Talk::start(events.path(), &[]);
    events.append("runs", lines(200, 5));
    wait_until("the lines are sealed", || talk.metrics().get("runtape_position") == Some(131.0));
    talk.terminate();
    assert_eq!(rounds(&events).len(), before + 1);
    assert_eq!(findings(&events), Vec::<Value>::new());
}

/// The snapshots of a kind (of all kinds: empty), newest first.
fn snapshots(events: &Events, of: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(layout(events).snapshots()).expect("a folder");
    let of_kind = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.ends_with(".snapshot") && (of.is_empty() || name.starts_with(&format!("{of}-")))
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(of_kind).collect();
    paths.sort();
    paths.reverse();
    paths
}

/// A header that says something else, without a seal, as those of older snapshots are.
fn edit_header(path: &Path, from: &str, to: &str) {
    let bytes = fs::read(path).expect("a snapshot");
    let end = bytes.iter().position(|byte| *byte == b'\n').expect("a header");
    let header = String::from_utf8(bytes[..end].to_vec()).expect("UTF-8");
    let seal = header.rfind(",\"seal\":").unwrap_or(header.len() - 1);
    let edited = format!("{}}}", &header[..seal]).replacen(from, to, 1);
    assert!(edited.contains(to), "{from}");
    fs::write(path, [edited.as_bytes(), &bytes[end..]].concat()).expect("a writable snapshot");
}

#[test]
fn a_damaged_snapshot_gives_way_to_the_older_one_and_both_to_the_tape() {
    type Damage = fn(&Path);
    let table: &[(&str, Damage)] = &[
        ("it has no header", |path| fs::write(path, "").expect("a writable snapshot")),
        ("does not match its checksum", |path| {
            let bytes = fs::read(path).expect("a snapshot");
            fs::write(path, &bytes[..bytes.len() - bytes.len() / 3]).expect("a writable snapshot");
        }),
        ("does not match its checksum", |path| {
            let mut bytes = fs::read(path).expect("a snapshot");
            let last = bytes.len() - 1;
            bytes[last] ^= 1;
            fs::write(path, bytes).expect("a writable snapshot");
        }),
        ("it is of format 2", |path| edit_header(path, "\"v\":1", "\"v\":2")),
        ("it is of version 99", |path| {
            for version in 1..20 {
                let text = format!("\"version\":{version},");
                if String::from_utf8_lossy(&fs::read(path).expect("a snapshot")).contains(&text) {
                    return edit_header(path, &text, "\"version\":99,");
                }
            }
            panic!("a version beyond 19");
        }),
        ("does not stand on this tape", |path| edit_header(path, "\"tape\":\"", "\"tape\":\"f")),
        ("was made under another policy", |path| edit_header(path, "\"policy\":\"b3:", "\"policy\":\"b3:0")),
        ("irectory", |path| {
            fs::remove_file(path).expect("a snapshot");
            fs::create_dir(path).expect("a writable folder");
        }),
    ];
    let events = recorded();
    for (why, damage) in table {
        for of in ["runs", "intake", "", "both"] {
            let kind = if of == "both" { "quarantine" } else { of };
            let all = snapshots(&events, kind);
            let hit: Vec<PathBuf> = if of.is_empty() || of == "both" { all } else { all[..1].to_vec() };
            hit.iter().for_each(|path| damage(path));
            let talk = Talk::start(events.path(), &[]);
            let said = talk.said();
            assert!(said.contains("passed over") && said.contains(why), "{of} {why}: {said}");
            if of.is_empty() {
                assert!(said.contains("restored to: runs 0, "), "{said}");
            } else if of == "runs" {
                assert!(!said.contains("runs 0,"), "there is an older one: {said}");
            }
            talk::assert_page_is_that_of_a_replay(&events, &talk.metrics());
            talk.terminate();
            hit.iter().filter(|path| path.is_dir()).for_each(|path| fs::remove_dir(path).expect("an empty folder"));
            talk::assert_decisions_are_those_of_a_replay(&events);
            refill(&events);
        }
    }
    assert_eq!(findings(&events), Vec::<Value>::new());
}

/// Two sound generations of every snapshot.
fn refill(events: &Events) {
    snapshots(events, "").iter().for_each(|path| fs::remove_file(path).expect("a snapshot"));
    for _ in 0..2 {
        let talk = Talk::start(events.path(), &[]);
        events.append("runs", "{\"agent\":\"more\",\"reward\":0.5}\n");
        talk.terminate();
    }
}

/// No file of the process may grow beyond this.
fn limit(talk: &Talk, bytes: Option<u64>) {
    let pid = Pid::from_raw(talk.pid() as i32).expect("a process");
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: bytes, maximum: None }).expect("a limit may be set");
}

fn failing(talk: &Talk, part: &str) -> bool {
    talk.metrics().get(&format!("runtape_failing{{part=\"{part}\"}}")) == Some(1.0)
}

#[test]
fn a_tape_that_cannot_grow_is_tried_again_until_it_can() {
    let events = recorded();
    let talk = Talk::start(events.path(), &[]);
    let tape = layout(&events).tape();
    let len = fs::metadata(&tape).expect("a tape").len();
    limit(&talk, Some(len + 40));
    events.append("runs", lines(200, 10));
    wait_until("the tape fails", || failing(&talk, "tape"));
    assert_eq!(talk.metrics().get("runtape_position"), Some(126.0), "nothing is folded that is not sealed");
    assert_eq!(support::request(talk.address, "/readyz", &[]).expect("an answer").status, 503);
    assert_eq!(fs::metadata(&tape).expect("a tape").len(), len, "what the failed write left was cut off");
    limit(&talk, None);
    wait_until("it is sealed", || talk.metrics().get("runtape_position") == Some(136.0));
    wait_until("nothing fails any more", || !failing(&talk, "tape"));
    talk::assert_page_is_that_of_a_replay(&events, &talk.metrics());
    talk.terminate();
    talk::assert_decisions_are_those_of_a_replay(&events);
    assert_eq!(findings(&events), Vec::<Value>::new());
}

#[test]
fn decisions_and_snapshots_that_cannot_be_written_are_written_later_and_once() {
    let events = recorded();
    let talk = Talk::start(events.path(), &["--snapshot-every", "0.05"]);
    let decisions = layout(&events).decisions("quarantine");
    let (len, tape) = (fs::metadata(&decisions).expect("a file").len(), fs::metadata(layout(&events).tape()));
    assert!(tape.expect("a tape").len() + 2000 < len, "the limit must leave room for the tape");
    limit(&talk, Some(len + 100));
    events.append("runs", lines(300, 60));
    wait_until("the store fails", || failing(&talk, "store"));
    assert_eq!(talk.metrics().get("runtape_position"), Some(186.0), "the fold goes on");
    assert!(!failing(&talk, "tape") && !failing(&talk, "sync"));
    assert_eq!(fs::metadata(&decisions).expect("a file").len(), len, "what the failed write left was cut off");
    limit(&talk, None);
    wait_until("nothing fails any more", || !failing(&talk, "store"));
    talk.terminate();
    talk::assert_decisions_are_those_of_a_replay(&events);
    assert_eq!(findings(&events), Vec::<Value>::new());
}
