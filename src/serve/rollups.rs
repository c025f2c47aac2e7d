use std::{
    cell::Cell,
    io,
    panic::{self, AssertUnwindSafe},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError, Sender},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use crate::{
    clock::{Clock, Stopwatch},
    live::{Status, status::Rollups},
    replay::Watch,
};

/// Brings tables up to the lines before a position, while it is told to go on; says how far they are, and what they lack.
pub type Turn = Box<dyn FnMut(u64, &Watch) -> Result<(u64, Option<String>), String> + Send>;

/// Tables that are written beside the fold, again and again.
pub struct Tables {
    pub every: Duration,
    pub turn: Turn,
}

/// How long the first turn waits for the fold to have read its history, between two looks.
const LOOK: Duration = Duration::from_millis(100);

/// So that it hears soon that it is to stop.
const REST_MAX: Duration = Duration::from_millis(200);

/// The thread that writes them.
pub struct Running {
    stop: Arc<AtomicBool>,
    _ends: Sender<()>,
    thread: JoinHandle<()>,
}

impl Running {
    /// Starts with a first turn as soon as the fold has caught up. What is not durable yet is not in any table.
    ///
    /// # Errors
    /// No thread for it.
    pub fn start(tables: Tables, status: Arc<Status>, clock: Clock) -> io::Result<Running> {
        let stop = Arc::new(AtomicBool::new(false));
        let (ends, ended) = mpsc::channel();
        status.note_rollups(Rollups::default(), None);
        let writer = Writer { tables, status, clock, stop: stop.clone(), ended };
        let thread = thread::Builder::new().name("rollups".to_owned()).spawn(move || writer.run())?;
        Ok(Running { stop, _ends: ends, thread })
    }

    /// Waits until a turn that is under way has come to a place where it can end.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        drop(self._ends);
        let _ = self.thread.join();
    }
}

struct Writer {
    tables: Tables,
    status: Arc<Status>,
    clock: Clock,
    stop: Arc<AtomicBool>,
    /// Disconnected at the end.
    ended: Receiver<()>,
}

impl Writer {
    fn run(mut self) {
        while !self.status.caught_up.load(Ordering::Acquire) {
            if !self.waits(LOOK) {
                return;
            }
        }
        loop {
            self.turn();
            if !self.waits(self.tables.every) {
                return;
            }
        }
    }

    /// False when it is to end.
    fn waits(&self, time: Duration) -> bool {
        matches!(self.ended.recv_timeout(time), Err(RecvTimeoutError::Timeout))
    }

    fn turn(&mut self) {
        let (until, turn, stop) = (self.status.durable.load(Ordering::Acquire), &mut self.tables.turn, &self.stop);
        let done = panic::catch_unwind(AssertUnwindSafe(|| turn(until, &resting(stop))));
        let done = done.unwrap_or_else(|_| Err("it panicked; the log says where".to_owned()));
        if self.stop.load(Ordering::Acquire) {
            return;
        }
        let mut rollups = self.status.rollups().unwrap_or_default();
        let problem = match done {
            Ok((position, lacks)) => {
                (rollups.position, rollups.last) = (position, Some(self.clock.now()));
                lacks
            }
            Err(why) => {
                rollups.failures += 1;
                Some(why)
            }
        };
        let problem = problem.map(|why| format!("rollups: {why}"));
        if let Some(problem) =
            problem.as_ref().filter(|problem| self.status.troubles().rollups.as_ref() != Some(problem))
        {
            tracing::warn!("{problem}");
        }
        self.status.note_rollups(rollups, problem);
    }
}

/// Goes on until it is told to stop, and rests as long as it works: the fold and whoever asks find a core.
fn resting(stop: &AtomicBool) -> impl Fn(u64) -> bool {
    let since = Cell::new(Stopwatch::start());
    move |_| {
        thread::sleep(since.replace(Stopwatch::start()).elapsed().min(REST_MAX));
        since.set(Stopwatch::start());
        !stop.load(Ordering::Acquire)
    }
}
