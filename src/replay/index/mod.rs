//! Where the lines of a run are, without reading the history: sorted entries beside the tape, one file per stretch of
//! rounds.
//!
//! An index is never believed, only followed. A file counts when it ends on a round that the tape has, and when its
//! header, its list of blocks and each block that is read have their checksums; the line that an entry points at must be
//! the one that was indexed. What is not covered by such files is read.

/// A history to its files.
mod build;
/// One file.
mod segment;

use std::path::PathBuf;

pub use build::{Built, build};
use segment::Segment;

use super::restore::Survey;
use crate::{
    event::Key,
    layout::Layout,
    tape::{Directory, TapeError, journal::Rounds},
};

/// The line that an entry points at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub position: u64,
    pub stream: String,
    pub file: String,
    pub offset: u64,
    /// Of the line's bytes.
    pub check: u32,
}

/// A stretch of rounds, and who knows the lines in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Its first round and position.
    pub round: u64,
    pub position: u64,
    /// One past its last round; absent for the end of the history.
    pub end: Option<u64>,
}

/// The files that cover the history from its beginning, without a hole.
pub struct Index {
    segments: Vec<Segment>,
    /// What lies past them.
    pub rest: Stretch,
}

impl Index {
    /// Looks at the index of a directory; files that do not fit its tape count as absent.
    ///
    /// # Errors
    /// The tape cannot be read.
    pub fn open(directory: &Directory) -> Result<Index, TapeError> {
        let layout = directory.layout();
        let mut found: Vec<Segment> =
            paths(layout).into_iter().filter_map(|path| Segment::open(&layout.files, path).ok()).collect();
        found.sort_by_key(|segment| (segment.header.rounds.0, segment.header.rounds.1));
        let mut rest = Stretch { round: directory.first_round(), position: directory.first_position(), end: None };
        let mut segments = Vec::new();
        if !found.is_empty() {
            let mut rounds = Rounds::open(&layout.files, &layout.tape())?;
            let ends = found.iter().filter_map(|segment| segment.header.rounds.1.checked_sub(1));
            let survey = Survey::of(&mut rounds, ends.collect::<Vec<u64>>())?;
            for segment in found {
                let header = &segment.header;
                let (from, to) = header.rounds;
                let stands = to > rest.round
                    && from <= rest.round
                    && to <= directory.rounds
                    && survey.end_of(to - 1, &header.tape, header.to).is_some();
                if stands {
                    (rest.round, rest.position) = (to, header.to);
                    segments.push(segment);
                }
            }
        }
        Ok(Index { segments, rest })
    }

    /// The lines of a run as far as the index knows them, and the stretches whose files turned out to be damaged.
    pub fn find(&self, run_id: &str) -> (Vec<Entry>, Vec<Stretch>) {
        let (mut entries, mut damaged) = (Vec::new(), Vec::new());
        for segment in &self.segments {
            match segment.find(hash(run_id)) {
                Ok(found) => entries.extend(found),
                Err(_) => damaged.push(segment.stretch()),
            }
        }
        (entries, damaged)
    }

    /// Lines that are covered, and files.
    pub fn size(&self) -> (u64, usize) {
        (self.segments.iter().map(|segment| segment.header.entries).sum(), self.segments.len())
    }
}

/// The files of an index, by name.
fn paths(layout: &Layout) -> Vec<PathBuf> {
    let mut paths = layout.files.list(&layout.index()).unwrap_or_default();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "idx"));
    paths.sort();
    paths
}

/// What entries are sorted by. Two runs may share it: the line decides.
fn hash(run_id: &str) -> u64 {
    let Key(key) = Key::of(run_id);
    (key >> 64) as u64 ^ key as u64
}

/// The checksum of a line.
pub fn check(line: &[u8]) -> u32 {
    let digest = blake3::hash(line);
    digest.as_bytes().iter().take(4).fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}
