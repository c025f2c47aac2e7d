//! Floor 6: the files that producers append to. Discover them, recognise each again whatever its name, follow it by whole
//! lines. Whoever reads never writes; whoever appends adds whole lines at the end.

/// History that only a copy still holds: read from there, and kept.
mod adopt;
/// Whole lines to the end of a stream.
pub mod append;
/// Copies of what is known already: copytruncate, compression, a restored backup.
pub mod copies;
/// What is new in the directory since the last look.
pub mod follow;
/// Files known so far, and what was sealed of each.
pub mod generation;
/// Files that are not followed now: copies in the making, packings that are not finished.
mod held;
/// Whole lines of a byte range, in bounded memory.
pub mod lines;
/// Our hard links to every file.
pub mod links;
/// Files whose inode is not known: new ones, copies of what is known, and known ones that were emptied.
mod meet;
/// Which files of a directory are streams, by name.
pub mod name;
/// What a look asks, and what it finds.
pub mod poll;
/// What is new of one file, and whether it still continues what was sealed.
mod read;
/// What lies in the directory now.
pub mod scan;
/// Packed files that can be read from the middle.
pub mod seekable;
/// Bytes of a file, plain or compressed, from an offset on.
pub mod source;
/// Wake-ups from the kernel; hints only.
pub mod watch;

pub use append::Appender;
pub use follow::Follower;
pub use generation::{Generation, Place};
pub use lines::{LineReader, RawLine};
pub use name::Compression;
pub use poll::{Pending, Poll, Reset, ResetReason, Scope};
pub use scan::{FileId, Problem};
