use std::{
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread,
};

use super::{
    Config, Live, StartError,
    append::{OwnStream, OwnStreams},
    controls::{self, Paths},
    hearing::{Hearing, Voice},
    keeper::{Keeper, ToKeeper},
    links::Link,
    look::{Handle, Last},
    memory::Memory,
    names::Names,
    own,
    status::{Status, Troubles},
    tailer::{self, Recalled, Tailer},
    worker::{self, ToWorker, Worker},
};
use crate::{
    clock::Clock,
    fold::{Intake, Registration, Slot, engine::LineOf},
    layout::Layout,
    replay::restore::{Restorer, Survey},
    store::{DurableMark, Lock, OwnLines, Snapshots},
    streams::{Follower, Generation, watch::Watch},
    subject::SubjectSet,
    tape::{
        self, Journal, Torn, directory,
        journal::{Rounds, Seam},
    },
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
    /// What a power cut left of the end of the tape, and was cut off.
    pub torn: Option<Torn>,
}

/// What a power cut took, for people.
pub fn told(torn: &Torn) -> String {
    let Torn { round, from, to, why } = torn;
    format!(
        "a power cut left the tape without what it names from round {round} (positions {from} to {to}): {why}. Nothing stood on it; what the files still have of it is sealed again"
    )
}

/// Takes the directory and starts all threads.
pub fn start(config: Config) -> Result<Live, StartError> {
    directory::check_dir(&config.layout)?;
    let watch = Watch::new(&config.layout.dir).map_err(|source| io_error("notifications", source))?;
    let waker = watch.waker();
    let Parts {
        status,
        tailer,
        history,
        workers,
        handles,
        keeper,
        to_keeper,
        to_tailer,
        controls,
        names,
        started,
        lock,
    } = assemble(config, watch)?;
    let mut threads = vec![spawn_guarded("tailer", &status, |t| &mut t.tailer, move || tailer.run(history))?];
    threads.append(&mut spawn_workers(workers, &status)?);
    let keeper = spawn_guarded("keeper", &status, |t| &mut t.not_durable, move || keeper.run())?;
    let controls = controls.map(controls::start).transpose().map_err(|source| io_error("a thread", source))?;
    Ok(Live {
        status,
        tailer: to_tailer,
        waker,
        workers: handles,
        threads,
        keeper: Some((to_keeper, keeper)),
        last_intake: Default::default(),
        controls,
        names,
        started,
        _lock: lock,
    })
}

/// Everything that threads, or a simulation, drive.
pub struct Parts {
    pub status: Arc<Status>,
    pub tailer: Tailer,
    pub history: Box<dyn Iterator<Item = Recalled> + Send>,
    pub workers: Vec<Worker>,
    pub handles: Vec<Handle>,
    pub keeper: Keeper,
    pub to_keeper: Sender<ToKeeper>,
    pub to_tailer: Sender<tailer::Request>,
    pub controls: Option<controls::Writer>,
    pub names: Arc<Names>,
    pub started: Started,
    pub lock: Lock,
}

/// Takes the directory and brings everything back to where it stood; nothing moves yet.
pub fn assemble(config: Config, watch: Watch) -> Result<Parts, StartError> {
    let Config { layout, registry, clock, cadence, quarantine_file } = config;
    directory::check_dir(&layout)?;
    let lock = Lock::take(&layout.files, &layout.lock())?;
    own::make_dirs(&layout)?;
    let Restored { restorer, own, journal, slots, intake, seam, follower, started } = restored(&layout, registry)?;
    let names = Arc::new(Names::new(intake.subjects()));
    let status = Arc::new(Status::new(registry.iter().map(|registration| registration.name)));
    status.head.store(started.sealed_to, Ordering::Release);
    status.set_now(&intake);
    let (to_keeper, keeper_inbox) = mpsc::channel();
    let (to_tailer, requests) = mpsc::channel();
    let keeper = keeper(&layout, &journal, own, &restorer, &status, keeper_inbox)?;
    // What lies on the tape from before is synced again before anything new stands on it.
    let there = |generation: &&Generation| layout.files.about(&generation.path).is_ok();
    let files = follower.generations().iter().filter(there).map(Generation::place).collect();
    let _ = to_keeper.send(ToKeeper::Sealed { end: started.sealed_to, files, new_links: true });
    let shared = Shared { status, clock, keeper: to_keeper.clone(), tailer: to_tailer.clone(), restorer };
    let (handles, links, workers) = workers(slots, registry, &shared);
    let history = Box::new(history(&layout, &follower, &seam, started.rounds)?);
    let Shared { status, clock, .. } = shared;
    let written =
        Paths { controls: layout.controls(), quarantine: quarantine_file.unwrap_or_else(|| layout.quarantine()) };
    let controls = controls::writer(&layout.files, &status, &clock, &handles, &names, written);
    let tailer = Tailer {
        own: OwnStreams::of(&layout),
        placed: Vec::new(),
        unsealed: None,
        names: names.clone(),
        layout,
        follower,
        journal,
        snapshot_at: intake.position(),
        intake,
        watch,
        requests,
        workers: links,
        keeper: to_keeper.clone(),
        rejects: registry.len(),
        status: status.clone(),
        since_snapshot: clock.stopwatch(),
        clock,
        cadence,
        round: None,
    };
    Ok(Parts {
        status,
        tailer,
        history,
        workers,
        handles,
        keeper,
        to_keeper,
        to_tailer,
        controls,
        names,
        started,
        lock,
    })
}

fn keeper(
    layout: &Layout,
    journal: &Journal,
    own: Vec<OwnLines>,
    restorer: &Restorer,
    status: &Arc<Status>,
    inbox: Receiver<ToKeeper>,
) -> Result<Keeper, StartError> {
    Ok(Keeper {
        files: layout.files.clone(),
        status: status.clone(),
        inbox,
        tape: journal.sync_handle().map_err(|source| io_error("the tape", source))?,
        // The events directory too: where links cannot be made, a file of ours lies there only.
        dirs: vec![layout.links(), layout.own(), layout.dir.clone()],
        own,
        snapshots: restorer.snapshots.clone(),
        mark: DurableMark::new(layout.files.clone(), layout.durable()),
        registry: restorer.registry,
        waiting: Default::default(),
    })
}

/// Everything as it was left.
struct Restored {
    restorer: Arc<Restorer>,
    own: Vec<OwnLines>,
    journal: Journal,
    slots: Vec<Box<dyn Slot>>,
    intake: Intake,
    /// Where intake stands on the tape.
    seam: Seam,
    follower: Follower,
    started: Started,
}

/// Brings everything back to where it stood.
fn restored(layout: &Layout, registry: &'static [Registration]) -> Result<Restored, StartError> {
    let restorer = Arc::new(Restorer {
        snapshots: Snapshots::new(layout.files.clone(), layout.snapshots()),
        layout: layout.clone(),
        registry,
        policy: Arc::default(),
    });
    let torn = tape::mend(layout, own::proven(layout, registry, &restorer.snapshots)?)?;
    if let Some(torn) = &torn {
        tracing::warn!("{}", told(torn));
    }
    let mut rounds = Rounds::open(&layout.files, &layout.tape())?;
    let survey = Survey::of(&mut rounds, restorer.wanted())?;
    let mut started =
        Started { rounds: survey.end.next_round, sealed_to: survey.end.next_position, torn, ..Started::default() };
    let mut slots = restorer.slots(u64::MAX, &survey, &mut started.passed_over)?;
    let oldest = slots.iter().map(|slot| slot.position()).min().unwrap_or(0);
    let (mut intake, seam) = restorer.intake(oldest, &survey, &mut started.passed_over)?;
    let own = own::open(layout, registry, &survey, &slots, seam.next_position)?;
    let journal = Journal::after(&rounds)?;
    intake.track(&OwnStream::ALL.map(OwnStream::name));
    slots.iter_mut().for_each(|slot| slot.learn(intake.subjects()));
    let follower = follower(layout, &survey)?;
    started.files = follower.generations().len();
    started.restored = slots.iter().map(|slot| (slot.name(), slot.position())).collect();
    Ok(Restored { restorer, own, journal, slots, intake, seam, follower, started })
}

fn spawn_workers(workers: Vec<Worker>, status: &Arc<Status>) -> Result<Vec<thread::JoinHandle<()>>, StartError> {
    let spawn_one = |worker: Worker| {
        let status = status.clone();
        spawn(worker.slot.name(), move || work(worker, &status))
    };
    workers.into_iter().map(spawn_one).collect()
}

/// A failure outside of the fold ends the thread, and is told as well.
fn work(worker: Worker, status: &Status) {
    let index = worker.index;
    if panic::catch_unwind(AssertUnwindSafe(|| worker.run())).is_err()
        && let Some(consumer) = status.consumers.get(index)
    {
        consumer.panics.fetch_add(1, Ordering::AcqRel);
        consumer.stay_down("it failed while it was looked at or saved".to_owned());
    }
}

/// A thread without which nothing may be permitted: should it fail, everybody is told.
fn spawn_guarded(
    name: &str,
    status: &Arc<Status>,
    place: fn(&mut Troubles) -> &mut Option<String>,
    body: impl FnOnce() + Send + 'static,
) -> Result<thread::JoinHandle<()>, StartError> {
    let status = status.clone();
    spawn(name, move || {
        if panic::catch_unwind(AssertUnwindSafe(body)).is_err() {
            let what = "a thread of the recorder failed; restart runtape, and see its log".to_owned();
            status.trouble(|troubles| *place(troubles) = Some(what));
        }
    })
}

/// A follower that goes on where the tape ends.
fn follower(layout: &Layout, survey: &Survey) -> Result<Follower, StartError> {
    let known = survey.known.clone().generations(layout);
    let mut follower = Follower::new(layout.files.clone(), layout.dir.clone(), Some(layout.links()), known);
    let recovered = follower.recover(&|file| tape::extents_of(layout, file));
    recovered.map_err(|source| io_error(&layout.dir.display().to_string(), source))?;
    Ok(follower)
}

/// What every thread is given.
struct Shared {
    status: Arc<Status>,
    clock: Clock,
    keeper: Sender<ToKeeper>,
    tailer: Sender<tailer::Request>,
    restorer: Arc<Restorer>,
}

fn workers(
    slots: Vec<Box<dyn Slot>>,
    registry: &[Registration],
    shared: &Shared,
) -> (Vec<Handle>, Vec<Link>, Vec<Worker>) {
    let (mut handles, mut links, mut workers) = (Vec::new(), Vec::new(), Vec::new());
    for ((index, slot), (hears, speaks_to)) in slots.into_iter().enumerate().zip(voices(registry)) {
        let (inbox, receiver): (SyncSender<ToWorker>, Receiver<ToWorker>) = mpsc::sync_channel(worker::QUEUE);
        let (last, away) = (Last::default(), Arc::new(AtomicBool::new(false)));
        let memory = Arc::new(Memory::default());
        let position = slot.position();
        if let Some(status) = shared.status.consumers.get(index) {
            status.position.store(position, Ordering::Release);
            status.snapshot.store(position, Ordering::Release);
            status.at_head.store(shared.clock.now(), Ordering::Release);
        }
        let name = slot.name();
        handles.push(Handle { name, inbox: inbox.clone(), last: last.clone(), memory: memory.clone() });
        links.push(Link::new(inbox, away.clone()));
        workers.push(Worker {
            index,
            slot,
            inbox: receiver,
            away,
            keeper: shared.keeper.clone(),
            tailer: shared.tailer.clone(),
            status: shared.status.clone(),
            clock: shared.clock.clone(),
            last,
            hears: hears.into_iter().map(|(name, from)| Hearing::new(name, from, position)).collect(),
            stream: own_stream(registry, index),
            speaks_to,
            restorer: shared.restorer.clone(),
            memory,
            samples: Default::default(),
            names: Default::default(),
            unseen: SubjectSet::default(),
            untold: SubjectSet::default(),
            fold_seconds: Default::default(),
            panics: Default::default(),
            saved_at: (position, position),
        });
    }
    (handles, links, workers)
}

/// Whom a consumer hears, and who hears it.
type Voices = (Vec<(&'static str, Receiver<Voice>)>, Vec<Sender<Voice>>);

/// One queue for each pair of a consumer and one that it hears.
fn voices(registry: &[Registration]) -> Vec<Voices> {
    let mut voices: Vec<Voices> = registry.iter().map(|_| (Vec::new(), Vec::new())).collect();
    for (hearer, registration) in registry.iter().enumerate() {
        for heard in registration.hears {
            let speaker = registry.iter().position(|r| r.name == *heard).expect("the list is checked by a test");
            let (speak, hear) = mpsc::channel();
            voices[speaker].1.push(speak);
            voices[hearer].0.push((heard, hear));
        }
    }
    voices
}

/// The sealed rounds from a place on, with where their bytes are.
fn history(
    layout: &Layout,
    follower: &Follower,
    from: &Seam,
    rounds: u64,
) -> Result<impl Iterator<Item = Recalled> + use<>, StartError> {
    let reader = Follower::new(layout.files.clone(), layout.dir.clone(), None, follower.generations().to_vec());
    let left = rounds.saturating_sub(from.next_round) as usize;
    Ok(Rounds::open_at(&layout.files, &layout.tape(), from)?.take(left).map(move |round| {
        let round = round?;
        let source = directory::source(&reader, &round);
        Ok((round, source))
    }))
}

/// The stream of a consumer that has one: which of our files it is, and how a decision becomes a line of it.
fn own_stream(registry: &[Registration], index: usize) -> Option<(usize, LineOf)> {
    let (_, line) = registry.get(index)?.stream?;
    let before = registry[..index].iter().filter(|r| r.stream.is_some()).count();
    Some((registry.len() + 1 + before, line))
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<thread::JoinHandle<()>, StartError> {
    thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|source| io_error("a thread", source))
}

pub(super) fn io_error(what: &str, source: io::Error) -> StartError {
    StartError::Io { what: what.to_owned(), source }
}
