use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{name::Compression, scan::FileId};

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
    /// Where its bytes are read: our hard link, else where it was last seen.
    pub path: PathBuf,
    /// Everything before is on the tape. Always the start of a line.
    pub sealed: u64,
    /// No newline between `sealed` and here.
    pub scanned: u64,
    /// Size when last looked at.
    pub len: u64,
    /// Modification time when last looked at, Unix nanoseconds.
    pub modified: i64,
    /// The last bytes before `sealed`, to notice content replaced in place.
    pub marker: Vec<u8>,
    pub state: State,
    /// Whether the tape knows it: its record goes out with its first extent.
    pub on_tape: bool,
}

/// What is to be expected of a generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// May grow.
    Open,
    /// Truncated or replaced in place: nothing more comes of it.
    Ended,
    /// Holds what another generation (by index) holds already, up to `sealed`. Becomes open, from there on, when that
    /// one is truncated.
    Shadow { of: usize },
}

/// Bytes kept to recognise a sealed prefix.
pub const MARKER_BYTES: u64 = 64;

impl Generation {
    pub fn stream(&self) -> &Arc<str> {
        &self.record.stream
    }

    pub fn file(&self) -> &Arc<str> {
        &self.record.file
    }

    /// Bytes written but not yet sealed: an unterminated line.
    pub fn partial_bytes(&self) -> u64 {
        if self.state == State::Open && self.record.compression == Compression::None {
            self.len.saturating_sub(self.sealed)
        } else {
            0
        }
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
