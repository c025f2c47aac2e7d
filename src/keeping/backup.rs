use std::{
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    KeepError, copy, failed,
    holdings::{History, Holding, no_tape},
    manifest::{FORMAT, Manifest, OwnFile, StreamFile, UNFINISHED},
    said,
};
use crate::{
    event::{Nanos, time},
    files::{How, Reading},
    layout::Layout,
    store::{Lock, LockError, Snapshots, journal::Mark},
    streams::{Compression, append::is_full, links},
    tape::journal::{Rounds, Seam},
};

/// What a backup did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    pub backup: PathBuf,
    /// It holds everything before this position, sealed in so many rounds.
    pub position: u64,
    pub rounds: u64,
    pub files: usize,
    /// Bytes of the whole backup, and those of them that were copied now.
    pub bytes: u64,
    pub copied: u64,
    /// Digest of the last round.
    pub head: String,
}

/// Lines written at once.
const BLOCK: usize = 256 * 1024;

/// Folders of a backup.
const FOLDERS: [&str; 4] = ["streams", "decisions", "snapshots", "horizon"];

/// Brings a backup up to the last round that was sealed. Reads beside a server, takes no lock of its own directory and
/// writes nothing into it; what the backup holds already is not copied again.
///
/// # Errors
/// The directory cannot be read or is damaged, or the backup cannot be written; it stays as good as it was.
pub fn backup(layout: &Layout, to: &Path, now: Nanos) -> Result<Report, KeepError> {
    let before = admit(layout, to)?;
    let _lock = prepare(layout, to)?;
    let mut work = Work { layout, to, before, copied: 0 };
    let manifest = work.run(now).map_err(|error| match error {
        KeepError::Io { path, source, .. } if is_full(&source) => KeepError::Refused(format!(
            "no room for {}: {source}; {} bytes were copied and stay. Make room and type the same again: it goes on where it stopped",
            path.display(),
            work.copied
        )),
        error => error,
    })?;
    Ok(Report {
        backup: to.to_owned(),
        position: manifest.position,
        rounds: manifest.rounds,
        files: manifest.streams.len() + manifest.files.len() + 1,
        bytes: manifest.size(),
        copied: work.copied,
        head: manifest.head,
    })
}

/// Whether a place may take the backup of a directory; the manifest of the backup that is there.
fn admit(layout: &Layout, to: &Path) -> Result<Option<Manifest>, KeepError> {
    crate::tape::directory::check_dir(layout)?;
    if lies_in(layout, to).map_err(failed("read", to))? {
        return Err(KeepError::Refused(format!(
            "{} lies inside the events directory {}: a backup belongs elsewhere, best on another disk",
            to.display(),
            layout.dir.display()
        )));
    }
    if layout.files.about(&layout.tape()).is_err() {
        return Err(no_tape(layout));
    }
    let before = Manifest::read(&layout.files, to)?;
    let there = layout.files.list(to).unwrap_or_default();
    let unfinished = there.iter().any(|path| path.ends_with(UNFINISHED));
    match there.iter().filter_map(|path| path.file_name()).min() {
        Some(other) if before.is_none() && !unfinished => Err(KeepError::Refused(format!(
            "{} holds no backup, and is not empty (there is {}): name an empty or a new directory",
            to.display(),
            other.to_string_lossy()
        ))),
        _ => Ok(before),
    }
}

/// Whether a path, there or not yet, is the events directory or lies below it.
fn lies_in(layout: &Layout, path: &Path) -> io::Result<bool> {
    let events = layout.files.about(&layout.dir)?.id;
    let begin = |path: &Path| if path == Path::new("") { PathBuf::from(".") } else { path.to_owned() };
    let mut at = path.ancestors().map(begin).find(|path| layout.files.about(path).is_ok());
    // Up by what the disk says, not by names: a link may lead elsewhere.
    while let Some(here) = at {
        let id = layout.files.about(&here)?.id;
        if id.inode() == events.inode() {
            return Ok(true);
        }
        let above = here.join("..");
        let root = layout.files.about(&above).map_or(id, |about| about.id) == id;
        at = (!root).then_some(above);
    }
    Ok(false)
}

/// Makes the folders, and keeps a second backup away.
fn prepare(layout: &Layout, to: &Path) -> Result<Lock, KeepError> {
    let lock = Lock::take(&layout.files, &to.join(UNFINISHED)).map_err(|error| match error {
        LockError::Held { pid, .. } => {
            KeepError::Refused(format!("another backup to {} is under way (pid {pid})", to.display()))
        }
        error => error.into(),
    })?;
    for folder in FOLDERS {
        let folder = to.join(folder);
        layout.files.make_dirs(&folder).map_err(failed("make", &folder))?;
    }
    Ok(lock)
}

struct Work<'a> {
    layout: &'a Layout,
    to: &'a Path,
    before: Option<Manifest>,
    copied: u64,
}

impl Work<'_> {
    fn run(&mut self, now: Nanos) -> Result<Manifest, KeepError> {
        // A snapshot is only written once the lines and decisions on the way to it are: taken first, it stands on what is
        // taken after it.
        let mut files = self.snapshots()?;
        let said = said::said(self.layout);
        let history = self.history()?;
        if !said::is_sealed(&said, &history.holdings) {
            files.retain(|file| !said::is_of_speaker(&file.path));
        }
        let mut streams = Vec::new();
        for holding in &history.holdings {
            streams.push(self.stream(holding)?);
        }
        files.extend(self.horizon(&history)?);
        files.extend(self.own_lines(&history.end)?);
        self.tape(&history.end)?;
        for folder in FOLDERS {
            let folder = self.to.join(folder);
            self.layout.files.sync_dir(&folder).map_err(failed("sync", &folder))?;
        }
        let manifest = Manifest {
            v: FORMAT,
            by: env!("CARGO_PKG_VERSION").to_owned(),
            at: time::format(now),
            origin: history.origin,
            horizon: history.horizon.as_ref().map(|horizon| horizon.position),
            rounds: history.end.next_round,
            position: history.end.next_position,
            tape: history.end.bytes,
            head: history.end.prev,
            streams,
            files,
            digest: String::new(),
        };
        let manifest = manifest.write(&self.layout.files, self.to)?;
        self.sweep(&manifest)?;
        Ok(manifest)
    }

    /// Reads the tape, and makes sure that the backup is one of this history.
    fn history(&self) -> Result<History, KeepError> {
        let Some(before) = &self.before else { return History::of(self.layout, |_, _| ()) };
        let mut continued = false;
        let history = History::of(self.layout, |seam, _| {
            continued |= (seam.bytes, &seam.prev) == (before.tape, &before.head);
        })?;
        if continued || (history.start.bytes, &history.start.prev) == (before.tape, &before.head) {
            return Ok(history);
        }
        let (to, dir) = (self.to.display(), self.layout.dir.display());
        let begins = history.horizon.as_ref().map(|horizon| horizon.position);
        Err(KeepError::Refused(match begins {
            Some(position) if before.horizon.is_none_or(|before| before < position) => format!(
                "history before position {position} was pruned from {dir}, and {to} still holds it: back up to a new directory, and keep this one as long as you want it"
            ),
            _ if before.origin != history.origin => {
                format!("{to} is the backup of another history than {dir}: back up to a new directory")
            }
            _ => format!(
                "the backup {to} holds rounds that the tape of {dir} does not: the tape was cut, or went another way since. Run `runtape verify`, and restore if it is damaged"
            ),
        }))
    }

    fn stream(&mut self, holding: &Holding) -> Result<StreamFile, KeepError> {
        let Some(first) = holding.files.first() else { unreachable!("a holding is of a generation") };
        let path = links::path(Path::new("streams"), first, holding.compression);
        let to = self.to.join(&path);
        let known = self.before.as_ref().and_then(|before| before.streams.iter().find(|stream| stream.path == path));
        let (bytes, data) = if holding.compression == Compression::None {
            let have = known.map_or(0, |known| known.bytes);
            self.copied += copy::plain(&self.layout.files, &holding.path, &to, have, holding.sealed, &holding.extents)?;
            (holding.sealed, None)
        } else if let Some(known) = known.filter(|known| known.bytes == holding.len) {
            (known.bytes, known.data.clone())
        } else {
            let (bytes, data) = copy::whole(&self.layout.files, &holding.path, &to)?;
            copy::check(&self.layout.files, &to, holding.compression, holding.sealed, &holding.extents)?;
            self.copied += bytes;
            (bytes, Some(data))
        };
        let (files, names) = (holding.files.clone(), holding.names.clone());
        Ok(StreamFile { path, files, names, sealed: holding.sealed, compression: holding.compression, bytes, data })
    }

    fn snapshots(&mut self) -> Result<Vec<OwnFile>, KeepError> {
        let dir = self.layout.snapshots();
        let headers = Snapshots::new(self.layout.files.clone(), dir.clone()).headers().map_err(failed("read", &dir))?;
        let sound = headers.into_iter().filter(|(_, header)| header.is_ok());
        let mut files = Vec::new();
        for (from, _) in sound {
            // One that a server dropped meanwhile is not needed.
            files.extend(self.immutable(&from, "snapshots")?);
        }
        Ok(files)
    }

    fn horizon(&mut self, history: &History) -> Result<Vec<OwnFile>, KeepError> {
        let Some(horizon) = &history.horizon else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        for path in horizon.paths(self.layout) {
            let file = self.immutable(&path, "horizon")?;
            files.push(
                file.ok_or_else(|| KeepError::Damaged { path, what: "it is gone; run `runtape verify`".to_owned() })?,
            );
        }
        Ok(files)
    }

    /// A file that is written once. None when it is gone.
    fn immutable(&mut self, from: &Path, folder: &str) -> Result<Option<OwnFile>, KeepError> {
        let Some(name) = from.file_name() else { return Ok(None) };
        let path = Path::new(folder).join(name);
        let known = self.before.as_ref().and_then(|before| before.files.iter().find(|file| file.path == path));
        let len = self.layout.files.about(from).map(|about| about.len);
        if let Some(known) = known.filter(|known| len.as_ref().is_ok_and(|len| *len == known.bytes)) {
            return Ok(Some(known.clone()));
        }
        match copy::whole(&self.layout.files, from, &self.to.join(&path)) {
            Ok((bytes, data)) => {
                self.copied += bytes;
                Ok(Some(OwnFile { path, bytes, data }))
            }
            Err(KeepError::Io { verb: "read", source, .. }) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Decisions and rejects about positions before the end.
    fn own_lines(&mut self, end: &Seam) -> Result<Vec<OwnFile>, KeepError> {
        let decisions = self.layout.own().join("decisions");
        let mut paths = self.layout.files.list(&decisions).unwrap_or_default();
        paths.retain(|path| path.extension().is_some_and(|e| e == "jsonl"));
        paths.sort();
        paths.push(self.layout.rejects());
        let mut files = Vec::new();
        for from in paths.iter().filter(|path| self.layout.files.about(path).is_ok()) {
            let path = from.strip_prefix(self.layout.own()).unwrap_or(from).to_owned();
            files.push(self.lines(from, path, end.next_position)?);
        }
        Ok(files)
    }

    fn lines(&mut self, from: &Path, path: PathBuf, before: u64) -> Result<OwnFile, KeepError> {
        let known = self.before.as_ref().and_then(|manifest| manifest.files.iter().find(|file| file.path == path));
        let have = known.map_or(0, |known| known.bytes);
        let to = self.to.join(&path);
        let out = self.layout.files.open(&to, How::AppendOrMake).map_err(failed("write", &to))?;
        out.set_len(have).map_err(failed("write", &to))?;
        let reader = self.layout.files.open(from, How::Read).map_err(failed("read", from))?;
        let mut reader = BufReader::with_capacity(BLOCK, Reading::new(reader));
        let (mut hasher, mut bytes, mut line, mut block) = (blake3::Hasher::new(), 0, Vec::new(), Vec::new());
        loop {
            line.clear();
            reader.read_until(b'\n', &mut line).map_err(failed("read", from))?;
            let mark = line.strip_suffix(b"\n").map(serde_json::from_slice::<Mark>);
            // A torn line is being written, and of a position past the end.
            let Some(mark) = mark else { break };
            let mark = mark.map_err(|error| KeepError::Damaged {
                path: from.to_owned(),
                what: format!("the line at byte {bytes} is none of ours: {error}; run `runtape verify`"),
            })?;
            if mark.cause >= before {
                break;
            }
            hasher.update(&line);
            if bytes >= have {
                block.extend_from_slice(&line);
                self.copied += line.len() as u64;
            }
            if block.len() >= BLOCK {
                out.append(&block).map_err(failed("write", &to))?;
                block.clear();
            }
            bytes += line.len() as u64;
        }
        out.append(&block).and_then(|_| out.sync_all()).map_err(failed("write", &to))?;
        Ok(OwnFile { path, bytes, data: hasher.finalize().to_hex().to_string() })
    }

    fn tape(&mut self, end: &Seam) -> Result<(), KeepError> {
        let (from, to) = (self.layout.tape(), self.to.join("tape.jsonl"));
        let have = self.before.as_ref().map_or(0, |before| before.tape);
        self.copied += copy::plain(&self.layout.files, &from, &to, have, end.bytes, &[])?;
        let mut rounds = Rounds::open(&self.layout.files, &to)?;
        rounds.by_ref().try_for_each(|round| round.map(drop))?;
        if rounds.seam() != *end {
            let what = "it changed while it was copied: was it pruned? Type the same again".to_owned();
            return Err(KeepError::Damaged { path: from, what });
        }
        Ok(())
    }

    /// Drops what no manifest names any more.
    fn sweep(&self, manifest: &Manifest) -> Result<(), KeepError> {
        let named = manifest.paths();
        for folder in FOLDERS {
            for path in self.layout.files.list(&self.to.join(folder)).unwrap_or_default() {
                if path.strip_prefix(self.to).is_ok_and(|path| !named.contains(path)) {
                    self.layout.files.remove(&path).map_err(failed("remove", &path))?;
                }
            }
        }
        let unfinished = self.to.join(UNFINISHED);
        self.layout.files.remove(&unfinished).map_err(failed("remove", &unfinished))?;
        self.layout.files.sync_dir(self.to).map_err(failed("sync", self.to))
    }
}
