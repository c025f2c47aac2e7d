use std::{fs, path::Path, process::Command};

use runtape::{
    consumers::REGISTRY,
    fold::{Intake, Registration},
    layout::Layout,
    replay::replay,
    store::Snapshots,
    tape::{Directory, Until},
};
use serde_json::Value;

use super::{fold, fold_of, intact, kept_versions, laid_out, live, some_history, stopped};
use crate::{
    cast::{self, Pulse, PulseAnew},
    support::{Events, Server, append, json, run, stdout},
};

fn text(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The consumers whose version rose since a directory was kept, by its snapshots.
fn risen(kept: &Path) -> Vec<String> {
    let layout = Layout::new(kept);
    let headers = Snapshots::new(layout.files.clone(), kept.join("own/snapshots")).headers().expect("snapshots");
    let version = |of: &str| match of {
        "intake" => Some(Intake::VERSION),
        of => REGISTRY.iter().find(|r| r.name == of).map(|r| (r.new)().version()),
    };
    let headers = headers.into_iter().filter_map(|(_, header)| header.ok());
    let mut risen: Vec<String> =
        headers.filter(|header| version(&header.of) != Some(header.version)).map(|header| header.of).collect();
    risen.sort();
    risen.dedup();
    risen
}

/// A consumer that was added or changed since decides anew; what the old ones decided stands as it was written.
#[test]
fn directories_of_released_versions_are_opened_and_go_on() {
    for kept in kept_versions() {
        let (events, risen) = (laid_out(&kept), risen(&kept));
        let want: Value = serde_json::from_str(&text(&kept.join("state.json"))).expect("a state");
        let state = events.replay();
        assert_eq!((&state["position"], &state["policy"]), (&want["position"], &want["policy"]), "{}", kept.display());
        let known: Vec<&str> = text_names(&kept);
        if risen.is_empty() && known.len() == REGISTRY.len() {
            assert_eq!(state, want, "{}", kept.display());
            assert_eq!(events.decisions(), text(&kept.join("decisions.jsonl")), "{}", kept.display());
        }
        intact(events.path());
        let position = want["position"].as_u64().expect("a position");
        let server = Server::start(events.path(), &[]);
        server.ready();
        append(&events.path().join("runs.jsonl.1"), b"{\"agent\":\"after\",\"reward\":1}\n");
        events.append("runs", "{\"agent\":\"after\",\"reward\":1}\n");
        let answer = server.get(&format!("/api/v1/state?wait={}", position + 1));
        let now: Value = serde_json::from_str(&answer.body).expect("JSON");
        assert_eq!(now["position"].as_u64(), Some(position + 2), "{}", kept.display());
        assert_eq!(server.terminate(), Some(0));
        assert_eq!(fold(events.path()).position, position + 2, "{}: nothing is folded twice", kept.display());
        for entry in fs::read_dir(kept.join("own/decisions")).expect("decisions").flatten() {
            let now = text(&events.path().join(".runtape/decisions").join(entry.file_name()));
            assert!(now.starts_with(&text(&entry.path())), "{:?} was rewritten", entry.path());
        }
    }
}

/// The consumers of a kept version: those of which it left a snapshot.
fn text_names(kept: &Path) -> Vec<&'static str> {
    let there = |name: &str| {
        let mut entries = fs::read_dir(kept.join("own/snapshots")).expect("snapshots").flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().starts_with(&format!("{name}-")))
    };
    REGISTRY.iter().map(|registration| registration.name).filter(|name| there(name)).collect()
}

#[test]
fn a_tape_of_a_newer_format_is_refused_by_every_command() {
    let events = some_history();
    let tape = events.path().join(".runtape/tape.jsonl");
    append(&tape, b"{\"v\":99,\"something\":\"else\"}\n");
    let place = Events::new();
    let backup = place.path().join("backup");
    let backup = backup.to_str().expect("a UTF-8 path");
    for args in [
        &["replay"][..],
        &["verify"],
        &["tail"],
        &["serve", "--listen", "127.0.0.1:0"],
        &["prune", "--before", "100", "--yes"],
        &["archive"],
        &["backup", backup],
    ] {
        let output = run(&[args, &["--events", events.text()]].concat());
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        let says =
            "tape.jsonl is of format 99, newer than the format 2 this runtape reads: use the runtape that wrote it";
        assert_eq!(output.status.code(), Some(3), "{args:?}: {told}");
        assert!(told.contains(says), "{args:?}: {told}");
    }
    assert!(text(&tape).ends_with("\"else\"}\n"), "nothing was cut off");
}

#[test]
fn snapshots_of_newer_versions_are_passed_over() {
    for (from, to, says) in [
        ("\"v\":1,", "\"v\":7,", "it is of format 7, this runtape reads 1"),
        ("\"version\":", "\"version\":9", "it is of version 9"),
    ] {
        let events = some_history();
        let want = fold(events.path());
        let mut changed = 0;
        for entry in fs::read_dir(events.path().join(".runtape/snapshots")).expect("snapshots").flatten() {
            let bytes = fs::read(entry.path()).expect("a snapshot");
            let end = bytes.iter().position(|byte| *byte == b'\n').expect("a header");
            let header = String::from_utf8(bytes[..end].to_vec()).expect("a header");
            assert!(header.contains(from), "{header}");
            fs::write(entry.path(), [header.replacen(from, to, 1).as_bytes(), &bytes[end..]].concat())
                .expect("writable");
            changed += 1;
        }
        assert!(changed > 15, "{changed}");
        let started = live(&Layout::new(events.path()), REGISTRY).expect("a start");
        assert!(started.started.passed_over.iter().any(|passed| passed.contains(says)), "{:?}", started.started);
        assert!(started.started.restored.iter().all(|(_, position)| *position == 0));
        stopped(started);
        assert_eq!(fold_of(&Layout::new(events.path()), REGISTRY, Until::End), want);
    }
}

#[test]
fn a_consumer_whose_version_rose_is_folded_again_and_its_old_decisions_stand() {
    let (one, two) = (cast::with(&[Registration::of::<Pulse>()]), cast::with(&[Registration::of::<PulseAnew>()]));
    let events = some_history();
    let layout = Layout::new(events.path());
    stopped(live(&layout, one).expect("a start"));
    let old = text(&layout.decisions("pulse"));
    assert!(old.lines().count() > 10 && !old.contains("\"version\":2"), "{old}");
    let live = live(&layout, two).expect("a start");
    let from: Vec<u64> =
        live.started.restored.iter().filter(|(name, _)| *name == "pulse").map(|(_, position)| *position).collect();
    assert_eq!(from, [0], "its state is folded again");
    let told = live.started.passed_over.iter().any(|passed| passed.contains("it is of version 1, this runtape has 2"));
    assert!(told, "{:?}", live.started);
    for n in 0..20 {
        events.append("runs", format!("{{\"agent\":\"after\",\"reward\":{n}}}\n"));
    }
    stopped(live);
    let now = text(&layout.decisions("pulse"));
    let new = now.strip_prefix(&old).expect("the old decisions are not rewritten");
    assert!(new.lines().count() > 3 && new.lines().all(|line| line.contains("\"version\":2")), "{new}");
    // What it decides from there on is what a fold from the begin decides there.
    let directory = Directory::open(layout, None).expect("a directory");
    let mut want = Vec::new();
    replay(&directory, two, None, Until::End, 1, |_, emitted| {
        want.extend(emitted.iter().map(|e| e.line()).filter(|line| line.consumer == "pulse"));
    })
    .expect("an intact history");
    let causes = |text: &str| -> Vec<u64> {
        let cause = |line: &str| serde_json::from_str::<Value>(line).expect("a decision")["cause"].as_u64();
        text.lines().filter_map(cause).collect()
    };
    let last = causes(&old).pop();
    let want: Vec<u64> = want.iter().map(|line| line.cause).filter(|cause| Some(*cause) > last).collect();
    assert_eq!(causes(new), want);
}

/// `RUNTAPE_OLDER`: programs of released versions, separated by `:`. Left out without.
#[test]
fn older_programs_open_what_this_one_leaves_or_say_why_not() {
    let Ok(older) = std::env::var("RUNTAPE_OLDER") else { return };
    for program in older.split(':') {
        let said = |args: &[&str]| Command::new(program).args(args).output().expect("the older program starts");
        let (events, pruned) = (some_history(), some_history());
        for events in [&events, &pruned] {
            let server = Server::start(events.path(), &[]);
            server.ready();
            events.append("runs", "{\"agent\":\"after\",\"reward\":1}\n");
            server.ready();
            assert_eq!(server.terminate(), Some(0));
        }
        stdout(&run(&["archive", "--still", "0", "--events", events.text()]));
        let state = json(&said(&["replay", "--events", events.text(), "-o", "json"]));
        assert_eq!(state["position"], events.replay()["position"], "{program}");
        assert!(said(&["verify", "--events", events.text()]).status.success(), "{program}");
        stdout(&run(&["prune", "--before", "200", "--yes", "--events", pruned.text()]));
        let refused = said(&["replay", "--events", pruned.text()]);
        let told = String::from_utf8_lossy(&refused.stderr).into_owned();
        let reads = refused.status.success();
        assert!(reads || told.contains("newer than the format"), "{program}: {told}");
    }
}
