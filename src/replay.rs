//! Floor 8: restore, read, step, sink: the loop of every reading command. The live loop calls the same
//! [`read_round`] and the same [`Slot::step`](crate::fold::Slot::step).

use std::sync::Arc;

use thiserror::Error;

use crate::{
    fold::{Batch, Emitted, Engine, Intake, Registration},
    policy::InForce,
    tape::{Directory, HorizonError, ReadError, RoundSource, TapeError, Until, read_round},
};

/// Every decision on disk against what the tape gives.
pub mod audit;
/// The policy in force, without a fold.
mod in_force;
/// Where the lines of a run are, without reading the history.
pub mod index;
/// Every line that names a run.
pub mod lookup;
/// Intake and consumers from their snapshots.
pub mod restore;
/// The same loop with its parts on threads of their own.
mod threads;
/// Many policies on one history.
mod trials;
/// The same loop from moment to moment, over what cannot be read.
mod walk;

pub use in_force::in_force;
pub use trials::{Trials, trials};
pub use walk::{Companion, Gap, Moment, Walk, Watch};

/// A replay could not be finished.
#[derive(Debug, Error)]
pub enum ReplayError {
    #[error("cannot replay: {0}; run `runtape verify`")]
    Read(ReadError),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Horizon(#[from] HorizonError),
    #[error("pruned: history begins at position {position} ({at}); a backup from before still holds what you ask for")]
    Pruned { position: u64, at: String },
    #[error("nobody waits for the answer")]
    Unwanted,
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

/// Folds a directory from where its history begins, under the policies of its tape or under one that replaces
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
    let prepare = |intake: &mut Intake| {
        if let Some(policy) = replaced {
            intake.fix(policy);
        }
    };
    replay_through(directory, registry, prepare, until, threads, sink)
}

/// Intake and consumers where history begins: with nothing, or with what was kept when it was pruned.
///
/// # Errors
/// What was kept cannot be used.
pub fn begin(directory: &Directory, registry: &[Registration]) -> Result<(Engine, Intake), HorizonError> {
    let Some(horizon) = &directory.horizon else { return Ok((Engine::new(registry), Intake::new(Arc::default()))) };
    let layout = directory.layout();
    let intake = horizon.intake(layout, Arc::default())?;
    let slots = registry.iter().map(|registration| {
        let mut slot = horizon.slot(layout, registration)?;
        slot.learn(intake.subjects());
        Ok(slot)
    });
    Ok((Engine::of(slots.collect::<Result<_, HorizonError>>()?), intake))
}

/// The same through an intake that is prepared, to say where lines of certain streams came to stand.
///
/// # Errors
/// As [`replay`].
pub fn replay_through(
    directory: &Directory,
    registry: &[Registration],
    prepare: impl FnOnce(&mut Intake),
    until: Until,
    threads: usize,
    mut sink: impl FnMut(&Batch, Vec<Emitted>),
) -> Result<Replayed, ReplayError> {
    let (mut engine, mut intake) = begin(directory, registry)?;
    is_there(directory, &intake, until)?;
    prepare(&mut intake);
    let mut decisions = directory.horizon.as_ref().map_or(0, |horizon| horizon.decisions);
    let mut take = |batch: &Batch, emitted: Vec<Emitted>| {
        decisions += emitted.len() as u64;
        sink(batch, emitted);
    };
    if threads > 1 {
        (engine, intake) = threads::fold(directory, engine, intake, until, threads, &mut take)?;
    } else {
        read(directory, &mut |source| {
            read_round(source, &mut intake, until, &mut |batch| take(&batch, engine.step(&batch)))
        })?;
    }
    Ok(Replayed { engine, intake, decisions })
}

/// Reads what a directory holds, round by round, until `round` says that it is enough.
fn read(
    directory: &Directory,
    round: &mut dyn FnMut(&RoundSource) -> Result<bool, ReadError>,
) -> Result<(), ReplayError> {
    for source in directory.rounds(0)? {
        if !round(&source?)? {
            break;
        }
    }
    Ok(())
}

/// Makes sure that the history up to a moment was not pruned.
fn is_there(directory: &Directory, intake: &Intake, until: Until) -> Result<(), ReplayError> {
    let Some(horizon) = &directory.horizon else { return Ok(()) };
    let before = match until {
        Until::End => false,
        Until::Position(end) => end < horizon.position,
        Until::Time(end) => intake.tape_time().is_some_and(|begin| end < begin),
    };
    if before {
        return Err(ReplayError::Pruned { position: horizon.position, at: horizon.time(intake) });
    }
    Ok(())
}
