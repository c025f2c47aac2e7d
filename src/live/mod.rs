//! Floor 9: the live fold, on threads and without an event loop. One thread follows the streams, appends to ours and
//! seals rounds, one per consumer folds them, one makes things durable, one writes what may be permitted. They share
//! nothing but queues, a status and what is remembered.
//!
//! ```text
//! tailer ── Arc<Sealed batch> ──► worker (runs) ──┐ decisions
//!   │                            worker (...)  ──┤ snapshots
//!   └── sealed rounds, rejects ──────────────────┴──► keeper: sync, then write
//! ```

/// Lines that this program appends, and where they come to stand.
mod append;
/// How often things happen.
mod cadence;
/// What the files say that trading code reads.
mod control_files;
/// The files for processes without a network: who may trade, who is quarantined.
mod controls;
/// What a consumer heard of another.
mod hearing;
/// Syncs streams and tape, then writes what stands on them.
mod keeper;
/// Handing batches to workers, and what happens to one that has no room for them.
mod links;
/// What a consumer shows.
mod look;
/// The newest decisions of a consumer.
mod memory;
/// Ids by name.
mod names;
/// The directories and files of ours that stand on the tape: decisions, rejects, streams of consumers.
mod own;
/// What may be shown of verdicts before they are durable.
mod permits;
/// The sealed history, for a worker that reads it by itself.
mod reader;
/// A consumer that failed, from its last snapshot.
mod restore;
/// The state as JSON: of all subjects, or of one.
mod rows;
/// Everything that happens before the threads run.
mod start;
/// What is known of a running fold from outside: positions, health, problems.
pub mod status;
/// The same fold without threads, one step at a time: for a simulation.
mod steps;
/// Follows the streams, seals rounds, hands batches on.
mod tailer;
/// Where the decisions of a consumer go.
mod telling;
/// One consumer: folds, looks, snapshots; restarted when it fails.
mod worker;

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{self, Sender},
    },
    thread::JoinHandle,
    time::Duration,
};

use thiserror::Error;

pub use append::{AppendError, AppendResult, Appended, OwnStream};
pub use cadence::Cadence;
pub use look::{Look, SHOWN_MAX};
pub use rows::{Now, Of};
pub use start::{Started, told};
pub use status::{ConsumerStatus, IntakeLook, Status};
pub use steps::Steps;

use crate::{
    clock::{Clock, Stopwatch},
    decision::DecisionLine,
    fold::{Batch, Registration},
    layout::Layout,
    store::{Lock, LockError},
    streams::watch::Waker,
    tape::{HorizonError, OpenError, ReadError, TapeError},
    view::Load,
};

/// The live fold cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Lock(#[from] LockError),
    #[error(transparent)]
    Tape(#[from] TapeError),
    #[error(transparent)]
    Horizon(#[from] HorizonError),
    #[error("the sealed history is damaged: {0}; run `runtape verify`")]
    Damaged(#[from] ReadError),
    #[error("{0}")]
    Cut(String),
    #[error("cannot use {what}: {source}")]
    Io { what: String, source: std::io::Error },
}

/// What to run and how.
#[derive(Clone)]
pub struct Config {
    pub layout: Layout,
    pub registry: &'static [Registration],
    pub clock: Clock,
    pub cadence: Cadence,
    /// Where `quarantine.json` is written; below `.runtape` when absent.
    pub quarantine_file: Option<PathBuf>,
}

/// A batch with the round it belongs to, as workers receive it.
#[derive(Debug)]
pub struct SealedBatch {
    pub batch: Batch,
    pub round: u64,
    pub digest: Arc<str>,
}

/// A running fold.
pub struct Live {
    status: Arc<Status>,
    tailer: Sender<tailer::Request>,
    waker: Waker,
    workers: Vec<look::Handle>,
    threads: Vec<JoinHandle<()>>,
    keeper: Option<(Sender<keeper::ToKeeper>, JoinHandle<()>)>,
    last_intake: Mutex<Option<IntakeLook>>,
    names: Arc<names::Names>,
    controls: Option<controls::Writing>,
    pub started: Started,
    _lock: Lock,
}

/// How long a look waits for a thread before it takes what it last showed.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);

impl Live {
    /// Takes the directory, restores every consumer, and follows the streams on threads of its own.
    ///
    /// # Errors
    /// The directory is missing or held by another process, or its history cannot be continued.
    pub fn start(config: Config) -> Result<Live, StartError> {
        start::start(config)
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    /// Reads what was appended up to now; returns what intake counted. Everything appended before the call is folded
    /// by the looks that follow it. Of a tailer that does not answer in time, what it last said; nothing before it ever
    /// did.
    pub fn look_at_intake(&self) -> Option<IntakeLook> {
        let (reply, answer) = mpsc::channel();
        self.tailer.send(tailer::Request::Look(reply)).ok()?;
        self.waker.wake();
        let mut last = self.last_intake.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(look) = answer.recv_timeout(LOOK_TIMEOUT) {
            *last = Some(look);
        }
        last.clone()
    }

    /// What every consumer shows now, in list order; of one that does not answer in time, what it last showed. Nothing
    /// before the history was read: a counter must not be seen at less than it was before a restart.
    pub fn look_at_consumers(&self) -> Vec<Arc<Look>> {
        self.look_at(|_| true)
    }

    /// The same, where only those that are `wanted` are asked; of the others what they last showed.
    pub fn look_at(&self, wanted: impl Fn(&str) -> bool) -> Vec<Arc<Look>> {
        if !self.status.caught_up.load(Ordering::Acquire) {
            return Vec::new();
        }
        let is_asked = |handle: &look::Handle| wanted(handle.name) || !handle.last.is_there();
        let asked: Vec<_> =
            self.workers.iter().map(|handle| is_asked(handle).then(|| handle.ask()).flatten()).collect();
        let watch = Stopwatch::start();
        let left = || LOOK_TIMEOUT.saturating_sub(watch.elapsed());
        asked.into_iter().zip(&self.workers).map(|(answer, handle)| handle.take(answer, left())).collect()
    }

    /// From here on `call` is told, from any thread, when a consumer, the durable watermark or a decisions file moved on,
    /// or a trouble came or went. It must be cheap; several calls may mean one thing.
    pub fn on_progress(&self, call: impl Fn() + Send + Sync + 'static) {
        self.status.listen(call);
    }

    /// What a consumer decided because of a position, by ordinal; empty when it decided nothing, has not come to it, or
    /// it is too long ago: the newest 65,536 decisions of each consumer are remembered.
    pub fn decision(&self, consumer: &str, cause: u64) -> Vec<DecisionLine> {
        let handle = self.workers.iter().find(|handle| handle.name == consumer);
        handle.map_or_else(Vec::new, |handle| handle.memory.of(cause))
    }

    /// How far the memory of decisions is used: of the consumer that remembers most.
    pub fn remembered(&self) -> Load {
        let loads = self.workers.iter().map(|handle| handle.memory.load());
        loads.max_by_key(|load| (load.used, load.reached)).unwrap_or_default()
    }

    /// Keeps in mind what is wrong with the policy that should be in force; nothing when all is well.
    pub fn note_policy(&self, problem: Option<String>) {
        self.status.trouble(|troubles| troubles.policy = problem);
    }

    /// Reads what is left, writes final snapshots, and ends all threads.
    pub fn stop(mut self) {
        if let Some(controls) = self.controls.take() {
            controls.stop();
        }
        let _ = self.tailer.send(tailer::Request::Stop);
        self.waker.wake();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
        if let Some((keeper, thread)) = self.keeper.take() {
            let _ = keeper.send(keeper::ToKeeper::Stop);
            let _ = thread.join();
        }
    }
}
