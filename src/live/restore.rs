use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::Ordering,
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use super::{
    Config, Live, SealedBatch, StartError,
    keeper::{Keeper, ToKeeper},
    status::Status,
    tailer::{self, Link, Tailer},
    worker::{self, Handle, Hearing, ToWorker, Voice, Worker},
};
use crate::{
    clock::Stopwatch,
    fold::{Intake, Registration, Slot},
    layout::Layout,
    policy::InForce,
    store::{Lock, OwnLines, Snapshot, Snapshots, snapshot::Header},
    streams::{Follower, watch::Watch},
    tape::{self, Journal, Known, Round, RoundSource, Until, directory, journal::Rounds, read_round},
};

/// What was found at the start; for the person who started it.
#[derive(Debug, Clone, Default)]
pub struct Started {
    pub rounds: u64,
    pub sealed_to: u64,
    pub files: usize,
    /// Where each consumer was restored to, in list order.
    pub restored: Vec<(&'static str, u64)>,
    /// Snapshots that could not be used, and why.
    pub passed_over: Vec<String>,
}

/// Brings consumers and intake back from their snapshots, and reads the tape from there. A snapshot that does not stand
/// on this tape, version and policy counts as absent.
pub struct Restorer {
    layout: Layout,
    registry: &'static [Registration],
    policy: Arc<InForce>,
    snapshots: Snapshots,
}

impl Restorer {
    /// A consumer from its newest snapshot that fits, or fresh.
    pub fn slot(&self, index: usize) -> Box<dyn Slot> {
        let digests = self.digests();
        let mut slot = self.restored(index, &digests, &mut Vec::new());
        let (intake, _) = self.intake(slot.position(), &digests, &mut Vec::new());
        slot.learn(intake.subjects());
        slot
    }

    fn restored(&self, index: usize, digests: &Digests, passed_over: &mut Vec<String>) -> Box<dyn Slot> {
        let mut slot = (self.registry[index].new)();
        let (name, version) = (slot.name(), slot.version());
        if let Some(snapshot) = self.newest(name, version, u64::MAX, digests, passed_over) {
            // The names are learnt from intake's own snapshot, and from the batches.
            if let Err(error) = slot.load(snapshot.header.position, &snapshot.state) {
                passed_over.push(error.to_string());
            }
        }
        slot
    }

    fn newest(
        &self,
        of: &str,
        version: u32,
        position_max: u64,
        digests: &Digests,
        passed_over: &mut Vec<String>,
    ) -> Option<Snapshot> {
        let fits = |header: &Header| {
            if header.version != version {
                return Err(format!("it is of version {}, this runtape has {version}", header.version));
            }
            if header.policy != self.policy.hash {
                return Err("it was made under another policy".to_owned());
            }
            if digests.get(&header.round) != Some(&(header.tape.clone(), header.position)) {
                return Err(format!("it does not stand on this tape (round {})", header.round));
            }
            if header.position > position_max {
                return Err("it is newer than a consumer that must be read for".to_owned());
            }
            Ok(())
        };
        let (snapshot, passed) = self.snapshots.newest(of, fits).unwrap_or_default();
        passed_over.extend(passed.into_iter().map(|p| format!("{}: {}", p.path.display(), p.why)));
        snapshot
    }

    /// Intake from its newest snapshot at or before a position, or fresh; with the number of the next round.
    fn intake(&self, position: u64, digests: &Digests, passed_over: &mut Vec<String>) -> (Intake, u64) {
        let snapshot = self.newest("intake", Intake::VERSION, position, digests, passed_over);
        let loaded = snapshot.and_then(|snapshot| {
            let intake = Intake::load(self.policy.clone(), &snapshot.state);
            intake.map_err(|error| passed_over.push(error.to_string())).ok().map(|i| (i, snapshot.header.round + 1))
        });
        loaded.unwrap_or_else(|| (Intake::new(self.policy.clone()), 0))
    }

    /// Reads the tape from a position on (or a little before), through an intake of its own.
    pub fn read_from(&self, position: u64, until: Until, sink: &mut dyn FnMut(SealedBatch)) -> Result<(), String> {
        let (mut intake, next_round) = self.intake(position, &self.digests(), &mut Vec::new());
        let mut known = Known::default();
        let mut rounds = Vec::new();
        for round in Rounds::open(&self.layout.tape()).map_err(|error| error.to_string())? {
            let round = round.map_err(|error| error.to_string())?;
            known.add(&round);
            if round.round >= next_round {
                rounds.push(round);
            }
        }
        let follower = Follower::new(self.layout.dir.clone(), None, known.generations(&self.layout));
        for round in rounds {
            let source = directory::source(&follower, &round);
            let digest: Arc<str> = round.digest.as_str().into();
            read_round(&source, &mut intake, until, &mut |batch| {
                sink(SealedBatch { batch, round: round.round, digest: digest.clone() });
            })
            .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Digest and end of the rounds that snapshots stand on.
    fn digests(&self) -> Digests {
        let mut digests = self.wanted();
        if let Ok(rounds) = Rounds::open(&self.layout.tape()) {
            rounds.flatten().for_each(|round| note(&mut digests, &round));
        }
        digests
    }

    fn wanted(&self) -> Digests {
        let headers = self.snapshots.headers().unwrap_or_default();
        headers.into_iter().filter_map(|(_, header)| Some((header.ok()?.round, (String::new(), 0)))).collect()
    }
}

/// Digest and end position by round number.
type Digests = BTreeMap<u64, (String, u64)>;

fn note(digests: &mut Digests, round: &Round) {
    if let Some(entry) = digests.get_mut(&round.round) {
        *entry = (round.digest.clone(), round.end());
    }
}

/// Takes the directory and starts all threads.
pub fn start(config: Config) -> Result<Live, StartError> {
    let Config { layout, registry, clock, cadence } = config;
    directory::check_dir(&layout)?;
    let lock = Lock::take(&layout.lock())?;
    make_dirs(&layout)?;
    let restorer = Arc::new(Restorer {
        snapshots: Snapshots::new(layout.snapshots()),
        layout: layout.clone(),
        registry,
        policy: Arc::default(),
    });
    let (mut known, mut digests) = (Known::default(), restorer.wanted());
    let journal = Journal::open(&layout.tape(), |round| {
        note(&mut digests, &round);
        known.add(&round);
    })?;
    let own = own_files(&layout, registry, &journal, &digests)?;
    let mut started = Started { rounds: journal.head().0, sealed_to: journal.head().1, ..Started::default() };
    let mut slots: Vec<Box<dyn Slot>> =
        (0..registry.len()).map(|index| restorer.restored(index, &digests, &mut started.passed_over)).collect();
    let oldest = slots.iter().map(|slot| slot.position()).min().unwrap_or(0);
    let (intake, next_round) = restorer.intake(oldest, &digests, &mut started.passed_over);
    for slot in &mut slots {
        slot.learn(intake.subjects());
    }
    let mut follower = Follower::new(layout.dir.clone(), Some(layout.links()), known.generations(&layout));
    follower
        .recover(&|file| tape::extents_of(&layout, file))
        .map_err(|source| io_error(&layout.dir.display().to_string(), source))?;
    started.files = follower.generations().len();
    started.restored = slots.iter().map(|slot| (slot.name(), slot.position())).collect();

    let watch = Watch::new(&layout.dir).map_err(|source| io_error("notifications", source))?;
    let waker = watch.waker();
    let status = Arc::new(Status::new(registry.iter().map(|registration| registration.name)));
    status.head.store(started.sealed_to, Ordering::Release);
    status.durable.store(0, Ordering::Release);
    let (to_keeper, keeper_inbox) = mpsc::channel();
    let (to_tailer, requests) = mpsc::channel();
    let tape = journal.sync_handle().map_err(|source| io_error("the tape", source))?;
    let dirs = vec![layout.links(), layout.own()];
    let rejects = registry.len();
    let snapshots = restorer.snapshots.clone();
    let keeper = Keeper { status: status.clone(), inbox: keeper_inbox, tape, dirs, own, snapshots };
    let shared = Shared { status, clock, keeper: to_keeper.clone(), tailer: to_tailer.clone(), restorer };
    let (handles, links, workers) = workers(slots, registry, &shared);
    // What lies on the tape from before is synced again before anything new stands on it.
    let paths = follower.generations().iter().map(|generation| generation.path.clone()).collect();
    let _ = to_keeper.send(ToKeeper::Sealed { end: started.sealed_to, files: paths, new_links: true });
    let history = history(&layout, &follower, next_round, started.rounds)?;
    let tailer = Tailer {
        layout,
        follower,
        journal,
        snapshot_at: intake.position(),
        intake,
        watch,
        requests,
        workers: links,
        keeper: to_keeper.clone(),
        rejects,
        status: shared.status.clone(),
        clock: shared.clock.clone(),
        cadence,
        round: None,
        since_snapshot: Stopwatch::start(),
    };
    let mut threads = vec![spawn("tailer", move || tailer.run(history))?];
    for worker in workers {
        threads.push(spawn(worker.slot.name(), move || worker.run())?);
    }
    let keeper = spawn("keeper", move || keeper.run())?;
    Ok(Live {
        status: shared.status,
        tailer: to_tailer,
        waker,
        workers: handles,
        threads,
        keeper: Some((to_keeper, keeper)),
        started,
        _lock: lock,
    })
}

/// What every thread is given.
struct Shared {
    status: Arc<Status>,
    clock: crate::clock::Clock,
    keeper: Sender<ToKeeper>,
    tailer: Sender<tailer::Request>,
    restorer: Arc<Restorer>,
}

fn workers(
    slots: Vec<Box<dyn Slot>>,
    registry: &[Registration],
    shared: &Shared,
) -> (Vec<Handle>, Vec<Link>, Vec<Worker>) {
    let mut voices: Vec<(Vec<Hearing>, Vec<Sender<Voice>>)> =
        registry.iter().map(|_| (Vec::new(), Vec::new())).collect();
    for (hearer, registration) in registry.iter().enumerate() {
        for heard in registration.hears {
            let speaker = registry.iter().position(|r| r.name == *heard).expect("the list is checked by a test");
            let (speak, hear) = mpsc::channel();
            voices[speaker].1.push(speak);
            voices[hearer].0.push(Hearing { from: hear, upto: 0, emitted: Vec::new() });
        }
    }
    let (mut handles, mut links, mut workers) = (Vec::new(), Vec::new(), Vec::new());
    for (index, (slot, (hears, speaks_to))) in slots.into_iter().zip(voices).enumerate() {
        let (inbox, receiver): (SyncSender<ToWorker>, Receiver<ToWorker>) = mpsc::sync_channel(worker::QUEUE);
        let last = Arc::new(Mutex::new(Arc::default()));
        if let Some(status) = shared.status.consumers.get(index) {
            status.position.store(slot.position(), Ordering::Release);
            status.snapshot.store(slot.position(), Ordering::Release);
        }
        handles.push(Handle { inbox: inbox.clone(), last: Arc::clone(&last) });
        links.push(Link { inbox, away: false });
        workers.push(Worker {
            index,
            slot,
            inbox: receiver,
            keeper: shared.keeper.clone(),
            tailer: shared.tailer.clone(),
            status: shared.status.clone(),
            clock: shared.clock.clone(),
            last,
            hears,
            speaks_to,
            restorer: shared.restorer.clone(),
            samples: Arc::default(),
            fold_seconds: Default::default(),
            panics: Default::default(),
        });
    }
    (handles, links, workers)
}

/// The sealed rounds from a number on, with where their bytes are.
fn history(
    layout: &Layout,
    follower: &Follower,
    from: u64,
    rounds: u64,
) -> Result<impl Iterator<Item = Result<(Round, RoundSource), tape::TapeError>> + use<>, StartError> {
    let reader = Follower::new(layout.dir.clone(), None, follower.generations().to_vec());
    Ok(Rounds::open(&layout.tape())?.take(rounds as usize).skip(from as usize).map(move |round| {
        let round = round?;
        let source = directory::source(&reader, &round);
        Ok((round, source))
    }))
}

/// The decisions files in list order, then the rejects. A line that stands past the end of the tape means that the tape
/// was cut.
fn own_files(
    layout: &Layout,
    registry: &[Registration],
    journal: &Journal,
    digests: &Digests,
) -> Result<Vec<OwnLines>, StartError> {
    let (rounds, end, _) = journal.head();
    let cut = |what: String| {
        StartError::Cut(format!(
            "{what}, but the tape {} ends at position {end}: it was cut. Restore it from a backup, or move {} away to begin anew",
            layout.tape().display(),
            layout.own().display()
        ))
    };
    if let Some(round) = digests.keys().find(|round| **round >= rounds) {
        return Err(cut(format!("a snapshot stands on round {round}")));
    }
    let paths = registry.iter().map(|r| layout.decisions(r.name)).chain([layout.rejects()]);
    paths
        .map(|path| {
            let own = OwnLines::open(&path).map_err(|source| io_error(&path.display().to_string(), source))?;
            match own.last() {
                Some(last) if last.cause >= end => {
                    Err(cut(format!("{} holds a line about position {}", path.display(), last.cause)))
                }
                _ => Ok(own),
            }
        })
        .collect()
}

fn make_dirs(layout: &Layout) -> Result<(), StartError> {
    for dir in [layout.links(), layout.snapshots()] {
        fs::create_dir_all(&dir).map_err(|source| io_error(&dir.display().to_string(), source))?;
    }
    sweep(&layout.snapshots());
    Ok(())
}

/// Drops what a crash left of a file that was being replaced.
fn sweep(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "tmp") {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| io_error("a thread", source))
}

fn io_error(what: &str, source: io::Error) -> StartError {
    StartError::Io { what: what.to_owned(), source }
}
