use std::{
    sync::{Mutex, PoisonError},
    thread,
};

use crate::render::exposition::{Task, Writers};

/// However many processors there are, no more of them are taken from the fold.
const MOST: usize = 4;

/// From so many lines on it is worth the while to begin a thread.
const MANY: usize = 2_000;

/// Threads that write a page together: at most so many.
#[derive(Clone, Copy, Debug)]
pub struct Threads(usize);

impl Default for Threads {
    /// One for each processor, four at most. It takes a while to find out.
    fn default() -> Threads {
        Threads(thread::available_parallelism().map_or(1, usize::from).min(MOST))
    }
}

impl Writers for Threads {
    fn tasks(&self, lines: usize) -> usize {
        if lines < MANY { 1 } else { self.0 }
    }

    fn write(&self, tasks: Vec<Task>) {
        let others = tasks.len().saturating_sub(1);
        let tasks = Mutex::new(tasks.into_iter());
        let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
        let work = || {
            while let Some(task) = next() {
                task();
            }
        };
        thread::scope(|scope| {
            for _ in 0..others {
                // Without it there is less help, and no less of a page.
                let _ = thread::Builder::new().spawn_scoped(scope, work);
            }
            work();
        });
    }
}
