use std::{
    collections::{BTreeMap, HashMap},
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::Ordering,
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError},
    },
    time::Duration,
};

use super::{SealedBatch, keeper::ToKeeper, restore, status::Status, tailer};
use crate::{
    clock::{Clock, Stopwatch},
    fold::{Emitted, Slot},
    stats::{Bounds, Histogram},
    store::{Snapshot, journal::Mark},
    subject::{Subject, Subjects},
    tape::Until,
    view::{Family, Samples},
};

/// Batches a worker may be behind before it reads the tape by itself.
pub const QUEUE: usize = 256;

/// Failures at one position after which a consumer stays down.
const PANICS_MAX: u32 = 3;

pub enum ToWorker {
    Batch(Arc<SealedBatch>),
    /// The round that ends here is worth a snapshot.
    Snapshot {
        position: u64,
        round: u64,
        digest: Arc<str>,
        policy: Arc<str>,
    },
    Look(SyncSender<Arc<Look>>),
    Stop,
}

/// What a consumer shows: the samples of every subject, as they were when last asked for.
#[derive(Debug, Default)]
pub struct Look {
    pub name: &'static str,
    pub families: &'static [Family],
    pub position: u64,
    pub subjects: Arc<Subjects>,
    pub samples: Arc<BTreeMap<Subject, Arc<Samples>>>,
    pub fold_seconds: Option<Histogram<FoldSeconds>>,
}

/// Time to fold a batch.
#[derive(Debug)]
pub struct FoldSeconds;

impl Bounds for FoldSeconds {
    const UPPER: &'static [f64] = &[1e-5, 5e-5, 1e-4, 5e-4, 1e-3, 5e-3, 0.01, 0.05, 0.1, 0.5, 1.0];
}

/// Decisions of a consumer on their way to those who hear it: all of them before `upto`.
pub struct Voice {
    pub upto: u64,
    pub emitted: Vec<Emitted>,
}

/// A worker as the others see it.
pub struct Handle {
    pub inbox: SyncSender<ToWorker>,
    pub last: Arc<Mutex<Arc<Look>>>,
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
        answer
            .and_then(|answer| answer.recv_timeout(timeout).ok())
            .unwrap_or_else(|| self.last.lock().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

/// A consumer on its own thread, with its own checkpoint and decisions file.
pub struct Worker {
    pub index: usize,
    pub slot: Box<dyn Slot>,
    pub inbox: Receiver<ToWorker>,
    pub keeper: Sender<ToKeeper>,
    pub tailer: Sender<tailer::Request>,
    pub status: Arc<Status>,
    pub clock: Clock,
    pub last: Arc<Mutex<Arc<Look>>>,
    pub hears: Vec<Hearing>,
    pub speaks_to: Vec<Sender<Voice>>,
    pub restorer: Arc<restore::Restorer>,
    pub samples: Arc<BTreeMap<Subject, Arc<Samples>>>,
    pub fold_seconds: Histogram<FoldSeconds>,
    /// Failures by position.
    pub panics: HashMap<u64, u32>,
}

/// What was heard of another consumer and not yet folded.
pub struct Hearing {
    pub from: Receiver<Voice>,
    pub upto: u64,
    pub emitted: Vec<Emitted>,
}

/// Why a worker stopped folding.
enum Ended {
    Stopped,
    /// It failed, or was left behind: it must read the tape by itself.
    Behind,
    Down,
}

impl Worker {
    pub fn run(mut self) {
        loop {
            match self.fold() {
                Ended::Stopped => return,
                Ended::Behind => {
                    if !self.catch_up() {
                        return self.stay_down();
                    }
                }
                Ended::Down => return self.stay_down(),
            }
        }
    }

    /// Folds what arrives until something ends it.
    fn fold(&mut self) -> Ended {
        loop {
            let Ok(message) = self.inbox.recv() else { return Ended::Stopped };
            match message {
                ToWorker::Batch(sealed) => {
                    if sealed.batch.first > self.slot.position() {
                        return Ended::Behind;
                    }
                    if let Some(ended) = self.step(&sealed) {
                        return ended;
                    }
                }
                ToWorker::Snapshot { position, round, digest, policy } => {
                    if self.slot.position() == position {
                        self.snapshot(round, &digest, &policy);
                    }
                }
                ToWorker::Look(reply) => {
                    let _ = reply.send(self.look());
                }
                ToWorker::Stop => return Ended::Stopped,
            }
        }
    }

    /// Folds one batch; a panic of the consumer is caught here and nowhere else.
    fn step(&mut self, sealed: &SealedBatch) -> Option<Ended> {
        if !self.listen(sealed.batch.next) {
            return Some(Ended::Stopped);
        }
        let watch = Stopwatch::start();
        let heard: Vec<&[Emitted]> = self.hears.iter().map(|hearing| hearing.emitted.as_slice()).collect();
        let slot = &mut self.slot;
        let emitted = match panic::catch_unwind(AssertUnwindSafe(|| slot.step(&sealed.batch, &heard))) {
            Ok(emitted) => emitted,
            Err(_) => return Some(self.panicked(sealed.batch.first)),
        };
        for hearing in &mut self.hears {
            hearing.emitted.retain(|emitted| emitted.decision.cause >= sealed.batch.next);
        }
        self.fold_seconds.observe(watch.elapsed().as_secs_f64());
        self.tell(sealed, emitted);
        self.arrived();
        None
    }

    /// Waits until everyone it hears has spoken up to a position. False when the program ends meanwhile.
    fn listen(&mut self, upto: u64) -> bool {
        for hearing in &mut self.hears {
            while hearing.upto < upto {
                match hearing.from.recv_timeout(Duration::from_millis(100)) {
                    Ok(voice) => {
                        hearing.upto = hearing.upto.max(voice.upto);
                        hearing.emitted.extend(voice.emitted);
                    }
                    Err(RecvTimeoutError::Timeout) if !self.status.stopping() => {}
                    Err(_) => return false,
                }
            }
        }
        true
    }

    /// Decisions go to those who hear, and to the file once they are durable.
    fn tell(&self, sealed: &SealedBatch, emitted: Vec<Emitted>) {
        if !emitted.is_empty() {
            let lines = emitted.iter().map(|e| (Mark::of(&e.decision), e.line().written(&sealed.digest))).collect();
            let _ = self.keeper.send(ToKeeper::Lines { file: self.index, lines });
        }
        for hearer in &self.speaks_to {
            let _ = hearer.send(Voice { upto: sealed.batch.next, emitted: emitted.clone() });
        }
    }

    fn arrived(&self) {
        let Some(status) = self.status.consumers.get(self.index) else { return };
        let position = self.slot.position();
        status.position.store(position, Ordering::Release);
        if position >= self.status.head.load(Ordering::Acquire) {
            status.at_head.store(self.clock.now(), Ordering::Release);
        }
    }

    fn panicked(&mut self, position: u64) -> Ended {
        let count = self.panics.entry(position).or_default();
        *count += 1;
        tracing::error!(
            "consumer {} failed at positions from {position} ({count} of {PANICS_MAX} times)",
            self.slot.name()
        );
        let down = *count >= PANICS_MAX;
        if let Some(status) = self.status.consumers.get(self.index) {
            status.panics.fetch_add(1, Ordering::AcqRel);
            status.up.store(false, Ordering::Release);
        }
        self.slot = self.restorer.slot(self.index);
        self.samples = Arc::default();
        if down { Ended::Down } else { Ended::Behind }
    }

    /// Reads the tape by itself until it stands where the tailer stands, then joins again. False when it failed for
    /// good.
    fn catch_up(&mut self) -> bool {
        loop {
            self.drain();
            let restorer = self.restorer.clone();
            let mut failed = None;
            let read = restorer.read_from(self.slot.position(), Until::End, &mut |sealed| {
                if failed.is_none() && !self.status.stopping() {
                    failed = self.step(&sealed);
                }
            });
            match (read, failed) {
                (_, Some(Ended::Behind)) => continue,
                (_, Some(Ended::Down | Ended::Stopped)) => return false,
                (Err(error), None) => {
                    tracing::error!("consumer {} cannot catch up: {error}", self.slot.name());
                    return false;
                }
                (Ok(()), None) => {}
            }
            if self.status.stopping() || self.rejoin() {
                if let Some(status) = self.status.consumers.get(self.index) {
                    status.up.store(true, Ordering::Release);
                }
                return true;
            }
        }
    }

    /// Forgets batches it will read from the tape; answers looks.
    fn drain(&mut self) {
        while let Ok(message) = self.inbox.try_recv() {
            if let ToWorker::Look(reply) = message {
                let _ = reply.send(self.look());
            }
        }
    }

    /// Asks the tailer for batches from its position on; refused when the tape went on meanwhile.
    fn rejoin(&self) -> bool {
        let (reply, answer) = mpsc::channel();
        let request = tailer::Request::Join { worker: self.index, position: self.slot.position(), reply };
        self.tailer.send(request).is_ok() && answer.recv().unwrap_or(false)
    }

    /// Down until the program ends: answers looks with what it last knew, so that the others go on.
    fn stay_down(mut self) {
        tracing::error!("consumer {} stays down; the others go on", self.slot.name());
        if let Some(status) = self.status.consumers.get(self.index) {
            status.up.store(false, Ordering::Release);
        }
        while let Ok(message) = self.inbox.recv() {
            match message {
                ToWorker::Look(reply) => {
                    let _ = reply.send(self.look());
                }
                ToWorker::Stop => return,
                ToWorker::Batch(_) | ToWorker::Snapshot { .. } => {}
            }
        }
    }

    fn snapshot(&self, round: u64, digest: &str, policy: &str) {
        let slot = &self.slot;
        let tape = (round, digest);
        let snapshot = Snapshot::new(slot.name(), slot.version(), slot.position(), tape, policy, slot.save());
        let _ = self.keeper.send(ToKeeper::Snapshot { snapshot, consumer: Some(self.index) });
    }

    /// Recomputes the samples of subjects that changed since the last look, and of no others.
    fn look(&mut self) -> Arc<Look> {
        let touched = self.slot.take_touched();
        if !touched.is_empty() {
            let all = Arc::make_mut(&mut self.samples);
            for subject in touched {
                let mut samples = Samples::default();
                self.slot.samples(subject, &mut samples);
                all.insert(subject, Arc::new(samples));
            }
        }
        let look = Arc::new(Look {
            name: self.slot.name(),
            families: self.slot.families(),
            position: self.slot.position(),
            subjects: Arc::new(self.slot.subjects().clone()),
            samples: self.samples.clone(),
            fold_seconds: Some(self.fold_seconds.clone()),
        });
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = look.clone();
        look
    }
}
