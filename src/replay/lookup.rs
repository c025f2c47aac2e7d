//! Every line that names a run: followed through the index, read where there is none.

use super::{
    Gap, ReplayError,
    index::{Index, Stretch, check},
};
use crate::{
    event::decode,
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
}

/// Takes the position of a line, the run it names, its place and its bytes.
pub type EachNamed<'a> = dyn FnMut(u64, &str, &crate::fold::Place, &[u8]) + 'a;

/// The lines that name a run.
///
/// # Errors
/// The tape itself cannot be read.
pub fn lines_of(directory: &Directory, run_id: &str) -> Result<Lines, ReplayError> {
    through(&Index::open(directory)?, directory, run_id)
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
    let lines = through(&index, &directory, run_id).ok();
    Ok(lines.filter(|lines| lines.gaps.is_empty() && lines.read_from == directory.sealed_to))
}

fn through(index: &Index, directory: &Directory, run_id: &str) -> Result<Lines, ReplayError> {
    let mut lines = Lines { read_from: index.rest.position, ..Lines::default() };
    let (entries, damaged) = index.find(run_id);
    for entry in entries.into_iter().filter(|entry| entry.position >= directory.first_position()) {
        let read = directory.line_at(&entry.file, entry.offset, LINE_BYTES_MAX);
        let what = match read {
            Ok(line) if check(&line) == entry.check => {
                let names = decode(&line, LINE_BYTES_MAX).is_ok_and(|line| line.run_id.as_deref() == Some(run_id));
                if names {
                    let (position, offset) = (entry.position, entry.offset);
                    lines.told.push(Told { position, stream: entry.stream, file: entry.file, offset, line });
                }
                continue;
            }
            Ok(_) => "the line is not the one that was sealed".to_owned(),
            Err(error) => error.to_string(),
        };
        let what = format!("stream {}, file {}, byte {}: {what}", entry.stream, entry.file, entry.offset);
        lines.gaps.push(Gap { from: entry.position, to: entry.position + 1, what });
    }
    for stretch in damaged.iter().chain([&index.rest]) {
        lines.read_from = lines.read_from.min(stretch.position);
        lines.gaps.extend(each_named(directory, stretch, &mut |position, id, place, line| {
            if id == run_id {
                let (stream, file) = (place.stream.to_string(), place.file.to_string());
                lines.told.push(Told { position, stream, file, offset: place.offset, line: line.to_vec() });
            }
        })?);
    }
    lines.told.sort_by_key(|told| told.position);
    lines.told.dedup_by_key(|told| told.position);
    Ok(lines)
}

/// Hands on every line of the whole history that names a run, in tape order; returns what could not be read.
///
/// # Errors
/// The tape itself cannot be read.
pub fn each_of_all(directory: &Directory, each: &mut EachNamed) -> Result<Vec<Gap>, ReplayError> {
    let all = Stretch { round: directory.first_round(), position: directory.first_position(), end: None };
    each_named(directory, &all, each)
}

fn each_named(directory: &Directory, of: &Stretch, each: &mut EachNamed) -> Result<Vec<Gap>, ReplayError> {
    // Rounds from before history begins are gone.
    let (round, mut position) = (of.round.max(directory.first_round()), of.position.max(directory.first_position()));
    let mut gaps = Vec::new();
    for source in directory.rounds(round)? {
        let source = source?;
        if of.end.is_some_and(|end| source.round.is_none_or(|round| round >= end)) {
            break;
        }
        let end = source.count.map(|count| position + count);
        let read = each_line(&source, LINE_BYTES_MAX, &mut |line, place, raw| {
            let id = line.as_ref().ok().and_then(|line| line.run_id.as_deref());
            if let (Some(id), RawLine::Line(bytes)) = (id, raw) {
                each(position, id, place, bytes);
            }
            position += 1;
            true
        });
        if let Err(error) = read {
            let to = end.unwrap_or(position).max(position);
            gaps.push(Gap { from: position, to, what: error.to_string() });
        }
        position = end.unwrap_or(position).max(position);
    }
    Ok(gaps)
}
