//! Streams as producers, rotation and accidents treat them, followed by a real process.

/// Changed between two steps of one look.
mod between;
/// Links, pipes, folders, inodes that come again.
mod identity;
/// Lines in every state of decay.
mod lines;
/// The process stopped, killed, and its own files damaged.
mod process;
/// Renamed, deleted, packed.
mod rotation;
/// A directory, a server, and what it must have folded.
pub mod stage;
/// The tape read back, however it was written.
mod tape;
/// Emptied and written anew.
mod truncation;
/// How soon a line is seen.
mod waking;
