//! Every single-bit flip and every truncation of the tape, of the snapshots and of the decisions: told with its place, or
//! without effect. `RUNTAPE_FLIPS=all` tries all of them; otherwise some of each file are tried.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
    time::Duration,
};

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    layout::Layout,
    live::{Cadence, Config, Live, Of},
    replay::{audit::audit, replay},
    tape::{Directory, Until, verify},
};
use serde_json::Value;

use super::lines;
use crate::{
    live::Stage,
    support::{Events, wait_until},
};

/// A small directory with rounds, decisions and two generations of every snapshot.
fn recorded() -> Events {
    let stage = Stage::open(Events::new(), &[]);
    for round in 0..3 {
        stage.events.append("runs", lines(round * 6, 6));
        let end = (round + 1) * 6;
        stage.wait_for(end);
        let saved = || stage.live.status().consumers.iter().all(|c| c.snapshot.load(Ordering::Acquire) == end);
        wait_until("the round is saved", saved);
    }
    stage.close()
}

/// What became of one change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    /// `runtape verify` names the place.
    Verify,
    /// `runtape verify --decisions` names the place.
    Decisions,
    /// Told of decisions of another version.
    OtherVersion,
    /// The next start writes again what is not whole.
    WrittenAgain,
}

struct Untouched {
    layout: Layout,
    state: String,
    decisions: u64,
}

impl Untouched {
    fn of(layout: Layout) -> Untouched {
        let (state, decisions) = folded(&layout);
        Untouched { layout, state, decisions }
    }

    /// Judges the directory as it is now; `changed` is the file that is not as it was.
    fn judge(&self, changed: &Path) -> Outcome {
        let file = changed.display().to_string();
        let report = match verify::verify(&self.layout, |_| ()) {
            Ok(report) => report,
            Err(error) => {
                assert!(error.to_string().contains(&file), "it is not named: {error}");
                return Outcome::Verify;
            }
        };
        if !report.findings.is_empty() {
            let cut = changed == self.layout.tape() && report.findings.iter().all(|f| f.what.contains("was cut"));
            let named = report.findings.iter().any(|finding| finding.path.as_deref() == Some(changed));
            assert!(named || cut, "it is not named: {:?}", report.findings);
            return Outcome::Verify;
        }
        // What verify passes over changes nothing that is folded.
        assert_eq!(folded(&self.layout), (self.state.clone(), self.decisions), "{file}");
        let directory = Directory::open(self.layout.clone(), None).expect("a directory");
        let audit = audit(&directory, REGISTRY).expect("the history can be read");
        if let Some(finding) = audit.findings.first() {
            assert_eq!(finding.path.as_deref(), Some(changed), "{finding}");
            let located = ["line ", "after its last line"].iter().any(|place| finding.what.contains(place));
            assert!(located, "{finding}");
            return Outcome::Decisions;
        }
        if !audit.unjudged.is_empty() {
            return Outcome::OtherVersion;
        }
        assert!(audit.due > 0, "{file}: the change goes unnoticed");
        assert_eq!(audit.same + audit.due, self.decisions, "{file}");
        Outcome::WrittenAgain
    }
}

fn folded(layout: &Layout) -> (String, u64) {
    let directory = Directory::open(layout.clone(), None).expect("a directory");
    let replayed = replay(&directory, REGISTRY, None, Until::Position(directory.sealed_to), 1, |_, _| ());
    let replayed = replayed.expect("a readable history");
    (replayed.engine.state_hash(), replayed.decisions)
}

/// What is ours in a directory, but for the links.
struct Kept(BTreeMap<PathBuf, Vec<u8>>);

impl Kept {
    fn of(layout: &Layout) -> Kept {
        let mut kept = Kept(BTreeMap::new());
        for dir in [layout.own(), layout.own().join("decisions"), layout.snapshots()] {
            for path in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
                if path.is_file() {
                    let bytes = fs::read(&path).expect("a file");
                    kept.0.insert(path, bytes);
                }
            }
        }
        kept
    }

    fn put_back(&self, layout: &Layout) {
        for path in Kept::of(layout).0.keys().filter(|path| !self.0.contains_key(*path)) {
            fs::remove_file(path).expect("a file of ours");
        }
        for (path, bytes) in &self.0 {
            fs::write(path, bytes).expect("a writable file");
        }
    }
}

/// Starts over the directory and stops again; what every consumer shows, or why it does not start.
fn restarted(layout: &Layout) -> Result<String, String> {
    let second = Duration::from_secs(1);
    let cadence = Cadence { poll: second / 50, coalesce: second / 1000, snapshot: 100 * second };
    let clock = Clock::system();
    let config = Config { layout: layout.clone(), registry: REGISTRY, clock, cadence, quarantine_file: None };
    let live = Live::start(config).map_err(|error| error.to_string())?;
    let failed = || live.status().troubles().tailer;
    wait_until("it follows or fails", || live.status().caught_up.load(Ordering::Acquire) || failed().is_some());
    let failed = failed();
    let shown = Value::Object(live.everybody(Of::All).state.json()).to_string();
    live.stop();
    failed.map_or(Ok(shown), Err)
}

/// Which changes are tried: every one, or so many per file that each kind of place is met.
fn stride(changes: usize) -> usize {
    if std::env::var("RUNTAPE_FLIPS").is_ok_and(|which| which == "all") { 1 } else { (changes / 150).max(1) | 1 }
}

/// The files of a kind, and what their changes may come to.
fn check(kind: &str, files: impl Fn(&Layout) -> Vec<PathBuf>, wanted: &[Outcome]) {
    let events = recorded();
    let untouched = Untouched::of(Layout::new(events.path()));
    let kept = Kept::of(&untouched.layout);
    let shown = restarted(&untouched.layout).expect("an untouched directory starts");
    kept.put_back(&untouched.layout);
    let mut outcomes: BTreeMap<(&str, Outcome), u64> = BTreeMap::new();
    let (mut restarts, mut refused) = (0, 0);
    for file in files(&untouched.layout) {
        let whole = fs::read(&file).expect("a file");
        assert!(!whole.is_empty(), "{} is worth nothing", file.display());
        let flips = (0..whole.len() * 8).map(|bit| ("flipped", bit));
        let changes: Vec<(&str, usize)> = flips.chain((0..whole.len()).map(|len| ("cut", len))).collect();
        let stride = stride(changes.len());
        for (tried, (how, at)) in changes.into_iter().step_by(stride).enumerate() {
            let mut changed = whole.clone();
            match how {
                "cut" => changed.truncate(at),
                _ => changed[at / 8] ^= 1 << (at % 8),
            }
            fs::write(&file, &changed).expect("a writable file");
            let outcome = untouched.judge(&file);
            assert!(wanted.contains(&outcome), "{}, {how} at {at}: {outcome:?}", file.display());
            *outcomes.entry((how, outcome)).or_default() += 1;
            if tried % 50 == 7 {
                restarts += 1;
                match restarted(&untouched.layout) {
                    Ok(now) => assert_eq!(now, shown, "{}, {how} at {at}", file.display()),
                    Err(why) => {
                        let says = why.contains(&file.display().to_string()) || why.contains("was cut");
                        assert!(says, "{}, {how} at {at}: {why}", file.display());
                        refused += 1;
                    }
                }
                kept.put_back(&untouched.layout);
            }
        }
        fs::write(&file, &whole).expect("a writable file");
    }
    assert_eq!(folded(&untouched.layout).0, untouched.state, "everything was put back");
    println!("{kind}: {outcomes:?}; {restarts} restarts, {refused} of them refused with the reason");
}

fn of_folder(dir: PathBuf) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(dir).expect("a folder").map(|e| e.expect("an entry").path()).collect();
    paths.retain(|path| fs::metadata(path).expect("a file").len() > 0);
    paths.sort();
    paths
}

#[test]
fn no_changed_bit_of_the_tape_goes_unnoticed() {
    check("tape", |layout| vec![layout.tape()], &[Outcome::Verify]);
}

#[test]
fn no_changed_bit_of_a_snapshot_goes_unnoticed() {
    check("snapshots", |layout| of_folder(layout.snapshots()), &[Outcome::Verify]);
}

#[test]
fn no_changed_bit_of_a_decisions_file_goes_unnoticed() {
    let all = [Outcome::Verify, Outcome::Decisions, Outcome::OtherVersion, Outcome::WrittenAgain];
    check("decisions", |layout| of_folder(layout.own().join("decisions")), &all);
}
