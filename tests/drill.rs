//! Disasters on a simulated disk: power cuts at every call, with torn, lost and reordered writes.

use std::path::Path;

use runtape::{
    drill::{Report, Settings, play},
    files::{
        Disk as _, Files, How,
        simulated::{Chance, Simulated, Tally},
    },
    streams::{Follower, Scope, copies::SealedExtent},
};

/// So many seeds; a seed is some hundred power cuts.
fn seeds() -> u64 {
    std::env::var("RUNTAPE_DRILL_SEEDS").ok().map_or(3, |n| n.parse().expect("a number of seeds"))
}

fn played(seeds: std::ops::Range<u64>, settings: Settings) -> Report {
    let mut all = Report::default();
    seeds.for_each(|seed| all.add(play(seed, settings)));
    all
}

#[test]
fn nothing_is_lost_or_told_twice_whenever_the_power_is_cut() {
    let report = played(0..seeds(), Settings::default());
    assert!(report.violations.is_empty(), "{report}");
    assert!(report.points > 200 * seeds(), "{report}");
    for what in ["program killed", "restored from snapshots", "tape cut at the start", "decisions checked"] {
        assert!(report.counts.get(what).is_some_and(|count| *count > 10), "{what}: {report}");
    }
}

#[test]
fn a_seed_played_twice_gives_the_same_trace() {
    let settings = Settings { points: Some(40), trace: true, ..Settings::default() };
    let [first, second] = [played(1..2, settings), played(1..2, settings)];
    assert_eq!(first.told, second.told);
    assert_eq!(first.trace, second.trace);
    assert!(first.told.len() > 100, "{} calls", first.told.len());
    assert_ne!(first.trace, played(0..1, settings).trace);
}

#[test]
fn a_disk_that_lies_about_its_syncs_is_found_out() {
    let report = played(0..2, Settings { lying_disk: true, ..Settings::default() });
    assert!(!report.violations.is_empty(), "{report}");
}

/// A file that was sealed and durable, copied by somebody who syncs nothing, and emptied.
fn copied_and_emptied(disk: &Simulated, files: &Files, dir: &Path) -> (Follower, Vec<u8>) {
    let links = dir.join("links");
    files.make_dirs(&links).expect("our folder");
    files.sync_dir(dir).expect("a sync");
    let lines = b"{\"run_id\":\"r1\",\"latency_ms\":1}\n".repeat(20);
    let original = disk.open(&dir.join("runs.jsonl"), How::AppendOrMake).expect("a stream");
    original.append(&lines).expect("a write");
    let mut follower = Follower::new(files.clone(), dir.to_owned(), Some(links.clone()), Vec::new());
    let poll = follower.poll(&Scope::All, &|_| Ok(Vec::new())).expect("a look");
    assert_eq!(poll.pending.len(), 1, "{:?}", poll.problems);
    poll.pending.iter().for_each(|range| follower.sealed(range));
    original.sync_all().expect("a sync");
    for dir in [dir, &links] {
        files.sync_dir(dir).expect("a sync");
    }
    let copy = disk.open(&dir.join("runs.jsonl.1"), How::Anew).expect("a copy");
    copy.append(&lines).expect("a write");
    original.set_len(0).expect("it is emptied");
    original.sync_all().expect("a sync");
    (follower, lines)
}

#[test]
fn a_copy_that_stands_in_for_an_emptied_file_outlives_its_name_and_a_power_cut() {
    let dir = Path::new("/events");
    let disk = Simulated::new(dir);
    let files = Files::of(disk.clone());
    let (mut follower, lines) = copied_and_emptied(&disk, &files, dir);
    let extent = |_: &str| {
        let data = blake3::hash(&lines);
        Ok(vec![SealedExtent { from: 0, to: lines.len() as u64, data }])
    };
    follower.poll(&Scope::All, &extent).expect("a look");
    let history = follower.generation(0).path.clone();
    files.remove(&dir.join("runs.jsonl.1")).expect("the copy");
    for seed in 0..200 {
        let left = disk.image().settle(&mut Chance::new(seed), &mut Tally::default());
        let found = Files::of(left).read(&history).unwrap_or_default();
        assert!(found == lines, "power cut {seed} leaves {} of {} bytes in {history:?}", found.len(), lines.len());
    }
}

#[test]
fn a_drill_in_which_something_never_happens_says_so() {
    let report = played(0..1, Settings { steps: 4, ..Settings::default() });
    assert!(report.violations.is_empty(), "{report}");
    let missing = report.missing();
    for what in ["policy changed", "syncs failed, pages lost", "reads failed", "permissions checked"] {
        assert!(missing.iter().any(|missed| missed == what), "{what} is not missing: {report}");
    }
}
