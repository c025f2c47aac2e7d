use std::{
    collections::BTreeMap,
    fmt, io,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

use crate::{
    event::{Nanos, time},
    fold::{Intake, Lines},
    policy::InForce,
    streams::{Problem, Reset, ResetReason},
    view::Load,
};

/// What is known of a running fold: written by its threads, read by anybody. Numbers here run ahead of durability.
#[derive(Debug)]
pub struct Status {
    /// One past the last sealed position.
    pub head: AtomicU64,
    /// Everything before is synced: streams and tape.
    pub durable: AtomicU64,
    /// When the tailer last got anywhere, Unix nanoseconds.
    pub looked_at: AtomicI64,
    /// The history was folded up to what was there at the start.
    pub caught_up: AtomicBool,
    pub consumers: Vec<ConsumerStatus>,
    tape_time: Mutex<Option<Nanos>>,
    policy: Mutex<Arc<InForce>>,
    stopping: AtomicBool,
    rollups: Mutex<Option<Rollups>>,
    troubles: Mutex<Troubles>,
    listeners: Listeners,
}

/// Who wants to know that something moved on.
#[derive(Default)]
struct Listeners(RwLock<Arc<Vec<Listener>>>);

type Listener = Arc<dyn Fn() + Send + Sync>;

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listeners")
    }
}

/// What went wrong and has not gone away.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Troubles {
    /// A failed sync: nothing is acknowledged any more.
    pub not_durable: Option<String>,
    /// The tape cannot be written just now.
    pub tape: Option<String>,
    /// Decisions or snapshots cannot be written just now.
    pub store: Option<String>,
    /// The tailer ended: history is damaged, or the directory is gone.
    pub tailer: Option<String>,
    /// Files for others (`controls.json`, `quarantine.json`) that cannot be written just now.
    pub controls: BTreeMap<PathBuf, String>,
    /// The policy that should be in force cannot be used.
    pub policy: Option<String>,
    /// The tables beside the fold cannot be written just now, or lack something.
    pub rollups: Option<String>,
    /// Files that cannot be followed.
    pub files: Vec<Problem>,
    pub resets: BTreeMap<ResetReason, u64>,
    pub last_reset: Option<(u64, Reset)>,
}

/// Tables that are written beside the fold.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Rollups {
    /// They hold every line before it.
    pub position: u64,
    /// When they were last brought up to the tape, Unix nanoseconds.
    pub last: Option<Nanos>,
    /// How often they could not be.
    pub failures: u64,
}

/// One consumer.
#[derive(Debug)]
pub struct ConsumerStatus {
    pub name: &'static str,
    /// The next position it folds.
    pub position: AtomicU64,
    pub up: AtomicBool,
    /// Failures since the start.
    pub panics: AtomicU64,
    /// When it last stood at the head, Unix nanoseconds.
    pub at_head: AtomicI64,
    /// Position of its newest snapshot.
    pub snapshot: AtomicU64,
    /// Lots of decisions handed on to be written, and those that are; the position that the last of these reach.
    pub(super) told: AtomicU64,
    pub(super) written: AtomicU64,
    pub(super) written_upto: AtomicU64,
    /// Why it stays down until the program is started again.
    down: Mutex<Option<String>>,
}

impl ConsumerStatus {
    /// Why it stays down, if it does.
    pub fn down(&self) -> Option<String> {
        lock(&self.down).clone()
    }

    /// Every decision it made on positions before this one is in its file.
    fn decided(&self) -> u64 {
        // What it decided before this position was handed on before it said that it stands there.
        let position = self.position.load(Ordering::Acquire);
        if self.told.load(Ordering::Acquire) == self.written.load(Ordering::Acquire) {
            return position;
        }
        position.min(self.written_upto.load(Ordering::Acquire))
    }

    pub(super) fn stay_down(&self, why: String) {
        self.up.store(false, Ordering::Release);
        *lock(&self.down) = Some(why);
    }
}

/// What intake counted, at one moment.
#[derive(Debug, Clone)]
pub struct IntakeLook {
    pub position: u64,
    pub tape_time: Option<Nanos>,
    /// The same, but never past the sealing of the last round.
    pub now: Option<Nanos>,
    /// The policy in force.
    pub policy: Arc<InForce>,
    pub lines: Lines,
    pub waiting: usize,
    pub waiting_dropped: u64,
    pub agents: usize,
    /// Bytes of unterminated lines, by stream.
    pub partial_bytes: BTreeMap<Arc<str>, u64>,
    /// How far the limits of intake and streams are used.
    pub loads: Vec<Load>,
    pub files: usize,
    pub rounds: u64,
    /// How changes are noticed.
    pub watch_mode: &'static str,
}

impl Status {
    pub fn new(names: impl Iterator<Item = &'static str>) -> Status {
        let consumer = |name| ConsumerStatus {
            name,
            position: AtomicU64::new(0),
            up: AtomicBool::new(true),
            panics: AtomicU64::new(0),
            at_head: AtomicI64::new(0),
            snapshot: AtomicU64::new(0),
            told: AtomicU64::new(0),
            written: AtomicU64::new(0),
            written_upto: AtomicU64::new(0),
            down: Mutex::default(),
        };
        Status {
            head: AtomicU64::new(0),
            durable: AtomicU64::new(0),
            looked_at: AtomicI64::new(i64::MAX),
            caught_up: AtomicBool::new(false),
            consumers: names.map(consumer).collect(),
            tape_time: Mutex::default(),
            policy: Mutex::default(),
            stopping: AtomicBool::new(false),
            rollups: Mutex::default(),
            troubles: Mutex::default(),
            listeners: Listeners::default(),
        }
    }

    /// Whether the program is about to end.
    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.moved();
    }

    /// The tape grew. Those who stood at its end did so until now: their lag counts from here.
    pub(super) fn grow(&self, end: u64, now: Nanos) {
        let before = self.head.fetch_max(end, Ordering::AcqRel);
        for consumer in &self.consumers {
            if consumer.position.load(Ordering::Acquire) >= before {
                consumer.at_head.store(now, Ordering::Release);
            }
        }
    }

    /// The tape time at the head.
    pub fn tape_time(&self) -> Option<Nanos> {
        *lock(&self.tape_time)
    }

    /// The policy in force at the head.
    pub fn policy(&self) -> Arc<InForce> {
        lock(&self.policy).clone()
    }

    /// Every decision caused before this position is in its file.
    pub fn decided(&self) -> u64 {
        self.consumers.iter().map(ConsumerStatus::decided).min().unwrap_or(0)
    }

    /// Where intake stands.
    pub(super) fn set_now(&self, intake: &Intake) {
        *lock(&self.policy) = intake.policy().clone();
        *lock(&self.tape_time) = intake.tape_time();
    }

    /// How far the tables beside the fold are; none where nobody writes any.
    pub fn rollups(&self) -> Option<Rollups> {
        *lock(&self.rollups)
    }

    /// Takes down how far the tables beside the fold are, and what is wrong with them now.
    pub fn note_rollups(&self, rollups: Rollups, problem: Option<String>) {
        *lock(&self.rollups) = Some(rollups);
        self.trouble(|troubles| troubles.rollups = problem);
    }

    /// A copy of what is wrong now.
    pub fn troubles(&self) -> Troubles {
        lock(&self.troubles).clone()
    }

    /// After a failed sync the kernel may call lost pages clean: a second try would prove nothing.
    pub(super) fn poison(&self, error: &io::Error) {
        let what = format!("a sync failed, nothing is acknowledged any more; restart runtape: {error}");
        tracing::error!("{what}");
        self.trouble(|troubles| troubles.not_durable = Some(what));
    }

    pub(super) fn is_poisoned(&self) -> bool {
        lock(&self.troubles).not_durable.is_some()
    }

    pub(super) fn trouble(&self, change: impl FnOnce(&mut Troubles)) {
        let changed = {
            let mut troubles = lock(&self.troubles);
            let before = troubles.clone();
            change(&mut troubles);
            *troubles != before
        };
        if changed {
            self.moved();
        }
    }

    /// From here on `call` is told, from whatever thread, that something moved on: a consumer, the durable watermark, a
    /// decisions file, a trouble. What is told together may come as several calls.
    pub(super) fn listen(&self, call: impl Fn() + Send + Sync + 'static) {
        let mut list = self.listeners.0.write().unwrap_or_else(PoisonError::into_inner);
        let call: Listener = Arc::new(call);
        *list = Arc::new(list.iter().cloned().chain([call]).collect());
    }

    pub(super) fn moved(&self) {
        // Called without the lock, so that a listener may ask whatever it likes.
        let list = self.listeners.0.read().unwrap_or_else(PoisonError::into_inner).clone();
        list.iter().for_each(|call| call());
    }

    /// The tailer got somewhere.
    pub(super) fn looked(&self, now: Nanos) {
        self.looked_at.store(now, Ordering::Release);
    }

    pub(super) fn catch_up(&self) {
        if !self.caught_up.swap(true, Ordering::AcqRel) {
            self.moved();
        }
    }

    /// Why the fold is not to be relied on now; empty when it is.
    pub fn not_ready(&self, now: Nanos) -> Vec<String> {
        const BEHIND_MAX: Nanos = 5 * time::SECOND;
        // A full look at very many files may take its time, and comes at most 5 s after the last.
        const SILENT_MAX: Nanos = 15 * time::SECOND;
        let mut why = Vec::new();
        if !self.caught_up.load(Ordering::Acquire) {
            let at = self.consumers.iter().map(|c| c.position.load(Ordering::Acquire)).min().unwrap_or(0);
            why.push(format!("reading history: position {at} of {}", self.head.load(Ordering::Acquire)));
        }
        for consumer in &self.consumers {
            let lag = self.lag(consumer, now);
            if let Some(reason) = consumer.down() {
                why.push(format!("consumer {} stays down: {reason}", consumer.name));
            } else if !consumer.up.load(Ordering::Acquire) {
                why.push(format!("consumer {} is down", consumer.name));
            } else if lag.1 > BEHIND_MAX {
                why.push(format!("consumer {} is {} lines behind", consumer.name, lag.0));
            }
        }
        let silent = now.saturating_sub(self.looked_at.load(Ordering::Acquire));
        if silent > SILENT_MAX {
            why.push(format!("the streams were last looked at {} s ago", silent / time::SECOND));
        }
        let troubles = self.troubles();
        why.extend([troubles.not_durable, troubles.tape, troubles.tailer].into_iter().flatten());
        why
    }

    /// How far a consumer is behind the head: lines, and nanoseconds since it last stood there.
    pub fn lag(&self, consumer: &ConsumerStatus, now: Nanos) -> (u64, Nanos) {
        let position = consumer.position.load(Ordering::Acquire);
        let lines = self.head.load(Ordering::Acquire).saturating_sub(position);
        let since = now.saturating_sub(consumer.at_head.load(Ordering::Acquire)).max(0);
        (lines, if lines == 0 { 0 } else { since })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
