use std::{
    collections::HashMap,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError},
    },
    time::Duration,
};

use super::{
    SealedBatch,
    hearing::{Hearing, Voice},
    keeper::ToKeeper,
    look::{FoldSeconds, Last, Look},
    memory::Memory,
    reader::Reader,
    rows::Rows,
    status::{ConsumerStatus, Status},
    tailer,
};
use crate::{
    clock::{Clock, Stopwatch},
    fold::{Emitted, Slot, engine::LineOf},
    render::{
        everybody::{Roll, Sheaf},
        state::{Asked, Part},
    },
    replay::restore::Restorer,
    stats::Histogram,
    store::Snapshot,
    subject::{Subject, SubjectSet, Subjects},
    view::Shelf,
};

/// Batches a worker may be behind before it reads the tape by itself.
pub const QUEUE: usize = 256;

/// Failures at one position after which a consumer stays down.
const PANICS_MAX: u32 = 3;

/// Tries to read history that is not where it was, and the pause between two: longer than the tailer is between two looks.
const UNREAD_MAX: u32 = 12;
const UNREAD_PAUSE: Duration = Duration::from_millis(500);

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
    /// What it says of these. Not answered by a worker that is down or reads the tape by itself.
    Rows {
        asked: Asked,
        reply: SyncSender<Rows>,
    },
    /// The same of everybody on a roll, packed.
    Everybody {
        asked: Asked,
        roll: Roll,
        reply: SyncSender<Rows<Sheaf>>,
    },
    /// The same of the agents that changed since this was last asked, or of all.
    Changed {
        all: bool,
        reply: SyncSender<Rows>,
    },
    Stop,
}

/// A consumer on its own thread, with its own checkpoint and decisions file.
pub struct Worker {
    pub index: usize,
    pub slot: Box<dyn Slot>,
    pub inbox: Receiver<ToWorker>,
    /// Whether it reads the tape by itself; shared with the tailer.
    pub away: Arc<AtomicBool>,
    pub keeper: Sender<ToKeeper>,
    pub tailer: Sender<tailer::Request>,
    pub status: Arc<Status>,
    pub clock: Clock,
    pub last: Last,
    pub hears: Vec<Hearing>,
    /// Its own stream among our files, and how a decision becomes a line of it.
    pub stream: Option<(usize, LineOf)>,
    pub speaks_to: Vec<Sender<Voice>>,
    pub restorer: Arc<Restorer>,
    pub memory: Arc<Memory>,
    pub samples: Shelf,
    /// The names last shown.
    pub names: Arc<Subjects>,
    /// Subjects that changed since the last look, and since changes were last asked for.
    pub unseen: SubjectSet,
    pub untold: SubjectSet,
    pub fold_seconds: Histogram<FoldSeconds>,
    /// Failures by position.
    pub panics: HashMap<u64, u32>,
    /// Positions of its last two snapshots on disk, the older one first.
    pub saved_at: (u64, u64),
}

/// Why a worker stopped folding.
pub enum Ended {
    Stopped,
    /// It was left behind: it must read the tape by itself.
    Behind,
    /// It failed: it must go back to its snapshot, and read the tape from there.
    Broken,
    /// What it must read from the tape is not where it was; it may be found elsewhere soon.
    Unread(String),
    /// It cannot go on, and why.
    Down(String),
}

impl Worker {
    pub fn run(mut self) {
        loop {
            let ended = match self.fold() {
                ended @ (Ended::Behind | Ended::Broken) => self.catch_up(ended),
                ended => Some(ended),
            };
            match ended {
                None => {}
                Some(Ended::Down(why)) => return self.stay_down(why),
                Some(_) => return,
            }
        }
    }

    /// Folds what arrives until something ends it.
    fn fold(&mut self) -> Ended {
        loop {
            let message = match self.next() {
                Ok(message) => message,
                Err(ended) => return ended,
            };
            if let Err(ended) = self.take(message) {
                return ended;
            }
        }
    }

    /// Does what one message says.
    pub(super) fn take(&mut self, message: ToWorker) -> Result<(), Ended> {
        match message {
            ToWorker::Batch(sealed) => {
                if sealed.batch.first > self.slot.position() {
                    return Err(Ended::Behind);
                }
                self.step(&sealed)?;
            }
            ToWorker::Snapshot { position, round, digest, policy } => {
                if self.slot.position() == position {
                    self.snapshot(round, &digest, &policy);
                }
            }
            ToWorker::Look(reply) => {
                let _ = reply.send(self.look());
            }
            ToWorker::Rows { asked, reply } => {
                let _ = reply.send(self.rows(&asked));
            }
            ToWorker::Everybody { asked, roll, reply } => {
                let _ = reply.send(self.says(|slot| Sheaf::of(slot, &asked, &roll)));
            }
            ToWorker::Changed { all, reply } => {
                let _ = reply.send(self.changed(all));
            }
            ToWorker::Stop => return Err(Ended::Stopped),
        }
        Ok(())
    }

    /// The next message. Once all are taken, a worker that was left behind gets no more batches.
    fn next(&self) -> Result<ToWorker, Ended> {
        loop {
            match self.inbox.try_recv() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Empty) if self.away.load(Ordering::Acquire) => return Err(Ended::Behind),
                Err(_) => {}
            }
            // Being left behind is not a message: a worker that emptied its inbox at that very moment looks again.
            match self.inbox.recv_timeout(Duration::from_secs(1)) {
                Ok(message) => return Ok(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(Ended::Stopped),
            }
        }
    }

    /// Folds one batch; a panic of the consumer is caught here.
    fn step(&mut self, sealed: &SealedBatch) -> Result<(), Ended> {
        for hearing in &mut self.hears {
            if !hearing.wait(sealed.batch.next) {
                let stopped = self.status.stopping();
                let why = format!("it hears {}, which is down", hearing.name);
                return Err(if stopped { Ended::Stopped } else { Ended::Down(why) });
            }
        }
        let watch = Stopwatch::start();
        let heard: Vec<&[Emitted]> = self.hears.iter().map(Hearing::emitted).collect();
        let slot = &mut self.slot;
        let Ok(emitted) = panic::catch_unwind(AssertUnwindSafe(|| slot.step(&sealed.batch, &heard))) else {
            return Err(self.broken(sealed.batch.first));
        };
        self.fold_seconds.observe(watch.elapsed().as_secs_f64());
        self.tell(sealed, emitted);
        self.arrived();
        Ok(())
    }

    fn arrived(&mut self) {
        let position = self.slot.position();
        let Some(status) = self.status() else { return };
        status.position.store(position, Ordering::Release);
        if position >= self.status.head.load(Ordering::Acquire) {
            status.at_head.store(self.clock.now(), Ordering::Release);
        }
        let saved = status.snapshot.load(Ordering::Acquire);
        if saved != self.saved_at.1 {
            self.saved_at = (self.saved_at.1, saved);
        }
        for hearing in &mut self.hears {
            hearing.forget(self.saved_at.0);
        }
        self.status.moved();
    }

    fn broken(&mut self, position: u64) -> Ended {
        let count = self.panics.entry(position).or_default();
        *count += 1;
        let count = *count;
        tracing::error!(
            "consumer {} failed at positions from {position} ({count} of {PANICS_MAX} times)",
            self.slot.name()
        );
        if let Some(status) = self.status() {
            status.panics.fetch_add(1, Ordering::AcqRel);
            status.up.store(false, Ordering::Release);
        }
        self.status.moved();
        if count < PANICS_MAX {
            return Ended::Broken;
        }
        Ended::Down(format!("it failed {count} times at positions from {position}"))
    }

    /// Reads the tape by itself until it stands where the tailer stands, then joins again; how it ended when it did not.
    fn catch_up(&mut self, mut why: Ended) -> Option<Ended> {
        let mut unread = 0;
        loop {
            // A batch that is on its way already does no harm: what it holds was read from the tape by then.
            self.away.store(true, Ordering::Release);
            let reader = match why {
                Ended::Behind => self.restorer.reader(self.slot.as_mut()).map_err(|error| error.to_string()),
                Ended::Broken => self.go_back(),
                ended => return Some(ended),
            };
            let caught_up = reader.map_err(Ended::Down).and_then(|mut reader| self.join(&mut reader));
            match caught_up {
                Ok(()) => break,
                // A file was emptied, and the next look of the tailer finds a copy of what it held, if there is one.
                Err(Ended::Unread(_)) if unread < UNREAD_MAX => {
                    unread += 1;
                    std::thread::sleep(UNREAD_PAUSE);
                    why = Ended::Behind;
                }
                Err(Ended::Unread(what)) => why = Ended::Down(what),
                Err(ended) => why = ended,
            }
        }
        if let Some(status) = self.status() {
            status.up.store(true, Ordering::Release);
        }
        self.status.moved();
        None
    }

    /// Returns to its newest snapshot.
    fn go_back(&mut self) -> Result<Reader, String> {
        let (slot, reader) = self.restorer.again(self.index).map_err(|error| error.to_string())?;
        let position = slot.position();
        if let Some(hearing) = self.hears.iter().find(|hearing| !hearing.reaches_back_to(position)) {
            return Err(format!("it must hear {} again from position {position}, after a restart only", hearing.name));
        }
        self.slot = slot;
        self.samples = Shelf::default();
        if let Some(status) = self.status() {
            status.position.store(position, Ordering::Release);
        }
        Ok(reader)
    }

    /// Reads to the end of the tape, asks for batches, and reads up to where they begin.
    fn join(&mut self, reader: &mut Reader) -> Result<(), Ended> {
        self.read(reader, u64::MAX)?;
        let (reply, answer) = mpsc::channel();
        let asked = self.tailer.send(tailer::Request::Join { worker: self.index, reply });
        let from = asked.ok().and_then(|()| answer.recv().ok()).ok_or(Ended::Stopped)?;
        self.read(reader, from)
    }

    fn read(&mut self, reader: &mut Reader, before: u64) -> Result<(), Ended> {
        let mut ended = Ok(());
        let read = reader.read(before, &mut |sealed| {
            if before == u64::MAX && !self.drain() {
                ended = Err(Ended::Stopped);
            } else {
                ended = self.step(&sealed);
            }
            ended.is_ok()
        });
        ended.and(read.map_err(|error| Ended::Unread(format!("it cannot catch up: {error}"))))
    }

    /// Forgets batches it reads from the tape; shows what it last showed, not what it went back to. False when told to
    /// stop.
    fn drain(&self) -> bool {
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                ToWorker::Look(reply) => {
                    let _ = reply.send(self.last.get());
                }
                ToWorker::Stop => return false,
                _ => {}
            }
        }
        !self.status.stopping()
    }

    /// Down until the program ends: shows what it last showed, so that the others go on.
    fn stay_down(mut self, why: String) {
        tracing::error!("consumer {} stays down, the others go on: {why}", self.slot.name());
        self.away.store(true, Ordering::Release);
        self.speaks_to.clear();
        self.hears.clear();
        if let Some(status) = self.status() {
            status.stay_down(why);
        }
        self.status.moved();
        while let Ok(message) = self.inbox.recv() {
            match message {
                ToWorker::Look(reply) => {
                    let _ = reply.send(self.last.get());
                }
                ToWorker::Stop => return,
                _ => {}
            }
        }
    }

    fn snapshot(&self, round: u64, digest: &str, policy: &str) {
        let slot = &self.slot;
        let tape = (round, digest);
        let snapshot = Snapshot::new(slot.name(), slot.version(), slot.position(), tape, policy, slot.save());
        let _ = self.keeper.send(ToKeeper::Snapshot { snapshot, consumer: Some(self.index) });
    }

    fn rows(&self, asked: &Asked) -> Rows {
        self.says(|slot| Part::of(slot, asked))
    }

    fn says<P>(&self, what: impl FnOnce(&dyn Slot) -> P) -> Rows<P> {
        let slot = self.slot.as_ref();
        Rows { name: slot.name(), position: slot.position(), part: what(slot) }
    }

    /// What concerns the fleet may concern every agent: then all are told anew.
    fn changed(&mut self, all: bool) -> Rows {
        self.take_touched();
        let mut changed = self.untold.take();
        if all || changed.contains(&Subject::Fleet) {
            return self.rows(&Asked::Agents);
        }
        changed.retain(|subject| matches!(subject, Subject::Agent(_)));
        changed.push(Subject::Fleet);
        self.rows(&Asked::These(changed))
    }

    pub(super) fn take_touched(&mut self) {
        let touched = self.slot.take_touched();
        self.unseen.extend(touched.iter().copied());
        self.untold.extend(touched);
    }

    pub(super) fn status(&self) -> Option<&ConsumerStatus> {
        self.status.consumers.get(self.index)
    }
}
