use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, SyncSender, TrySendError},
    },
    time::Duration,
};

use super::{
    memory::Memory,
    status::IntakeLook,
    tailer::Tailer,
    worker::{ToWorker, Worker},
};
use crate::{
    fold::Lines,
    stats::{Bounds, Histogram},
    subject::{Subject, Subjects},
    view::{Family, Load, Samples, Shelf},
};

/// What a consumer shows: the samples of every subject, as they were when last asked for.
#[derive(Debug, Default)]
pub struct Look {
    pub name: &'static str,
    pub families: &'static [Family],
    pub position: u64,
    pub subjects: Arc<Subjects>,
    pub samples: Shelf,
    pub fold_seconds: Option<Histogram<FoldSeconds>>,
    /// How far the limits of the consumer are used.
    pub loads: Vec<Load>,
}

/// Subjects of a kind on a metric page: those that came first. The others are folded, judged and answered like these.
pub const SHOWN_MAX: u32 = 10_000;

/// Whether there is a place on the page for a subject.
pub fn is_shown(subject: Subject) -> bool {
    match subject {
        Subject::Agent(id) | Subject::Strategy(id) => id < SHOWN_MAX,
        Subject::Fleet | Subject::UnknownAgent | Subject::UnknownStrategy => true,
    }
}

/// Time to fold a batch.
#[derive(Debug)]
pub struct FoldSeconds;

impl Bounds for FoldSeconds {
    const UPPER: &'static [f64] = &[1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0];
}

/// The look that was last taken, for when a worker has no time for a new one.
#[derive(Clone, Debug, Default)]
pub struct Last(Arc<Mutex<Arc<Look>>>);

impl Last {
    pub fn get(&self) -> Arc<Look> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether there was any.
    pub fn is_there(&self) -> bool {
        !self.get().name.is_empty()
    }

    pub fn set(&self, look: Arc<Look>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = look;
    }
}

/// A worker as those see it who look at it.
pub struct Handle {
    pub name: &'static str,
    pub inbox: SyncSender<ToWorker>,
    pub last: Last,
    pub memory: Arc<Memory>,
}

impl Handle {
    /// Asks for a look; answered after everything sent before.
    pub fn ask(&self) -> Option<Receiver<Arc<Look>>> {
        let (reply, answer) = mpsc::sync_channel(1);
        match self.inbox.try_send(ToWorker::Look(reply)) {
            Ok(()) => Some(answer),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => None,
        }
    }

    /// The answer, or what was last shown.
    pub fn take(&self, answer: Option<Receiver<Arc<Look>>>, timeout: Duration) -> Arc<Look> {
        answer.and_then(|answer| answer.recv_timeout(timeout).ok()).unwrap_or_else(|| self.last.get())
    }
}

impl Worker {
    /// Recomputes the samples of subjects that changed since the last look, and of no others.
    pub(super) fn look(&mut self) -> Arc<Look> {
        self.take_touched();
        for subject in self.unseen.take().into_iter().filter(|subject| is_shown(*subject)) {
            let mut samples = Samples::default();
            self.slot.samples(subject, &mut samples);
            self.samples.put(subject, samples);
        }
        // Names are only ever added.
        let known = |names: &Subjects| (names.agents.len(), names.strategies.len());
        if known(&self.names) != known(self.slot.subjects()) {
            self.names = Arc::new(self.slot.subjects().clone());
        }
        let look = Arc::new(Look {
            name: self.slot.name(),
            families: self.slot.families(),
            position: self.slot.position(),
            subjects: self.names.clone(),
            samples: self.samples.clone(),
            fold_seconds: Some(self.fold_seconds.clone()),
            loads: self.slot.loads(&self.status.policy().policy.limits),
        });
        self.last.set(look.clone());
        look
    }
}

impl Tailer {
    /// What intake counted up to now.
    pub fn look(&self) -> IntakeLook {
        let mut partial_bytes = BTreeMap::new();
        for generation in self.follower.generations() {
            *partial_bytes.entry(generation.stream().clone()).or_default() += generation.partial_bytes();
        }
        IntakeLook { lines: self.intake.lines().clone(), partial_bytes, ..self.glance() }
    }

    /// The same, but for what grows with streams and files.
    pub fn glance(&self) -> IntakeLook {
        IntakeLook {
            position: self.intake.position(),
            tape_time: self.intake.tape_time(),
            now: self.intake.now(),
            policy: self.intake.policy().clone(),
            lines: Lines::default(),
            waiting: self.intake.waiting(),
            waiting_dropped: self.intake.waiting_dropped(),
            agents: self.intake.subjects().agents.len(),
            partial_bytes: BTreeMap::new(),
            loads: self.intake.loads().into_iter().chain([self.follower.load()]).collect(),
            files: self.follower.generations().len(),
            rounds: self.journal.head().0,
            watch_mode: self.watch.mode(),
        }
    }
}
