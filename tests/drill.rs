//! Disasters on a simulated disk: power cuts at every call, with torn, lost and reordered writes.

use std::path::Path;

use runtape::{
    drill::{Report, Settings, play},
    files::{
        Disk as _, Files, How,
        simulated::{Chance, Kind, Simulated, Tally, Trouble},
    },
    streams::{Follower, Poll, Scope, copies::SealedExtent},
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
struct Emptied {
    disk: Simulated,
    files: Files,
    dir: &'static Path,
    follower: Follower,
    lines: Vec<u8>,
}

impl Emptied {
    fn new() -> Emptied {
        let dir = Path::new("/events");
        let disk = Simulated::new(dir);
        let (files, links) = (Files::of(disk.clone()), dir.join("links"));
        files.make_dirs(&links).expect("our folder");
        files.sync_dir(dir).expect("a sync");
        let lines = b"{\"run_id\":\"r1\",\"latency_ms\":1}\n".repeat(20);
        let original = disk.open(&dir.join("runs.jsonl"), How::AppendOrMake).expect("a stream");
        original.append(&lines).expect("a write");
        let follower = Follower::new(files.clone(), dir.to_owned(), Some(links.clone()), Vec::new());
        let mut emptied = Emptied { disk, files, dir, follower, lines };
        let poll = emptied.look();
        assert_eq!(poll.pending.len(), 1, "{:?}", poll.problems);
        poll.pending.iter().for_each(|range| emptied.follower.sealed(range));
        original.sync_all().expect("a sync");
        for dir in [dir, &links] {
            emptied.files.sync_dir(dir).expect("a sync");
        }
        let copy = emptied.disk.open(&dir.join("runs.jsonl.1"), How::Anew).expect("a copy");
        copy.append(&emptied.lines).expect("a write");
        original.set_len(0).expect("it is emptied");
        emptied
    }

    fn look(&mut self) -> Poll {
        let extent = SealedExtent { from: 0, to: self.lines.len() as u64, data: blake3::hash(&self.lines) };
        self.follower.poll(&Scope::All, &|_| Ok(vec![extent])).expect("a look")
    }

    /// What power cuts leave of a file.
    fn left(&self, path: &Path) -> Vec<Vec<u8>> {
        let left = |seed| Files::of(self.disk.image().settle(&mut Chance::new(seed), &mut Tally::default()));
        (0..200).map(|seed| left(seed).read(path).unwrap_or_default()).collect()
    }
}

#[test]
fn a_copy_that_stands_in_for_an_emptied_file_outlives_its_name_and_a_power_cut() {
    let mut emptied = Emptied::new();
    emptied.look();
    let history = emptied.follower.generation(0).path.clone();
    emptied.files.remove(&emptied.dir.join("runs.jsonl.1")).expect("the copy");
    for (seed, found) in emptied.left(&history).into_iter().enumerate() {
        assert!(found == emptied.lines, "power cut {seed} leaves {} bytes in {history:?}", found.len());
    }
}

#[test]
fn a_power_cut_brings_no_lines_back_that_are_read_from_a_copy() {
    let mut emptied = Emptied::new();
    let stream = emptied.dir.join("runs.jsonl");
    assert!(emptied.left(&stream).contains(&emptied.lines), "nothing could come back");
    emptied.look();
    assert!(emptied.left(&stream).iter().all(Vec::is_empty), "lines came back");
}

#[test]
fn a_copy_that_cannot_be_synced_takes_the_place_of_nothing_and_is_told() {
    let mut emptied = Emptied::new();
    emptied.disk.trouble(Some(Trouble { chance: Chance::new(1), one_in: 1, only: Some(Kind::FailedSyncs) }));
    emptied.look();
    let error = emptied.follower.failed_sync().expect("a sync failed");
    assert_eq!(error.to_string(), "Input/output error (os error 5)");
    let inode = |path: &Path| emptied.files.about(path).expect("a file").id.inode();
    let history = &emptied.follower.generation(0).path;
    assert_eq!(inode(history), inode(&emptied.dir.join("runs.jsonl")), "{history:?}");
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
