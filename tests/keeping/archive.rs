use std::fs;

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    keeping::{
        archive::{Report, archive},
        backup,
        prune::{self, Before},
        restore,
    },
    layout::Layout,
};

use super::{fold, listing, some_history, stopping::at_each_change};
use crate::support::{Events, Server, append, run, stdout};

fn archived(events: &Events) -> Report {
    archive(&Layout::new(events.path()), Clock::system().now(), 0, false).expect("an intact history")
}

fn tail(events: &Events) -> String {
    stdout(&run(&["tail", "-n", "1000", "--events", events.text(), "-o", "jsonl"]))
}

fn served(events: &Events) {
    let server = Server::start(events.path(), &[]);
    server.ready();
    assert_eq!(server.terminate(), Some(0));
}

#[test]
fn packed_history_reads_the_same_and_goes_on() {
    let events = some_history();
    let (want, lines, state) = (fold(events.path()), tail(&events), events.replay());
    let report = archived(&events);
    assert_eq!(report.packed.len(), 1, "{report:?}");
    assert_eq!(report.packed[0].names, ["runs.jsonl.1"]);
    assert!(report.after * 3 < report.before && report.kept.len() == 5, "{report:?}");
    let there = |name: &str| events.path().join(name).exists();
    assert!(!there("runs.jsonl.1") && there("runs.jsonl.1.zst") && there(".runtape/streams/f4.jsonl.zst"));
    assert!(!there(".runtape/streams/f4.jsonl"));
    assert_eq!((fold(events.path()), tail(&events), events.replay()), (want.clone(), lines, state));
    fs::remove_dir_all(events.path().join(".runtape/snapshots")).expect("snapshots");
    served(&events);
    assert_eq!(fold(events.path()), want, "nothing of it is folded again");
    assert_eq!(archived(&events).packed, [], "nothing is packed twice");
    fs::rename(events.path().join("runs.jsonl.1.zst"), events.path().join("runs.jsonl.2.zst")).expect("a name");
    fs::rename(events.path().join("runs.jsonl"), events.path().join("runs.jsonl.1")).expect("a name");
    events.append("runs", "{\"agent\":\"after\",\"reward\":1}\n");
    served(&events);
    assert_eq!(fold(events.path()).position, want.position + 1);
    assert_eq!(archived(&events).packed.len(), 1, "the file that was rotated since");
    assert_eq!(fold(events.path()).position, want.position + 1);
}

#[test]
fn packing_that_is_broken_off_anywhere_leaves_history_whole() {
    let want = fold(some_history().path());
    let steps = at_each_change(
        some_history,
        |events, files| archive(&Layout::on(files, events.path()), Clock::system().now(), 0, false).is_ok(),
        |events, changes| {
            assert_eq!(fold(events.path()), want, "stopped after {changes} changes");
            if changes % 2 == 0 {
                served(events);
                assert_eq!(fold(events.path()), want, "stopped after {changes} changes, then served");
            }
            archived(events);
            assert_eq!(fold(events.path()), want, "stopped after {changes} changes, then again");
            assert!(!events.path().join("runs.jsonl.1").exists(), "{changes}");
            let plain = listing(&events.path().join(".runtape/streams"));
            assert!(!plain.iter().any(|(path, _)| path.ends_with("f4.jsonl")), "{changes}");
        },
    );
    assert!(steps >= 9, "{steps}");
}

#[test]
fn what_is_still_needed_plain_stays_plain() {
    #[track_caller]
    fn check(events: &Events, still: &str, told: &str) {
        let output = stdout(&run(&["archive", "--still", still, "--events", events.text()]));
        let line = output.lines().find(|line| line.contains("runs.jsonl.1 ")).unwrap_or_default();
        assert!(line.contains(told), "{output}");
        assert!(events.path().join("runs.jsonl.1").exists());
    }
    let events = some_history();
    check(&events, "3600", "it was written to");
    let dry = stdout(&run(&["archive", "--still", "0", "--dry-run", "--events", events.text()]));
    assert!(dry.contains("would be packed"), "{dry}");
    append(&events.path().join("runs.jsonl.1"), b"{\"agent\":\"late\"}\n");
    check(&events, "0", "not all of its lines are sealed");
    served(&events);
    fs::write(events.path().join("runs.jsonl.1.zst"), "somebody's").expect("a writable file");
    check(&events, "0", "there is a runs.jsonl.1.zst already");
    let server = Server::start(events.path(), &[]);
    server.ready();
    let refused = run(&["archive", "--events", events.text()]);
    assert_eq!(refused.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("stop it first"));
}

#[test]
fn a_packed_history_is_backed_up_restored_and_pruned() {
    let (events, place, target) = (some_history(), Events::new(), Events::new());
    let (to, layout) = (place.path().join("backup"), Layout::new(events.path()));
    let want = fold(events.path());
    backup::backup(&layout, &to, 0).expect("a backup");
    archived(&events);
    let report = backup::backup(&layout, &to, 0).expect("a backup of the packed history");
    assert!(report.copied > 0 && report.copied < 8_000, "{report:?}");
    restore::restore(&to, &Layout::new(target.path())).expect("a sound backup");
    assert_eq!(fold(target.path()), want);
    served(&target);
    assert_eq!(fold(target.path()), want);
    let now = Clock::system().now();
    let report = prune::prune(&Layout::new(target.path()), REGISTRY, Before::Position(u64::MAX), now, false);
    assert_eq!(report.expect("an intact history").files.len(), 1);
    assert!(!target.path().join("runs.jsonl.1.zst").exists());
    served(&target);
    assert_eq!(fold(target.path()), want);
}
