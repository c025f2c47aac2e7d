//! Floor 6: what runtape itself keeps beside the tape: snapshots, decisions files, rejects, the lock. All of it owned by
//! one process, all of it replaceable from the tape.

/// Replacing a file so that a crash leaves the old one or the new one.
pub mod atomic;
/// Reading decisions files in pages, without a server and beside one.
pub mod decisions;
/// Append-only JSON lines of our own, written exactly once across crashes.
pub mod journal;
/// One process at a time.
pub mod lock;
/// How far everything is durable.
pub mod mark;
/// State and position as one value, two generations of it.
pub mod snapshot;

pub use journal::OwnLines;
pub use lock::{Lock, LockError};
pub use mark::DurableMark;
pub use snapshot::{Snapshot, Snapshots};
