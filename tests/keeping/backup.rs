use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    keeping::{backup, restore},
    layout::Layout,
    simulate::{Config, Fleet},
    tape::Until,
};
use serde_json::Value;

use super::{
    fold, fold_of, intact, listing, some_history,
    stopping::{Stopping, at_each_change},
};
use crate::support::{Events, Server, append, json, run, stdout};

fn backed_up(events: &Path, to: &Path) -> backup::Report {
    backup::backup(&Layout::new(events), to, Clock::system().now()).expect("a backup")
}

fn restored(from: &Path) -> Events {
    let events = Events::new();
    restore::restore(from, &Layout::new(events.path())).expect("a sound backup");
    events
}

/// Everything that was decided before a position, as it stands on disk.
fn decided(events: &Path, before: u64) -> String {
    let mut text = String::new();
    for registration in REGISTRY {
        let lines = fs::read_to_string(Layout::new(events).decisions(registration.name)).unwrap_or_default();
        let cause = |line: &str| serde_json::from_str::<Value>(line).expect("a decision")["cause"].as_u64();
        lines.lines().filter(|line| cause(line) < Some(before)).for_each(|line| {
            text += line;
            text.push('\n');
        });
    }
    text
}

#[test]
fn a_restored_directory_is_the_same_and_goes_on() {
    let (events, place) = (some_history(), Events::new());
    let to = place.path().join("backup");
    let want = fold(events.path());
    let before = listing(events.path());
    let report = backed_up(events.path(), &to);
    assert_eq!((report.position, listing(events.path())), (want.position, before), "nothing is written to the source");
    assert!(report.copied > 70_000 && report.copied == report.bytes, "{report:?}");
    let again = backed_up(events.path(), &to);
    assert_eq!((again.copied, again.bytes), (0, report.bytes), "nothing is copied twice");

    let restored = restored(&to);
    assert_eq!(fold(restored.path()), want);
    let position = want.position;
    assert_eq!(decided(restored.path(), position), decided(events.path(), position));
    // Short streams too are known again, by our links and not by their size.
    let server = Server::start(restored.path(), &[]);
    server.ready();
    for stream in ["prices", "runs", "new"] {
        restored.append(stream, "{\"agent\":\"after\",\"reward\":0.5}\n");
    }
    append(&restored.path().join("runs.jsonl.1"), b"{\"agent\":\"after\",\"reward\":0.25}\n");
    server.ready();
    let state: Value =
        serde_json::from_str(&server.get(&format!("/api/v1/state?wait={}", position + 3)).body).expect("JSON");
    assert_eq!(state["position"].as_u64(), Some(position + 4), "only what was appended came to it");
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(fold(restored.path()).position, position + 4);
    assert_eq!(decided(restored.path(), position), decided(events.path(), position), "nothing is decided again");
    assert_eq!(restored.replay()["agents"]["after"]["runs"], 4);
}

#[test]
fn what_a_consumer_said_and_nobody_sealed_yet_is_said_again_after_a_restore() {
    let speakers = || REGISTRY.iter().filter_map(|registration| Some((registration.name, registration.stream?.0)));
    let (name, stream) = speakers().next().expect("a consumer with a stream of its own");
    let kept = |events: &Events| {
        let place = Events::new();
        let to = place.path().join("backup");
        backed_up(events.path(), &to);
        let kept = listing(&to.join("snapshots"));
        let of = |path: &Path| path.to_string_lossy().contains(&format!("/{name}-"));
        (kept.len(), kept.iter().filter(|(path, _)| of(path)).count())
    };
    let events = some_history();
    let (all, its) = kept(&events);
    assert!(its > 0, "{all}");
    events.append(stream, "{\"agent\":\"unsealed\"}\n");
    assert_eq!(kept(&events), (all - its, 0), "no snapshot of {name} stands past what it said");
}

#[test]
fn a_directory_is_restored_in_its_own_place_where_inodes_are_given_again() {
    let (events, place) = (some_history(), Events::new());
    let want = fold(events.path());
    // Few bytes, so that no content tells that they are known.
    for round in 0..5 {
        let to = place.path().join("backup");
        backed_up(events.path(), &to);
        for entry in fs::read_dir(events.path()).expect("a directory").flatten() {
            match entry.path().is_dir() {
                true => fs::remove_dir_all(entry.path()).expect("a directory"),
                false => fs::remove_file(entry.path()).expect("a file"),
            }
        }
        restore::restore(&to, &Layout::new(events.path())).expect("a sound backup");
        let server = Server::start(events.path(), &[]);
        server.ready();
        assert_eq!(server.terminate(), Some(0));
        assert_eq!(fold(events.path()), want, "round {round}");
    }
}

#[test]
fn backups_beside_a_busy_server_hold_what_was_sealed() {
    let (events, place, stop) = (Events::new(), Events::new(), Arc::new(AtomicBool::new(false)));
    let to = place.path().join("backup");
    let writer = {
        let (dir, stop) = (events.path().to_owned(), stop.clone());
        thread::spawn(move || {
            let mut fleet = Fleet::new(&Config { seed: 3, agents: 8, mean_hold_runs: 5.0, ..Config::default() });
            let mut count = 0_u64;
            while !stop.load(Ordering::Acquire) {
                let line = fleet.next_line();
                append(&dir.join(format!("{}.jsonl", line.stream)), line.bytes);
                count += 1;
                if count.is_multiple_of(20) {
                    thread::sleep(Duration::from_millis(5));
                }
                if count.is_multiple_of(1500) {
                    let name = |n: u64| dir.join(format!("runs.jsonl.{n}"));
                    let _ = fs::rename(name(1), name(2));
                    let _ = fs::rename(dir.join("runs.jsonl"), name(1));
                }
            }
        })
    };
    let server = Server::start(events.path(), &["--snapshot-every", "0.1"]);
    server.ready();
    let mut seen = Vec::new();
    let rounds = std::env::var("RUNTAPE_BACKUP_ROUNDS").ok().map_or(6_u64, |n| n.parse().expect("a number of rounds"));
    for round in 0..rounds {
        // However slow the machine, every round finds more to keep than the one before.
        let grown = format!("/api/v1/state?wait={}", (round + 1) * 100);
        while server.get(&grown).status != 200 {}
        let report =
            json(&run(&["backup", to.to_str().expect("a UTF-8 path"), "--events", events.text(), "-o", "json"]));
        let position = report["position"].as_u64().expect("a position");
        let restored = restored(&to);
        assert_eq!(fold(restored.path()).position, position);
        let got = decided(restored.path(), position);
        seen.push((position, fold(restored.path()), got));
        if round % 3 == 2 {
            // The decisions that were not written yet are written by whoever goes on.
            let server = Server::start(restored.path(), &[]);
            server.ready();
            assert_eq!(server.terminate(), Some(0));
            seen.push((position, fold(restored.path()), decided(restored.path(), position)));
        }
    }
    stop.store(true, Ordering::Release);
    writer.join().expect("a writer");
    server.ready();
    assert_eq!(server.terminate(), Some(0));
    intact(events.path());
    let growing = seen.windows(2).all(|pair| pair[0].0 <= pair[1].0);
    assert!(growing && seen[seen.len() - 1].0 > 500, "{:?}", seen.iter().map(|seen| seen.0).collect::<Vec<_>>());
    for (position, got, decisions) in seen {
        assert_eq!(got, fold_of(&Layout::new(events.path()), REGISTRY, Until::Position(position)));
        let all = decided(events.path(), position);
        let all: Vec<&str> = all.lines().collect();
        assert!(decisions.lines().all(|line| all.contains(&line)), "a decision that the source has not at {position}");
    }
}

#[test]
fn a_backup_that_is_broken_off_anywhere_is_as_good_as_it_was_and_goes_on() {
    let (events, grown) = (some_history(), some_history());
    grown.append("runs", "{\"agent\":\"more\",\"reward\":1}\n".repeat(100));
    let server = Server::start(grown.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
    let (first, second) = (fold(events.path()), fold(grown.path()));
    #[track_caller]
    fn check(before: Option<&Events>, now: &Events, want: &[&super::Fold], end: &super::Fold) {
        let now_on = |files| Layout::on(files, now.path());
        let steps = at_each_change(
            || {
                let place = Events::new();
                if let Some(before) = before {
                    backed_up(before.path(), &place.path().join("backup"));
                }
                place
            },
            |place, files| backup::backup(&now_on(files), &place.path().join("backup"), 0).is_ok(),
            |place, changes| {
                let to = place.path().join("backup");
                let target = Events::new();
                match restore::restore(&to, &Layout::new(target.path())) {
                    Ok(_) => assert!(want.contains(&&fold(target.path())), "stopped after {changes} changes"),
                    Err(error) => {
                        assert!(before.is_none(), "stopped after {changes} changes: {error}");
                        let told = error.to_string();
                        let says = ["there is no backup", "was never finished", "is no backup"];
                        assert!(says.iter().any(|said| told.contains(said)), "{told}");
                    }
                }
                backed_up(now.path(), &to);
                let target = restored(&to);
                assert_eq!(fold(target.path()), *end, "stopped after {changes} changes, then again");
                assert!(!to.join("unfinished").exists());
            },
        );
        assert!(steps > 20, "{steps}");
    }
    check(None, &events, &[&first], &first);
    // The directories are two lives of one tape.
    check(Some(&events), &grown, &[&first, &second], &second);
}

#[test]
fn a_restore_that_is_broken_off_anywhere_leaves_nothing_that_would_be_folded() {
    let (events, place) = (some_history(), Events::new());
    let (to, want) = (place.path().join("backup"), fold(events.path()));
    backed_up(events.path(), &to);
    at_each_change(
        Events::new,
        |target, files| restore::restore(&to, &Layout::on(files, target.path())).is_ok(),
        |target, changes| {
            if target.path().join(".runtape").exists() {
                assert_eq!(fold(target.path()), want, "stopped after {changes} changes");
                return;
            }
            let streams = fs::read_dir(target.path()).expect("a directory").flatten();
            let streams = streams.filter(|entry| entry.path().is_file()).count();
            assert_eq!(streams, 0, "stopped after {changes} changes");
            restore::restore(&to, &Layout::new(target.path())).expect("what was broken off is swept away");
            assert_eq!(fold(target.path()), want, "stopped after {changes} changes, then again");
        },
    );
}

#[test]
fn a_changed_byte_of_a_backup_is_found() {
    let (events, place) = (some_history(), Events::new());
    let to = place.path().join("backup");
    backed_up(events.path(), &to);
    restore::check(&Layout::new(&to).files, &to).expect("a sound backup");
    for (path, len) in listing(&to) {
        let whole = fs::read(&path).expect("a file of the backup");
        for at in [0, len / 2, len.saturating_sub(2)] {
            let mut changed = whole.clone();
            changed[at as usize] ^= 1;
            fs::write(&path, changed).expect("a writable file");
            let target = Events::new();
            let told = restore::restore(&to, &Layout::new(target.path())).expect_err("it is damaged").to_string();
            let name = path.file_name().expect("a name").to_str().expect("a UTF-8 name");
            assert!(told.contains(name), "byte {at} of {name}: {told}");
            assert!(restore::check(&Layout::new(&to).files, &to).is_err(), "byte {at} of {name}");
            assert!(!target.path().join(".runtape").exists());
        }
        fs::write(&path, whole).expect("a writable file");
    }
}

#[test]
fn what_a_backup_and_a_restore_refuse() {
    let (events, other, place) = (some_history(), Events::new(), Events::new());
    let to = place.path().join("backup");
    let at = to.to_str().expect("a UTF-8 path");
    let check = |args: &[&str], code: i32, told: &str| {
        let output = run(args);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(told), "{args:?}: {said}");
    };
    let inside = events.path().join("deep/er");
    let inside = inside.to_str().expect("a UTF-8 path");
    check(&["backup", inside, "--events", events.text()], 3, "lies inside the events directory");
    check(&["backup", at, "--events", other.text()], 3, "there is no tape");
    check(&["backup", at, "--events", "/nowhere/at/all"], 2, "there is no events directory");
    check(&["restore", at, "--events", other.text()], 3, "there is no backup");
    stdout(&run(&["backup", at, "--events", events.text()]));
    check(
        &["restore", at, "--events", events.text()],
        3,
        "is not empty (there is .runtape, alpha.jsonl, control.jsonl, ...)",
    );
    check(&["restore", place.text(), "--events", other.text()], 3, "is no backup: there is no backup.json in it");
    check(
        &["backup", place.text(), "--events", events.text()],
        3,
        "holds no backup, and is not empty (there is backup)",
    );
    other.append("runs", "{\"agent\":\"a\",\"reward\":1}\n");
    let server = Server::start(other.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
    check(&["backup", at, "--events", other.text()], 3, "is the backup of another history");
    let manifest = fs::read_to_string(to.join("backup.json")).expect("a manifest");
    fs::write(to.join("backup.json"), manifest.replacen("\"v\": 1", "\"v\": 99", 1)).expect("a writable file");
    let nothing = place.path().join("nothing");
    let newer = "is of format 99, newer than the format 1 this runtape reads";
    check(&["restore", at, "--events", nothing.to_str().expect("a UTF-8 path")], 3, newer);
    assert!(!nothing.exists());
}

#[test]
fn a_full_disk_is_told_and_what_was_copied_stays() {
    let (events, place) = (some_history(), Events::new());
    let to = place.path().join("backup");
    let files = Stopping::full_after(60).files();
    let told = backup::backup(&Layout::on(files, events.path()), &to, 0).expect_err("no room").to_string();
    assert!(told.contains("no room for") && told.contains("it goes on where it stopped"), "{told}");
    let report = backed_up(events.path(), &to);
    assert!(report.copied < report.bytes, "{report:?}");
    assert_eq!(fold(restored(&to).path()), fold(events.path()));
}
