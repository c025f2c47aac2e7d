use std::fs;

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    event::{Nanos, time},
    fold::Registration,
    keeping::{
        backup,
        prune::{Before, Report, begin_anew, prune},
        restore,
    },
    layout::Layout,
    replay::{audit::audit, begin, replay},
    tape::{Directory, Until, verify},
};

use super::{fold, fold_of, intact, listing, live, some_history, stopped, stopping::at_each_change};
use crate::{
    cast::{self, Pulse, PulseAnew},
    support::{Events, Server, append, json, run, stdout},
};

/// Past the kept history's third round or so, and past all of it.
const SOME: Before = Before::Position(200);
const ALL: Before = Before::Position(u64::MAX);

fn pruned(events: &Events, before: Before) -> Report {
    prune(&Layout::new(events.path()), REGISTRY, before, now(), false).expect("an intact history")
}

fn now() -> Nanos {
    Clock::system().now()
}

#[track_caller]
fn refused(args: &[&str], code: i32, told: &[&str]) {
    let output = run(args);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    for told in told {
        assert!(said.contains(told), "{args:?}: {said}");
    }
}

#[test]
fn what_followed_from_pruned_history_stays() {
    for before in [SOME, ALL] {
        let events = some_history();
        let (want, state) = (fold(events.path()), events.replay());
        let bytes = listing(&events.path().join(".runtape/streams"));
        let report = pruned(&events, before);
        assert!(report.lines > 100 && report.rounds > 2, "{report:?}");
        assert_eq!(fold(events.path()), want);
        assert_eq!(events.replay(), state, "all that is shown is the same");
        // The rotated file is gone under both of its names, those that are appended to are whole.
        let rotated = events.path().join("runs.jsonl.1");
        let gone = report.files.iter().any(|file| file.names == ["runs.jsonl.1"]);
        assert_eq!((gone, rotated.exists()), (before == ALL, before != ALL), "{report:?}");
        let left = listing(&events.path().join(".runtape/streams"));
        assert_eq!(bytes.len() - left.len(), report.files.len());
        let found = verify::verify(&Layout::new(events.path()), |_| ()).expect("a tape");
        let told = found.pruned.as_ref().expect("it says what was pruned");
        assert_eq!((told.position, told.rounds), (report.position, report.rounds));
        assert_eq!(found.lines + report.lines, want.position);
        assert!(told.decisions > 5 && found.findings.is_empty(), "{found:?}");
        let directory = Directory::open(Layout::new(events.path()), None).expect("a directory");
        let audit = audit(&directory, REGISTRY).expect("a history that can be folded");
        let (judged, unjudged) = (audit.same, audit.unjudged.iter().map(|other| other.decisions).sum::<u64>());
        assert_eq!((judged + unjudged + told.decisions, &audit.findings[..]), (found.decisions, &[][..]), "{audit:?}");
        if before == SOME {
            let again = pruned(&events, ALL);
            assert_eq!(again.lines + report.lines, want.position);
            assert_eq!((fold(events.path()), events.replay()), (want, state), "pruned twice");
        }
    }
}

#[test]
fn a_server_goes_on_from_the_horizon() {
    for keep_snapshots in [true, false] {
        let (events, mut want) = (some_history(), 0);
        let whole = some_history();
        pruned(&events, SOME);
        if !keep_snapshots {
            fs::remove_dir_all(events.path().join(".runtape/snapshots")).expect("snapshots");
        }
        for part in 0..2 {
            for events in [&events, &whole] {
                let server = Server::start(events.path(), &["--snapshot-every", "0.1"]);
                server.ready();
                // A line each, so that the rounds and their order are the same in both.
                for n in 0..5 {
                    events.append(
                        "runs",
                        format!("{{\"agent\":\"x{part}\",\"reward\":-{n},\"ts\":\"2026-11-24T15:00:00Z\"}}\n"),
                    );
                    let state = server.get(&format!("/api/v1/state?wait={}", fold_position(part, n)));
                    assert_eq!(state.status, 200, "{}", state.body);
                }
                assert_eq!(server.terminate(), Some(0));
            }
            want += 5;
        }
        assert_eq!(want, 10);
        assert_eq!(fold(events.path()), fold(whole.path()));
        let decided = |events: &Events| fs::read_to_string(events.path().join(".runtape/decisions/quarantine.jsonl"));
        let without_tape = |text: String| {
            let line = |line: &str| line.split(",\"tape\"").next().unwrap_or("").to_owned();
            text.lines().map(line).collect::<Vec<_>>()
        };
        let [got, want] = [&events, &whole].map(|events| without_tape(decided(events).expect("decisions")));
        assert!(got.len() >= 2 && got == want, "{got:?}\n{want:?}");
    }
}

fn fold_position(part: u64, n: u64) -> u64 {
    367 + part * 5 + n
}

#[test]
fn what_is_before_the_horizon_is_said_to_be_pruned() {
    let events = some_history();
    let whole = some_history();
    let begins =
        json(&run(&["prune", "--before", "200", "--yes", "--events", events.text(), "-o", "json"]))["position"]
            .as_u64()
            .expect("a position");
    assert!(begins > 100 && begins <= 200, "{begins}");
    let pruned = format!("pruned: history begins at position {begins} (2026-");
    for at in ["50", "2026-01-01T00:00:00Z"] {
        refused(&["replay", "--events", events.text(), "--at", at], 3, &[&pruned]);
    }
    let at = (begins + 20).to_string();
    let state = |events: &Events| json(&run(&["replay", "--events", events.text(), "--at", &at, "-o", "json"]));
    assert_eq!(state(&events), state(&whole));
    // Lines and decisions from there on are the same, at the same positions.
    let tail = |events: &Events| stdout(&run(&["tail", "-n", "100", "--events", events.text(), "-o", "jsonl"]));
    assert_eq!(tail(&events), tail(&whole));
    let decisions =
        |events: &Events| stdout(&run(&["decisions", "-n", "100", "--events", events.text(), "-o", "jsonl"]));
    assert_eq!(decisions(&events), decisions(&whole));
    assert_eq!(decisions(&events).lines().count(), 50, "those about pruned lines too");
    let said = run(&["verify", "--events", events.text()]);
    let told = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(told.contains(&format!("pruned before position {begins}")) && told.contains("intact"), "{told}");
    let told = String::from_utf8_lossy(&run(&["replay", "--events", events.text()]).stderr).into_owned();
    assert!(told.contains(&format!("history begins at position {begins}")), "{told}");
}

#[test]
fn what_prune_refuses() {
    let events = some_history();
    refused(&["prune", "--before", "200", "--events", events.text()], 2, &["nobody can be asked here", "--yes"]);
    refused(&["prune", "--before", "soon", "--events", events.text()], 2, &["neither a position"]);
    refused(&["prune", "--begin-anew", "gates", "--yes", "--events", events.text()], 3, &["nothing was pruned"]);
    let but_the_lock = |events: &Events| -> Vec<_> {
        listing(events.path()).into_iter().filter(|file| !file.0.ends_with("lock")).collect()
    };
    let before = but_the_lock(&events);
    let plan = json(&run(&["prune", "--before", "200", "--dry-run", "--events", events.text(), "-o", "json"]));
    assert!(plan["lines"].as_u64().is_some_and(|lines| lines > 100), "{plan}");
    assert_eq!(but_the_lock(&events), before, "a dry run drops nothing");
    let nothing = stdout(&run(&["prune", "--before", "0", "--yes", "--events", events.text()]));
    assert!(nothing.contains("nothing to drop"), "{nothing}");
    let server = Server::start(events.path(), &[]);
    server.ready();
    refused(&["prune", "--before", "200", "--yes", "--events", events.text()], 3, &["is serving", "stop it first"]);
    assert_eq!(server.terminate(), Some(0));
    // Whoever drops history makes sure that the states in its place are made of what was sealed.
    let stream = events.path().join("runs.jsonl.1");
    let mut bytes = fs::read(&stream).expect("a stream");
    bytes[100] ^= 1;
    fs::write(&stream, bytes).expect("a writable stream");
    refused(
        &["prune", "--before", "200", "--yes", "--events", events.text()],
        3,
        &["the bytes are not those that were sealed"],
    );
}

#[test]
fn time_is_a_place_too() {
    let (events, same) = (some_history(), some_history());
    let report = pruned(&events, SOME);
    let sealed = time::parse_text(&report.sealed).expect("a time");
    assert_eq!(pruned(&same, Before::Time(sealed + 1)), report);
    assert_eq!(pruned(&some_history(), Before::Time(sealed)).rounds, report.rounds - 1);
}

#[test]
fn a_pruning_that_is_broken_off_anywhere_leaves_the_old_or_the_new() {
    for before in [SOME, ALL] {
        let want = fold(some_history().path());
        let mut forms = [0, 0];
        let steps = at_each_change(
            some_history,
            |events, files| prune(&Layout::on(files, events.path()), REGISTRY, before, now(), false).is_ok(),
            |events, changes| {
                assert_eq!(fold(events.path()), want, "stopped after {changes} changes");
                let directory = Directory::open(Layout::new(events.path()), None).expect("a directory");
                forms[usize::from(directory.horizon.is_some())] += 1;
                if changes % 3 == 0 {
                    let server = Server::start(events.path(), &[]);
                    server.ready();
                    assert_eq!(server.terminate(), Some(0));
                    assert_eq!(fold(events.path()), want, "stopped after {changes} changes, then served");
                }
                pruned(events, before);
                assert_eq!(fold(events.path()), want, "stopped after {changes} changes, then again");
                assert_eq!(events.path().join("runs.jsonl.1").exists(), before != ALL, "{changes}");
            },
        );
        assert!(steps > 30 && forms[0] > 20 && forms[1] > 0, "{steps} {forms:?}");
    }
}

#[test]
fn copies_of_pruned_files_are_known_for_what_they_are() {
    let events = some_history();
    let rotated = events.path().join("runs.jsonl.1");
    let bytes = fs::read(&rotated).expect("a rotated file");
    pruned(&events, ALL);
    assert!(!rotated.exists());
    let want = fold(events.path());
    fs::write(&rotated, &bytes).expect("a writable file");
    let packed = zstd::encode_all(bytes.as_slice(), 3).expect("memory");
    fs::write(events.path().join("runs.jsonl.2.zst"), packed).expect("a writable file");
    let server = Server::start(events.path(), &[]);
    server.ready();
    append(&rotated, b"{\"agent\":\"late\",\"reward\":0.5}\n");
    let state = server.get(&format!("/api/v1/state?wait={}", want.position));
    assert_eq!(state.status, 200);
    assert_eq!(server.terminate(), Some(0));
    assert_eq!(fold(events.path()).position, want.position + 1, "the late line, and nothing else");
}

#[test]
fn a_pruned_history_is_backed_up_and_restored() {
    let (events, place) = (some_history(), Events::new());
    let (old, new) = (place.path().join("old"), place.path().join("new"));
    let layout = Layout::new(events.path());
    backup::backup(&layout, &old, now()).expect("a backup");
    let want = fold(events.path());
    for before in [SOME, ALL] {
        pruned(&events, before);
        let told = backup::backup(&layout, &old, now()).expect_err("it would lose what was pruned").to_string();
        assert!(told.contains("was pruned from") && told.contains("back up to a new directory"), "{told}");
        let new = new.with_extension(format!("{before:?}").len().to_string());
        backup::backup(&layout, &new, now()).expect("a backup");
        backup::backup(&layout, &new, now()).expect("the same backup");
        for from in [&old, &new] {
            let target = Events::new();
            restore::restore(from, &Layout::new(target.path())).expect("a sound backup");
            assert_eq!(fold(target.path()), want);
        }
    }
}

#[test]
fn a_consumer_whose_version_rose_is_not_silently_emptied_by_the_horizon() {
    let (one, two) = (cast::with(&[Registration::of::<Pulse>()]), cast::with(&[Registration::of::<PulseAnew>()]));
    let events = some_history();
    let layout = Layout::new(events.path());
    stopped(live(&layout, one).expect("a start"));
    prune(&layout, one, SOME, now(), false).expect("an intact history");
    let old = fold_of(&layout, one, Until::End);
    fs::remove_dir_all(layout.snapshots()).expect("snapshots");
    let way_out = "runtape prune --begin-anew pulse";
    let directory = Directory::open(layout.clone(), None).expect("a directory");
    for told in [
        replay(&directory, two, None, Until::End, 1, |_, _| ()).err().expect("nothing to fold from").to_string(),
        live(&layout, two).err().expect("nothing to fold from"),
    ] {
        assert!(told.contains("pulse is of version 2") && told.contains(way_out), "{told}");
    }
    begin_anew(&layout, two, &["pulse".to_owned()], now()).expect("a pruned history");
    intact(events.path());
    let directory = Directory::open(layout.clone(), None).expect("a directory");
    let (engine, _) = begin(&directory, two).expect("states");
    let pulse = engine.slots().iter().find(|slot| slot.name() == "pulse").expect("it is registered");
    assert_eq!((pulse.position(), pulse.save()), (directory.first_position(), vec![0]), "with nothing");
    let new = fold_of(&layout, two, Until::End);
    assert_eq!(new.position, old.position);
    let live = live(&layout, two).expect("a start");
    assert!(
        live.started.restored.iter().all(|(_, position)| *position == directory.first_position()),
        "{:?}",
        live.started
    );
    stopped(live);
    assert_eq!(fold_of(&layout, two, Until::End), new);
}
