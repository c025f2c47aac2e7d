//! Floor 5: the files that producers append to. Discover them, recognise each again whatever its name, follow it by whole
//! lines, never write to it.

/// Copies of what is known already: copytruncate, compression, a restored backup.
pub mod copies;
/// What is new in the directory since the last look.
pub mod follow;
/// Files known so far, and what was sealed of each.
pub mod generation;
/// Whole lines of a byte range, in bounded memory.
pub mod lines;
/// Which files of a directory are streams, by name.
pub mod name;
/// What lies in the directory now.
pub mod scan;
/// Bytes of a file, plain or compressed, from an offset on.
pub mod source;
/// Wake-ups from the kernel; hints only.
pub mod watch;

pub use follow::{Follower, Pending, Poll, Reset, ResetReason, Scope};
pub use generation::Generation;
pub use lines::{LineReader, RawLine};
pub use name::Compression;
pub use scan::{FileId, Problem};
