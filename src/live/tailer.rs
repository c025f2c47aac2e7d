use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, Sender, SyncSender, TrySendError},
    },
    thread,
    time::Duration,
};

use super::{
    SealedBatch,
    keeper::ToKeeper,
    status::{IntakeLook, Status},
    worker::ToWorker,
};
use crate::{
    clock::{Clock, Stopwatch},
    fold::{Batch, Intake},
    layout::Layout,
    store::{Snapshot, journal::Mark},
    streams::{
        Follower, Poll, Scope,
        watch::{Watch, Woken},
    },
    tape::{self, Journal, ReadError, RoundSource, Until, read_round, seal},
};

/// What others ask of the tailer.
pub enum Request {
    /// Read what was appended up to now, and say what intake counted.
    Look(Sender<IntakeLook>),
    /// A worker that read the tape by itself wants batches again.
    Join {
        worker: usize,
        position: u64,
        reply: Sender<bool>,
    },
    Stop,
}

/// How often things happen.
#[derive(Clone, Copy, Debug)]
pub struct Cadence {
    /// The truth, where notifications fail.
    pub poll: Duration,
    /// Rounds at least so far apart.
    pub coalesce: Duration,
    /// Snapshots at least so far apart.
    pub snapshot: Duration,
}

impl Default for Cadence {
    fn default() -> Self {
        Cadence {
            poll: Duration::from_millis(100),
            coalesce: Duration::from_millis(5),
            snapshot: Duration::from_secs(10),
        }
    }
}

/// A worker as the tailer sees it.
pub struct Link {
    pub inbox: SyncSender<ToWorker>,
    /// It reads the tape by itself; nothing is sent until it joins again.
    pub away: bool,
}

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
}

/// A worker may hold the others up for so long before it must read by itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Reads of the kernel's announcements before one look at the files they name.
const ANNOUNCEMENTS_MAX: usize = 256;

/// A full look at the directory may take this share of the time, so that ten thousand idle files stay cheap.
const SCAN_SHARE: u32 = 20;

impl Tailer {
    /// Hands on the sealed history, then follows the streams until told to stop.
    pub fn run(mut self, history: impl Iterator<Item = Result<(tape::Round, RoundSource), tape::TapeError>>) {
        for round in history {
            let handed = round.map_err(|error| error.to_string()).and_then(|(round, source)| {
                self.hand_on(round.round, round.digest.as_str().into(), &source).map_err(|error| error.to_string())
            });
            if let Err(error) = handed {
                return self.fail(&error);
            }
            if self.status.stopping() {
                return self.finish();
            }
        }
        match self.follow() {
            Ok(()) => self.finish(),
            Err(error) => self.fail(&error),
        }
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
                self.poll(&scope)?;
                if scope == Scope::All {
                    scan_gap = self.cadence.poll.max(watch.elapsed() * SCAN_SHARE);
                    since_scan = Stopwatch::start();
                    self.status.caught_up.store(true, Ordering::Release);
                }
                thread::sleep(self.cadence.coalesce.saturating_sub(watch.elapsed()).min(self.breath(&scope)));
            }
            if self.answer()? {
                return Ok(());
            }
            let timeout = scan_gap.saturating_sub(since_scan.elapsed()).as_millis() as u64;
            match self.watch.wait(timeout.max(1)).map_err(|error| format!("cannot wait for changes: {error}"))? {
                Woken::Changed(changed) => scope = Some(changed),
                Woken::Called | Woken::TimedOut => {}
            }
        }
    }

    /// Rounds are coalesced only while lines come in by notification one after the other.
    fn breath(&self, scope: &Scope) -> Duration {
        if *scope == Scope::All { Duration::ZERO } else { self.cadence.coalesce }
    }

    /// Answers requests; true when told to stop.
    fn answer(&mut self) -> Result<bool, String> {
        while let Ok(request) = self.requests.try_recv() {
            match request {
                Request::Look(reply) => {
                    self.poll_now()?;
                    let _ = reply.send(self.look());
                }
                Request::Join { worker, position, reply } => self.join(worker, position, &reply),
                Request::Stop => {
                    self.poll(&Scope::All)?;
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    /// Reads everything that was appended before now, so that whoever asks sees his own writes.
    fn poll_now(&mut self) -> Result<(), String> {
        if self.watch.mode() != "inotify" {
            return self.poll(&Scope::All);
        }
        // Whatever was appended before now was announced before now. One look for all of it: with a look for each
        // announcement, busy writers would keep whoever asks waiting.
        let mut names = BTreeSet::new();
        for _ in 0..ANNOUNCEMENTS_MAX {
            match self.watch.wait(0) {
                Ok(Woken::Changed(Scope::Names(more))) => names.extend(more),
                Ok(Woken::Changed(Scope::All)) => return self.poll(&Scope::All),
                // The call of whoever asks may come before the changes he asks for.
                Ok(Woken::Called) => {}
                Ok(Woken::TimedOut) | Err(_) => break,
            }
        }
        self.poll(&Scope::Names(names.into_iter().collect()))
    }

    /// One look at the streams: what is new becomes a round.
    fn poll(&mut self, scope: &Scope) -> Result<(), String> {
        let layout = self.layout.clone();
        let poll = self.follower.poll(scope, &|file| tape::extents_of(&layout, file));
        let Poll { pending, resets, problems } = match poll {
            Ok(poll) => poll,
            Err(error) => {
                let what = format!("cannot read {}: {error}", layout.dir.display());
                self.status.trouble(|troubles| troubles.tape = Some(what));
                return Ok(());
            }
        };
        if !resets.is_empty() {
            // What is gone from the disk is in the state still: from now on a restart must not need to read it.
            self.snapshot();
        }
        self.note(scope, resets, problems);
        if pending.is_empty() {
            return Ok(());
        }
        let sealed = seal::seal(&self.journal, &self.follower, &pending, self.clock.now())
            .map_err(|error| error.to_string())
            .and_then(|sealed| self.journal.append(&sealed.round).map(|()| sealed).map_err(|e| e.to_string()));
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => {
                tracing::warn!("nothing is sealed, it is tried again: {error}");
                self.status.trouble(|troubles| troubles.tape = Some(error));
                pending.iter().for_each(|range| self.follower.retry(range));
                return Ok(());
            }
        };
        self.status.trouble(|troubles| troubles.tape = None);
        pending.iter().for_each(|range| self.follower.sealed(range));
        let files = pending.iter().map(|range| self.follower.generation(range.generation).path.clone()).collect();
        let end = sealed.round.end();
        let _ = self.keeper.send(ToKeeper::Sealed { end, files, new_links: !sealed.round.files.is_empty() });
        self.hand_on(sealed.round.round, sealed.round.digest.as_str().into(), &sealed.source)
            .map_err(|error| error.to_string())
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
                for problem in problems.iter().filter(|problem| !troubles.files.contains(problem)) {
                    tracing::warn!("cannot follow {}: {}", problem.path.display(), problem.what);
                }
                troubles.files = problems;
            }
        });
    }

    /// Hands the batches of a sealed round to the workers, its rejects to the keeper, and asks for snapshots when due.
    fn hand_on(&mut self, round: u64, digest: Arc<str>, source: &RoundSource) -> Result<(), ReadError> {
        let end = source.count.map_or(0, |count| count) + self.intake.position();
        self.status.head.store(end, Ordering::Release);
        let (intake, workers, keeper, requests) = (&mut self.intake, &mut self.workers, &self.keeper, &self.requests);
        let (status, rejects) = (&self.status, self.rejects);
        let mut held = Vec::new();
        let read = read_round(source, intake, Until::End, &mut |batch| {
            send_rejects(keeper, rejects, &batch);
            let sealed = Arc::new(SealedBatch { batch, round, digest: digest.clone() });
            for link in workers.iter_mut() {
                send(link, &sealed, status, requests, &mut held);
            }
        });
        self.round = Some((round, digest));
        for request in held {
            self.reply_late(request);
        }
        read?;
        if self.since_snapshot.elapsed() >= self.cadence.snapshot {
            self.snapshot();
        }
        Ok(())
    }

    /// Requests that came while a worker was slow.
    fn reply_late(&mut self, request: Request) {
        match request {
            Request::Look(reply) => {
                let _ = reply.send(self.look());
            }
            Request::Join { worker, position, reply } => self.join(worker, position, &reply),
            Request::Stop => self.status.stop(),
        }
    }

    fn join(&mut self, worker: usize, position: u64, reply: &Sender<bool>) {
        let here = position >= self.intake.position();
        if let Some(link) = self.workers.get_mut(worker) {
            link.away = !here;
        }
        let _ = reply.send(here);
    }

    /// A consistent cut: intake and every worker save the state at the end of the same round.
    fn snapshot(&mut self) {
        let position = self.intake.position();
        let Some((round, digest)) = self.round.clone().filter(|_| position > self.snapshot_at) else { return };
        let policy: Arc<str> = self.intake.policy().hash.as_str().into();
        let tape = (round, &*digest);
        let snapshot = Snapshot::new("intake", Intake::VERSION, position, tape, &policy, self.intake.save());
        let _ = self.keeper.send(ToKeeper::Snapshot { snapshot, consumer: None });
        for link in self.workers.iter().filter(|link| !link.away) {
            let message = ToWorker::Snapshot { position, round, digest: digest.clone(), policy: policy.clone() };
            let _ = link.inbox.try_send(message);
        }
        self.snapshot_at = position;
        self.since_snapshot = Stopwatch::start();
    }

    fn look(&self) -> IntakeLook {
        let mut partial_bytes = BTreeMap::new();
        for generation in self.follower.generations() {
            *partial_bytes.entry(generation.stream().clone()).or_default() += generation.partial_bytes();
        }
        IntakeLook {
            position: self.intake.position(),
            tape_time: self.intake.tape_time(),
            lines: self.intake.lines().clone(),
            waiting: self.intake.waiting(),
            waiting_dropped: self.intake.waiting_dropped(),
            agents: self.intake.subjects().agents.len(),
            partial_bytes,
            files: self.follower.generations().len(),
            rounds: self.journal.head().0,
            watch_mode: self.watch.mode(),
        }
    }

    /// A last snapshot, and the end of all workers.
    fn finish(&mut self) {
        self.snapshot();
        self.status.stop();
        for link in &self.workers {
            let _ = link.inbox.send(ToWorker::Stop);
        }
    }

    /// The history cannot be continued: nothing more is read, and everybody who asks is told.
    fn fail(&mut self, error: &str) {
        tracing::error!("nothing more is read: {error}");
        self.status.trouble(|troubles| troubles.tailer = Some(format!("nothing more is read: {error}")));
        while let Ok(request) = self.requests.recv() {
            match request {
                Request::Look(reply) => {
                    let _ = reply.send(self.look());
                }
                Request::Join { reply, .. } => {
                    let _ = reply.send(false);
                }
                Request::Stop => return self.finish(),
            }
        }
    }
}

/// Hands a batch to a worker. One that is full holds the others up for a while, then must read the tape by itself.
fn send(
    link: &mut Link,
    sealed: &Arc<SealedBatch>,
    status: &Status,
    requests: &Receiver<Request>,
    held: &mut Vec<Request>,
) {
    let watch = Stopwatch::start();
    let mut message = ToWorker::Batch(sealed.clone());
    while !link.away {
        message = match link.inbox.try_send(message) {
            Ok(()) => return,
            Err(TrySendError::Disconnected(message) | TrySendError::Full(message)) => message,
        };
        link.away = watch.elapsed() > PATIENCE || status.stopping();
        thread::sleep(Duration::from_micros(200));
        held.extend(requests.try_iter());
        if held.iter().any(|request| matches!(request, Request::Stop)) {
            status.stop();
        }
    }
}

fn send_rejects(keeper: &Sender<ToKeeper>, file: usize, batch: &Batch) {
    if batch.rejects.is_empty() {
        return;
    }
    let lines = batch.rejects.iter().map(|reject| {
        let line = serde_json::json!({
            "position": reject.position,
            "stream": &*reject.place.stream,
            "file": &*reject.place.file,
            "offset": reject.place.offset,
            "reason": reject.why.reason.name(),
            "detail": reject.why.detail,
        });
        (Mark { cause: reject.position, ordinal: 0 }, line.to_string())
    });
    let _ = keeper.send(ToKeeper::Lines { file, lines: lines.collect() });
}
