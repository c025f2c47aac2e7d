//! History copied away, brought back, dropped, packed, and opened by the programs after the one that made it.

/// Packed in place.
mod archive;
/// Copied away and brought back.
mod backup;
/// Dropped before a round.
mod prune;
/// A disk that stops.
mod stopping;
/// Directories that released programs left, and consumers whose version rose.
mod versions;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use runtape::{
    clock::Clock,
    consumers::REGISTRY,
    fold::Registration,
    layout::Layout,
    live::{Cadence, Config, Live},
    replay::replay,
    tape::{Directory, Until, verify},
};

use crate::support::{Events, repository, wait_until};

/// What a fold of a directory comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fold {
    position: u64,
    state_hash: String,
    /// Of the whole history, pruned or not.
    decisions: u64,
}

/// Folds what is sealed before a position, and holds everything sealed against the tape.
fn fold_of(layout: &Layout, registry: &[Registration], until: Until) -> Fold {
    let directory = Directory::open(layout.clone(), None).expect("a directory");
    let replayed = replay(&directory, registry, None, until, 1, |_, _| ()).expect("an intact history");
    Fold {
        position: replayed.intake.position(),
        state_hash: replayed.engine.state_hash(),
        decisions: replayed.decisions,
    }
}

fn fold(events: &Path) -> Fold {
    intact(events);
    fold_of(&Layout::new(events), REGISTRY, Until::End)
}

#[track_caller]
fn intact(events: &Path) {
    let report = verify::verify(&Layout::new(events), |_| ()).expect("a readable tape");
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}: {findings:#?}", events.display());
}

/// The versions whose directories are kept.
fn kept_versions() -> Vec<PathBuf> {
    let entries = fs::read_dir(repository("tests/versions")).expect("kept versions").flatten();
    let mut kept: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect();
    kept.sort();
    assert!(!kept.is_empty(), "no version is kept");
    kept
}

/// A kept directory laid out as its program left it, but for the inodes.
fn laid_out(kept: &Path) -> Events {
    let events = Events::new();
    let own = events.path().join(".runtape");
    copy_tree(&kept.join("own"), &own);
    let names = fs::read_to_string(kept.join("names")).expect("the names of the streams");
    for line in names.lines() {
        let (link, name) = line.split_once(' ').expect("a link and a name");
        fs::hard_link(own.join("streams").join(link), events.path().join(name)).expect("a link");
    }
    events
}

/// The directory of the oldest kept version: 367 lines, a policy, three commands, a rotated file.
fn some_history() -> Events {
    laid_out(&kept_versions()[0])
}

/// Copies a directory; hard links become files of their own, unless they are of one name.
fn copy_tree(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a writable directory");
    for entry in fs::read_dir(from).expect("a readable directory").flatten() {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_tree(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).expect("a readable file");
        }
    }
}

/// A running fold, or why there is none.
fn live(layout: &Layout, registry: &'static [Registration]) -> Result<Live, String> {
    let config = Config {
        layout: layout.clone(),
        registry,
        clock: Clock::system(),
        cadence: Cadence::default(),
        quarantine_file: None,
    };
    Live::start(config).map_err(|error| error.to_string())
}

/// Stops it once everything that was appended is folded.
fn stopped(live: Live) {
    let status = live.status().clone();
    wait_until("the history is read", || status.caught_up.load(Ordering::Acquire));
    live.look_at_intake();
    let head = || status.head.load(Ordering::Acquire);
    let arrived = || status.consumers.iter().all(|consumer| consumer.position.load(Ordering::Acquire) >= head());
    wait_until("every consumer is there", arrived);
    live.stop();
}

/// Files of a directory and below, with their sizes.
fn listing(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        match entry.path().is_dir() {
            true => found.extend(listing(&entry.path())),
            false => found.push((entry.path(), entry.metadata().map_or(0, |metadata| metadata.len()))),
        }
    }
    found.sort();
    found
}
