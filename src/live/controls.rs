use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, SyncSender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use serde_json::{Map, Value};

use super::{
    LOOK_TIMEOUT,
    control_files::{self, Moment},
    look::Handle,
    names::Names,
    permits::{Control, Permits, Quarantined, Runs},
    rows::{self, Rows},
    status::Status,
    worker::ToWorker,
};
use crate::{
    clock::{Clock, Stopwatch},
    event::{Nanos, time},
    files::Files,
    store::atomic,
    subject::Subject,
    view::Row,
};

/// How long a file may be believed.
const VALID: Nanos = 30_000_000_000;

/// A file is written anew after this, even if nothing changed.
const REFRESH: Duration = Duration::from_secs(5);

/// How often it is looked at whether all is well, when nobody says that something changed.
const TICK: Duration = Duration::from_secs(1);

/// Looks are at least so far apart; and so many times what the last one took, so that a large fleet does not keep the disk
/// busy with this alone.
const GAP: Duration = Duration::from_millis(20);
const GAP_SHARE: u32 = 4;
const GAP_MAX: Duration = Duration::from_millis(500);

/// What changes together is written together, and whoever waits for an answer about it goes first.
const SETTLING: Duration = Duration::from_millis(2);

/// A desk that has not answered for so long is not relied on.
const SILENCE_MAX: Duration = Duration::from_secs(5);

/// Whose rows make the files.
const DESK: &str = "desk";
const ALLOCATION: &str = "allocation";
const QUARANTINE: &str = "quarantine";

/// The thread that writes the files, from outside.
pub struct Writing {
    stop: Arc<AtomicBool>,
    wake: SyncSender<()>,
    thread: JoinHandle<()>,
}

impl Writing {
    /// Writes a last file that permits nothing, and ends.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        let _ = self.wake.try_send(());
        let _ = self.thread.join();
    }
}

/// Where the files lie.
pub struct Paths {
    pub controls: PathBuf,
    pub quarantine: PathBuf,
}

/// A worker whose rows are wanted.
struct Source {
    inbox: SyncSender<ToWorker>,
    /// Changes may have been lost: all is asked for.
    all: bool,
    /// Where it last stood.
    position: u64,
}

/// Keeps `controls.json` and `quarantine.json` true.
pub struct Writer {
    files: Files,
    status: Arc<Status>,
    clock: Clock,
    names: Arc<Names>,
    paths: Paths,
    desk: Option<Source>,
    allocation: Option<Source>,
    quarantine: Option<Source>,
    /// What the desk says of the fleet, under its own name.
    fleet: Permits<Map<String, Value>>,
    verdicts: Permits<Control>,
    runs: Permits<Runs>,
    quarantined: Permits<Quarantined>,
    /// Since the desk last answered.
    heard: Option<Stopwatch>,
    controls_file: Kept,
    quarantine_file: Kept,
}

/// A file as it was last written.
#[derive(Default)]
struct Kept {
    since: Option<Stopwatch>,
    /// Something in it is not as it was.
    stale: bool,
    hold: Option<&'static str>,
}

/// What writes the files; none where no consumer has anything to write.
pub fn writer(
    files: &Files,
    status: &Arc<Status>,
    clock: &Clock,
    workers: &[Handle],
    names: &Arc<Names>,
    paths: Paths,
) -> Option<Writer> {
    let source = |name: &str| {
        let handle = workers.iter().find(|handle| handle.name == name)?;
        Some(Source { inbox: handle.inbox.clone(), all: true, position: 0 })
    };
    let (desk, allocation, quarantine) = (source(DESK), source(ALLOCATION), source(QUARANTINE));
    if desk.is_none() && quarantine.is_none() {
        return None;
    }
    Some(Writer {
        files: files.clone(),
        status: status.clone(),
        clock: clock.clone(),
        names: names.clone(),
        paths,
        desk,
        allocation,
        quarantine,
        fleet: Permits::default(),
        verdicts: Permits::default(),
        runs: Permits::default(),
        quarantined: Permits::default(),
        heard: None,
        controls_file: Kept::default(),
        quarantine_file: Kept::default(),
    })
}

/// Starts the thread.
///
/// # Errors
/// No thread can be had.
pub fn start(writer: Writer) -> std::io::Result<Writing> {
    let (wake, woken) = mpsc::sync_channel(1);
    let stop = Arc::new(AtomicBool::new(false));
    let waker = wake.clone();
    writer.status.listen(move || {
        // One that is on its way already wakes for this too.
        let _ = waker.try_send(());
    });
    let stopped = stop.clone();
    let thread = thread::Builder::new().name("controls".to_owned()).spawn(move || writer.run(&woken, &stopped))?;
    Ok(Writing { stop, wake, thread })
}

impl Writer {
    fn run(mut self, woken: &Receiver<()>, stop: &AtomicBool) {
        while !stop.load(Ordering::Acquire) {
            let watch = Stopwatch::start();
            let asked = self.ask();
            self.learn(asked, LOOK_TIMEOUT);
            self.write();
            let gap = (watch.elapsed() * GAP_SHARE).clamp(GAP, GAP_MAX);
            thread::sleep(gap);
            if woken.recv_timeout(TICK).is_ok() {
                thread::sleep(SETTLING);
            }
        }
        self.write_controls(Some("stopped"));
    }

    /// Asks what changed.
    pub fn ask(&mut self) -> Asked {
        if !self.status.caught_up.load(Ordering::Acquire) {
            return Asked::default();
        }
        let sources = [&mut self.desk, &mut self.allocation, &mut self.quarantine];
        Asked(sources.map(|source| source.as_mut().and_then(ask)))
    }

    /// Takes in what was answered.
    pub fn learn(&mut self, Asked(answers): Asked, patience: Duration) {
        let sources = [&mut self.desk, &mut self.allocation, &mut self.quarantine];
        let mut rows =
            sources.into_iter().zip(answers).map(|(source, answer)| take(source.as_mut()?, answer?, patience));
        let [desk, allocation, quarantine] = std::array::from_fn(|_| rows.next().flatten());
        if let Some(Rows { position, part, .. }) = desk {
            self.heard = Some(self.clock.stopwatch());
            self.controls_file.stale |= position != self.verdicts.position();
            let said = |row: &Row| row.get(DESK).and_then(Value::as_object).cloned();
            let fleet = part.rows.iter().find(|(subject, _)| *subject == Subject::Fleet);
            self.fleet.offer(position, fleet.and_then(|(_, row)| said(row)).map(|fleet| (Arc::from(DESK), fleet)));
            self.verdicts.offer(position, named(&self.names, &part.rows, |row| Some(Control::of(row))));
        }
        if let Some(Rows { position, part, .. }) = allocation {
            let runs = named(&self.names, &part.rows, |row| row.get(ALLOCATION).cloned().map(Runs));
            self.controls_file.stale |= !runs.is_empty();
            self.runs.offer(position, runs);
        }
        if let Some(Rows { position, part, .. }) = quarantine {
            let before = self.quarantined.shown().clone();
            self.quarantined.offer(position, named(&self.names, &part.rows, Quarantined::of));
            self.quarantine_file.stale |= *self.quarantined.shown() != before;
        }
    }

    pub fn write(&mut self) {
        let durable = self.status.durable.load(Ordering::Acquire);
        self.controls_file.stale |=
            self.verdicts.release(durable) | self.fleet.release(durable) | self.runs.release(durable);
        self.quarantine_file.stale |= self.quarantined.release(durable);
        let hold = self.hold();
        self.controls_file.stale |= hold != self.controls_file.hold;
        if self.desk.is_some() && self.controls_file.is_due() {
            self.write_controls(hold);
        }
        let known = self.quarantine.is_some() && self.status.caught_up.load(Ordering::Acquire);
        if known && self.quarantine_file.is_due() {
            let file = control_files::quarantine(time::unix_seconds(self.clock.now()), self.quarantined.shown());
            let written = self.replace(&self.paths.quarantine, &file);
            self.quarantine_file.wrote(written, None, self.clock.stopwatch());
        }
    }

    /// Why nothing is permitted now.
    fn hold(&self) -> Option<&'static str> {
        let silent = self.heard.as_ref().is_none_or(|heard| heard.elapsed() > SILENCE_MAX);
        (silent || !self.status.not_ready(self.clock.now()).is_empty()).then_some("not_ready")
    }

    fn write_controls(&mut self, hold: Option<&'static str>) {
        if self.desk.is_none() {
            return;
        }
        let now = self.clock.now();
        let valid_until = if hold == Some("stopped") { now } else { now.saturating_add(VALID) };
        let moment = Moment {
            position: self.verdicts.position(),
            tape_time: self.status.tape_time().map(time::unix_seconds),
            valid_until: time::unix_seconds(valid_until),
            hold,
        };
        let fleet = self.fleet.shown().get(DESK).map_or_else(Map::new, |fleet| Map::clone(fleet));
        let file = control_files::controls(moment, &fleet, self.verdicts.shown(), self.runs.shown());
        let written = self.replace(&self.paths.controls, &file);
        self.controls_file.wrote(written, hold, self.clock.stopwatch());
    }

    /// Whether the file is there now.
    fn replace(&self, path: &Path, content: &str) -> bool {
        let written = atomic::replace(&self.files, path, format!("{content}\n").as_bytes());
        let trouble = written.err().map(|error| {
            format!(
                "cannot write {}: {error}; whoever reads it treats every agent as denied once it expires",
                path.display()
            )
        });
        let fine = trouble.is_none();
        if let Some(trouble) = &trouble {
            tracing::warn!("{trouble}");
        }
        self.status.trouble(|troubles| match trouble {
            Some(trouble) => _ = troubles.controls.insert(path.to_owned(), trouble),
            None => _ = troubles.controls.remove(path),
        });
        fine
    }
}

impl Kept {
    fn is_due(&self) -> bool {
        self.stale || self.since.as_ref().is_none_or(|since| since.elapsed() >= REFRESH)
    }

    fn wrote(&mut self, written: bool, hold: Option<&'static str>, since: Stopwatch) {
        self.hold = hold;
        self.stale = !written;
        self.since = Some(since);
    }
}

/// Answers that are due.
#[derive(Default)]
pub struct Asked([Option<Receiver<Rows>>; 3]);

/// Asks a worker what changed since it was last asked; all, where an answer was lost.
fn ask(source: &mut Source) -> Option<Receiver<Rows>> {
    let all = std::mem::replace(&mut source.all, true);
    rows::ask(&source.inbox, |reply| ToWorker::Changed { all, reply })
}

/// The answer; none when it does not come in time. Then all is asked for the next time.
fn take(source: &mut Source, answer: Receiver<Rows>, patience: Duration) -> Option<Rows> {
    // What a consumer says that was taken back to a snapshot is older than what is known of it.
    let rows = answer.recv_timeout(patience).ok().filter(|rows| rows.position >= source.position)?;
    (source.all, source.position) = (false, rows.position);
    Some(rows)
}

/// What is said of each agent, by name.
fn named<T>(names: &Names, rows: &[(Subject, Row)], said: impl Fn(&Row) -> Option<T>) -> Vec<(Arc<str>, T)> {
    names.with(|names| {
        let agents = rows.iter().filter(|(subject, _)| matches!(subject, Subject::Agent(_)));
        agents.filter_map(|(subject, row)| Some((names.shared(*subject), said(row)?))).collect()
    })
}
