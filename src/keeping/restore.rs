use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::Serialize;

use super::{
    KeepError, copy, failed,
    holdings::in_order,
    manifest::{Manifest, NAME, StreamFile, UNFINISHED},
};
use crate::{
    files::{Files, Kind},
    layout::Layout,
    store::DurableMark,
    streams::{Compression, copies::SealedExtent, links},
    tape::journal::Rounds,
};

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub events: PathBuf,
    pub position: u64,
    pub rounds: u64,
    pub files: usize,
    pub bytes: u64,
    /// Digest of the last round.
    pub head: String,
}

/// Where a restore is made ready, inside of the directory it will be.
const STAGE: &str = ".restoring";

/// Makes an events directory of a backup, every byte held against its digest on the way. Appears at once or not at all.
///
/// # Errors
/// The directory is not empty, the backup is damaged or unfinished, or something cannot be written.
pub fn restore(backup: &Path, layout: &Layout) -> Result<Report, KeepError> {
    let files = &layout.files;
    let manifest = manifest(files, backup)?;
    vacant(layout)?;
    let stage = layout.dir.join(STAGE);
    empty(files, &stage)?;
    let extents = tape(files, backup, &manifest)?;
    let streams = stage.join("streams");
    for folder in [&streams, &stage.join("decisions"), &stage.join("snapshots")] {
        files.make_dirs(folder).map_err(failed("make", folder))?;
    }
    for stream in &manifest.streams {
        bring(files, backup, stream, &streams, &extents)?;
    }
    for file in &manifest.files {
        let to = stage.join(&file.path);
        if let Some(folder) = to.parent() {
            files.make_dirs(folder).map_err(failed("make", folder))?;
        }
        copy::plain(files, &backup.join(&file.path), &to, 0, file.bytes, &[])?;
        if copy::digest(files, &to, file.bytes)? != file.data {
            return Err(damaged(&backup.join(&file.path)));
        }
    }
    copy::plain(files, &backup.join("tape.jsonl"), &stage.join("tape.jsonl"), 0, manifest.tape, &[])?;
    appear(&stage, layout, &manifest)?;
    Ok(report(&layout.dir, &manifest))
}

/// Reads a whole backup and holds it against its digests; writes nothing.
///
/// # Errors
/// It is damaged or unfinished.
pub fn check(files: &Files, backup: &Path) -> Result<Report, KeepError> {
    let manifest = manifest(files, backup)?;
    let extents = tape(files, backup, &manifest)?;
    for stream in &manifest.streams {
        check_stream(files, backup, stream, &extents)?;
    }
    for file in &manifest.files {
        let path = backup.join(&file.path);
        if copy::digest(files, &path, file.bytes)? != file.data {
            return Err(damaged(&path));
        }
    }
    Ok(report(backup, &manifest))
}

fn report(at: &Path, manifest: &Manifest) -> Report {
    Report {
        events: at.to_owned(),
        position: manifest.position,
        rounds: manifest.rounds,
        files: manifest.streams.len() + manifest.files.len() + 1,
        bytes: manifest.size(),
        head: manifest.head.clone(),
    }
}

fn manifest(files: &Files, backup: &Path) -> Result<Manifest, KeepError> {
    Manifest::read(files, backup)?.ok_or_else(|| {
        let at = backup.display();
        KeepError::Refused(if files.about(&backup.join(UNFINISHED)).is_ok() {
            format!("the backup {at} was never finished: type `runtape backup` again, it goes on where it stopped")
        } else if files.about(backup).is_ok() {
            format!("{at} is no backup: there is no {NAME} in it")
        } else {
            format!("there is no backup {at}")
        })
    })
}

/// Only into nothing: what is there would be mixed with what comes.
fn vacant(layout: &Layout) -> Result<(), KeepError> {
    let dir = &layout.dir;
    layout.files.make_dirs(dir).map_err(failed("make", dir))?;
    let entries = layout.files.list(dir).map_err(failed("read", dir))?;
    let names = entries.iter().filter_map(|path| path.file_name());
    let mut there: Vec<String> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    there.retain(|name| name != STAGE);
    there.sort();
    if there.is_empty() {
        return Ok(());
    }
    let more = if there.len() > 3 { ", ..." } else { "" };
    there.truncate(3);
    Err(KeepError::Refused(format!(
        "{} is not empty (there is {}{more}): restore into an empty or a new directory",
        dir.display(),
        there.join(", ")
    )))
}

/// Drops the files that a restore left that was broken off.
fn empty(files: &Files, stage: &Path) -> Result<(), KeepError> {
    for path in files.list(stage).unwrap_or_default() {
        match files.about_name(&path).map_err(failed("read", &path))?.kind {
            Kind::Directory => empty(files, &path)?,
            _ => files.remove(&path).map_err(failed("remove", &path))?,
        }
    }
    Ok(())
}

/// The extents of a backup's tape by file; the tape checked to its end.
fn tape(files: &Files, backup: &Path, manifest: &Manifest) -> Result<HashMap<Arc<str>, Vec<SealedExtent>>, KeepError> {
    let path = backup.join("tape.jsonl");
    let mut rounds = Rounds::open(files, &path)?;
    let mut extents: HashMap<Arc<str>, Vec<SealedExtent>> = HashMap::new();
    for (file, pruned) in rounds.horizon().into_iter().flat_map(|horizon| horizon.extents()) {
        extents.entry(file.clone()).or_default().push(pruned);
    }
    // What a broken off backup left behind is past the end.
    while rounds.seam().bytes < manifest.tape {
        let Some(round) = rounds.next() else { break };
        for extent in &round?.extents {
            extents.entry(extent.file.clone()).or_default().extend(extent.sealed());
        }
    }
    let end = rounds.seam();
    if (end.bytes, end.next_position, &end.prev) != (manifest.tape, manifest.position, &manifest.head) {
        let what = format!("it does not end at position {} as {NAME} says", manifest.position);
        return Err(KeepError::Damaged { path, what });
    }
    Ok(extents)
}

fn extents_of(stream: &StreamFile, extents: &HashMap<Arc<str>, Vec<SealedExtent>>) -> Vec<SealedExtent> {
    let mut all: Vec<SealedExtent> =
        stream.files.iter().filter_map(|file| extents.get(file)).flatten().copied().collect();
    in_order(&mut all);
    all
}

fn check_stream(
    files: &Files,
    backup: &Path,
    stream: &StreamFile,
    extents: &HashMap<Arc<str>, Vec<SealedExtent>>,
) -> Result<(), KeepError> {
    let path = backup.join(&stream.path);
    copy::check(files, &path, stream.compression, stream.sealed, &extents_of(stream, extents))?;
    match &stream.data {
        Some(data) if copy::digest(files, &path, stream.bytes)? != *data => Err(damaged(&path)),
        _ => Ok(()),
    }
}

/// Copies a file of sealed history, under the name of each of its generations.
fn bring(
    files: &Files,
    backup: &Path,
    stream: &StreamFile,
    streams: &Path,
    extents: &HashMap<Arc<str>, Vec<SealedExtent>>,
) -> Result<(), KeepError> {
    let Some((first, others)) = stream.files.split_first() else { return Ok(()) };
    let (from, to) = (backup.join(&stream.path), links::path(streams, first, stream.compression));
    if stream.compression == Compression::None {
        copy::plain(files, &from, &to, 0, stream.sealed, &extents_of(stream, extents))?;
    } else {
        check_stream(files, backup, stream, extents)?;
        let (_, data) = copy::whole(files, &from, &to)?;
        if stream.data.as_ref() != Some(&data) {
            return Err(damaged(&from));
        }
    }
    for other in others {
        let link = links::path(streams, other, stream.compression);
        files.link(&to, &link).map_err(failed("make", &link))?;
    }
    Ok(())
}

/// The one step that makes a directory of it. The names come after the tape: found without it, the files would be taken
/// for new ones.
fn appear(stage: &Path, layout: &Layout, manifest: &Manifest) -> Result<(), KeepError> {
    let files = &layout.files;
    for path in files.list(stage).map_err(failed("read", stage))? {
        if files.about(&path).is_ok_and(|about| about.kind == Kind::Directory) {
            files.sync_dir(&path).map_err(failed("sync", &path))?;
        }
    }
    // All of it is synced: what does not hold from now on was damaged, and is not what a power cut took.
    let noted = stage.join(layout.durable().file_name().unwrap_or_default());
    DurableMark::new(files.clone(), noted.clone()).note(manifest.position).map_err(failed("write", &noted))?;
    files.sync_dir(stage).map_err(failed("sync", stage))?;
    let own = layout.own();
    files.rename(stage, &own).map_err(failed("make", &own))?;
    for stream in &manifest.streams {
        let Some(first) = stream.files.first() else { continue };
        let link = links::path(&layout.links(), first, stream.compression);
        for name in &stream.names {
            let path = layout.dir.join(name);
            files.link(&link, &path).map_err(failed("make", &path))?;
        }
    }
    files.sync_dir(&layout.dir).map_err(failed("sync", &layout.dir))
}

fn damaged(path: &Path) -> KeepError {
    let what = "it is not what was backed up: use another backup".to_owned();
    KeepError::Damaged { path: path.to_owned(), what }
}
