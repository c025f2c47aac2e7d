use std::{
    io,
    path::PathBuf,
    sync::{Arc, PoisonError},
};

use thiserror::Error;

use super::{
    fault::{Faults, ReadError},
    horizon::Horizon,
    journal::{Rounds, Seam, TapeError},
    known::{self, Known},
    read::{ExtentBytes, ExtentSource, RoundSource},
    round::Round,
    seal,
};
use crate::{
    event::Nanos,
    files::Kind,
    layout::Layout,
    streams::{self, Follower, LineReader, Poll, Problem, RawLine, Reset, Scope},
};

/// Bytes read at once for one line.
const LINE_CHUNK: usize = 8 << 10;

/// An events directory cannot be read.
#[derive(Debug, Error)]
pub enum OpenError {
    #[error("there is no events directory {}: give one with --events DIR", .0.display())]
    Missing(PathBuf),
    #[error("{} is not a directory: --events wants the directory that holds the *.jsonl streams", .0.display())]
    NotDirectory(PathBuf),
    #[error("cannot read the events directory {}: {source}", path.display())]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("cannot read {}: {what}", path.display())]
    File { path: PathBuf, what: String },
    #[error(transparent)]
    Tape(#[from] TapeError),
}

/// Makes sure that there is a directory to read.
///
/// # Errors
/// It is missing, or something else.
pub fn check_dir(layout: &Layout) -> Result<(), OpenError> {
    match layout.files.about(&layout.dir) {
        Ok(about) if about.kind == Kind::Directory => Ok(()),
        Ok(_) => Err(OpenError::NotDirectory(layout.dir.clone())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::Missing(layout.dir.clone())),
        Err(source) => Err(OpenError::Unreadable { path: layout.dir.clone(), source }),
    }
}

/// An events directory as a reader sees it: the sealed rounds, and one virtual round of what lies past them. Nothing is
/// written.
pub struct Directory {
    layout: Layout,
    follower: Follower,
    /// What is past the end of the tape.
    tail: RoundSource,
    /// Where history begins, when it was pruned.
    pub horizon: Option<Arc<Horizon>>,
    /// Sealed rounds, pruned ones too, and one past the last sealed position.
    pub rounds: u64,
    pub sealed_to: u64,
    /// Digest of the last round.
    pub head: Option<String>,
    pub resets: Vec<Reset>,
    pub problems: Vec<Problem>,
    /// Of one that grows with its tape.
    growing: Option<Growing>,
}

/// What it takes to go on where a tape was read to.
struct Growing {
    known: Known,
    /// The places between which the last growth lies.
    since: Seam,
    end: Seam,
}

impl Directory {
    /// Looks at a directory. `now` seals the virtual round past an existing tape; without a tape nothing is skewed, so
    /// that a directory alone decides what is read.
    ///
    /// # Errors
    /// No directory, an unreadable stream, or a tape that is damaged.
    pub fn open(layout: Layout, now: Option<Nanos>) -> Result<Directory, OpenError> {
        Directory::opened(layout, now, false)
    }

    /// The same at once, also where a gigabyte was sealed last: that the bytes are those that were sealed is taken on
    /// trust, so whoever reads some holds them against something. None where there is more to it than sealed files that
    /// lie where they did: then only [`Self::open`] knows.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn glance(layout: Layout) -> Result<Option<Directory>, OpenError> {
        let directory = Directory::opened(layout, None, true)?;
        let plain = !directory.has_unsealed() && directory.resets.is_empty() && directory.problems.is_empty();
        Ok(Some(directory).filter(|_| plain))
    }

    fn opened(layout: Layout, now: Option<Nanos>, trust: bool) -> Result<Directory, OpenError> {
        check_dir(&layout)?;
        let mut tape = Rounds::open(&layout.files, &layout.tape())?;
        let horizon = tape.horizon().cloned();
        let mut known = Known::of(horizon.as_deref());
        for round in tape.by_ref() {
            known.add(&round?);
        }
        let Seam { next_round: rounds, next_position: sealed_to, prev, .. } = tape.seam();
        let head = (rounds > 0).then_some(prev);
        let generations = if trust { known.trusted(&layout) } else { known.generations(&layout) };
        let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, generations);
        let extents_of = |file: &str| known::extents_of(&layout, file);
        let poll = follower
            .recover(&extents_of)
            .and_then(|()| follower.poll(&Scope::All, &extents_of))
            .map_err(|source| OpenError::Unreadable { path: layout.dir.clone(), source })?;
        let Poll { pending, resets, problems, .. } = poll;
        let extents = pending.iter().map(|range| seal::extent_source(&follower, range)).collect();
        let at = if head.is_some() { now } else { None };
        let tail = RoundSource { files: layout.files.clone(), round: None, at, count: None, extents, faults: None };
        Ok(Directory { horizon, layout, follower, tail, rounds, sealed_to, head, resets, problems, growing: None })
    }

    /// The sealed rounds before `round` and nothing past them, to be grown by [`Self::grow`]. That the bytes are those
    /// that were sealed is taken on trust: whoever reads a round holds it against its digest.
    ///
    /// # Errors
    /// No directory, or a tape that is damaged.
    pub fn sealed(layout: Layout, round: u64) -> Result<Directory, OpenError> {
        check_dir(&layout)?;
        let mut tape = Rounds::open(&layout.files, &layout.tape())?;
        let horizon = tape.horizon().cloned();
        let mut known = Known::of(horizon.as_deref());
        while tape.seam().next_round < round
            && let Some(read) = tape.next()
        {
            known.add(&read?);
        }
        let end = tape.seam();
        let growing = Some(Growing { known, since: end.clone(), end });
        let mut directory = Directory { horizon, growing, ..Directory::of_files(layout, Vec::new()) };
        directory.grow(0, 0)?;
        Ok(directory)
    }

    /// Takes in what was sealed since, as far as it ends before `until`, and not much more than so many lines; whether
    /// there was anything.
    ///
    /// # Errors
    /// The tape is damaged.
    pub fn grow(&mut self, until: u64, lines: u64) -> Result<bool, OpenError> {
        let Directory { layout, growing: Some(Growing { known, since, end }), .. } = self else { return Ok(false) };
        *since = end.clone();
        let mut tape = Rounds::open_at(&layout.files, &layout.tape(), end)?;
        let most = end.next_position.saturating_add(lines);
        while end.next_position < most
            && let Some(round) = tape.next().transpose()?
            && round.end() <= until
        {
            known.add(&round);
            *end = tape.seam();
        }
        self.follower = follower(layout, known);
        (self.rounds, self.sealed_to) = (end.next_round, end.next_position);
        self.head = (self.rounds > 0).then(|| end.prev.clone());
        Ok(since != end)
    }

    /// Files from anywhere as one virtual round without a tape. What of them cannot be read is told to the [`Faults`], and
    /// the rest is read. `layout` says on which disk they are; nothing is read below its directory.
    pub fn of_files(layout: Layout, extents: Vec<ExtentSource>) -> Directory {
        let faults = Some(Faults::default());
        let tail = RoundSource { files: layout.files.clone(), round: None, at: None, count: None, extents, faults };
        let follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, Vec::new());
        let (resets, problems) = (Vec::new(), Vec::new());
        let (horizon, head, growing) = (None, None, None);
        Directory { layout, follower, tail, horizon, rounds: 0, sealed_to: 0, head, resets, problems, growing }
    }

    /// What could not be read of the virtual round since the last call.
    pub fn take_faults(&self) -> Vec<(u64, ReadError)> {
        let faults = self.tail.faults.as_ref();
        faults
            .map(|faults| std::mem::take(&mut *faults.lock().unwrap_or_else(PoisonError::into_inner)))
            .unwrap_or_default()
    }

    /// What tells its history from any other: the digest of the first round there is; none without a tape.
    ///
    /// # Errors
    /// The tape cannot be opened again.
    pub fn identity(&self) -> Result<Option<String>, TapeError> {
        let first = Rounds::open(&self.layout.files, &self.layout.tape())?.next();
        first.map(|round| round.map(|round| round.digest)).transpose()
    }

    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The number of the first round that is not pruned, and the position of its first line.
    pub fn first_round(&self) -> u64 {
        self.horizon.as_ref().map_or(0, |horizon| horizon.round)
    }

    pub fn first_position(&self) -> u64 {
        self.horizon.as_ref().map_or(0, |horizon| horizon.position)
    }

    /// Whether there are lines past the end of the tape.
    pub fn has_unsealed(&self) -> bool {
        !self.tail.extents.is_empty()
    }

    /// The sealed rounds from number `from` on, then the virtual one.
    ///
    /// # Errors
    /// The tape cannot be opened again.
    pub fn rounds(&self, from: u64) -> Result<impl Iterator<Item = Result<RoundSource, TapeError>> + '_, TapeError> {
        let (files, tape) = (&self.layout.files, self.layout.tape());
        let near = self.growing.as_ref().map(|growing| &growing.since).filter(|seam| seam.next_round <= from);
        let read = near.map_or_else(|| Rounds::open(files, &tape), |seam| Rounds::open_at(files, &tape, seam))?;
        let first = near.map_or(self.first_round(), |seam| seam.next_round);
        let sealed = read
            .take((self.rounds - first) as usize)
            .skip(from.saturating_sub(first) as usize)
            .map(|round| round.map(|round| self.source(&round)));
        let RoundSource { files, extents, faults, .. } = &self.tail;
        let (files, extents, faults) = (files.clone(), extents.clone(), faults.clone());
        let tail = RoundSource { files, extents, faults, ..self.tail };
        Ok(sealed.chain(std::iter::once(Ok(tail))))
    }

    /// The line that begins at an offset of a file.
    ///
    /// # Errors
    /// The file is gone, cannot be read, or has no whole line there.
    pub fn line_at(&self, file: &str, offset: u64, line_bytes_max: usize) -> io::Result<Vec<u8>> {
        let generation = self.follower.generations().iter().find(|generation| **generation.file() == *file);
        let generation = generation.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the file is gone"))?;
        let compression = generation.record.compression;
        let bytes = streams::source::open(self.follower.files(), &generation.path, compression, offset)?;
        let mut reader = LineReader::new(bytes, offset, line_bytes_max).with_chunk(LINE_CHUNK).with_digest(false);
        match (reader.advance()?, reader.line()) {
            (true, RawLine::Line(line)) => Ok(line.to_vec()),
            _ => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "there is no whole line")),
        }
    }

    /// A sealed round with where its bytes are now.
    pub fn source(&self, round: &Round) -> RoundSource {
        source(&self.follower, round)
    }
}

/// A follower that is only asked where the files of a tape are.
pub fn follower(layout: &Layout, known: &Known) -> Follower {
    let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), None, known.clone().trusted(layout));
    // What cannot be found is reported when it is read.
    let _ = follower.recover(&|file| known::extents_of(layout, file));
    follower
}

/// A sealed round with where a follower finds its bytes.
pub fn source(follower: &Follower, round: &Round) -> RoundSource {
    let extents = round.extents.iter().map(|extent| {
        let generation = follower.generations().iter().find(|g| *g.file() == extent.file);
        let bytes = generation.map_or_else(
            || ExtentBytes::File(PathBuf::from(&*extent.file), Default::default()),
            |g| ExtentBytes::File(g.path.clone(), g.record.compression),
        );
        ExtentSource {
            stream: extent.stream.clone(),
            file: extent.file.clone(),
            from: extent.from,
            to: extent.to,
            data: Some(extent.data.clone()),
            bytes,
        }
    });
    RoundSource {
        files: follower.files().clone(),
        round: Some(round.round),
        at: round.sealed_at(),
        count: Some(round.count),
        extents: extents.collect(),
        faults: None,
    }
}
