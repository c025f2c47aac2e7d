//! Every line that names a run: followed through the index, read where there is none.

use thiserror::Error;

use super::{
    Gap, ReplayError, Watch,
    index::{Entry, Index, Stretch, check},
};
use crate::{
    event::{Id, decode},
    fold::Place,
    layout::Layout,
    streams::RawLine,
    tape::{Directory, OpenError, each_line},
};

/// Longer lines are not looked at: no policy may let them be folded.
pub const LINE_BYTES_MAX: usize = 1 << 30;

/// A line that names a run, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    pub position: u64,
    pub stream: String,
    pub file: String,
    pub offset: u64,
    pub line: Vec<u8>,
}

/// What was found of a run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// In tape order.
    pub told: Vec<Told>,
    pub gaps: Vec<Gap>,
    /// Positions from here on were read, because no index covers them.
    pub read_from: u64,
    /// Whether there are more than were wanted.
    pub more: bool,
}

/// How much is wanted of a run, and for how long.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// Lines, and bytes of all of them; the first of those there are.
    pub lines: usize,
    pub bytes: usize,
    pub watch: &'a Watch<'a>,
}

impl Default for Wanted<'_> {
    fn default() -> Self {
        Wanted { lines: usize::MAX, bytes: usize::MAX, watch: &|_| true }
    }
}

/// Lines that are read between two questions whether somebody still waits.
const WATCHED: u64 = 1024;

/// Takes the position of a line, the run it names, its place and its bytes.
pub type EachNamed<'a> = dyn FnMut(u64, &str, &Place, &[u8]) + 'a;

/// The lines that name a run.
///
/// # Errors
/// The tape itself cannot be read, or nobody waits any more.
pub fn lines_of(directory: &Directory, run_id: &str, wanted: &Wanted) -> Result<Lines, ReplayError> {
    through(&Index::open(directory)?, directory, run_id, wanted)
}

/// The same where the index alone can say: each line is held against its checksum, and nothing else is read. None where
/// the history is not sealed, indexed and found as it was from end to end.
///
/// # Errors
/// The directory or its tape cannot be read.
pub fn at_once(layout: Layout, run_id: &str) -> Result<Option<Lines>, OpenError> {
    let Some(directory) = Directory::glance(layout)? else { return Ok(None) };
    let index = Index::open(&directory)?;
    if index.rest.position < directory.sealed_to {
        return Ok(None);
    }
    // What is damaged may be whole in a copy: that is for those who look closely.
    let lines = through(&index, &directory, run_id, &Wanted::default()).ok();
    Ok(lines.filter(|lines| lines.gaps.is_empty() && lines.read_from == directory.sealed_to))
}

/// The sealed lines that name a run, beside a server that seals more: through the index as far as that reaches, and closely
/// only where something is not as it was sealed.
///
/// # Errors
/// The directory or its tape cannot be read, or nobody waits any more.
pub fn sealed_lines(layout: Layout, run_id: &str, wanted: &Wanted) -> Result<Lines, SearchError> {
    let lines = lines_of(&Directory::sealed(layout.clone(), u64::MAX)?, run_id, wanted)?;
    if lines.gaps.is_empty() {
        return Ok(lines);
    }
    let directory = Directory::open(layout, None)?;
    let mut lines = lines_of(&directory, run_id, wanted)?;
    lines.told.retain(|told| told.position < directory.sealed_to);
    Ok(lines)
}

/// A history cannot be searched.
#[derive(Debug, Error)]
pub enum SearchError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
}

fn through(index: &Index, directory: &Directory, run_id: &str, wanted: &Wanted) -> Result<Lines, ReplayError> {
    let mut lines = Lines { read_from: index.rest.position, ..Lines::default() };
    let (entries, damaged) = index.find(run_id);
    follow(entries, directory, run_id, wanted, &mut lines);
    for stretch in damaged.iter().chain([&index.rest]) {
        lines.read_from = lines.read_from.min(stretch.position);
        let mut room = Room::of(wanted);
        let gaps = each_named(directory, stretch, wanted.watch, &mut |position, id, place, line| {
            if id != run_id {
                return true;
            }
            let (stream, file) = (place.stream.to_string(), place.file.to_string());
            lines.told.push(Told { position, stream, file, offset: place.offset, line: line.to_vec() });
            room.take(line)
        })?;
        lines.gaps.extend(gaps);
    }
    lines.told.sort_by_key(|told| told.position);
    lines.told.dedup_by_key(|told| told.position);
    // Each of them gave its first: the first of all are among these.
    let mut room = Room::of(wanted);
    let fits = lines.told.iter().take_while(|told| room.take(&told.line)).count();
    lines.more = fits < lines.told.len();
    lines.told.truncate(fits);
    Ok(lines)
}

/// What may still be told.
struct Room {
    lines: usize,
    bytes: usize,
}

impl Room {
    fn of(wanted: &Wanted) -> Room {
        Room { lines: wanted.lines, bytes: wanted.bytes }
    }

    /// Whether a line was still wanted.
    fn take(&mut self, line: &[u8]) -> bool {
        let fits = self.lines > 0 && self.bytes >= line.len();
        (self.lines, self.bytes) = (self.lines.saturating_sub(1), self.bytes.saturating_sub(line.len()));
        fits
    }
}

/// The lines that entries of the index point at.
fn follow(mut entries: Vec<Entry>, directory: &Directory, run_id: &str, wanted: &Wanted, lines: &mut Lines) {
    entries.retain(|entry| entry.position >= directory.first_position());
    entries.sort_by_key(|entry| entry.position);
    let mut room = Room::of(wanted);
    for entry in entries {
        let read = directory.line_at(&entry.file, entry.offset, LINE_BYTES_MAX);
        let what = match read {
            Ok(line) if check(&line) == entry.check => {
                let names = decode(&line, LINE_BYTES_MAX).is_ok_and(|line| line.text(Id::RunId) == Some(run_id));
                if names {
                    let fits = room.take(&line);
                    let (position, offset) = (entry.position, entry.offset);
                    lines.told.push(Told { position, stream: entry.stream, file: entry.file, offset, line });
                    if !fits {
                        return;
                    }
                }
                continue;
            }
            Ok(_) => "the line is not the one that was sealed".to_owned(),
            Err(error) => error.to_string(),
        };
        let what = format!("stream {}, file {}, byte {}: {what}", entry.stream, entry.file, entry.offset);
        lines.gaps.push(Gap { from: entry.position, to: entry.position + 1, what });
    }
}

/// Hands on every line of the whole history that names a run, in tape order; returns what could not be read.
///
/// # Errors
/// The tape itself cannot be read, or nobody waits any more.
pub fn each_of_all(directory: &Directory, watch: &Watch, each: &mut EachNamed) -> Result<Vec<Gap>, ReplayError> {
    let all = Stretch { round: directory.first_round(), position: directory.first_position(), end: None };
    each_named(directory, &all, watch, &mut |position, id, place, line| {
        each(position, id, place, line);
        true
    })
}

/// Takes the same as [`EachNamed`], and says whether to go on.
type UntilEnough<'a> = dyn FnMut(u64, &str, &Place, &[u8]) -> bool + 'a;

/// The same of a stretch, until `each` has enough.
fn each_named(
    directory: &Directory,
    of: &Stretch,
    watch: &Watch,
    each: &mut UntilEnough,
) -> Result<Vec<Gap>, ReplayError> {
    // Rounds from before history begins are gone.
    let (round, mut position) = (of.round.max(directory.first_round()), of.position.max(directory.first_position()));
    let (mut gaps, mut enough) = (Vec::new(), false);
    for source in directory.rounds(round)? {
        let source = source?;
        if enough || of.end.is_some_and(|end| source.round.is_none_or(|round| round >= end)) {
            break;
        }
        let end = source.count.map(|count| position + count);
        let mut nobody_waits = false;
        let read = each_line(&source, LINE_BYTES_MAX, &mut |line, place, raw| {
            let id = line.as_ref().ok().and_then(|line| line.text(Id::RunId));
            if let (Some(id), RawLine::Line(bytes)) = (id, raw) {
                enough = !each(position, id, place, bytes);
            }
            position += 1;
            nobody_waits = position.is_multiple_of(WATCHED) && !watch(WATCHED);
            !enough && !nobody_waits
        });
        if nobody_waits {
            return Err(ReplayError::Unwanted);
        }
        if let Err(error) = read {
            let to = end.unwrap_or(position).max(position);
            gaps.push(Gap { from: position, to, what: error.to_string() });
        }
        position = end.unwrap_or(position).max(position);
    }
    Ok(gaps)
}
