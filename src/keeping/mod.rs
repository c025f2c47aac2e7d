//! Floor 9: keeping and moving history: copied away, brought back, cut short, packed. All of it beside a server or instead
//! of one, never inside.

/// Rotated files packed in place.
pub mod archive;
/// A consistent copy elsewhere, beside a server or without one.
pub mod backup;
/// Bytes copied with their digests held against the tape.
mod copy;
/// Which files hold the sealed history, and under which names.
mod holdings;
/// What a backup says of itself.
pub mod manifest;
/// History dropped before a round, its state kept.
pub mod prune;
/// A backup made an events directory again.
pub mod restore;
/// What consumers appended to streams of their own.
mod said;

use std::{io, path::PathBuf};

use thiserror::Error;

use crate::{
    replay::ReplayError,
    store::LockError,
    tape::{OpenError, TapeError},
};

/// History could not be kept or moved.
#[derive(Debug, Error)]
pub enum KeepError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Replay(#[from] ReplayError),
    /// What was asked for cannot be done, and what can.
    #[error("{0}")]
    Refused(String),
    #[error("{}: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("cannot {verb} {}: {source}", path.display())]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
}

/// An error of the file system, with what was tried on what.
fn failed(verb: &'static str, path: &std::path::Path) -> impl FnOnce(io::Error) -> KeepError {
    let path = path.to_owned();
    move |source| KeepError::Io { verb, path, source }
}
