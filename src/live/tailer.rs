use std::{
    collections::HashSet,
    sync::{
        Arc, atomic,
        mpsc::{Receiver, Sender},
    },
    time::Duration,
};

use super::{
    Cadence, SealedBatch,
    append::{AppendError, Order, OwnStreams, Unsealed},
    keeper::ToKeeper,
    links::Link,
    names::Names,
    status::{IntakeLook, Status},
    worker::ToWorker,
};
use crate::{
    clock::{Clock, Stopwatch},
    fold::{Intake, Placed},
    layout::Layout,
    store::Snapshot,
    streams::{
        Follower, Poll, Scope,
        watch::{Watch, Woken},
    },
    tape::{self, Journal, ReadError, RoundSource, Until, read_rest, seal},
};

/// What others ask of the tailer.
pub enum Request {
    /// Read what was appended up to now, and say what intake counted.
    Look(Sender<IntakeLook>),
    /// The same without what takes longer the more streams and files there are.
    Glance(Sender<IntakeLook>),
    /// Append lines to a stream of ours.
    Append(Order),
    /// A worker that read the tape by itself wants batches again. It is told the position from which on it gets them;
    /// everything before is on the tape.
    Join {
        worker: usize,
        reply: Sender<u64>,
    },
    Stop,
}

/// A round of the sealed history, with where its bytes are.
pub type Recalled = Result<(tape::Round, RoundSource), tape::TapeError>;

pub struct Tailer {
    pub layout: Layout,
    pub follower: Follower,
    pub journal: Journal,
    pub intake: Intake,
    pub watch: Watch,
    pub requests: Receiver<Request>,
    pub workers: Vec<Link>,
    pub keeper: Sender<ToKeeper>,
    /// Index of the rejects among our own files.
    pub rejects: usize,
    pub status: Arc<Status>,
    pub clock: Clock,
    pub cadence: Cadence,
    /// The last round handed on, and its digest.
    pub round: Option<(u64, Arc<str>)>,
    pub since_snapshot: Stopwatch,
    pub snapshot_at: u64,
    pub own: OwnStreams,
    /// Where the lines of our own streams stand that the last round holds.
    pub placed: Vec<Placed>,
    /// Why the last look could not be sealed.
    pub unsealed: Option<Unsealed>,
    pub names: Arc<Names>,
}

/// A full look at the directory may take this share of the time, so that ten thousand idle files stay cheap.
const SCAN_SHARE: u32 = 20;

/// Full looks are at most so far apart, however much one costs.
const SCAN_GAP_MAX: Duration = Duration::from_secs(5);

/// Reads of the kernel's queue before the whole directory is looked at instead.
const HINTS_MAX: usize = 16;

impl Tailer {
    /// Hands on the sealed history, then follows the streams until told to stop.
    pub fn run(mut self, history: impl Iterator<Item = Recalled>) {
        let mut looks = Vec::new();
        for round in history {
            if let Err(error) = self.recall(round) {
                return self.fail(&error);
            }
            while let Ok(request) = self.requests.try_recv() {
                match request {
                    // Half of the history is nothing to look at.
                    Request::Look(_) | Request::Glance(_) => looks.push(request),
                    request => {
                        if self.reply(request) {
                            return self.finish();
                        }
                    }
                }
            }
        }
        for look in looks {
            self.reply(look);
        }
        match self.follow() {
            Ok(()) => self.finish(),
            Err(error) => self.fail(&error),
        }
    }

    /// Hands on one round of the sealed history. A file may be emptied after its place was looked up; who empties it may
    /// have copied it before.
    pub fn recall(&mut self, round: Recalled) -> Result<(), String> {
        let (round, source) = round.map_err(|error| error.to_string())?;
        let digest: Arc<str> = round.digest.as_str().into();
        let Err(error) = self.hand_on(round.round, round.first, digest.clone(), &source) else { return Ok(()) };
        tracing::warn!("looking for a copy of what was sealed: {error}");
        let layout = self.layout.clone();
        let recovered = self.follower.recover(&|file| tape::extents_of(&layout, file));
        recovered.map_err(|error| format!("cannot read {}: {error}", layout.dir.display()))?;
        let found = tape::directory::source(&self.follower, &round);
        self.hand_on(round.round, round.first, digest, &found).map_err(|error| error.to_string())
    }

    fn follow(&mut self) -> Result<(), String> {
        let mut scope = Some(Scope::All);
        let (mut since_scan, mut scan_gap) = (Stopwatch::start(), self.cadence.poll);
        loop {
            if since_scan.elapsed() >= scan_gap {
                scope = Some(Scope::All);
            }
            if let Some(scope) = scope.take() {
                let watch = Stopwatch::start();
                let sealed = self.poll(&scope)?;
                self.status.looked(self.clock.now());
                if scope == Scope::All {
                    // A look that found nothing tells what looking costs; what was found has its own price.
                    let cost = if sealed { Duration::ZERO } else { watch.elapsed() };
                    scan_gap = (cost * SCAN_SHARE).min(SCAN_GAP_MAX).max(self.cadence.poll);
                    since_scan = Stopwatch::start();
                    self.status.catch_up();
                }
                if sealed || scope != Scope::All {
                    // Who asks is not kept waiting for what others may append.
                    let rest = self.cadence.coalesce.saturating_sub(watch.elapsed());
                    self.watch.pause(rest).map_err(|error| format!("cannot wait for changes: {error}"))?;
                }
            }
            self.snapshot_when_due();
            loop {
                let (orders, others) = self.requested();
                let none = orders.is_empty() && others.is_empty();
                self.append(orders)?;
                for request in others {
                    self.poll_for(&request)?;
                    if self.reply(request) {
                        return Ok(());
                    }
                }
                // Those who never stop asking do not keep us from looking.
                if none || since_scan.elapsed() >= scan_gap {
                    break;
                }
            }
            let timeout = scan_gap.saturating_sub(since_scan.elapsed()).as_millis() as u64;
            match self.watch.wait(timeout.max(1)).map_err(|error| format!("cannot wait for changes: {error}"))? {
                Woken::Changed(changed) => scope = Some(changed),
                Woken::Called | Woken::TimedOut => {}
            }
        }
    }

    /// What is asked just now; lines to append apart, so that they share one write.
    fn requested(&self) -> (Vec<Order>, Vec<Request>) {
        let (mut orders, mut others) = (Vec::new(), Vec::new());
        for request in self.requests.try_iter() {
            match request {
                Request::Append(order) => orders.push(order),
                other => others.push(other),
            }
        }
        (orders, others)
    }

    /// Reads everything that was appended before now, so that whoever asks sees his own writes.
    fn poll_for(&mut self, request: &Request) -> Result<(), String> {
        let scope = match request {
            Request::Join { .. } | Request::Append(_) => return Ok(()),
            Request::Look(_) | Request::Glance(_) if self.watch.mode() == "inotify" => self.hinted(),
            Request::Look(_) | Request::Glance(_) | Request::Stop => Some(Scope::All),
        };
        scope.map_or(Ok(()), |scope| self.poll(&scope).map(|_| ()))
    }

    /// Everything the kernel has told so far.
    pub fn hinted(&mut self) -> Option<Scope> {
        let mut all: Option<Vec<String>> = None;
        for _ in 0..HINTS_MAX {
            match self.watch.wait(0) {
                Ok(Woken::Changed(Scope::Names(names))) => all.get_or_insert_default().extend(names),
                Ok(Woken::Called) => {}
                Ok(Woken::TimedOut) => return all.map(Scope::Names),
                Ok(Woken::Changed(Scope::All)) | Err(_) => return Some(Scope::All),
            }
        }
        Some(Scope::All)
    }

    /// Answers a request; true when it is the one to stop.
    pub fn reply(&mut self, request: Request) -> bool {
        match request {
            Request::Look(reply) => {
                let _ = reply.send(self.look());
            }
            Request::Glance(reply) => {
                let _ = reply.send(self.glance());
            }
            Request::Append(order) => {
                let failed = self.status.troubles().tailer;
                order.answer(Err(failed.map_or(AppendError::Starting, AppendError::Failed)));
            }
            Request::Join { worker, reply } => {
                if let Some(link) = self.workers.get_mut(worker) {
                    link.join();
                }
                let _ = reply.send(self.intake.position());
            }
            Request::Stop => return true,
        }
        false
    }

    /// One look at the streams: what is new becomes a round. Whether there was anything.
    pub fn poll(&mut self, scope: &Scope) -> Result<bool, String> {
        self.unsealed = None;
        let layout = self.layout.clone();
        let poll = self.follower.poll(scope, &|file| tape::extents_of(&layout, file));
        if let Some(error) = self.follower.failed_sync() {
            self.status.poison(&error);
        }
        let moved = self.follower.moved();
        if !moved.is_empty() {
            let _ = self.keeper.send(ToKeeper::Moved(moved));
        }
        let Poll { pending, resets, problems, .. } = match poll {
            Ok(poll) => poll,
            Err(error) => {
                let what = format!("cannot read {}: {error}", layout.dir.display());
                self.status.trouble(|troubles| troubles.tape = Some(what));
                return Ok(false);
            }
        };
        if !resets.is_empty() {
            // What is gone from the disk is in the state still: from now on a restart must not need to read it.
            self.snapshot(|link, message| link.mention(message));
        }
        self.note(scope, resets, problems);
        if pending.is_empty() {
            if *scope == Scope::All {
                self.status.trouble(|troubles| troubles.tape = None);
            }
            return Ok(false);
        }
        let sealed = seal::seal(&self.journal, &self.follower, &pending, self.clock.now())
            .map_err(|error| Unsealed::new(error.to_string(), &error))
            .and_then(|sealed| self.journal.append(&sealed.round).map(|()| sealed).map_err(Unsealed::of));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!("nothing is sealed, it is tried again: {}", error.what);
                self.status.trouble(|troubles| troubles.tape = Some(error.what.clone()));
                self.unsealed = Some(error);
                pending.iter().for_each(|range| self.follower.retry(range));
                return Ok(false);
            }
        };
        self.status.trouble(|troubles| troubles.tape = None);
        pending.iter().for_each(|range| self.follower.sealed(range));
        let files = pending.iter().map(|range| self.follower.generation(range.generation).place()).collect();
        let end = sealed.round.end();
        let _ = self.keeper.send(ToKeeper::Sealed { end, files, new_links: !sealed.round.files.is_empty() });
        let round = &sealed.round;
        self.hand_on(round.round, round.first, round.digest.as_str().into(), &sealed.source)
            .map_err(|error| error.to_string())?;
        Ok(true)
    }

    fn note(&self, scope: &Scope, resets: Vec<crate::streams::Reset>, problems: Vec<crate::streams::Problem>) {
        if resets.is_empty() && problems.is_empty() && *scope != Scope::All {
            return;
        }
        let position = self.intake.position();
        self.status.trouble(|troubles| {
            for reset in resets {
                tracing::warn!(
                    "stream {} (file {}): {} below sealed offset {}, at position {position}; read on from its start",
                    reset.stream,
                    reset.file,
                    reset.reason.name(),
                    reset.sealed
                );
                *troubles.resets.entry(reset.reason).or_default() += 1;
                troubles.last_reset = Some((position, reset));
            }
            if *scope == Scope::All {
                let known: HashSet<_> = troubles.files.iter().collect();
                for problem in problems.iter().filter(|problem| !known.contains(problem)) {
                    tracing::warn!("cannot follow {}: {}", problem.path.display(), problem.what);
                }
                troubles.files = problems;
            }
        });
    }

    /// Hands the batches of a sealed round to the workers, its rejects to the keeper, and asks for snapshots when due.
    fn hand_on(&mut self, round: u64, first: u64, digest: Arc<str>, source: &RoundSource) -> Result<(), ReadError> {
        self.status.grow(first + source.count.unwrap_or(0), self.clock.now());
        // No snapshot is taken at a place that is not the end of a round.
        self.round = None;
        let (intake, workers, keeper, rejects) = (&mut self.intake, &mut self.workers, &self.keeper, self.rejects);
        let (status, clock) = (&self.status, &self.clock);
        let history = !status.caught_up.load(atomic::Ordering::Acquire);
        let (names, placed) = (&self.names, &mut self.placed);
        placed.clear();
        let mut nth = 0;
        read_rest(source, first, intake, Until::End, &mut |batch| {
            names.learn(&batch);
            placed.extend_from_slice(&batch.placed);
            if let Some(rejected) = ToKeeper::rejects(rejects, &batch) {
                let _ = keeper.send(rejected);
            }
            let sealed = Arc::new(SealedBatch { batch, round, digest: digest.clone() });
            workers.iter_mut().for_each(|link| link.batch(&sealed, nth, history));
            status.looked(clock.now());
            nth += 1;
        })?;
        self.round = Some((round, digest));
        self.status.set_now(&self.intake);
        self.snapshot_when_due();
        Ok(())
    }

    pub fn snapshot_when_due(&mut self) {
        if self.since_snapshot.elapsed() >= self.cadence.snapshot {
            self.snapshot(|link, message| link.mention(message));
        }
    }

    /// A consistent cut: intake and every worker save the state at the end of the same round.
    fn snapshot(&mut self, ask: impl Fn(&Link, ToWorker)) {
        let position = self.intake.position();
        let Some((round, digest)) = self.round.clone().filter(|_| position > self.snapshot_at) else { return };
        let policy: Arc<str> = self.intake.base().hash.as_str().into();
        let tape = (round, &*digest);
        let snapshot = Snapshot::new("intake", Intake::VERSION, position, tape, &policy, self.intake.save());
        let _ = self.keeper.send(ToKeeper::Snapshot { snapshot, consumer: None });
        for link in self.workers.iter().filter(|link| !link.away()) {
            ask(link, ToWorker::Snapshot { position, round, digest: digest.clone(), policy: policy.clone() });
        }
        self.snapshot_at = position;
        self.since_snapshot = self.clock.stopwatch();
    }

    /// A last snapshot, and the end of all workers.
    pub fn finish(&mut self) {
        self.snapshot(Link::insist);
        self.status.stop();
        for link in &self.workers {
            link.insist(ToWorker::Stop);
        }
    }

    pub fn give_up(&self, error: &str) {
        tracing::error!("nothing more is read: {error}");
        self.status.trouble(|troubles| troubles.tailer = Some(format!("nothing more is read: {error}")));
    }

    /// The history cannot be continued: nothing more is read, and everybody who asks is told.
    fn fail(&mut self, error: &str) {
        self.give_up(error);
        while let Ok(request) = self.requests.recv() {
            if self.reply(request) {
                return self.finish();
            }
        }
    }
}
