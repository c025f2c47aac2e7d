//! The same loop, step by step and over damage: what cannot be read is told, passed by, and the rest is folded.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    ReplayError, begin, is_there,
    restore::{Restorer, Survey},
};
use crate::{
    event::Nanos,
    fold::{Batch, Emitted, Engine, Intake, Registration, lines::Oddity},
    render::state::{Asked, Head, shown},
    store::Snapshots,
    tape::{Directory, Until, journal::Rounds, read_in_steps},
};

/// Lines that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// Positions that are missing: from, and one past the last. Equal where nobody counted the lines.
    pub from: u64,
    pub to: u64,
    /// What is the matter, with stream, file and offsets.
    pub what: String,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Gap { from, to, what } = self;
        write!(f, "positions {from} to {to} are left out: {what}; run `runtape verify`")
    }
}

/// Is told of so many more lines as they are folded, and says whether somebody still waits for the answer.
pub type Watch<'a> = dyn Fn(u64) -> bool + 'a;

/// A fold of a directory that goes from moment to moment. A round that cannot be read is left out from its damage on: of
/// the lines behind it only the number is known.
pub struct Walk<'a> {
    directory: &'a Directory,
    pub engine: Engine,
    pub intake: Intake,
    /// The round in which it stands, and the position where that begins.
    round: u64,
    first: u64,
    pub gaps: Vec<Gap>,
    watch: &'a Watch<'a>,
}

impl<'a> Walk<'a> {
    /// Stands where history begins.
    ///
    /// # Errors
    /// History was pruned, and what was kept in its place cannot be used.
    pub fn begin(directory: &'a Directory, registry: &[Registration]) -> Result<Walk<'a>, ReplayError> {
        let (engine, intake) = begin(directory, registry)?;
        let (round, first) = (directory.first_round(), intake.position());
        Ok(Walk { directory, engine, intake, round, first, gaps: Vec::new(), watch: &|_| true })
    }

    /// Stands where another walk over the same directory stood, with its engine and its intake.
    pub fn from(
        directory: &'a Directory,
        engine: Engine,
        intake: Intake,
        (round, first): (u64, u64),
        gaps: Vec<Gap>,
    ) -> Walk<'a> {
        Walk { directory, engine, intake, round, first, gaps, watch: &|_| true }
    }

    /// Where it stands.
    pub fn moment(&self) -> Moment<'_> {
        let Walk { engine, intake, round, first, gaps, .. } = self;
        Moment { engine, intake, round: *round, first: *first, gaps }
    }

    /// Stands at the newest snapshots from which a moment can be reached; where history begins when there are none.
    ///
    /// # Errors
    /// The tape cannot be read, or as [`Self::begin`].
    pub fn nearest(
        directory: &'a Directory,
        registry: &'static [Registration],
        until: Until,
    ) -> Result<Walk<'a>, ReplayError> {
        let layout = directory.layout().clone();
        let snapshots = Snapshots::new(layout.files.clone(), layout.snapshots());
        let mut rounds = Rounds::open(&layout.files, &layout.tape())?;
        let restorer = Restorer { layout, registry, policy: Arc::default(), snapshots };
        let survey = Survey::of(&mut rounds, restorer.wanted())?;
        // A snapshot may be newer than what the directory was found to hold.
        let mut at_most = directory.sealed_to;
        match until {
            Until::End => {}
            Until::Position(end) => at_most = at_most.min(end),
            Until::Time(end) => loop {
                let (intake, _) = restorer.intake(at_most, &survey, &mut Vec::new())?;
                // Whether a skewed line lay beyond the moment, it does not know.
                let before = intake.tape_time().is_none_or(|time| time <= end);
                at_most = intake.position();
                if before && intake.lines().oddity(Oddity::Skewed) == 0 || at_most <= directory.first_position() {
                    break;
                }
                at_most -= 1;
            },
        }
        let mut slots = restorer.slots(at_most, &survey, &mut Vec::new())?;
        let oldest = slots.iter().map(|slot| slot.position()).min().unwrap_or(at_most);
        let (intake, seam) = restorer.intake(oldest, &survey, &mut Vec::new())?;
        slots.iter_mut().for_each(|slot| slot.learn(intake.subjects()));
        let (round, first) = (seam.next_round, seam.next_position);
        Ok(Walk { directory, engine: Engine::of(slots), intake, round, first, gaps: Vec::new(), watch: &|_| true })
    }

    /// The same, watched.
    pub fn watched(self, watch: &'a Watch<'a>) -> Walk<'a> {
        Walk { watch, ..self }
    }

    /// What is held of everybody where it stands.
    pub fn state(&self) -> Value {
        let Walk { engine, intake, .. } = self;
        shown(engine, intake, Head::of(intake), &Asked::All(intake.now()))
    }

    /// Goes on to a moment.
    ///
    /// # Errors
    /// The tape itself cannot be read, the moment was pruned, or nobody waits any more.
    pub fn to(&mut self, until: Until, sink: impl FnMut(&Batch, Vec<Emitted>)) -> Result<(), ReplayError> {
        self.go(until, None, &mut Sink(sink))
    }

    /// Goes on to a moment with a companion, who may call a halt. A batch ends before the line with which the tape time
    /// enters another `step`, in nanoseconds.
    ///
    /// # Errors
    /// The tape itself cannot be read, the moment was pruned, or nobody waits any more.
    pub fn with(
        &mut self,
        (until, step): (Until, Option<Nanos>),
        companion: &mut dyn Companion,
    ) -> Result<(), ReplayError> {
        self.go(until, step, companion)
    }

    fn go(&mut self, until: Until, step: Option<Nanos>, companion: &mut dyn Companion) -> Result<(), ReplayError> {
        is_there(self.directory, &self.intake, until)?;
        let Walk { directory, engine, intake, round, first, gaps, watch } = self;
        let mut wanted = true;
        for source in directory.rounds(*round)? {
            let source = source?;
            let mut take = |batch: Batch, intake: &Intake| {
                companion.before(engine, &batch);
                let emitted = engine.step(&batch);
                let moment = Moment { engine, intake, round: *round, first: *first, gaps };
                wanted = watch(batch.next - batch.first);
                companion.after(&moment, &batch, emitted) && wanted
            };
            let read = read_in_steps(&source, *first, intake, (until, step), &mut take);
            let faults = if source.round.is_none() { directory.take_faults() } else { Vec::new() };
            gaps.extend(faults.into_iter().map(|(lines, error)| {
                let at = *first + lines;
                Gap { from: at, to: at, what: error.to_string() }
            }));
            match read {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let from = intake.position();
                    let to = source.count.map_or(from, |count| (*first + count).max(from));
                    gaps.push(Gap { from, to, what: error.to_string() });
                    let passed = intake.pass(to);
                    let emitted = engine.step(&passed);
                    let moment = Moment { engine, intake, round: *round, first: *first, gaps };
                    if !companion.after(&moment, &passed, emitted) {
                        break;
                    }
                }
            }
            // What is past the tape is no round yet: it is gone through again, and passed by as far as it was read.
            if source.round.is_some() {
                (*round, *first) = (*round + 1, intake.position());
            }
        }
        if wanted { Ok(()) } else { Err(ReplayError::Unwanted) }
    }
}

/// Where a walk stands behind a batch: enough to go on from there with [`Walk::from`].
#[derive(Clone, Copy)]
pub struct Moment<'a> {
    pub engine: &'a Engine,
    pub intake: &'a Intake,
    /// The round in which it stands, and the position where that begins.
    pub round: u64,
    pub first: u64,
    pub gaps: &'a [Gap],
}

/// Whoever goes along with a walk.
pub trait Companion {
    /// Looks at the consumers before they fold a batch.
    fn before(&mut self, engine: &mut Engine, batch: &Batch);

    /// Takes in what they said of it; false to stop here.
    fn after(&mut self, moment: &Moment, batch: &Batch, emitted: Vec<Emitted>) -> bool;
}

struct Sink<F>(F);

impl<F: FnMut(&Batch, Vec<Emitted>)> Companion for Sink<F> {
    fn before(&mut self, _: &mut Engine, _: &Batch) {}

    fn after(&mut self, _: &Moment, batch: &Batch, emitted: Vec<Emitted>) -> bool {
        (self.0)(batch, emitted);
        true
    }
}
