use std::{io, path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    name::Compression,
    read,
    scan::{FileId, Inode},
    source,
};
use crate::files::Files;

/// A file as the tape first saw it. Its id names it in every extent, whatever the file is called later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationRecord {
    pub file: Arc<str>,
    pub stream: Arc<str>,
    /// File name when first seen; for people.
    pub name: String,
    #[serde(flatten)]
    pub id: FileId,
    #[serde(default)]
    pub compression: Compression,
}

/// A known file and how far it was sealed.
#[derive(Clone, Debug)]
pub struct Generation {
    pub record: GenerationRecord,
    /// The file of which its first lines were sealed; its record says which one goes on in its place.
    pub origin: FileId,
    /// Where its bytes are read: our hard link, else where it was last seen.
    pub path: PathBuf,
    /// Everything before is on the tape. Always the start of a line.
    pub sealed: u64,
    /// The unterminated line after `sealed`, as far as it was searched.
    pub partial: Partial,
    /// Size when last looked at.
    pub len: u64,
    /// Modification time when last looked at, Unix nanoseconds.
    pub modified: i64,
    /// To be read at the next look, whatever its size says.
    pub dirty: bool,
    /// Looks in a row that could not read it.
    pub failed: u32,
    /// The last bytes before `sealed`, to notice content replaced in place.
    pub marker: Vec<u8>,
    /// Known to hold other bytes than were sealed of it.
    pub replaced: bool,
    pub state: State,
    /// Whether the tape knows it: its record goes out with its first extent.
    pub on_tape: bool,
}

/// Where the bytes of a file lie, by its id.
#[derive(Clone, Debug)]
pub struct Place {
    pub file: Arc<str>,
    pub path: PathBuf,
    /// What must lie there; none where a copy stands in for the file.
    pub inode: Option<Inode>,
}

/// How far an unterminated line was searched for its end, so that a long one is not searched again from its start.
#[derive(Clone, Debug, Default)]
pub struct Partial {
    pub searched_to: u64,
    /// The last bytes before: should they change, the line was replaced.
    pub marker: Vec<u8>,
}

/// What is to be expected of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// May grow.
    Open,
    /// Truncated or replaced in place: nothing more comes of it.
    Ended,
    /// Pruned, and nothing is left of it. Copies of it are known all the same.
    Dropped,
    /// Holds what another generation (by index) holds already, up to `sealed`. Becomes open, from there on, when that
    /// one is truncated.
    Shadow { of: usize },
}

/// Bytes kept to recognise a sealed prefix: several lines, because one is often the same as the next but for a few bytes.
pub const MARKER_BYTES: usize = 1024;

impl Generation {
    /// Where its bytes lie.
    pub fn place(&self) -> Place {
        let inode = (self.state == State::Open).then(|| self.inode());
        Place { file: self.record.file.clone(), path: self.path.clone(), inode }
    }

    /// A file of which everything before `sealed` is known.
    pub fn new(files: &Files, record: GenerationRecord, path: PathBuf, sealed: u64, state: State) -> Generation {
        let mut generation = Generation {
            origin: record.id,
            record,
            path,
            sealed,
            partial: Partial::default(),
            len: sealed,
            modified: 0,
            dirty: true,
            failed: 0,
            marker: Vec::new(),
            replaced: false,
            state,
            on_tape: false,
        };
        generation.remember(files);
        generation
    }

    /// Reads the marker from the file; without one, content replaced in place is noticed by its size only.
    fn remember(&mut self, files: &Files) {
        self.marker = read::marker(files, self).unwrap_or_default();
    }

    /// Moves the sealed end. `bytes`: what lies between the old end and the new one, when it is at hand.
    pub fn advance(&mut self, files: &Files, to: u64, bytes: Option<&[u8]>) {
        self.sealed = to;
        let Some(bytes) = bytes else { return self.remember(files) };
        let tail = &bytes[bytes.len().saturating_sub(MARKER_BYTES)..];
        let kept = self.marker.len().min(MARKER_BYTES - tail.len());
        self.marker.drain(..self.marker.len() - kept);
        self.marker.extend_from_slice(tail);
    }

    pub fn inode(&self) -> Inode {
        self.record.id.inode()
    }

    pub fn is_packed(&self) -> bool {
        self.record.compression != Compression::None
    }

    /// Whether everything that was sealed is still there to be read.
    pub fn is_intact(&self, files: &Files) -> bool {
        let there = source::identify(files, &self.path)
            .is_ok_and(|(id, len)| id.inode() == self.inode() && (self.is_packed() || len >= self.sealed));
        there && self.state == State::Open && !self.replaced
    }

    /// Whether the bytes before the sealed end are still those that were sealed, as far as the last of them tell.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn still_continues(&self, files: &Files) -> io::Result<bool> {
        read::holds_marker(files, self)
    }

    pub fn stream(&self) -> &Arc<str> {
        &self.record.stream
    }

    pub fn file(&self) -> &Arc<str> {
        &self.record.file
    }

    /// Bytes written but not yet sealed: an unterminated line.
    pub fn partial_bytes(&self) -> u64 {
        if self.state == State::Open && !self.is_packed() { self.len.saturating_sub(self.sealed) } else { 0 }
    }
}

/// The id of the nth generation of a tape.
pub fn file_id(n: usize) -> Arc<str> {
    Arc::from(format!("f{n}"))
}

/// The number in an id of [`file_id`].
pub fn file_number(file: &str) -> Option<usize> {
    file.strip_prefix('f')?.parse().ok()
}
