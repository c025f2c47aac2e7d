use std::{collections::HashSet, io, path::PathBuf};

use super::{
    Index, check, hash, paths,
    segment::{FORMAT, Header, Packed, to_bytes},
};
use crate::{
    event::Id,
    fold::Place,
    layout::Layout,
    replay::{Gap, ReplayError, lookup::LINE_BYTES_MAX},
    store::atomic,
    streams::RawLine,
    tape::{Directory, each_line, journal::Rounds},
};

/// Entries after which a file ends with its round.
const FULL: usize = 2_000_000;
/// Files that an entry can name.
const FILES_MAX: usize = 1 << 16;

/// What a build came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Built {
    /// Lines that name a run, up to this position, in so many files.
    pub entries: u64,
    pub to: u64,
    pub files: usize,
    /// Where it had to stop: what follows is read at every question.
    pub gap: Option<Gap>,
}

/// An index could not be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    #[error(transparent)]
    Replay(#[from] ReplayError),
    #[error("cannot write the index {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// Brings the index of a directory up to the end of its tape. Files that are full are kept, all else is made anew.
/// `progress` is told of lines read.
///
/// # Errors
/// The tape cannot be read, or the index not be written.
pub fn build(directory: &Directory, full: Option<usize>, progress: &mut dyn FnMut(u64)) -> Result<Built, BuildError> {
    let full = full.unwrap_or(FULL);
    let layout = directory.layout();
    let mut index = Index::open(directory).map_err(ReplayError::from)?;
    if let Some(last) = index.segments.pop_if(|last| (last.header.entries as usize) < full) {
        (index.rest.round, index.rest.position) = (last.header.rounds.0, last.header.from);
    }
    // A file that began before history was pruned covers rounds that are gone.
    index.rest.round = index.rest.round.max(directory.first_round());
    index.rest.position = index.rest.position.max(directory.first_position());
    let mut kept: HashSet<PathBuf> = index.segments.iter().map(|segment| path(layout, segment.header.from)).collect();
    let mut part = Part::new(index.rest.round, index.rest.position);
    let mut gap = None;
    let rounds = Rounds::open(&layout.files, &layout.tape()).map_err(ReplayError::from)?;
    for round in rounds {
        let round = round.map_err(ReplayError::from)?;
        if round.round < part.first_round {
            continue;
        }
        if round.round >= directory.rounds {
            break;
        }
        if let Err(found) = part.add(directory, &round) {
            gap = Some(found);
            break;
        }
        progress(round.count);
        if part.entries.len() >= full || part.files.len() >= FILES_MAX / 2 {
            kept.insert(part.write(layout)?);
            part = Part::new(round.round + 1, round.end());
        }
    }
    if part.next_round > part.first_round {
        kept.insert(part.write(layout)?);
    }
    for stale in paths(layout).into_iter().filter(|path| !kept.contains(path)) {
        layout.files.remove(&stale).map_err(|source| BuildError::Write { path: stale.clone(), source })?;
    }
    let index = Index::open(directory).map_err(ReplayError::from)?;
    let (entries, files) = index.size();
    Ok(Built { entries, to: index.rest.position, files, gap })
}

/// The file that begins at a position.
fn path(layout: &Layout, from: u64) -> PathBuf {
    layout.index().join(format!("runs-{from:020}.idx"))
}

/// A file on its way.
struct Part {
    first_round: u64,
    next_round: u64,
    from: u64,
    to: u64,
    tape: String,
    files: Vec<(String, String)>,
    entries: Vec<Packed>,
}

impl Part {
    fn new(round: u64, position: u64) -> Part {
        let (files, entries) = (Vec::new(), Vec::new());
        Part {
            first_round: round,
            next_round: round,
            from: position,
            to: position,
            tape: String::new(),
            files,
            entries,
        }
    }

    /// Adds the lines of a round; none where one of them cannot be read.
    fn add(&mut self, directory: &Directory, round: &crate::tape::Round) -> Result<(), Gap> {
        let before = self.entries.len();
        let mut position = round.first;
        let read = each_line(&directory.source(round), LINE_BYTES_MAX, &mut |line, place, raw| {
            let id = line.as_ref().ok().and_then(|line| line.text(Id::RunId));
            if let (Some(id), RawLine::Line(bytes)) = (id, raw) {
                let file = self.file(place);
                self.entries.push(Packed { hash: hash(id), position, offset: place.offset, file, check: check(bytes) });
            }
            position += 1;
            true
        });
        if let Err(error) = read {
            self.entries.truncate(before);
            return Err(Gap { from: round.first, to: round.end(), what: error.to_string() });
        }
        (self.next_round, self.to) = (round.round + 1, round.end());
        self.tape.clone_from(&round.digest);
        Ok(())
    }

    /// The number of a file.
    fn file(&mut self, place: &Place) -> u16 {
        let known = self.files.iter().rposition(|(stream, file)| *file == *place.file && *stream == *place.stream);
        let at = known.unwrap_or_else(|| {
            self.files.push((place.stream.to_string(), place.file.to_string()));
            self.files.len() - 1
        });
        at as u16
    }

    fn write(&mut self, layout: &Layout) -> Result<PathBuf, BuildError> {
        let path = path(layout, self.from);
        let header = Header {
            v: FORMAT,
            rounds: (self.first_round, self.next_round),
            from: self.from,
            to: self.to,
            tape: std::mem::take(&mut self.tape),
            files: std::mem::take(&mut self.files),
            entries: 0,
            list: String::new(),
            seal: String::new(),
        };
        let bytes = to_bytes(header, std::mem::take(&mut self.entries));
        let written = layout.files.make_dirs(&layout.index());
        let written = written.and_then(|()| atomic::replace(&layout.files, &path, &bytes));
        written.map_err(|source| BuildError::Write { path: path.clone(), source })?;
        Ok(path)
    }
}
