use std::path::{Path, PathBuf};

use super::{StartError, start::io_error};
use crate::{
    files::Files,
    fold::{Registration, Slot},
    layout::Layout,
    replay::restore::Survey,
    store::{DurableMark, OwnLines, Snapshots},
};

/// Positions before this one were durable: that was noted, or something that is only written then stands on them.
pub fn proven(layout: &Layout, registry: &[Registration], snapshots: &Snapshots) -> Result<u64, StartError> {
    let marked = DurableMark::read(&layout.files, &layout.durable());
    let mut proven = marked.map_err(|source| io_error(&layout.durable().display().to_string(), source))?;
    proven = proven.max(snapshots.standing().iter().map(|header| header.position).max().unwrap_or(0));
    for path in paths(layout, registry) {
        let last = OwnLines::last_in(&layout.files, &path);
        let last = last.map_err(|source| io_error(&path.display().to_string(), source))?;
        proven = proven.max(last.map_or(0, |mark| mark.cause + 1));
    }
    Ok(proven)
}

/// Decisions in list order, then the rejects, then the streams of consumers that have one.
fn paths(layout: &Layout, registry: &[Registration]) -> Vec<PathBuf> {
    let paths = registry.iter().map(|r| layout.decisions(r.name)).chain([layout.rejects()]);
    let streams = registry.iter().filter_map(|r| r.stream).map(|(name, _)| layout.stream(name));
    paths.chain(streams).collect()
}

/// Opens them, in the same order. `read_from`: from where on the tape is read again. A line or a snapshot that stands past
/// the end of the tape means that the tape was cut.
pub fn open(
    layout: &Layout,
    registry: &[Registration],
    survey: &Survey,
    slots: &[Box<dyn Slot>],
    read_from: u64,
) -> Result<Vec<OwnLines>, StartError> {
    let end = survey.end.next_position;
    let cut = |what: String| {
        StartError::Cut(format!(
            "{what}, but the tape {} ends at position {end}: it was cut. Restore it from a backup, or move {} away to begin anew{}",
            layout.tape().display(),
            layout.own().display(),
            registry
                .iter()
                .filter_map(|r| r.stream)
                .map(|(name, _)| format!(", and {name}.jsonl with it"))
                .collect::<String>()
        ))
    };
    if let Some(round) = survey.missing() {
        return Err(cut(format!("a snapshot stands on round {round}")));
    }
    // From where on the lines of each are made again.
    let streams = slots.iter().zip(registry).filter(|(_, r)| r.stream.is_some()).map(|(slot, _)| slot.position());
    let again = slots.iter().map(|slot| slot.position()).chain([read_from]).chain(streams);
    let own = |(path, again): (PathBuf, u64)| {
        let opened = OwnLines::open(&layout.files, &path, again);
        let own = opened.map_err(|source| io_error(&path.display().to_string(), source))?;
        match own.last() {
            Some(last) if last.cause >= end => {
                Err(cut(format!("{} holds a line about position {}", path.display(), last.cause)))
            }
            _ => Ok(own),
        }
    };
    paths(layout, registry).into_iter().zip(again).map(own).collect()
}

/// Makes the directories of ours, and clears up in them.
pub fn make_dirs(layout: &Layout) -> Result<(), StartError> {
    let decisions = layout.own().join("decisions");
    for dir in [layout.links(), layout.snapshots(), decisions] {
        layout.files.make_dirs(&dir).map_err(|source| io_error(&dir.display().to_string(), source))?;
    }
    // Whatever is made durable below them must not vanish with its directory.
    for dir in [layout.own(), layout.dir.clone()] {
        layout.files.sync_dir(&dir).map_err(|source| io_error(&dir.display().to_string(), source))?;
    }
    sweep(&layout.files, &layout.snapshots());
    sweep(&layout.files, &layout.own());
    Ok(())
}

/// Drops what a crash left of a file that was being replaced.
fn sweep(files: &Files, dir: &Path) {
    for path in files.list(dir).unwrap_or_default() {
        if path.extension().is_some_and(|extension| extension == "tmp") {
            let _ = files.remove(&path);
        }
    }
}
