use std::{io, sync::Arc};

use super::{copies::SealedExtent, scan::Problem};

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The whole directory, and every file that left it.
    All,
    /// These file names; a hint, so that an idle file costs nothing.
    Names(Vec<String>),
}

/// Whole lines of a generation that are not sealed yet.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Index of the generation.
    pub generation: usize,
    pub from: u64,
    pub to: u64,
    /// The bytes, unless there are too many.
    pub bytes: Option<Arc<[u8]>>,
}

/// Content below what was sealed is gone or different: reported, never passed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reset {
    pub stream: Arc<str>,
    pub file: Arc<str>,
    /// How much of the file was sealed.
    pub sealed: u64,
    pub reason: ResetReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ResetReason {
    /// The file is shorter than what was sealed of it.
    Truncated,
    /// The bytes before the sealed end are others now.
    Rewritten,
    /// Another file took its name before it was linked, or its inode.
    Identity,
}

impl ResetReason {
    pub const ALL: [ResetReason; 3] = [ResetReason::Truncated, ResetReason::Rewritten, ResetReason::Identity];

    pub fn name(self) -> &'static str {
        match self {
            ResetReason::Truncated => "truncated",
            ResetReason::Rewritten => "rewritten",
            ResetReason::Identity => "identity",
        }
    }
}

/// What a look at the directory found.
#[derive(Debug, Default)]
pub struct Poll {
    /// By stream name, then oldest file first: the order of extents in a round.
    pub pending: Vec<Pending>,
    pub resets: Vec<Reset>,
    pub problems: Vec<Problem>,
    /// How many generations there were before the look.
    pub(super) met: usize,
}

impl Poll {
    /// Where the unread lines of a generation begin after this poll.
    pub fn end_of(&self, generation: usize, sealed: u64) -> u64 {
        let ends = self.pending.iter().filter(|range| range.generation == generation).map(|range| range.to);
        ends.fold(sealed, u64::max)
    }

    /// Bytes held in memory so far.
    pub fn in_memory(&self) -> u64 {
        self.pending.iter().filter_map(|range| range.bytes.as_ref()).map(|bytes| bytes.len() as u64).sum()
    }
}

/// Sealed extents of a generation by its id: read from the tape when a copy must be recognised.
pub type ExtentsOf<'a> = dyn Fn(&str) -> io::Result<Vec<SealedExtent>> + 'a;
