//! Floor 5: the only file that reads a clock. Everything else is handed a [`Clock`], or a time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::event::Nanos;

/// A source of time: the machine's, or a test's.
#[derive(Clone)]
pub struct Clock {
    now: Arc<dyn Fn() -> Nanos + Send + Sync>,
    /// Durations are measured by it too.
    simulated: bool,
}

impl Clock {
    /// The machine's wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn system() -> Clock {
        Clock::fixed(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
        })
    }

    /// A clock that a test sets.
    pub fn fixed(now: impl Fn() -> Nanos + Send + Sync + 'static) -> Clock {
        Clock { now: Arc::new(now), simulated: false }
    }

    /// A clock that a simulation sets, and that measures durations too.
    pub fn simulated(now: impl Fn() -> Nanos + Send + Sync + 'static) -> Clock {
        Clock { now: Arc::new(now), simulated: true }
    }

    /// Starts to measure how long something takes.
    pub fn stopwatch(&self) -> Stopwatch {
        if self.simulated { Stopwatch(Since::Simulated(self.clone(), self.now())) } else { Stopwatch::start() }
    }

    /// Unix nanoseconds.
    pub fn now(&self) -> Nanos {
        (self.now)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Measures how long something takes; never orders anything.
#[derive(Clone, Debug)]
pub struct Stopwatch(Since);

#[derive(Clone, Debug)]
enum Since {
    Machine(Instant),
    Simulated(Clock, Nanos),
}

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one place where time is measured")]
    pub fn start() -> Stopwatch {
        Stopwatch(Since::Machine(Instant::now()))
    }

    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Since::Machine(start) => start.elapsed(),
            Since::Simulated(clock, start) => {
                Duration::from_nanos(u64::try_from(clock.now().saturating_sub(*start)).unwrap_or(0))
            }
        }
    }
}
