//! Floor 5: the only file that reads a clock. Everything else is handed a [`Clock`], or a time.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::event::Nanos;

/// A source of time: the machine's, or a test's.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Nanos + Send + Sync>);

impl Clock {
    /// The machine's wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place where the wall clock is read")]
    pub fn system() -> Clock {
        Clock(Arc::new(|| {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Nanos::try_from(since.as_nanos()).unwrap_or(Nanos::MAX)
        }))
    }

    /// A clock that a test sets.
    pub fn fixed(now: impl Fn() -> Nanos + Send + Sync + 'static) -> Clock {
        Clock(Arc::new(now))
    }

    /// Unix nanoseconds.
    pub fn now(&self) -> Nanos {
        (self.0)()
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// Measures how long something takes; never orders anything.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(clippy::disallowed_methods, reason = "the one place where time is measured")]
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
