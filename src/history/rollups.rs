//! The table of runs of a tape that grows, brought up to it from time to time: the same files as a backfill of the same
//! lines would write. Only days of which runs got lines are written again, beside what stands there, and get their
//! names together once all are whole.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use thiserror::Error;

use super::{
    HistoryError,
    backfill::RUNS,
    checkpoint::{self, Loaded, Mark, Task, Unusable},
    filling::close,
    schema,
    table::{Table, day},
};
use crate::{
    clock::Stopwatch,
    consumers::REGISTRY,
    files::Files,
    fold::{Batch, Emitted, Engine, Intake},
    forensics::Recorder,
    layout::Layout,
    replay::{Companion, Gap, Moment, ReplayError, Walk, Watch},
    store::{Lock, LockError},
    tape::{Directory, OpenError, Until},
};

/// What is ours below the directory of the tables.
const OWN: &str = ".rollups";

/// Lines that are folded before it is asked whether the tables are due.
const LINES_AT_ONCE: u64 = 1 << 20;

/// A long history is written down this often while it is read, so that a restart does not begin again.
const BETWEEN: Duration = Duration::from_secs(60);

/// How much longer it is between two checkpoints than what one takes, at least.
const BETWEEN_BY_COST: u32 = 20;

/// The tables could not be brought up to the tape. What stood there stands as it was.
#[derive(Debug, Error)]
pub enum RollupError {
    #[error("cannot write {}: {source}; make room there, or let runtape write there: it is tried again", path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error("another runtape (pid {pid}) writes the tables in {}: give each server a --rollups of its own", out.display())]
    Held { out: PathBuf, pid: String },
    #[error("{} cannot be gone on with: {what}; choose another --rollups, or remove it", out.display())]
    Other { out: PathBuf, what: String },
    #[error("cannot read the history: {0}")]
    Open(#[from] OpenError),
    #[error(transparent)]
    History(HistoryError),
}

impl From<HistoryError> for RollupError {
    fn from(error: HistoryError) -> RollupError {
        match error {
            HistoryError::Write { path, source } => RollupError::Write { path, source },
            HistoryError::Other { out, what } => RollupError::Other { out, what },
            other => RollupError::History(other),
        }
    }
}

impl From<ReplayError> for RollupError {
    fn from(error: ReplayError) -> RollupError {
        RollupError::History(error.into())
    }
}

/// How far the tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rolled {
    /// They hold every line before it.
    pub position: u64,
    /// Lines that could not be read.
    pub gaps: Vec<Gap>,
}

/// Tables of one tape, by the only one who writes them.
pub struct Rollups {
    layout: Layout,
    files: Files,
    out: PathBuf,
    lock: Option<Lock>,
    /// None before the first turn, and after one that failed: then the last checkpoint is gone on with.
    state: Option<State>,
}

struct State {
    directory: Directory,
    engine: Engine,
    intake: Intake,
    /// The round in which it stands, and the position where that begins.
    at: (u64, u64),
    gaps: Vec<Gap>,
    recorder: Recorder,
    /// Rows of runs that get no more lines.
    closed: Table,
    /// Parts of it that have their names.
    named: usize,
    /// Whether every part is written, changed or not.
    all: bool,
    /// What the checkpoint was of, when it was written, and how long that took.
    kept: (u64, Stopwatch, Duration),
}

impl Rollups {
    /// Tables below `out`, on a disk that need not be the one of the events directory. Nothing is touched before the first
    /// turn.
    pub fn new(layout: Layout, files: Files, out: PathBuf) -> Rollups {
        Rollups { layout, files, out, lock: None, state: None }
    }

    /// Brings the tables up to the rounds that end before `until`. `watch` says whether to go on.
    ///
    /// # Errors
    /// The tape cannot be read, or the tables cannot be written: readers still see the last ones.
    pub fn turn(&mut self, until: u64, watch: &Watch) -> Result<Rolled, RollupError> {
        let state = match self.state.take() {
            Some(state) => state,
            None => self.restore()?,
        };
        match self.advance(state, until, watch) {
            Ok(state) => {
                let rolled = Rolled { position: state.intake.position(), gaps: state.gaps.clone() };
                self.state = Some(state);
                Ok(rolled)
            }
            Err(error) => {
                // What was begun would keep a full disk full.
                let _ = self.table().remove_begun();
                Err(error)
            }
        }
    }

    fn table(&self) -> Table {
        Table::new(self.files.clone(), self.out.join(RUNS), schema::runs()).waiting()
    }

    fn checkpoint(&self) -> PathBuf {
        self.out.join(OWN).join("checkpoint")
    }

    /// From the last checkpoint, or where history begins.
    fn restore(&mut self) -> Result<State, RollupError> {
        if self.lock.is_none() {
            self.lock = Some(self.locked()?);
        }
        let (files, path) = (&self.files, self.checkpoint());
        match checkpoint::read(files, &path, &task()) {
            Ok(Some(loaded)) => self.resume(loaded),
            Ok(None) if files.about(&self.out.join(RUNS)).is_ok() => {
                Err(self.other("it has tables that no server wrote".to_owned()))
            }
            Ok(None) => self.begin(),
            // All of it follows from the tape, as long as that is whole.
            Err(Unusable::Foreign | Unusable::Damaged) => self.begin(),
            Err(unusable) => Err(unusable.error(&path, &self.out).into()),
        }
    }

    fn locked(&self) -> Result<Lock, RollupError> {
        Lock::take(&self.files, &self.out.join(OWN).join("lock")).map_err(|error| match error {
            LockError::Held { pid, .. } => RollupError::Held { out: self.out.clone(), pid },
            LockError::Io { path, source } => RollupError::Write { path, source },
        })
    }

    fn other(&self, what: String) -> RollupError {
        RollupError::Other { out: self.out.clone(), what }
    }

    fn begin(&self) -> Result<State, RollupError> {
        let directory = Directory::sealed(self.layout.clone(), 0)?;
        if directory.horizon.is_some() && self.files.about(&self.out.join(RUNS)).is_ok() {
            let what =
                "its checkpoint is damaged or of another runtape, and what its tables hold was pruned from the tape";
            return Err(self.other(what.to_owned()));
        }
        let walk = Walk::begin(&directory, REGISTRY)?;
        let recorder = Recorder::of_every_record(&walk.engine, &walk.intake);
        let at = (walk.moment().round, walk.moment().first);
        let Walk { engine, intake, gaps, .. } = walk;
        let kept = (intake.position(), Stopwatch::start(), Duration::ZERO);
        let closed = self.table();
        let mut state = State { directory, engine, intake, at, gaps, recorder, closed, named: 0, all: true, kept };
        // What is written before the first checkpoint is known as ours by this one.
        self.keep(&mut state)?;
        Ok(state)
    }

    fn resume(&self, loaded: Loaded) -> Result<State, RollupError> {
        let Loaded { mark, engine, intake, recorder } = loaded;
        let directory = Directory::sealed(self.layout.clone(), mark.round)?;
        if (directory.rounds, directory.sealed_to, &directory.head) != (mark.round, mark.first, &mark.prev) {
            return Err(self.other(format!(
                "its tables end at position {} of a tape that is another one, or was pruned beyond that",
                mark.position
            )));
        }
        let closed = self.table().at(mark.runs);
        let named = closed.finished.len();
        let at = (mark.round, mark.first);
        let kept = (intake.position(), Stopwatch::start(), Duration::ZERO);
        Ok(State { directory, engine, intake, at, gaps: mark.gaps, recorder, closed, named, all: true, kept })
    }

    fn advance(&self, mut state: State, until: u64, watch: &Watch) -> Result<State, RollupError> {
        let mut since = Stopwatch::start();
        loop {
            let grew = state.directory.grow(until, LINES_AT_ONCE)?;
            if grew {
                state = state.folded(watch)?;
            }
            if !grew || since.elapsed() > BETWEEN {
                self.write(&mut state)?;
                since = Stopwatch::start();
            }
            if !grew {
                return Ok(state);
            }
        }
    }

    /// Writes every part that changed.
    fn write(&self, state: &mut State) -> Result<(), RollupError> {
        state.closed.finish()?;
        // Behind parts of runs that are closed the others are counted anew.
        let all = state.all || state.closed.finished.len() > state.named;
        let changed = state.recorder.take_changed();
        if !all && changed.is_empty() {
            return self.keep_when_due(state);
        }
        let only = (!all).then_some(changed);
        let mut open = state.closed.behind(only.clone());
        let runs = state.recorder.runs();
        for run in &runs.all {
            // Of a day that is not written only the number of its rows matters.
            match &only {
                Some(only) if !only.contains(&day(run.time)) => open.push(run.time, &[])?,
                _ => schema::row(runs, run, |fields| open.push(run.time, fields))?,
            }
        }
        open.finish()?;
        state.closed.name()?;
        open.name()?;
        if all {
            let root = self.out.join(RUNS);
            let parts = state.closed.finished.iter().chain(&open.finished);
            let parts: HashSet<PathBuf> = parts.map(|part| root.join(part)).collect();
            open.remove(|path: &Path| !parts.contains(path))?;
        }
        (state.named, state.all) = (state.closed.finished.len(), false);
        self.keep_when_due(state)
    }

    /// The first tables are known by a checkpoint at once, later ones when it is worth it.
    fn keep_when_due(&self, state: &mut State) -> Result<(), RollupError> {
        let (at, since, took) = &state.kept;
        let first = *at == state.directory.first_position();
        let due = *at != state.intake.position() && (first || since.elapsed() >= *took * BETWEEN_BY_COST);
        if due { self.keep(state) } else { Ok(()) }
    }

    /// Keeps how far everything is.
    fn keep(&self, state: &mut State) -> Result<(), RollupError> {
        let (since, table) = (Stopwatch::start(), state.closed.mark()?);
        let State { engine, intake, at: (round, first), gaps, .. } = &*state;
        let moment = Moment { engine, intake, round: *round, first: *first, gaps };
        let mut mark = Mark::new(&task(), &moment, table);
        mark.prev.clone_from(&state.directory.head);
        checkpoint::write(&self.files, &self.checkpoint(), &mark, &moment, &state.recorder)?;
        state.kept = (mark.position, Stopwatch::start(), since.elapsed());
        Ok(())
    }
}

/// What a checkpoint is of. Which tape, the digest of its last round says.
fn task() -> Task {
    Task { history: "rollups".to_owned(), policy: None, open_runs: None, step: None, labels: Vec::new() }
}

impl State {
    /// The same behind all that its directory has.
    fn folded(self, watch: &Watch) -> Result<State, RollupError> {
        let State { directory, engine, intake, at, gaps, mut recorder, mut closed, named, all, kept } = self;
        let mut walk = Walk::from(&directory, engine, intake, at, gaps).watched(watch);
        let mut closing = Closing { recorder: &mut recorder, closed: &mut closed, failed: None };
        walk.with((Until::End, None), &mut closing)?;
        if let Some(error) = closing.failed {
            return Err(error.into());
        }
        let at = (walk.moment().round, walk.moment().first);
        let Walk { engine, intake, gaps, .. } = walk;
        Ok(State { directory, engine, intake, at, gaps, recorder, closed, named, all, kept })
    }
}

/// Records runs, and lets go of the oldest beyond as many as the policy joins.
struct Closing<'a> {
    recorder: &'a mut Recorder,
    closed: &'a mut Table,
    failed: Option<HistoryError>,
}

impl Companion for Closing<'_> {
    fn before(&mut self, _: &mut Engine, _: &Batch) {}

    fn after(&mut self, _: &Moment, batch: &Batch, emitted: Vec<Emitted>) -> bool {
        self.recorder.step(batch, &emitted);
        let joined = batch.policy_at(batch.next).policy.limits.join_runs;
        self.failed = close(self.recorder, joined.max(1), self.closed).err();
        self.failed.is_none()
    }
}
