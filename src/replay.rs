//! Floor 8: restore, read, step, sink: the loop of every reading command. The live loop calls the same
//! [`read_round`] and the same [`Slot::step`](crate::fold::Slot::step).

use std::sync::Arc;

use thiserror::Error;

use crate::{
    fold::{Batch, Emitted, Engine, Intake, Registration},
    policy::InForce,
    tape::{Directory, ReadError, TapeError, Until, read_round},
};

/// Every decision on disk against what the tape gives.
pub mod audit;
/// The same loop with its parts on threads of their own.
mod threads;

/// A replay could not be finished.
#[derive(Debug, Error)]
pub enum ReplayError {
    #[error("cannot replay: {0}; run `runtape verify`")]
    Read(ReadError),
    #[error(transparent)]
    Tape(#[from] TapeError),
}

/// What could not be read is part of the message, and not told a second time as its source.
impl From<ReadError> for ReplayError {
    fn from(error: ReadError) -> ReplayError {
        ReplayError::Read(error)
    }
}

/// Where a replay ended.
pub struct Replayed {
    pub engine: Engine,
    pub intake: Intake,
    /// Decisions made.
    pub decisions: u64,
}

/// Folds a directory from position 0 with fresh consumers, under the policies of its tape or under one that replaces
/// them all; each batch and its decisions go to `sink`. The result is the same on any number of threads.
///
/// # Errors
/// The history cannot be read as it was sealed.
pub fn replay(
    directory: &Directory,
    registry: &[Registration],
    replaced: Option<Arc<InForce>>,
    until: Until,
    threads: usize,
    sink: impl FnMut(&Batch, Vec<Emitted>),
) -> Result<Replayed, ReplayError> {
    let intake = replaced.map_or_else(|| Intake::new(Arc::default()), Intake::fixed);
    replay_through(directory, registry, intake, until, threads, sink)
}

/// The same through an intake that was prepared, to say where lines of certain streams came to stand.
///
/// # Errors
/// As [`replay`].
pub fn replay_through(
    directory: &Directory,
    registry: &[Registration],
    mut intake: Intake,
    until: Until,
    threads: usize,
    mut sink: impl FnMut(&Batch, Vec<Emitted>),
) -> Result<Replayed, ReplayError> {
    let mut engine = Engine::new(registry);
    let mut decisions = 0;
    let mut take = |batch: &Batch, emitted: Vec<Emitted>| {
        decisions += emitted.len() as u64;
        sink(batch, emitted);
    };
    if threads > 1 {
        (engine, intake) = threads::fold(directory, engine, intake, until, threads, &mut take)?;
    } else {
        read(directory, &mut intake, until, &mut |batch| take(&batch, engine.step(&batch)))?;
    }
    Ok(Replayed { engine, intake, decisions })
}

/// Hands on what a directory holds, batch by batch.
fn read(
    directory: &Directory,
    intake: &mut Intake,
    until: Until,
    sink: &mut dyn FnMut(Batch),
) -> Result<(), ReplayError> {
    for source in directory.rounds(0)? {
        if !read_round(&source?, intake, until, sink)? {
            break;
        }
    }
    Ok(())
}
